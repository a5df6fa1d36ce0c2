//! String tokens, and what their escapes stand for.

use super::special::{WIDE, is_special, plain_start};
use super::{JsonError, Problem, Scanner};

/// A string token, escapes checked but not resolved.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The bytes between the quotes.
    pub raw: &'a [u8],
    /// Whether there is a backslash in them.
    pub escaped: bool,
}

impl<'a> Text<'a> {
    /// The text that the token stands for: borrowed when nothing is escaped, else resolved into `scratch`, whose former
    /// content is lost. A lone surrogate is [`Problem::Surrogate`]; the offset in an error counts from the opening quote's
    /// end.
    #[inline]
    pub fn decode<'s>(&self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], JsonError>
    where
        'a: 's,
    {
        if !self.escaped {
            return Ok(self.raw);
        }
        scratch.clear();
        self.decode_onto(scratch)?;
        Ok(scratch)
    }

    /// Appends the text that the token stands for to `out`. On an error `out` may hold a part of it.
    pub fn decode_onto(&self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            out.extend_from_slice(&rest[..at]);
            let offset = self.raw.len() - rest.len() + at;
            let (character, used) = escaped(&rest[at..]).map_err(|problem| JsonError { offset, problem })?;
            push_character(out, character);
            rest = &rest[at + used..];
        }
        out.extend_from_slice(rest);
        Ok(())
    }
}

impl Scanner<'_> {
    /// Reads the string whose opening quote is here and appends the text that it stands for to `out`, in one go. If no text
    /// does, `out` is as it was and the answer is false.
    #[inline]
    pub fn string_onto(&mut self, out: &mut Vec<u8>) -> Result<bool, JsonError> {
        let (start, kept) = (self.pos, out.len());
        let mut from = start + 1;
        loop {
            let at = push_plain(self.bytes, from, out);
            match self.bytes.get(at) {
                Some(b'"') if self.peek() == b'"' => {
                    self.pos = at + 1;
                    return Ok(true);
                }
                Some(b'\\') => match escaped(self.slice(at..self.bytes.len())) {
                    Ok((character, used)) => {
                        push_character(out, character);
                        from = at + used;
                    }
                    Err(_) => break,
                },
                _ => break,
            }
        }
        out.truncate(kept);
        self.skip_string().map(|_| false)
    }
}

/// Appends what stands in `bytes` from `at` on, up to the first special byte; where that is. Many bytes are copied at once, and
/// those behind the end taken back: most texts are short, and a call would take longer.
#[inline]
fn push_plain(bytes: &[u8], mut at: usize, out: &mut Vec<u8>) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((chunk, tail)) = rest.split_first_chunk() {
        let plain = plain_start(chunk);
        out.extend_from_slice(chunk);
        at += plain;
        if plain < WIDE {
            out.truncate(out.len() - (WIDE - plain));
            return at;
        }
        rest = tail;
    }
    let plain = rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len());
    out.extend_from_slice(rest.get(..plain).unwrap_or_default());
    at + plain
}

#[inline]
fn push_character(out: &mut Vec<u8>, character: char) {
    match u8::try_from(character) {
        Ok(byte) if byte.is_ascii() => out.push(byte),
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// The character of the escape at the start of `at`, and the bytes it took.
#[inline]
fn escaped(at: &[u8]) -> Result<(char, usize), Problem> {
    let byte = at.get(1).copied().unwrap_or(0);
    if byte == b'u' {
        return unicode_escape(at).ok_or(Problem::Surrogate);
    }
    simple_escape(byte).map(|byte| (char::from(byte), 2)).ok_or(Problem::Escape)
}

/// The byte that a backslash before `byte` stands for, unless it is a `u`.
pub(super) fn simple_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// The character of the `\uXXXX` (or pair of them) at the start of `at`, and the bytes it took.
fn unicode_escape(at: &[u8]) -> Option<(char, usize)> {
    let unit = hex4(at.get(2..6)?)?;
    if !(0xD800..0xE000).contains(&unit) {
        return Some((char::from_u32(unit)?, 6));
    }
    if unit >= 0xDC00 || at.get(6..8)? != b"\\u" {
        return None;
    }
    let low = hex4(at.get(8..12)?)?;
    if !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))?, 12))
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &byte| Some(value << 4 | char::from(byte).to_digit(16)?))
}
