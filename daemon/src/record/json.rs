//! A validating pull scanner over JSON text (RFC 8259): finds keys, strings, numbers and whole values, builds none.
//!
//! ```text
//! if scanner.open(b'{')? { loop { let key = scanner.key()?; scanner.skip_value()?; if !scanner.more(b'}')? { break } } }
//! ```
//! Offsets in errors count from the start of the scanned bytes. That the bytes are UTF-8 is checked once for a whole body
//! by whoever owns it, not here.

mod error;
mod special;
mod text;

#[cfg(test)]
mod tests;

pub use error::{JsonError, Problem};
use special::{WIDE, is_special, plain_start, plain_string_end};
use std::ops::Range;
pub use text::Text;
use text::simple_escape;

/// Most arrays and objects inside one another; more is refused, so that no stack can run out.
pub const MAX_DEPTH: u32 = 128;

/// Reads JSON text from left to right. After an error its position means nothing.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    pos: usize,
    depth: u32,
    blanks: u32,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, depth: 0, blanks: 0 }
    }

    /// A part of the bytes that are scanned.
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or_default()
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

    /// How often there was white space so far: where it is the same before and behind a value, there is none in it.
    #[inline]
    pub fn blanks(&self) -> u32 {
        self.blanks
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
        let byte = self.peek();
        if byte > b' ' { byte } else { self.skip_blanks() }
    }

    #[inline(never)]
    fn skip_blanks(&mut self) -> u8 {
        self.blanks = self.blanks.wrapping_add(1);
        let blanks = self.rest().iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
        self.pos = blanks.map_or(self.bytes.len(), |count| self.pos + count);
        self.peek()
    }

    /// An error here.
    #[cold]
    pub fn error(&self, problem: Problem) -> JsonError {
        let problem = if self.pos >= self.bytes.len() { Problem::End } else { problem };
        JsonError { offset: self.pos.min(self.bytes.len()), problem }
    }

    /// Enters the array or object that starts here (`bracket` is `[` or `{`, white space before it is skipped). Whether it
    /// holds anything; an empty one is left at once.
    #[inline]
    pub fn open(&mut self, bracket: u8) -> Result<bool, JsonError> {
        if self.skip_whitespace() != bracket {
            return Err(self.error(if bracket == b'{' { Problem::Object } else { Problem::Array }));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.error(Problem::Depth));
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

    /// Reads a key and the colon after it; the scanner then stands before the value.
    #[inline]
    pub fn key(&mut self) -> Result<Text<'a>, JsonError> {
        if self.skip_whitespace() != b'"' {
            return Err(self.error(Problem::Key));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    #[inline]
    fn skip_key(&mut self) -> Result<(), JsonError> {
        if let Some(end) = plain_string_end(self.bytes, self.pos)
            && self.bytes.get(end) == Some(&b':')
        {
            self.pos = end + 1;
            return Ok(());
        }
        if self.skip_whitespace() != b'"' {
            return Err(self.error(Problem::Key));
        }
        self.skip_string()?;
        self.colon()
    }

    /// Reads the colon after a key.
    #[inline]
    pub fn colon(&mut self) -> Result<(), JsonError> {
        if self.peek() != b':' && self.skip_whitespace() != b':' {
            return Err(self.error(Problem::Colon));
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
            return Err(self.error(if close == b'}' { Problem::CommaOrBrace } else { Problem::CommaOrBracket }));
        }
        self.pos += 1;
        self.depth = self.depth.saturating_sub(1);
        Ok(false)
    }

    /// Reads the string whose opening quote is here.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, JsonError> {
        let start = self.pos + 1;
        let escaped = self.skip_string()?;
        Ok(Text { raw: self.slice(start..self.pos - 1), escaped })
    }

    /// Skips the string whose opening quote is here. Whether there is a backslash in it.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, JsonError> {
        if self.peek() != b'"' {
            return Err(self.error(Problem::Quote));
        }
        let at = find_special(self.bytes, self.pos + 1);
        if self.bytes.get(at) == Some(&b'"') {
            self.pos = at + 1;
            return Ok(false);
        }
        self.skip_escaped(at)
    }

    /// Skips the rest of a string of which `at` is the first special byte, and not its end.
    #[inline(never)]
    fn skip_escaped(&mut self, mut at: usize) -> Result<bool, JsonError> {
        loop {
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at = find_special(self.bytes, self.escape_end(at)?),
                _ => {
                    self.pos = at;
                    return Err(self.error(Problem::Control));
                }
            }
        }
        self.pos = at + 1;
        Ok(true)
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
        Err(self.error(Problem::Escape))
    }

    /// Reads the number that starts here, as it is written.
    #[inline]
    pub fn number(&mut self) -> Result<&'a [u8], JsonError> {
        let rest = self.rest();
        let at = |index: usize| rest.get(index).copied().unwrap_or(0);
        let mut end = usize::from(at(0) == b'-');
        if at(end) == b'0' {
            end += 1;
        } else {
            end = self.digits(rest, end, Problem::Value)?;
        }
        if at(end) == b'.' {
            end = self.digits(rest, end + 1, Problem::Digit)?;
        }
        if matches!(at(end), b'e' | b'E') {
            end += 1;
            end = self.digits(rest, end + usize::from(matches!(at(end), b'+' | b'-')), Problem::Digit)?;
        }
        self.pos += end;
        Ok(rest.get(..end).unwrap_or_default())
    }

    /// Where the digits at `start` of `rest` end; there must be one.
    #[inline]
    fn digits(&mut self, rest: &[u8], start: usize, problem: Problem) -> Result<usize, JsonError> {
        let mut end = start;
        while rest.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        if end == start {
            self.pos += start;
            return Err(self.error(problem));
        }
        Ok(end)
    }

    /// Reads exactly `word` (`true`, `false` or `null`).
    #[inline]
    pub fn word(&mut self, word: &'static [u8]) -> Result<(), JsonError> {
        if !self.rest().starts_with(word) {
            return Err(self.error(Problem::Value));
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
            b'"' => self.skip_string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(drop),
        }
    }

    /// Skips the array or object here, without recursion: `objects` remembers, one bit a level and the innermost lowest,
    /// which of the open brackets are objects. Text as machines write it, without white space and escapes, takes the short ways.
    fn skip_container(&mut self) -> Result<(), JsonError> {
        const { assert!(MAX_DEPTH <= u128::BITS) };
        let base = self.depth;
        let mut objects: u128 = 0;
        loop {
            match self.peek() {
                b'"' => match plain_string_end(self.bytes, self.pos) {
                    Some(end) => self.pos = end,
                    None => drop(self.skip_string()?),
                },
                bracket @ (b'{' | b'[') => {
                    if self.open(bracket)? {
                        objects = objects << 1 | u128::from(bracket == b'{');
                        if bracket == b'{' {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                b' ' | b'\n' | b'\r' | b'\t' => {
                    self.skip_blanks();
                    continue;
                }
                first => self.skip_scalar(first)?,
            }
            loop {
                if self.depth == base {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if self.more(if object { b'}' } else { b']' })? {
                    if object {
                        self.skip_key()?;
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
        if self.pos < self.bytes.len() { Err(self.error(Problem::Rest)) } else { Ok(()) }
    }
}

/// The first quote, backslash or control character at or after `at`; the length of `bytes` if there is none.
#[inline]
fn find_special(bytes: &[u8], mut at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((chunk, tail)) = rest.split_first_chunk() {
        let plain = plain_start(chunk);
        at += plain;
        if plain < WIDE {
            return at;
        }
        rest = tail;
    }
    at + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}
