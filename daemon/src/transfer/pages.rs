//! A lane's pages in order: those before its journal asked again and compared, its journal's own, then the source's.

use super::error::TransferError;
use super::journal::{Found, Journal, PageDigest, Replay};
use super::lane::next_segment;
use super::spool::Spool;
use crate::base::{clock, crash, fsio};
use crate::ledger::rows::LaneRow;
use crate::model::offset::Offset;
use crate::model::segment::SegmentId;
use crate::record::convert::Plan;
use crate::record::page::Page;
use crate::sources::{PageStream, SourceError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Opens the lane at an offset.
pub type Open = Arc<dyn Fn(Offset) -> Result<PageStream, SourceError> + Send + Sync>;

/// What the keeper of a journal knows of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    No,
    /// Its digest.
    Digest,
    /// It lies in the journal.
    Journaled,
}

/// A page on its way to the encoder.
pub struct Fetched {
    /// The page.
    pub page: Page,
    /// When it came.
    pub at: Instant,
    /// Whether the journal's keeper of the lane's next segment already knows it.
    pub known: Known,
    /// The replayed journal, with the first page that it does not hold, to be written on.
    pub journal: Option<Journal>,
}

/// Reads a lane from its committed offset on.
pub struct Pages {
    stream: String,
    lane: u32,
    open: Open,
    at: Offset,
    before: VecDeque<PageDigest>,
    replay: Option<Replay>,
    source: Option<PageStream>,
    plan: Option<Arc<Plan>>,
}

impl Pages {
    fn new(stream: &str, lane: u32, at: Offset, open: Open, replay: Option<Replay>) -> Self {
        let before = replay.iter().flat_map(|replay| replay.header.before.iter().copied()).collect();
        Self { stream: stream.to_owned(), lane, open, at, before, replay, source: None, plan: None }
    }

    /// The pages of a lane from where the ledger has it, with the journal of its next segment if one was left in the spool.
    /// A journal that belongs elsewhere is removed.
    pub fn of_lane(spool: &Spool, stream: &str, row: &LaneRow, open: Open) -> Result<Self, TransferError> {
        let segment = next_segment(stream, row);
        let path = spool.journal(&segment);
        let replay = match Replay::open(&path, spool.own())? {
            Found::Replay(found) if found.header.segment == segment && found.header.from == row.offset => Some(*found),
            _ => None,
        };
        // A crash while the segment was closed may have left the journal of the one behind it, whose pages come again.
        let next = spool.journal(&SegmentId { n: segment.n + 1, ..segment });
        for stale in [replay.is_none().then_some(path), Some(next)].into_iter().flatten() {
            fsio::remove(&stale).map_err(TransferError::spool("remove", &stale))?;
        }
        Ok(Self::new(stream, row.lane, row.offset.clone(), open, replay))
    }

    /// Says what records become: pages may then come converted.
    pub fn becomes(&mut self, plan: &Arc<Plan>) {
        self.plan = Some(Arc::clone(plan));
    }

    /// The next page; `None` at the end of the lane.
    pub async fn next(&mut self) -> Result<Option<Fetched>, TransferError> {
        if let Some(digest) = self.before.pop_front() {
            let page = self.ask().await?.filter(|page| PageDigest::of(page) == digest);
            let page = page.ok_or(TransferError::JournalDiffers { lane: self.lane })?;
            return Ok(Some(self.pass(page, Known::Digest)));
        }
        let mut journal = None;
        if let Some(mut replay) = self.replay.take() {
            // A journal may hold gigabytes: it is not read on the threads that answer requests.
            let read = move || replay.next_page().map(|page| (replay, page));
            let (replay, page) = tokio::task::spawn_blocking(read).await??;
            if let Some(page) = page {
                if !same_place(&page.offset_before, &self.at) {
                    return Err(TransferError::JournalDiffers { lane: self.lane });
                }
                self.replay = Some(replay);
                self.source = None;
                return Ok(Some(self.pass(page, Known::Journaled)));
            }
            journal = replay.into_journal()?;
        }
        let Some(page) = self.ask().await? else { return Ok(None) };
        crash::point("page.fetched");
        Ok(Some(Fetched { journal, ..self.pass(page, Known::No) }))
    }

    fn pass(&mut self, page: Page, known: Known) -> Fetched {
        self.at = page.offset_after.clone();
        Fetched { page, at: clock::monotonic(), known, journal: None }
    }

    async fn ask(&mut self) -> Result<Option<Page>, TransferError> {
        let (stream, lane) = (self.stream.clone(), self.lane);
        let failed = |source: SourceError| match source.shifted() {
            Some((partition, reason)) => TransferError::Shifted { lane, partition, reason: reason.to_owned() },
            None => TransferError::Source { stream: stream.clone(), source },
        };
        let source = match &mut self.source {
            Some(source) => source,
            None => self.source.insert((self.open)(self.at.clone()).map_err(failed)?),
        };
        if let Some(plan) = &self.plan {
            source.becomes(plan);
        }
        source.next().await.map_err(failed)
    }
}

/// Whether two offsets are the same place. Not by the cursor: a source may name the same place anew each time.
fn same_place(a: &Offset, b: &Offset) -> bool {
    (a.partition, a.pages, a.records, a.partition_records) == (b.partition, b.pages, b.records, b.partition_records)
}
