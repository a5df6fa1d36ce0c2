//! A page: one answer of the source, the unit of fetching, with the offset after it.

use crate::base::budget::BytePermit;
use crate::model::offset::{Offset, PageCursor};
use bytes::Bytes;
use std::ops::Range;

/// One answer of the source. Records are slices of `body`; nothing is copied out of it until it is converted.
#[derive(Debug)]
pub struct Page {
    /// The bytes that hold the records (the decoded body of the answer).
    pub body: Bytes,
    /// Where each record lies in `body`; whole, grammatically valid JSON values of any type.
    pub records: Vec<Range<u32>>,
    /// Whether no white space stands between the tokens of a record; said only where it is known.
    pub compact: bool,
    /// Where the lane stands before this page.
    pub offset_before: Offset,
    /// Where the lane stands after this page.
    pub offset_after: Offset,
    /// Records in the whole partition, where the source says so.
    pub total: Option<u64>,
    /// The permit for the bytes, if the page is counted in a budget.
    pub permit: Option<BytePermit>,
}

impl Page {
    /// The records as raw JSON text.
    pub fn raw_records(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.records.iter().map(|range| self.body.get(range.start as usize..range.end as usize).unwrap_or_default())
    }

    /// Where this page ends its partition with fewer records than the source said there are: how many came, and how many
    /// it said. That may be a total that counts something else, or a source that stopped too early.
    pub fn shortfall(&self) -> Option<(u64, u64)> {
        let (before, after) = (&self.offset_before, &self.offset_after);
        let ended = after.partition != before.partition || after.cursor == PageCursor::End;
        let came = before.partition_records + self.records.len() as u64;
        self.total.filter(|total| ended && came < *total).map(|total| (came, total))
    }

    /// JSON bytes of the records alone.
    pub fn record_bytes(&self) -> u64 {
        self.records.iter().map(|range| u64::from(range.end - range.start)).sum()
    }
}

#[cfg(test)]
impl Page {
    /// A page of these records at the start of a lane, for tests.
    pub fn of(records: &[impl AsRef<str>]) -> Self {
        let mut body = Vec::new();
        let place = |record: &_| {
            body.push(b' ');
            let start = body.len() as u32;
            body.extend_from_slice(AsRef::<str>::as_ref(record).as_bytes());
            start..body.len() as u32
        };
        let records = records.iter().map(place).collect();
        let at = Offset::start(0);
        Self {
            body: body.into(),
            records,
            compact: false,
            offset_before: at.clone(),
            offset_after: at,
            total: None,
            permit: None,
        }
    }
}
