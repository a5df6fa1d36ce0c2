//! Encodes a lane's pages into segments; each is closed and committed while the next one is encoded.

use super::closing::{Closing, Underway};
use super::error::TransferError;
use super::extract::{Feed, Item, Pump, Work};
use super::family::{Taken, too_many};
use super::follow::Gathered;
use super::keeper::{Growth, Keeper};
use super::limit::Left;
use super::pages::Known;
use super::spool::OpenSegment;
use super::stream::StreamRun;
use crate::base::error::ErrorClass;
use crate::base::pool::Pool;
use crate::base::{crash, fsio};
use crate::ledger::Tail;
use crate::ledger::rows::LaneRow;
use crate::model::offset::Offset;
use crate::model::schema::Schema;
use crate::model::segment::{CheckpointDelta, CutReason, SegmentId};
use crate::record::convert::Failed;
use crate::record::page::Page;
use saas_export_api::plural;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pages on their way between fetching and encoding, beside the budget of bytes: enough to keep the threads busy.
const IN_FLIGHT: usize = 4;

/// A lane being read.
pub struct Lane {
    run: Arc<StreamRun>,
    row: LaneRow,
    open: Option<Open>,
    /// The segment before it, until it is committed.
    closing: Option<Underway>,
    /// The journal's keeper of the segment that comes first, if the sample has begun one.
    keeper: Option<Keeper>,
    /// Whether the first segment of this run is still to be sealed: [`Work::known`] is said of it alone.
    first: bool,
    observed: Option<Schema>,
    total: Option<u64>,
    /// The newest records of the open segment, where the stream is incremental.
    newest: Option<Gathered>,
    /// What children need of the records of the open segment.
    taken: Option<Taken>,
    /// What is left of the export's limits behind the pages so far.
    left: Left,
}

/// The segment in the making, with what is needed to make it again.
struct Open {
    segment: OpenSegment,
    keeper: Keeper,
    last: Offset,
}

/// The segment that a lane writes next.
pub fn next_segment(stream: &str, row: &LaneRow) -> SegmentId {
    SegmentId { stream: stream.to_owned(), lane: row.lane, n: row.next_n, revision: row.revision }
}

impl Lane {
    /// A lane at its committed offset.
    pub fn new(run: Arc<StreamRun>, row: LaneRow) -> Self {
        let taken = run.picker.as_ref().map(|picker| picker.taken());
        let left = run.left;
        let (open, closing, keeper) = (None, None, None);
        Self { run, row, open, closing, keeper, first: true, observed: None, total: None, newest: None, taken, left }
    }

    fn id(&self) -> SegmentId {
        next_segment(self.run.name.as_str(), &self.row)
    }

    fn journal_path(&self) -> PathBuf {
        self.run.task.spool.journal(&self.id())
    }

    /// Reads to the end of the lane, or until it is asked to stop. What is open then lies in the journal.
    pub async fn run(mut self, feed: Feed, pump: Pump) -> Result<(), TransferError> {
        if let Some(reached) = self.left.reached() {
            // Before anything is asked for.
            return self.end_at(reached).await;
        }
        self.keeper = feed.keeper;
        let (out, pages) = mpsc::channel(IN_FLIGHT.max(pump.cpu.threads() + 2));
        let pump = AbortOnDrop(tokio::spawn(pump.run(feed.sampled, feed.pages, out)));
        let result = self.read(pages).await;
        drop(pump);
        let settled = self.settle().await;
        let result = result.and(settled);
        if let Some(mut open) = self.open.take() {
            let synced = open.keeper.sync();
            open.segment.discard();
            return result.and(synced);
        }
        result
    }

    async fn read(&mut self, mut pages: mpsc::Receiver<Item>) -> Result<(), TransferError> {
        let stop = self.run.stop.clone();
        loop {
            if let Some(reached) = self.left.reached() {
                return self.end_at(reached).await;
            }
            let idle = self.open.as_ref().map_or(Duration::from_secs(3600), |open| open.keeper.idle());
            let item = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(TransferError::Stopped),
                closed = closed(&mut self.closing) => { self.closing = None; closed?; continue }
                item = pages.recv() => item,
                () = tokio::time::sleep(idle) => { self.sync_journal().await?; continue }
            };
            let Some(item) = item else { break };
            self.add(item?.await??).await?;
            let full = |open: &Open| open.segment.counted_bytes() >= self.run.task.chunk_size();
            if self.left.reached().is_none() && self.open.as_ref().is_some_and(full) {
                self.seal(CutReason::Size).await?;
            }
        }
        self.end(CutReason::End).await
    }

    /// Ends the lane at a limit of the export; the report says so before the last segment is committed.
    async fn end_at(&mut self, reached: &'static str) -> Result<(), TransferError> {
        self.run.limited(reached).await?;
        crash::point("limit.noted");
        self.end(CutReason::Limit).await
    }

    async fn add(&mut self, work: Work) -> Result<(), TransferError> {
        let Work { page, mut converted, followed, at, known, journal, values } = work;
        if let Some(failed) = &converted.failed {
            return Err(self.refused(&page, failed));
        }
        if let Some(schema) = converted.observed.as_ref().and_then(|seen| self.run.outgrown(seen)) {
            return Err(TransferError::Outgrown { schema: Box::new(schema) });
        }
        self.left.take(&mut converted);
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open_segment().await?,
        };
        if let (Some(taken), Some(values)) = (&mut self.taken, values) {
            let added = values.and_then(|values| taken.add_all(&values));
            added.map_err(|error| too_many(&self.run.name, error))?;
        }
        if let Some(seen) = &converted.observed {
            self.observed = Some(self.observed.take().unwrap_or_default().merge(seen));
        }
        if let Some(followed) = followed {
            self.newest.get_or_insert_default().add(&self.run, followed)?;
        }
        let progress = &self.run.task.progress;
        if let Some(total) = page.total {
            self.total = Some(total);
            progress.total(self.run.name.as_str(), page.offset_before.partition, total);
        }
        if let Some((came, total)) = page.shortfall() {
            let partition = page.offset_before.partition;
            let note = format!(
                "partition {partition} ended after {came} {}, but the source said {total}: compare",
                plural(came, "record")
            );
            self.run.task.ledger.add_note(&self.run.task.row.id, self.run.name.as_str(), &note).await?;
        }
        progress.add_page(converted.counts.read, converted.source_bytes);
        open.last = page.offset_after.clone();
        let (first, target) = (self.first, self.run.task.chunk_size());
        let work = move |pool: &Pool| {
            if let Some(journal) = journal.filter(|_| first) {
                open.keeper.adopt(journal);
            }
            let added = open.segment.add(converted, pool).and_then(|()| {
                let growth = Growth { bytes: open.segment.growing_bytes(), target };
                if known == Known::No || !first {
                    open.keeper.add(&page, at, growth, known == Known::Journaled)?;
                }
                Ok(())
            });
            (open, added)
        };
        let (open, added) = self.run.task.cpu.run_first(work).await?;
        let growing = open.segment.growing_bytes();
        self.run.task.progress.open_bytes(self.row.lane, growing);
        self.run.booked.uses(self.row.lane, growing + open.keeper.size(), target);
        let wants_sync = open.keeper.wants_sync();
        self.open = Some(open);
        added?;
        if wants_sync {
            self.sync_journal().await?;
        }
        Ok(())
    }

    /// A record that the export's schema policy does not let pass.
    fn refused(&self, page: &Page, failed: &Failed) -> TransferError {
        let nth = u64::from(failed.index) + 1;
        let message = format!(
            "accept stream {}: record {nth} of page {} (record {} of lane {}) does not fit: {}",
            self.run.name,
            page.offset_before.pages + 1,
            page.offset_before.records + nth,
            self.row.lane,
            failed.reason,
        );
        TransferError::Broken { message, class: ErrorClass::Data }
    }

    async fn open_segment(&mut self) -> Result<Open, TransferError> {
        self.run.task.room.enter(&self.run.task).await?;
        let (run, id, last) = (self.run.clone(), self.id(), self.row.offset.clone());
        let keeper = self
            .keeper
            .take()
            .unwrap_or_else(|| Keeper::new(&self.run.task.spool, id.clone(), last.clone(), self.run.task.replay_limit));
        let create =
            move || OpenSegment::create(&run.task.spool, id, &run.task.export, &run.plan, run.task.chunk_size());
        let segment = tokio::task::spawn_blocking(create).await??;
        Ok(Open { segment, keeper, last })
    }

    async fn sync_journal(&mut self) -> Result<(), TransferError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let sync = move || {
            let synced = open.keeper.sync();
            (open, synced)
        };
        let (open, synced) = tokio::task::spawn_blocking(sync).await?;
        self.open = Some(open);
        synced
    }

    /// Begins to close the open segment; the lane stands behind it from now on.
    async fn seal(&mut self, cut: CutReason) -> Result<(), TransferError> {
        self.settle().await?;
        let Some(Open { segment, keeper, last }) = self.open.take() else { return Ok(()) };
        drop(keeper);
        let fresh = self.run.picker.as_ref().map(|picker| picker.taken());
        let closing = Closing {
            run: self.run.clone(),
            id: self.id(),
            segment,
            cut,
            delta: CheckpointDelta { from: self.row.offset.clone(), to: last.clone() },
            journal: self.journal_path(),
            observed: self.observed.take(),
            total: self.total,
            values: std::mem::replace(&mut self.taken, fresh).map(|mut taken| taken.take()),
            newest: self.newest.take().and_then(|gathered| gathered.finish(&self.run)),
        };
        self.closing = Some(closing.begin());
        self.run.task.progress.closing(self.row.lane);
        self.first = false;
        self.row.offset = last;
        self.row.next_n += 1;
        self.row.done = cut != CutReason::Size;
        if self.row.done || self.run.task.room.quota().is_some() {
            // With a quota a lane has booked the room of one segment, not of two.
            return self.settle().await;
        }
        Ok(())
    }

    /// Waits until the segment that is being closed is committed.
    async fn settle(&mut self) -> Result<(), TransferError> {
        let closed = match &mut self.closing {
            Some(underway) => underway.ended().await,
            None => Ok(()),
        };
        self.closing = None;
        closed
    }

    /// The lane has no more pages, or may read no more: its last segment, or only its last offset.
    async fn end(&mut self, why: CutReason) -> Result<(), TransferError> {
        let counts = self.open.as_ref().map(|open| open.segment.counts).unwrap_or_default();
        if counts.written + counts.rejected > 0 {
            self.seal(why).await?;
        } else {
            self.settle().await?;
            let to = self.open.as_ref().map_or(&self.row.offset, |open| &open.last).clone();
            let delta = CheckpointDelta { from: self.row.offset.clone(), to };
            self.run.finish_lane(self.row.lane, Tail { delta, counts }).await?;
            if let Some(open) = self.open.take() {
                let path = self.journal_path();
                open.segment.discard();
                fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
            }
        }
        crash::point("lane.done");
        Ok(())
    }
}

/// Waits for the segment that is being closed; for ever where there is none.
async fn closed(closing: &mut Option<Underway>) -> Result<(), TransferError> {
    match closing {
        Some(underway) => underway.ended().await,
        None => std::future::pending().await,
    }
}

/// Ends the pump when the lane ends, however it ends.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
