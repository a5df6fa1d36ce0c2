//! CSV (RFC 4180): a header line, lines that end in CR LF, an empty field for null and `""` for the empty text.

mod cell;

use super::compress::Output;
use super::{AHEAD, FormatError, SegmentEncoder, batch};
use crate::base::pool::{Pool, Started};
use crate::config::settings::{FileLayout, TextFormat};
use crate::record::convert::{Converted, Plan};
use arrow_array::RecordBatch;
use cell::{Cells, push_text};
use std::io::Write;

/// Rows of which one thread makes lines at a time.
const PIECE: usize = 1024;

/// Writes a segment.
pub struct Encoder {
    output: Output,
    /// The header line, until it is written.
    header: Option<Vec<u8>>,
    /// The lines of the page that came last, in the making.
    making: Option<Started<Result<Vec<u8>, FormatError>>>,
    /// About how many bytes they have.
    away: u64,
    /// Whether they are written when the next page comes.
    ahead: bool,
    /// Buffers of lines that are written.
    idle: Vec<Vec<u8>>,
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
        let (making, away, ahead, idle) = (None, 0, chunk_size >= AHEAD, Vec::new());
        Ok(Self { output, header: Some(header(plan)), making, away, ahead, idle })
    }

    fn begin(&mut self, pool: &Pool) -> Result<(), FormatError> {
        let Some(header) = self.header.take() else { return Ok(()) };
        Ok(self.output.push_frame(&header, pool)?)
    }

    /// Writes the lines that are in the making.
    fn settle(&mut self, pool: &Pool) -> Result<(), FormatError> {
        self.away = 0;
        for lines in self.making.take().map(Started::wait).unwrap_or_default() {
            let mut lines = lines?;
            self.output.push(&lines, pool)?;
            lines.clear();
            self.idle.push(lines);
        }
        Ok(())
    }
}

/// The header line.
pub fn header(plan: &Plan) -> Vec<u8> {
    let mut line = Vec::new();
    for (at, field) in plan.arrow_schema().fields().iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        push_text(&mut line, field.name().as_bytes());
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// Appends the lines of rows to the empty `out`.
fn lines(batch: &RecordBatch, mut out: Vec<u8>) -> Result<Vec<u8>, FormatError> {
    let columns = batch.columns().iter().map(|column| Some((Cells::new(column)?, column.logical_nulls())));
    let columns = columns.collect::<Option<Vec<_>>>().ok_or_else(|| FormatError::Encode {
        format: "csv",
        message: "it was given a column that is no scalar".to_owned(),
    })?;
    for row in 0..batch.num_rows() {
        let start = out.len();
        for (at, (cells, nulls)) in columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                cells.push(&mut out, row)?;
            }
        }
        if out.len() == start {
            // The only column is null: a line with nothing in it would be no record.
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

impl SegmentEncoder for Encoder {
    fn write(&mut self, page: Converted, pool: &Pool) -> Result<(), FormatError> {
        self.begin(pool)?;
        self.settle(pool)?;
        self.away = page.source_bytes;
        let batch = batch(page, "csv")?;
        let piece = |at| batch.slice(at, PIECE.min(batch.num_rows() - at));
        let pieces = (0..batch.num_rows()).step_by(PIECE).map(piece);
        let pieces = pieces.map(|rows| (rows, self.idle.pop().unwrap_or_default())).collect();
        self.making = Some(pool.start(pieces, |(rows, out)| lines(&rows, out)));
        if self.ahead { Ok(()) } else { self.settle(pool) }
    }

    fn counted_bytes(&self) -> u64 {
        self.output.counted_bytes()
    }

    fn growing_bytes(&self) -> u64 {
        self.output.growing_bytes(self.away)
    }

    fn finish(mut self: Box<Self>, pool: &Pool) -> Result<(), FormatError> {
        self.begin(pool)?;
        self.settle(pool)?;
        Ok(self.output.finish(pool)?)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::pool::Pool;
    use crate::config::settings::{FileLayout, Format};
    use crate::formats::tests::{encode_on, schema};

    #[test]
    fn a_page_of_csv_is_made_in_pieces_and_written_whole() {
        let schema = schema(&[("id", "integer"), ("s", "string")]);
        let text = |n: usize| if n.is_multiple_of(3) { "null".to_owned() } else { format!("\"t{n}\"") };
        let pages: Vec<Vec<String>> = [(0..2500), (2500..2501), (2501..2501), (2501..5000)]
            .map(|ids| ids.map(|n| format!("{{\"id\":{n},\"s\":{}}}", text(n))).collect())
            .into();
        let line = |n: usize| format!("{n},{},\r\n", if n.is_multiple_of(3) { String::new() } else { format!("t{n}") });
        let wanted = format!("id,s,_rescued\r\n{}", (0..5000).map(line).collect::<String>());
        for chunk_size in [1 << 20, 50 << 20] {
            let format = Format::from_word("csv").unwrap();
            let (bytes, _) = encode_on(&Pool::new(2), (&format, FileLayout::Parts), (&schema, chunk_size), &pages);
            assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
        }
    }
}
