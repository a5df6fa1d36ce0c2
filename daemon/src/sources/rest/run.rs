//! What is known of the partition being read: how far, how large, how fast, and whether it goes round in a circle.

use super::error::RestError;
use super::include::Include;
use super::pages::{Reader, Watch};
use super::request::Request;
use super::template::Values;
use crate::model::offset::PageCursor;
use crate::model::partitions::Partitions;
use std::sync::Arc;

/// What is known of the partition being read; all of it can be learned again.
#[derive(Debug)]
pub struct Run {
    /// Its requests.
    pub request: Arc<Request>,
    /// Pages with records in a row since the last wrong guess.
    pub pages: u32,
    /// Whether a guess was wrong: its pages are not of the same size.
    pub uneven: bool,
    /// Pages without records in a row.
    pub empty: u32,
    /// Pages in all, those left out included.
    pub read: u64,
    /// Pages that a rule left out, in a row.
    pub skipped: u32,
    /// Pages in a row with the same records.
    pub same: u32,
    /// Records of the largest page so far.
    pub largest: u64,
    /// Bytes of the largest page so far.
    pub largest_bytes: u64,
    /// Records of the last page that had any.
    pub last: Option<u64>,
    /// Digest of the records of the last page that had any.
    pub digest: Option<u64>,
    /// Records in all, as the source said last.
    pub total: Option<u64>,
    /// Cursors so far.
    pub loops: LoopCheck<PageCursor>,
    /// Digests of pages so far.
    pub circle: LoopCheck<u64>,
    /// What is remembered to notice shifts, where pages are counted.
    pub watch: Watch,
}

/// Finds a circle of any length in constant memory (Brent): one item is kept, and replaced after twice as many steps each
/// time.
#[derive(Debug)]
pub struct LoopCheck<T> {
    kept: Option<T>,
    steps: u32,
    limit: u32,
}

impl<T> Default for LoopCheck<T> {
    fn default() -> Self {
        Self { kept: None, steps: 0, limit: 0 }
    }
}

impl<T: PartialEq + Clone> LoopCheck<T> {
    /// How many steps ago the same item was there, if it is the one that is kept.
    pub fn seen(&mut self, item: &T) -> Option<u32> {
        self.steps += 1;
        if self.kept.as_ref() == Some(item) {
            return Some(self.steps);
        }
        if self.steps >= self.limit {
            self.limit = self.limit.saturating_mul(2).max(1);
            self.steps = 0;
            self.kept = Some(item.clone());
        }
        None
    }
}

impl Run {
    /// A partition of which nothing is known yet.
    pub fn open(reader: &Reader, partitions: &Partitions, partition: u32) -> Result<Self, RestError> {
        let values = Values::new(&reader.params, partitions.pairs(partition));
        let incremental = reader.spec.incremental.as_ref();
        let asked = incremental.map(|incremental| incremental.ask(partitions.pairs(partition))).unwrap_or_default();
        let mut request = Request::render(&reader.spec, &values, asked)
            .map_err(|at| at.below(&format!("streams.{}", reader.stream)).error(&reader.source))?;
        request.include = Include::of(partitions.pairs(partition));
        Ok(Self {
            request: Arc::new(request),
            pages: 0,
            uneven: false,
            empty: 0,
            read: 0,
            skipped: 0,
            same: 0,
            largest: 1,
            largest_bytes: 0,
            last: None,
            digest: None,
            total: None,
            loops: LoopCheck::default(),
            watch: Watch::default(),
            circle: LoopCheck::default(),
        })
    }

    /// Learns from a page of `records` records in `bytes` bytes.
    pub fn note(&mut self, records: u64, bytes: u64, digest: Option<u64>) {
        self.largest = self.largest.max(records);
        self.largest_bytes = self.largest_bytes.max(bytes);
        if records > 0 {
            self.pages = self.pages.saturating_add(1);
            self.last = Some(records);
            self.digest = digest;
        }
    }
}
