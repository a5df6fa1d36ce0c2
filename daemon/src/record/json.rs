//! A validating pull scanner over JSON text (RFC 8259): finds keys, strings, numbers and whole values, builds none.
//!
//! ```text
//! if scanner.open(b'{')? { loop { let key = scanner.key()?; scanner.skip_value()?; if !scanner.more(b'}')? { break } } }
//! ```
//! Offsets in errors count from the start of the scanned bytes. That the bytes are UTF-8 is checked once for a whole body
//! by whoever owns it, not here.

mod text;

#[cfg(test)]
mod tests;

use std::ops::Range;
pub use text::Text;
use text::{BAD_ESCAPE, simple_escape};

/// Most arrays and objects inside one another; more is refused, so that no stack can run out.
pub const MAX_DEPTH: u32 = 128;

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// It is not JSON.
    Syntax,
    /// It is nested deeper than [`MAX_DEPTH`].
    Depth,
    /// It is JSON, but no Unicode text stands for it (a lone surrogate).
    Unrepresentable,
}

/// Where and why a text was refused. Holds nothing of the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {message}")]
pub struct JsonError {
    /// Byte from the start of what was scanned, from 0.
    pub offset: usize,
    /// What kind of mistake.
    pub kind: JsonErrorKind,
    /// What was expected.
    pub message: &'static str,
}

/// Reads JSON text from left to right. After an error its position means nothing.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    pos: usize,
    depth: u32,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, depth: 0 }
    }

    /// The bytes that are scanned.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the scanner stands.
    #[inline]
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// Arrays and objects that are open here.
    #[inline]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// What is left.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    /// The next byte; 0, which starts nothing in JSON, at the end.
    #[inline]
    pub fn peek(&self) -> u8 {
        self.bytes.get(self.pos).copied().unwrap_or(0)
    }

    /// Goes on by `count` bytes that the caller has looked at.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.pos += count;
    }

    /// Skips white space and returns the byte after it (0 at the end).
    #[inline]
    pub fn skip_whitespace(&mut self) -> u8 {
        loop {
            match self.peek() {
                b' ' | b'\n' | b'\r' | b'\t' => self.pos += 1,
                byte => return byte,
            }
        }
    }

    /// An error here.
    #[cold]
    pub fn error(&self, message: &'static str) -> JsonError {
        let message = if self.pos >= self.bytes.len() { "the text ends too early" } else { message };
        JsonError { offset: self.pos.min(self.bytes.len()), kind: JsonErrorKind::Syntax, message }
    }

    /// Enters the array or object that starts here (`bracket` is `[` or `{`, white space before it is skipped). Whether it
    /// holds anything; an empty one is left at once.
    #[inline]
    pub fn open(&mut self, bracket: u8) -> Result<bool, JsonError> {
        if self.skip_whitespace() != bracket {
            return Err(self.error(if bracket == b'{' { "expected '{'" } else { "expected '['" }));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.pos += 1;
        // In ASCII each closing bracket is two after its opening one.
        if self.skip_whitespace() == bracket + 2 {
            self.pos += 1;
            return Ok(false);
        }
        self.depth += 1;
        Ok(true)
    }

    #[cold]
    fn too_deep(&self) -> JsonError {
        JsonError { kind: JsonErrorKind::Depth, ..self.error("more than 128 arrays and objects inside one another") }
    }

    /// Reads a key and the colon after it; the scanner then stands before the value.
    #[inline]
    pub fn key(&mut self) -> Result<Text<'a>, JsonError> {
        if self.skip_whitespace() != b'"' {
            return Err(self.error("expected a key"));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    /// Reads the colon after a key.
    #[inline]
    pub fn colon(&mut self) -> Result<(), JsonError> {
        if self.peek() != b':' && self.skip_whitespace() != b':' {
            return Err(self.error("expected ':'"));
        }
        self.pos += 1;
        Ok(())
    }

    /// Goes on after a value: true behind a comma, false behind the closing bracket `close`, which leaves the container.
    #[inline]
    pub fn more(&mut self, close: u8) -> Result<bool, JsonError> {
        let byte = self.skip_whitespace();
        if byte == b',' {
            self.pos += 1;
            return Ok(true);
        }
        if byte != close {
            return Err(self.error(if close == b'}' { "expected ',' or '}'" } else { "expected ',' or ']'" }));
        }
        self.pos += 1;
        self.depth = self.depth.saturating_sub(1);
        Ok(false)
    }

    /// Reads the string whose opening quote is here.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, JsonError> {
        if self.peek() != b'"' {
            return Err(self.error("expected '\"'"));
        }
        let offset = self.pos + 1;
        let mut escaped = false;
        let mut at = find_special(self.bytes, offset);
        loop {
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at = find_special(self.bytes, self.escape_end(at)?);
                }
                _ => {
                    self.pos = at;
                    return Err(self.error("a control character must be escaped"));
                }
            }
        }
        self.pos = at + 1;
        Ok(Text { raw: self.bytes.get(offset..at).unwrap_or_default(), escaped, offset })
    }

    /// Checks the escape at `at` and returns where it ends.
    fn escape_end(&mut self, at: usize) -> Result<usize, JsonError> {
        let byte = self.bytes.get(at + 1).copied().unwrap_or(0);
        if byte == b'u' && self.bytes.get(at + 2..at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
            return Ok(at + 6);
        }
        if simple_escape(byte).is_some() {
            return Ok(at + 2);
        }
        self.pos = at;
        Err(self.error(BAD_ESCAPE))
    }

    /// Reads the number that starts here, as it is written.
    #[inline]
    pub fn number(&mut self) -> Result<&'a [u8], JsonError> {
        let start = self.pos;
        if self.peek() == b'-' {
            self.pos += 1;
        }
        match self.peek() {
            b'0' => self.pos += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.error("expected a value")),
        }
        if self.peek() == b'.' {
            self.pos += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.pos += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.pos += 1;
            }
            self.some_digits()?;
        }
        Ok(self.bytes.get(start..self.pos).unwrap_or_default())
    }

    #[inline]
    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.pos += 1;
        }
    }

    #[inline]
    fn some_digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_ascii_digit() {
            return Err(self.error("expected a digit"));
        }
        self.digits();
        Ok(())
    }

    /// Reads exactly `word` (`true`, `false` or `null`).
    #[inline]
    pub fn word(&mut self, word: &'static [u8]) -> Result<(), JsonError> {
        if !self.rest().starts_with(word) {
            return Err(self.error("expected a value"));
        }
        self.pos += word.len();
        Ok(())
    }

    /// Skips one value, with the white space before it, checks its whole grammar and returns where it lies.
    #[inline]
    pub fn skip_value(&mut self) -> Result<Range<usize>, JsonError> {
        let first = self.skip_whitespace();
        let start = self.pos;
        match first {
            b'{' | b'[' => self.skip_container()?,
            _ => self.skip_scalar(first)?,
        }
        Ok(start..self.pos)
    }

    #[inline]
    fn skip_scalar(&mut self, first: u8) -> Result<(), JsonError> {
        match first {
            b'"' => self.string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(drop),
        }
    }

    /// Skips the array or object here, without recursion: `objects` remembers, one bit a level and the innermost lowest,
    /// which of the open brackets are objects.
    fn skip_container(&mut self) -> Result<(), JsonError> {
        const { assert!(MAX_DEPTH <= u128::BITS) };
        let base = self.depth;
        let mut objects: u128 = 0;
        loop {
            let first = self.skip_whitespace();
            if matches!(first, b'{' | b'[') {
                if self.open(first)? {
                    objects = objects << 1 | u128::from(first == b'{');
                    if first == b'{' {
                        self.key()?;
                    }
                    continue;
                }
            } else {
                self.skip_scalar(first)?;
            }
            loop {
                if self.depth == base {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if self.more(if object { b'}' } else { b']' })? {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                objects >>= 1;
            }
        }
    }

    /// Checks that nothing but white space is left.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.pos < self.bytes.len() { Err(self.error("expected the end")) } else { Ok(()) }
    }
}

/// The first quote, backslash or control character at or after `at`; the length of `bytes` if there is none. Looks at eight
/// bytes at once: in each difference below, the lowest high bit that is set marks the first such byte.
#[inline]
fn find_special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        let found = (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if found & HIGHS != 0 {
            return at + (found & HIGHS).trailing_zeros() as usize / 8;
        }
        at += 8;
        rest = tail;
    }
    at + rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20).unwrap_or(rest.len())
}
