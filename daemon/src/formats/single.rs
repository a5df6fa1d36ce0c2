//! One file of a stream from its parts, which were written for it (`layout: single`): nothing is decoded, only what stands
//! at the start and the end of each file is left out or mended.
//!
//! ```text
//! Avro    header, blocks │ blocks │ …              NDJSON  lines │ lines │ …
//! CSV     header, lines  │ lines  │ …              JSON    [ records │ , records │ … ]
//! Parquet row groups │ row groups │ … new footer
//! ```

mod part;

pub use part::{Part, PartFile};

use super::compress::stored;
use super::{FormatError, avro, csv, json, parquet};
use crate::config::settings::{Format, TextFormat};
use crate::record::convert::Plan;
use std::io::{Read, Write};

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// Writes the plain bytes of the one file, in the order of `parts`, of which there is at least one. `plan` is the one that
/// the parts were converted with. Memory stays flat, whatever the size; the same parts give the same bytes.
pub fn write(format: &Format, plan: &Plan, parts: &[Part], out: &mut (dyn Write + Send)) -> Result<(), FormatError> {
    if let Format::Parquet(_) = format {
        return parquet::splice(parts.iter().map(Part::open), out);
    }
    let frame = Frame::of(format, plan)?;
    // A part without records is nothing but what stands around records, or something else in their place.
    let full: Vec<&Part> = parts.iter().filter(|part| part.rows > 0).collect();
    let Some((first, rest)) = full.split_first() else {
        let Some(part) = parts.first() else { return Ok(()) };
        return copy(&mut part.open()?.from(0), part.bytes, out);
    };
    out.write_all(&frame.head)?;
    frame.copy_inside(first, out)?;
    for part in rest {
        out.write_all(&frame.between)?;
        frame.copy_inside(part, out)?;
    }
    Ok(out.write_all(&frame.tail)?)
}

/// What stands around the records in each part, and what has to stand between those of two parts.
struct Frame {
    format: &'static str,
    head: Vec<u8>,
    between: Vec<u8>,
    tail: Vec<u8>,
}

impl Frame {
    fn of(format: &Format, plan: &Plan) -> Result<Self, FormatError> {
        let word = format.word();
        let nothing = Self { format: word, head: Vec::new(), between: Vec::new(), tail: Vec::new() };
        let stored = |settings: &TextFormat, text: &[u8]| stored(settings.compression, text);
        Ok(match format {
            Format::Parquet(_) | Format::Ndjson(_) => nothing,
            Format::Avro(settings) => Self { head: avro::header(settings, plan)?.0, ..nothing },
            Format::Csv(settings) => Self { head: stored(settings, &csv::header(plan)), ..nothing },
            Format::Json(settings) => {
                let [head, between, tail] = json::FRAME.map(|text| stored(settings, text));
                Self { head, between, tail, ..nothing }
            }
        })
    }

    /// Copies what stands between head and tail of a part, which must be there.
    fn copy_inside(&self, part: &Part, out: &mut (dyn Write + Send)) -> Result<(), FormatError> {
        let mut file = part.open()?.from(0);
        let around = (self.head.len() + self.tail.len()) as u64;
        let inside = part.bytes.checked_sub(around).ok_or_else(|| self.other())?;
        self.expect(&mut file, &self.head)?;
        copy(&mut file, inside, out)?;
        self.expect(&mut file, &self.tail)
    }

    fn expect(&self, file: &mut impl Read, text: &[u8]) -> Result<(), FormatError> {
        let mut found = vec![0; text.len()];
        file.read_exact(&mut found)?;
        if found == text { Ok(()) } else { Err(self.other()) }
    }

    fn other(&self) -> FormatError {
        let message = "a part does not begin or end as the parts of a single file do".to_owned();
        FormatError::Encode { format: self.format, message }
    }
}

/// Copies exactly so many bytes.
fn copy(file: &mut impl Read, mut bytes: u64, out: &mut (dyn Write + Send)) -> Result<(), FormatError> {
    let mut piece = vec![0; PIECE];
    while bytes > 0 {
        let length = usize::try_from(bytes).unwrap_or(PIECE).min(PIECE);
        let piece = piece.get_mut(..length).unwrap_or_default();
        file.read_exact(piece)?;
        out.write_all(piece)?;
        bytes -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
