//! File formats: each encoder turns converted pages into one segment file with deterministic bytes.

use crate::base::error::{Classify, ErrorClass, io_class};
use crate::record::convert::Converted;

/// Encodes the converted pages of one segment. Same input in the same order gives the same bytes.
pub trait SegmentEncoder: Send {
    /// Adds a page.
    fn write(&mut self, page: Converted) -> Result<(), FormatError>;

    /// Bytes of the file so far, counted at boundaries that rows and input bytes alone decide (promise 4). A segment
    /// ends at the first page end at which this reaches `chunk_size`.
    fn counted_bytes(&self) -> u64;

    /// Writes what is missing and flushes the writer; syncing is the caller's.
    fn finish(self: Box<Self>) -> Result<(), FormatError>;
}

/// Why a segment could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file could not be written.
    #[error("write the segment")]
    Io(#[from] std::io::Error),
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
            Self::Encode { .. } => ErrorClass::Bug,
        }
    }
}
