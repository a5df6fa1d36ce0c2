//! Infers the schema of a task from its first records.

mod shape;

#[cfg(test)]
mod tests;

use super::page::Page;
use crate::model::schema::{RESCUED, Schema};
use shape::Shapes;

/// JSON bytes of records after which a sample is complete.
const SAMPLE_BYTES: u64 = 16_000_000;

/// Pages after which a sample is complete.
const SAMPLE_PAGES: u32 = 50;

/// What the first records of a stream look like. The same pages in the same order give the same schema.
#[derive(Debug)]
pub struct Sample {
    seen: Observed,
    bytes: u64,
    pages: u32,
    records: u64,
    /// Records and bytes beyond which nobody will read.
    most: (u64, u64),
}

impl Default for Sample {
    fn default() -> Self {
        Self { seen: Observed::default(), bytes: 0, pages: 0, records: 0, most: (u64::MAX, u64::MAX) }
    }
}

impl Sample {
    /// The same, complete as soon as it has so many records or bytes: no more of them will be read.
    #[must_use]
    pub fn at_most(self, records: Option<u64>, bytes: Option<u64>) -> Self {
        Self { most: (records.unwrap_or(u64::MAX), bytes.unwrap_or(u64::MAX)), ..self }
    }

    /// Looks at every record of a page. What is no object tells nothing.
    pub fn add(&mut self, page: &Page) {
        for raw in page.raw_records() {
            self.seen.record(raw);
        }
        self.bytes += page.record_bytes();
        self.records += page.records.len() as u64;
        self.pages += 1;
    }

    /// Whether the sample is complete: by count and never by time, so that it is the same in every run.
    pub fn is_full(&self) -> bool {
        let (records, bytes) = self.most;
        self.bytes >= SAMPLE_BYTES.min(bytes) || self.pages >= SAMPLE_PAGES || self.records >= records
    }

    /// What was seen.
    pub fn schema(&self) -> Schema {
        self.seen.schema()
    }
}

/// The types of the values that were seen so far.
#[derive(Debug, Default)]
pub struct Observed {
    fields: Shapes,
    room: shape::Room,
}

impl Observed {
    /// Looks at a whole record.
    pub fn record(&mut self, raw: &[u8]) {
        self.fields.object(raw, &mut self.room);
    }

    /// Looks at one value of a top-level field.
    pub fn field(&mut self, name: &str, raw: &[u8]) {
        if name != RESCUED {
            self.fields.field(name.as_bytes(), raw, &mut self.room);
        }
    }

    /// What was seen, in order of first appearance.
    pub fn schema(&self) -> Schema {
        Schema { fields: self.fields.to_fields() }
    }
}
