//! Copies a record in large pieces, with replacements between them.

use std::io::Write as _;

/// Copies `raw` to `out`; what has not been copied or left out yet follows by itself.
pub struct Writer<'r, 'o> {
    raw: &'r [u8],
    /// How far `raw` is done with.
    done: usize,
    /// Where it goes.
    pub out: &'o mut Vec<u8>,
}

impl<'r, 'o> Writer<'r, 'o> {
    /// Copies `raw` behind what is in `out`.
    pub fn new(raw: &'r [u8], out: &'o mut Vec<u8>) -> Self {
        Self { raw, done: 0, out }
    }

    /// Copies everything up to `at`.
    #[inline]
    pub fn copy_to(&mut self, at: usize) {
        self.out.extend_from_slice(self.raw.get(self.done..at).unwrap_or_default());
        self.done = self.done.max(at);
    }

    /// Leaves out everything up to `at` that has not been copied.
    #[inline]
    pub fn skip_to(&mut self, at: usize) {
        self.done = self.done.max(at);
    }

    /// Copies the rest.
    pub fn end(mut self) {
        self.copy_to(self.raw.len());
    }
}

/// Where the members of an object are put, so that commas stand between those that are left and nowhere else.
#[derive(Debug, Default)]
pub struct Members {
    /// Whether a member has been left in the object.
    any: bool,
    /// Whether one has been taken out before the first that is left.
    trim: bool,
}

impl Members {
    /// The member whose key starts at `key` stays.
    #[inline]
    pub fn keep(&mut self, key: usize, writer: &mut Writer) {
        if self.trim && !self.any {
            writer.skip_to(key);
        }
        self.any = true;
    }

    /// The member between `start` (behind the bracket, or at the comma before it) and `end` goes.
    #[inline]
    pub fn drop(&mut self, start: usize, end: usize, writer: &mut Writer) {
        writer.copy_to(start);
        writer.skip_to(end);
        self.trim |= !self.any;
    }

    /// Puts a comma if there is a member before; a member follows.
    pub fn comma(&mut self, writer: &mut Writer) {
        if self.any {
            writer.out.push(b',');
        }
        self.any = true;
    }
}

/// Appends a text as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends a text as it is written inside a JSON string (RFC 8259, section 7).
pub fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0..0x20 => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(*byte),
        }
    }
}
