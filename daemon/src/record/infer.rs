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
#[derive(Debug, Default)]
pub struct Sample {
    seen: Observed,
    bytes: u64,
    pages: u32,
}

impl Sample {
    /// Looks at every record of a page. What is no object tells nothing.
    pub fn add(&mut self, page: &Page) {
        for raw in page.raw_records() {
            self.seen.record(raw);
        }
        self.bytes += page.record_bytes();
        self.pages += 1;
    }

    /// Whether the sample is complete: by count and never by time, so that it is the same in every run.
    pub fn is_full(&self) -> bool {
        self.bytes >= SAMPLE_BYTES || self.pages >= SAMPLE_PAGES
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
