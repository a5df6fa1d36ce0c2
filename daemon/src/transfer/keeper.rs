//! Keeps the page journal of one open segment: nothing for a fast source, the later pages for a slow one.

use super::error::TransferError;
use super::journal::{Header, Journal, PageDigest};
use super::pages::Known;
use super::spool::Spool;
use crate::base::blocking::aside;
use crate::base::{clock, crash};
use crate::model::offset::Offset;
use crate::model::segment::SegmentId;
use crate::record::page::Page;
use crate::seal::Seal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of the journal that a crash may lose, beside the time.
const GROUP: u64 = 8 << 20;

/// The journal of one segment, from before there is one.
pub struct Keeper {
    path: PathBuf,
    /// Seals it, where it is sealed.
    own: Option<Arc<Seal>>,
    segment: SegmentId,
    from: Offset,
    /// The most fetching that may be repeated.
    limit: Duration,
    /// Digests of the segment's pages, until a journal answers for them.
    before: Vec<PageDigest>,
    /// When the first of them came.
    since: Option<Instant>,
    journal: Option<Journal>,
    /// Bytes of the journal at its last sync.
    size: u64,
    synced: Instant,
}

/// How far the segment has grown, to foresee when it will be sealed.
#[derive(Clone, Copy)]
pub struct Growth {
    /// Its bytes so far.
    pub bytes: u64,
    /// Its bytes when it is sealed.
    pub target: u64,
}

impl Keeper {
    /// For the segment that starts at `from`.
    pub fn new(spool: &Spool, segment: SegmentId, from: Offset, limit: Duration) -> Self {
        let (path, own) = (spool.journal(&segment), spool.own().cloned());
        let synced = clock::monotonic();
        Self { path, own, segment, from, limit, before: Vec::new(), since: None, journal: None, size: 0, synced }
    }

    /// Goes on with the journal that an earlier run left.
    pub fn adopt(&mut self, journal: Journal) {
        self.journal = Some(journal);
    }

    /// Takes note of a page that came at `at`: in the journal if there is one or must be one now, else by its digest.
    /// `again`: it has been in a journal that is gone, so that it must be in this one whatever its time.
    pub fn add(&mut self, page: &Page, at: Instant, growth: Growth, again: bool) -> Result<Known, TransferError> {
        let open_for = at.saturating_duration_since(*self.since.get_or_insert(at));
        if self.journal.is_none() && !again && !due(open_for, self.limit, growth) {
            self.before.push(PageDigest::of(page));
            return Ok(Known::Digest);
        }
        let journal = match &mut self.journal {
            Some(journal) => journal,
            None => {
                let before = std::mem::take(&mut self.before);
                let header = Header { segment: self.segment.clone(), from: self.from.clone(), before };
                let journal = Journal::create(&self.path, &header, self.own.clone())?;
                crash::point("journal.created");
                self.synced = clock::monotonic();
                self.journal.insert(journal)
            }
        };
        journal.add(page)?;
        crash::point("journal.written");
        Ok(Known::Journaled)
    }

    /// Bytes of its journal, as far as they are durable.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How long until what was added must be made durable even if no page comes.
    pub fn idle(&self) -> Duration {
        match &self.journal {
            Some(journal) if journal.unsynced() > 0 => (self.limit / 10).saturating_sub(clock::since(self.synced)),
            _ => Duration::from_secs(3600),
        }
    }

    /// Whether it is time for [`Keeper::sync`].
    pub fn wants_sync(&self) -> bool {
        self.idle().is_zero() || self.journal.as_ref().is_some_and(|journal| journal.unsynced() >= GROUP)
    }

    /// Makes what was added durable.
    pub fn sync(&mut self) -> Result<(), TransferError> {
        if let Some(journal) = &mut self.journal
            && journal.unsynced() > 0
        {
            journal.sync()?;
            crash::point("journal.synced");
            self.size = aside(|| std::fs::metadata(&self.path)).map_or(self.size, |meta| meta.len());
        }
        self.synced = clock::monotonic();
        Ok(())
    }
}

/// Whether a segment that has been open for so long needs a journal now. Past half of the limit it does, unless its
/// growth says that it will be sealed well within the limit: a fast source then pays nothing.
fn due(open_for: Duration, limit: Duration, growth: Growth) -> bool {
    if open_for < limit / 2 {
        return false;
    }
    let expected = open_for.as_secs_f64() * growth.target as f64 / (growth.bytes.max(1)) as f64;
    expected > limit.as_secs_f64() * 0.8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_segment_is_journaled_and_a_fast_one_is_not() {
        let due =
            |seconds, bytes| due(Duration::from_secs(seconds), Duration::from_secs(10), Growth { bytes, target: 50 });
        assert!(!due(4, 0));
        assert!(due(5, 0));
        assert!(due(5, 10));
        assert!(!due(5, 45));
        assert!(due(9, 49));
    }
}
