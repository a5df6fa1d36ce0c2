//! A page: one answer of the source, the unit of fetching, with the offset after it.

use super::convert::Made;
use crate::base::budget::BytePermit;
use crate::model::offset::{Offset, PageCursor};
use bytes::Bytes;
use std::ops::Range;
use twox_hash::XxHash3_64;

/// One answer of the source. Records are slices of `body`; nothing is copied out of it until it is converted.
#[derive(Debug)]
pub struct Page {
    /// The bytes that hold the records (the decoded body of the answer).
    pub body: Bytes,
    /// Where each record lies in `body`; whole, grammatically valid JSON values of any type.
    pub records: Vec<Range<u32>>,
    /// What is known of them.
    pub facts: Facts,
    /// Where the lane stands before this page.
    pub offset_before: Offset,
    /// Where the lane stands after this page.
    pub offset_after: Offset,
    /// Records in the whole partition, where the source says so.
    pub total: Option<u64>,
    /// What the records became, where they were converted while they were found.
    pub made: Option<Box<Made>>,
    /// The permit for the bytes, if the page is counted in a budget.
    pub permit: Option<BytePermit>,
}

/// What was found out about the records of a page, so that nobody has to look again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether no white space stands between the tokens of a record; said only where it is known.
    pub compact: bool,
    /// Whether the whole body is UTF-8; said only where it is known.
    pub utf8: bool,
    /// What [`digest`] makes of them.
    pub digest: Option<u64>,
}

/// A digest of records in their order, to tell the pages of one run apart.
pub fn digest<'a>(records: impl Iterator<Item = &'a [u8]>) -> u64 {
    records.fold(0, |digest, record| (digest ^ XxHash3_64::oneshot(record)).rotate_left(29).wrapping_mul(MIX))
}

/// An odd number without a pattern: what is multiplied by it loses nothing, and depends on all that came before.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

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

    /// Bytes that it holds: the body, and the columns where it came converted.
    pub fn held_bytes(&self) -> u64 {
        self.body.len() as u64 + self.made.as_ref().map_or(0, |made| made.bytes)
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
            facts: Facts::default(),
            offset_before: at.clone(),
            offset_after: at,
            total: None,
            made: None,
            permit: None,
        }
    }
}
