//! CSV (RFC 4180): a header line, lines that end in CR LF, an empty field for null and `""` for the empty text.

mod cell;

use super::compress::Output;
use super::{FormatError, SegmentEncoder, batch};
use crate::base::pool::Pool;
use crate::config::settings::{FileLayout, TextFormat};
use crate::record::convert::{Converted, Plan};
use arrow_array::Array as _;
use cell::{Cells, push_text};
use std::io::Write;

/// Writes a segment.
pub struct Encoder {
    output: Output,
    /// The header line, until it is written.
    header: Option<Vec<u8>>,
    /// The lines of a page before they go to the output.
    lines: Vec<u8>,
    quoting: csv_core::Writer,
}

impl Encoder {
    /// Starts a file with its header line.
    pub fn new(
        settings: &TextFormat,
        layout: FileLayout,
        plan: &Plan,
        chunk_size: u64,
        writer: Box<dyn Write + Send>,
    ) -> Result<Self, FormatError> {
        let output = Output::new(settings, layout, chunk_size, writer)?;
        Ok(Self { output, header: Some(header(plan)), lines: Vec::new(), quoting: csv_core::Writer::new() })
    }

    fn begin(&mut self, pool: &Pool) -> Result<(), FormatError> {
        let Some(header) = self.header.take() else { return Ok(()) };
        Ok(self.output.push_frame(&header, pool)?)
    }
}

/// The header line.
pub fn header(plan: &Plan) -> Vec<u8> {
    let (mut line, quoting) = (Vec::new(), csv_core::Writer::new());
    for (at, field) in plan.arrow_schema().fields().iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        push_text(&mut line, &quoting, field.name().as_bytes());
    }
    line.extend_from_slice(b"\r\n");
    line
}

impl SegmentEncoder for Encoder {
    fn write(&mut self, page: Converted, pool: &Pool) -> Result<(), FormatError> {
        self.begin(pool)?;
        let batch = batch(page, "csv")?;
        let columns = batch.columns().iter().map(Cells::new).collect::<Option<Vec<_>>>();
        let columns = columns.ok_or_else(|| FormatError::Encode {
            format: "csv",
            message: "it was given a column that is no scalar".to_owned(),
        })?;
        self.lines.clear();
        for row in 0..batch.num_rows() {
            let start = self.lines.len();
            for (at, (column, cells)) in batch.columns().iter().zip(&columns).enumerate() {
                if at > 0 {
                    self.lines.push(b',');
                }
                if column.is_valid(row) {
                    cells.push(&mut self.lines, &self.quoting, row)?;
                }
            }
            if self.lines.len() == start {
                // The only column is null: a line with nothing in it would be no record.
                self.lines.extend_from_slice(b"\"\"");
            }
            self.lines.extend_from_slice(b"\r\n");
        }
        Ok(self.output.push(&self.lines, pool)?)
    }

    fn counted_bytes(&self) -> u64 {
        self.output.counted_bytes()
    }

    fn growing_bytes(&self) -> u64 {
        self.output.growing_bytes()
    }

    fn finish(mut self: Box<Self>, pool: &Pool) -> Result<(), FormatError> {
        self.begin(pool)?;
        Ok(self.output.finish(pool)?)
    }
}
