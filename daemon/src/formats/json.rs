//! JSON: one array, each record in a line of its own, as the source wrote it.

use super::compress::Output;
use super::{FormatError, SegmentEncoder, lines};
use crate::base::pool::Pool;
use crate::config::settings::{FileLayout, TextFormat};
use crate::record::convert::Converted;
use std::io::Write;

/// What stands before the first record, between two records, and behind the last one.
pub const FRAME: [&[u8]; 3] = [b"[\n", b",\n", b"\n]\n"];

/// Writes a segment.
pub struct Encoder {
    output: Output,
    empty: bool,
}

impl Encoder {
    /// Starts a file.
    pub fn new(
        settings: &TextFormat,
        layout: FileLayout,
        chunk_size: u64,
        writer: Box<dyn Write + Send>,
    ) -> Result<Self, FormatError> {
        Ok(Self { output: Output::new(settings, layout, chunk_size, writer)?, empty: true })
    }
}

impl SegmentEncoder for Encoder {
    fn write(&mut self, page: Converted, pool: &Pool) -> Result<(), FormatError> {
        let [open, between, _] = FRAME;
        // Strings hold no line feeds, so every one of them ends a record.
        for line in lines(page, "json")?.split_inclusive(|byte| *byte == b'\n') {
            match std::mem::take(&mut self.empty) {
                true => self.output.push_frame(open, pool)?,
                false => self.output.push(between, pool)?,
            }
            self.output.push(line.strip_suffix(b"\n").unwrap_or(line), pool)?;
        }
        Ok(())
    }

    fn counted_bytes(&self) -> u64 {
        self.output.counted_bytes()
    }

    fn growing_bytes(&self) -> u64 {
        self.output.growing_bytes(0)
    }

    fn finish(mut self: Box<Self>, pool: &Pool) -> Result<(), FormatError> {
        let [_, _, close] = FRAME;
        self.output.push_frame(if self.empty { b"[]\n" } else { close }, pool)?;
        Ok(self.output.finish(pool)?)
    }
}
