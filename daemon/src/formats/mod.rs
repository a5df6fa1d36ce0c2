//! File formats: each encoder turns converted pages into one segment file with deterministic bytes.

mod avro;
mod blocks;
mod compress;
mod csv;
mod json;
mod keys;
mod ndjson;
mod parquet;
pub mod single;
pub mod words;

#[cfg(test)]
mod encrypted_tests;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;

use crate::base::error::{Classify, ErrorClass, io_class};
use crate::base::pool::Pool;
use crate::config::settings::{FileLayout, Format, ParquetFormat};
use crate::record::convert::{Converted, Data, Layout, Plan};
use arrow_array::RecordBatch;
pub use keys::{KeysError, ParquetKeys};
use std::io::Write;

/// Size of a segment from which on encoders go on with the next pages while what was gathered is encoded. It counts one step
/// later then, which is little beside such a segment; smaller ones would grow by half.
const AHEAD: u64 = 16_000_000;

/// The form in which a format takes records.
pub fn layout(format: &Format) -> Layout {
    match format {
        Format::Parquet(_) | Format::Avro(_) => Layout::Columns,
        Format::Csv(_) => Layout::Flat,
        Format::Ndjson(_) | Format::Json(_) => Layout::Lines,
    }
}

/// Starts a segment file. `plan` is the one that converts its pages, in the format's layout; `chunk_size` is the size in
/// bytes that the segment is meant to have; `files` is what becomes of it. A segment that is finished without records is a valid, empty file.
pub fn open(
    (format, files): (&Format, FileLayout),
    plan: &Plan,
    chunk_size: u64,
    writer: Box<dyn Write + Send>,
) -> Result<Box<dyn SegmentEncoder>, FormatError> {
    Ok(match format {
        Format::Parquet(settings) => Box::new(parquet::Encoder::new((settings, None), plan, chunk_size, writer)?),
        Format::Avro(settings) => Box::new(avro::Encoder::new(settings, plan, chunk_size, writer)?),
        Format::Csv(settings) => Box::new(csv::Encoder::new(settings, files, plan, chunk_size, writer)?),
        Format::Ndjson(settings) => Box::new(ndjson::Encoder::new(settings, chunk_size, writer)?),
        Format::Json(settings) => Box::new(json::Encoder::new(settings, files, chunk_size, writer)?),
    })
}

/// The same for Parquet files with encryption of their own.
pub fn open_encrypted(
    (settings, keys): (&ParquetFormat, &ParquetKeys),
    plan: &Plan,
    chunk_size: u64,
    writer: Box<dyn Write + Send>,
) -> Result<Box<dyn SegmentEncoder>, FormatError> {
    Ok(Box::new(parquet::Encoder::new((settings, Some(keys)), plan, chunk_size, writer)?))
}

/// Encodes the converted pages of one segment. Same input in the same order gives the same bytes.
pub trait SegmentEncoder: Send {
    /// Adds a page. What threads can do side by side is shared out to those of `pool`; the next pages do not wait for it.
    fn write(&mut self, page: Converted, pool: &Pool) -> Result<(), FormatError>;

    /// Bytes of the file so far, counted at boundaries that rows and input bytes alone decide (promise 4). A segment
    /// ends at the first page end at which this reaches `chunk_size`.
    fn counted_bytes(&self) -> u64;

    /// Bytes of the file so far, what is still in memory estimated: for what people see, the room that is booked, and when a
    /// page journal begins. No byte of a file may depend on it.
    fn growing_bytes(&self) -> u64 {
        self.counted_bytes()
    }

    /// Writes what is missing and flushes the writer; syncing is the caller's.
    fn finish(self: Box<Self>, pool: &Pool) -> Result<(), FormatError>;
}

/// Why a segment could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file could not be written.
    #[error("write the segment")]
    Io(#[from] std::io::Error),
    /// The keys of Parquet's encryption do not fit.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The encoder refused its input; a bug, because conversion makes it fit.
    #[error("encode {format}: {message}")]
    Encode {
        /// Which format.
        format: &'static str,
        /// What its library said, without data.
        message: String,
    },
}

impl Classify for FormatError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Io(error) => io_class(error),
            Self::Keys(error) => error.class(),
            Self::Encode { .. } => ErrorClass::Bug,
        }
    }
}

/// The columns of a page.
fn batch(page: Converted, format: &'static str) -> Result<RecordBatch, FormatError> {
    match page.data {
        Data::Batch(batch) => Ok(batch),
        Data::Lines(_) => Err(FormatError::Encode { format, message: "it was given lines for columns".to_owned() }),
    }
}

/// The lines of a page.
fn lines(page: Converted, format: &'static str) -> Result<Vec<u8>, FormatError> {
    match page.data {
        Data::Lines(lines) => Ok(lines),
        Data::Batch(_) => Err(FormatError::Encode { format, message: "it was given columns for lines".to_owned() }),
    }
}
