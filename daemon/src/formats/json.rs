//! JSON: one array, each record in a line of its own, as the source wrote it.

use super::compress::Output;
use super::{FormatError, SegmentEncoder, lines};
use crate::config::settings::TextFormat;
use crate::record::convert::Converted;
use std::io::Write;

/// Writes a segment.
pub struct Encoder {
    output: Output,
    empty: bool,
}

impl Encoder {
    /// Starts a file.
    pub fn new(settings: &TextFormat, writer: Box<dyn Write + Send>) -> Result<Self, FormatError> {
        Ok(Self { output: Output::new(settings.compression, writer)?, empty: true })
    }
}

impl SegmentEncoder for Encoder {
    fn write(&mut self, page: Converted) -> Result<(), FormatError> {
        // Strings hold no line feeds, so every one of them ends a record.
        for line in lines(page, "json")?.split_inclusive(|byte| *byte == b'\n') {
            self.output.push(if self.empty { b"[\n" } else { b",\n" })?;
            self.output.push(line.strip_suffix(b"\n").unwrap_or(line))?;
            self.empty = false;
        }
        Ok(())
    }

    fn counted_bytes(&self) -> u64 {
        self.output.counted_bytes()
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        self.output.push(if self.empty { b"[]\n" } else { b"\n]\n" })?;
        Ok(self.output.finish()?)
    }
}
