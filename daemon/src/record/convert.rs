//! Turns the raw records of a page into what an encoder takes.

use crate::model::schema::Schema;
use crate::model::segment::Counts;
use arrow_array::RecordBatch;

/// A converted page.
#[derive(Debug)]
pub struct Converted {
    /// The records.
    pub data: Data,
    /// What became of each record.
    pub counts: Counts,
    /// The rejected ones.
    pub rejected: Vec<Rejected>,
    /// Types seen in fields that the task's schema does not have or that did not fit; for the next task's schema.
    pub observed: Option<Schema>,
    /// JSON bytes of the records.
    pub source_bytes: u64,
}

/// The records of a page in the form that the format takes.
#[derive(Debug)]
pub enum Data {
    /// Columns, for Parquet and CSV.
    Batch(RecordBatch),
    /// Each record as compact JSON in a line of its own, for NDJSON and JSON.
    Lines(Vec<u8>),
}

/// A record that cannot be represented.
#[derive(Debug)]
pub struct Rejected {
    /// Position in the page, from 0.
    pub index: u32,
    /// Why, without data.
    pub reason: String,
    /// The record as the source wrote it.
    pub raw: Vec<u8>,
}
