//! JSON text without the white space between its tokens; strings and numbers stay as they are written.

use crate::record::json::{JsonError, Scanner};

/// Appends a record as one line. On an error `out` is as it was.
pub fn push(raw: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let before = out.len();
    let done = minify(raw, out);
    match done {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
    done
}

/// Appends a JSON value without the white space between its tokens.
pub fn minify(raw: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(raw);
    let mut copied = 0;
    loop {
        match scanner.peek() {
            b'"' => drop(scanner.string()?),
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.extend_from_slice(raw.get(copied..scanner.pos()).unwrap_or_default());
                scanner.skip_whitespace();
                copied = scanner.pos();
            }
            0 if scanner.rest().is_empty() => break,
            _ => scanner.advance(1),
        }
    }
    out.extend_from_slice(raw.get(copied..).unwrap_or_default());
    Ok(())
}
