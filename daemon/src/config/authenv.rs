//! Reads auth.env: lines of `NAME=value`, never executed, and only from a file that nobody else can read or change.
//!
//! ```text
//! # a comment
//! SHOP_TOKEN=abc=def          # unquoted: up to a comment, spaces around it dropped
//! A = 'as it stands \n $x'    # single quotes: nothing is special
//! B = "with \" and \n"        # double quotes: \\ \" \$ \` \n \r \t
//! export C=d                  # the word is allowed and means nothing
//! ```

use super::problem::{Problem, Problems};
use super::units::shown;
use crate::base::secret::Secret;
use nix::fcntl::OFlag;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The largest auth.env.
pub const MAX_BYTES: u64 = 1 << 20;
/// The longest name.
pub const MAX_NAME: usize = 128;

/// Reads the file. Unless it is `trusted` it must belong to root or to this process's user and be closed to all others.
/// A symbolic link is followed; what counts are owner and mode of the file that was opened.
pub fn read(path: &Path, trusted: bool) -> Result<String, Problems> {
    let name = path.display().to_string();
    let io = |error: std::io::Error| {
        let problem = Problem::of_file(&name, format!("cannot be read: {error}"));
        Problems::from(match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                problem.hint("in the service, LoadCredential= hands it over; by hand, run as its owner")
            }
            _ => problem,
        })
    };
    // Without O_NONBLOCK the open of a named pipe would wait for ever.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(Problem::of_file(&name, "is not a regular file").into());
    }
    if !trusted && let Some(problems) = Problems::collect(exposure(path, meta.uid(), meta.mode())) {
        return Err(problems);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Problem::of_file(&name, format!("is larger than {MAX_BYTES} bytes")).into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Problem::of_line(&name, line, "is not UTF-8").into()
    })
}

/// What is wrong with owner and mode of a file of secrets.
fn exposure(path: &Path, owner: u32, mode: u32) -> Vec<Problem> {
    let (name, quoted) = (path.display().to_string(), shell_quoted(path));
    let mut problems = Vec::new();
    let own = nix::unistd::geteuid().as_raw();
    if owner != 0 && owner != own {
        let problem =
            Problem::of_file(&name, format!("belongs to uid {owner}, which is neither root nor this process's user"));
        problems.push(problem.hint(format!("run: chown root:root {quoted}")));
    }
    if mode & 0o077 != 0 {
        let problem =
            Problem::of_file(&name, format!("is open to its group or to others (mode {:04o})", mode & 0o7777));
        problems.push(problem.hint(format!("run: chmod 0600 {quoted}")));
    }
    problems
}

/// The path as a word of a shell command.
fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Whether a text is a name: letters, digits and `_`, not starting with a digit.
pub fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=MAX_NAME).contains(&text.len()) && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(good)
}

/// Reads the lines. Every mistake is told, none with a value.
pub fn parse(text: &str, file: &str) -> Result<BTreeMap<String, Secret>, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut values: BTreeMap<String, (Secret, usize)> = BTreeMap::new();
    let mut problems = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        match entry(line.strip_suffix('\r').unwrap_or(line)) {
            Ok(None) => {}
            Ok(Some((name, value))) => match values.get(name) {
                Some((_, first)) => {
                    let problem = Problem::of_line(file, number, format!("{name:?} is already in line {first}"));
                    problems.push(problem.hint("remove one of them"));
                }
                None => drop(values.insert(name.to_owned(), (Secret::new(value), number))),
            },
            Err((message, hint)) => problems.push(Problem::of_line(file, number, message).hint(hint)),
        }
    }
    match Problems::collect(problems) {
        Some(problems) => Err(problems),
        None => Ok(values.into_iter().map(|(name, (value, _))| (name, value)).collect()),
    }
}

type Wrong = (String, &'static str);

fn entry(line: &str) -> Result<Option<(&str, String)>, Wrong> {
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err(("a control character".into(), "remove it; in double quotes, \\n and \\r stand for line ends"));
    }
    let line = line.trim_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let Some((name, value)) = line.split_once('=') else {
        return Err(("a line without \"=\"".into(), "write NAME=value, or # before a comment"));
    };
    let name = name.trim_end_matches([' ', '\t']);
    let name = match name.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        _ => name,
    };
    if !is_name(name) {
        // What stands before "=" may be part of a value that was torn apart: it is not shown.
        return Err(("no name before \"=\"".into(), "a name has letters, digits and \"_\", and no digit first"));
    }
    let value = value.trim_start_matches([' ', '\t']);
    let (value, rest) = match value.strip_prefix(['\'', '"']) {
        Some(inside) if value.starts_with('\'') => single_quoted(inside).map_err(|error| named(name, error))?,
        Some(inside) => double_quoted(inside).map_err(|error| named(name, error))?,
        None => (unquoted(value).to_owned(), ""),
    };
    let after = rest.trim_start_matches([' ', '\t']);
    if !after.is_empty() && (after == rest || !after.starts_with('#')) {
        return Err(named(name, ("text after the closing quote", "put the whole value in one pair of quotes")));
    }
    Ok(Some((name, value)))
}

fn named(name: &str, (message, hint): (&str, &'static str)) -> Wrong {
    (format!("{}: {message}", shown(name)), hint)
}

/// Up to a comment: a `#` at the beginning or after a space.
fn unquoted(text: &str) -> &str {
    let comment = |(at, _): &(usize, &str)| {
        text.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    };
    let end = text.match_indices('#').find(comment).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text).trim_end_matches([' ', '\t'])
}

/// The value and what stands behind its closing quote.
type Quoted<'a> = Result<(String, &'a str), (&'static str, &'static str)>;

fn single_quoted(inside: &str) -> Quoted<'_> {
    match inside.split_once('\'') {
        Some((value, rest)) => Ok((value.to_owned(), rest)),
        None => Err(("the closing ' is missing", "a value stands in one line")),
    }
}

fn double_quoted(inside: &str) -> Quoted<'_> {
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, inside.get(at + 1..).unwrap_or_default())),
            '\\' => value.push(match chars.next() {
                Some((_, plain @ ('\\' | '"' | '$' | '`'))) => plain,
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                _ => return Err(("an unknown escape", "use \\\\ \\\" \\$ \\` \\n \\r \\t, or single quotes")),
            }),
            c => value.push(c),
        }
    }
    Err(("the closing \" is missing", "a value stands in one line"))
}

#[cfg(test)]
mod tests;
