//! NDJSON: one record per line, as the source wrote it.

use super::compress::Output;
use super::{FormatError, SegmentEncoder, lines};
use crate::base::pool::Pool;
use crate::config::settings::{FileLayout, TextFormat};
use crate::record::convert::Converted;
use std::io::Write;

/// Writes a segment.
pub struct Encoder(Output);

impl Encoder {
    /// Starts a file.
    pub fn new(settings: &TextFormat, chunk_size: u64, writer: Box<dyn Write + Send>) -> Result<Self, FormatError> {
        Ok(Self(Output::new(settings, FileLayout::Parts, chunk_size, writer)?))
    }
}

impl SegmentEncoder for Encoder {
    fn write(&mut self, page: Converted, pool: &Pool) -> Result<(), FormatError> {
        Ok(self.0.push(&lines(page, "ndjson")?, pool)?)
    }

    fn counted_bytes(&self) -> u64 {
        self.0.counted_bytes()
    }

    fn growing_bytes(&self) -> u64 {
        self.0.growing_bytes(0)
    }

    fn finish(self: Box<Self>, pool: &Pool) -> Result<(), FormatError> {
        Ok(self.0.finish(pool)?)
    }
}
