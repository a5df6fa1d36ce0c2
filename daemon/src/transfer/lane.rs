//! Encodes a lane's pages into segments and commits each: the only caller of `Ledger::advance`.

use super::error::TransferError;
use super::extract::{Feed, Item, Pump, Work};
use super::journal::{Header, Journal, PageDigest, Replay};
use super::spool::{OpenSegment, Sealed};
use super::stream::StreamRun;
use crate::base::{clock, crash, fsio};
use crate::ledger::rows::LaneRow;
use crate::model::offset::Offset;
use crate::model::schema::Schema;
use crate::model::segment::{CheckpointDelta, CutReason, SealedSegment, SegmentId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Pages on their way between fetching and encoding, beside the budget of bytes: enough to keep the threads busy.
const IN_FLIGHT: usize = 8;
/// Bytes of the journal that a crash may lose, beside the time.
const JOURNAL_GROUP: u64 = 8 << 20;

/// A lane being read.
pub struct Lane {
    run: Arc<StreamRun>,
    row: LaneRow,
    open: Option<Open>,
    /// The journal that is being replayed; it is written on when its last page is through.
    replay: Option<Replay>,
    observed: Option<Schema>,
    total: Option<u64>,
}

/// The segment in the making, with what is needed to make it again.
struct Open {
    segment: OpenSegment,
    /// Digests of its pages, until a journal holds them.
    digests: Vec<PageDigest>,
    journal: Option<Journal>,
    last: Offset,
    since: Instant,
    synced: Instant,
}

impl Lane {
    /// A lane at its committed offset.
    pub fn new(run: Arc<StreamRun>, row: LaneRow) -> Self {
        Self { run, row, open: None, replay: None, observed: None, total: None }
    }

    fn id(&self) -> SegmentId {
        SegmentId {
            stream: self.run.name.to_string(),
            lane: self.row.lane,
            n: self.row.next_n,
            revision: self.row.revision,
        }
    }

    /// Where the journal of the next segment lies.
    pub fn journal_path(&self) -> PathBuf {
        self.run.task.spool.journal(&self.id())
    }

    /// Reads to the end of the lane, or until it is asked to stop. What is open then lies in the journal.
    pub async fn run(mut self, mut feed: Feed, pump: Pump) -> Result<(), TransferError> {
        self.replay = self.find_journal(&mut feed)?;
        let (out, pages) = mpsc::channel(IN_FLIGHT.max(pump.cpu.threads() + 2));
        let pump = AbortOnDrop(tokio::spawn(feed.run(pump, out)));
        let result = self.read(pages).await;
        drop(pump);
        if let Some(open) = self.open.take() {
            if let Some(mut journal) = open.journal {
                journal.sync()?;
            }
            open.segment.discard();
        }
        result
    }

    /// The journal of the next segment, if one was left; one that belongs elsewhere is removed.
    fn find_journal(&self, feed: &mut Feed) -> Result<Option<Replay>, TransferError> {
        let path = self.journal_path();
        let fits = |replay: &Replay| replay.header.segment == self.id() && replay.header.from == self.row.offset;
        feed.replay = Replay::open(&path)?.filter(fits);
        if feed.replay.is_none() {
            fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
            return Ok(None);
        }
        Ok(Replay::open(&path)?.filter(fits))
    }

    async fn read(&mut self, mut pages: mpsc::Receiver<Item>) -> Result<(), TransferError> {
        let stop = self.run.stop.clone();
        loop {
            let idle = self.next_sync();
            let item = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(TransferError::Stopped),
                item = pages.recv() => item,
                () = tokio::time::sleep(idle) => { self.sync_journal(true).await?; continue }
            };
            let Some(item) = item else { break };
            let work = item?.await??;
            if !work.replayed {
                self.adopt_journal()?;
            }
            self.add(work).await?;
            if self.open.as_ref().is_some_and(|open| open.segment.counted_bytes() >= self.run.task.chunk_size()) {
                self.seal(CutReason::Size).await?;
            }
        }
        self.end().await
    }

    /// Goes on writing the journal that was replayed.
    fn adopt_journal(&mut self) -> Result<(), TransferError> {
        let Some(mut replay) = self.replay.take() else { return Ok(()) };
        while replay.next_page()?.is_some() {}
        if let Some(open) = &mut self.open {
            open.journal = Some(replay.into_journal()?);
        }
        Ok(())
    }

    async fn add(&mut self, work: Work) -> Result<(), TransferError> {
        let Work { page, digest, converted, replayed } = work;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => open_segment(self.run.clone(), self.id(), self.row.offset.clone()).await?,
        };
        if let Some(seen) = &converted.observed {
            self.observed = Some(self.observed.take().unwrap_or_default().merge(seen));
        }
        if let Some(total) = page.total {
            self.total = Some(total);
            self.run.task.progress.total(self.run.name.as_str(), page.offset_before.partition, total);
        }
        open.last = page.offset_after.clone();
        open.digests.push(digest);
        let progress = &self.run.task.progress;
        progress.add_page(converted.counts.read, converted.source_bytes);
        let (mut open, page, added) = self
            .run
            .task
            .cpu
            .run(move || {
                let added = open.segment.add(converted);
                (open, page, added)
            })
            .await?;
        progress.open_bytes(self.row.lane, open.segment.counted_bytes());
        if let Err(error) = added {
            open.segment.discard();
            return Err(error);
        }
        if !replayed {
            open = self.journal(open, page).await?;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Writes the page into the journal when the segment has been open for long, and begins one when it is time.
    async fn journal(&mut self, mut open: Open, page: crate::record::page::Page) -> Result<Open, TransferError> {
        let limit = self.run.task.replay_limit;
        let due =
            journal_due(clock::since(open.since), limit, open.segment.counted_bytes(), self.run.task.chunk_size());
        if open.journal.is_none() && !due {
            return Ok(open);
        }
        let path = self.journal_path();
        let from = self.row.offset.clone();
        let open = self.run.task.cpu.run(move || -> Result<Open, TransferError> {
            let journal = match &mut open.journal {
                Some(journal) => journal,
                None => {
                    // The page at hand is the journal's first; the digests before it go into the header.
                    let before = open.digests.split_last().map_or(Vec::new(), |(_, before)| before.to_vec());
                    let header = Header { segment: open.segment.id.clone(), from, before };
                    let journal = Journal::create(&path, &header)?;
                    crash::point("journal.created");
                    open.synced = clock::monotonic();
                    open.journal.insert(journal)
                }
            };
            journal.add(&page)?;
            crash::point("journal.written");
            Ok(open)
        });
        self.open = Some(open.await??);
        self.sync_journal(false).await?;
        self.open.take().ok_or_else(|| TransferError::Worker("the open segment is gone".into()))
    }

    /// How long until the journal must be synced even if no page comes.
    fn next_sync(&self) -> Duration {
        match &self.open {
            Some(Open { journal: Some(journal), synced, .. }) if journal.unsynced() > 0 => {
                self.sync_every().saturating_sub(clock::since(*synced))
            }
            _ => Duration::from_secs(3600),
        }
    }

    fn sync_every(&self) -> Duration {
        self.run.task.replay_limit / 10
    }

    async fn sync_journal(&mut self, now: bool) -> Result<(), TransferError> {
        let every = self.sync_every();
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let due = |journal: &Journal| {
            let unsynced = journal.unsynced();
            unsynced > 0 && (now || unsynced >= JOURNAL_GROUP || clock::since(open.synced) >= every)
        };
        if !open.journal.as_ref().is_some_and(due) {
            self.open = Some(open);
            return Ok(());
        }
        let synced = self.run.task.cpu.run(move || -> Result<Open, TransferError> {
            if let Some(journal) = &mut open.journal {
                journal.sync()?;
                crash::point("journal.synced");
            }
            open.synced = clock::monotonic();
            Ok(open)
        });
        self.open = Some(synced.await??);
        Ok(())
    }

    /// Seals the open segment and commits it: segment, offset and audit in one transaction.
    async fn seal(&mut self, cut: CutReason) -> Result<(), TransferError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let journal = open.journal.is_some() || self.replay.take().is_some();
        let last = open.last;
        drop(open.journal);
        let sealed = self.run.task.cpu.run(move || open.segment.seal()).await??;
        let id = self.id();
        let delta = CheckpointDelta { from: self.row.offset.clone(), to: last };
        let done = cut == CutReason::End;
        let bytes = sealed.bytes;
        let segment = sealed_segment(id, sealed, cut, delta);
        crash::point("segment.before_commit");
        self.run.advance(&segment, done, self.observed.take().as_ref(), self.total).await?;
        crash::point("segment.committed");
        if journal {
            let path = self.journal_path();
            fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
            crash::point("journal.removed");
        }
        self.run.task.progress.committed(self.row.lane, bytes);
        self.row.offset = segment.delta.to;
        self.row.next_n += 1;
        self.row.done = done;
        Ok(())
    }

    /// The lane has no more pages: its last segment, or only its last offset.
    async fn end(&mut self) -> Result<(), TransferError> {
        if self.open.as_ref().is_some_and(|open| open.segment.counts.read > 0) {
            self.seal(CutReason::End).await?;
        } else {
            let to = self.open.as_ref().map_or(&self.row.offset, |open| &open.last).clone();
            let delta = CheckpointDelta { from: self.row.offset.clone(), to };
            self.run.finish_lane(self.row.lane, &delta).await?;
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

async fn open_segment(run: Arc<StreamRun>, id: SegmentId, last: Offset) -> Result<Open, TransferError> {
    let task = run.task.clone();
    let create =
        move || OpenSegment::create(&run.task.spool, id, &run.task.export.format, &run.plan, run.task.chunk_size());
    let segment = task.cpu.run(create).await??;
    let now = clock::monotonic();
    Ok(Open { segment, digests: Vec::new(), journal: None, last, since: now, synced: now })
}

fn sealed_segment(id: SegmentId, sealed: Sealed, cut: CutReason, delta: CheckpointDelta) -> SealedSegment {
    SealedSegment {
        id,
        name: sealed.name,
        bytes: sealed.bytes,
        sha256: sealed.sha256,
        crc32c: sealed.crc32c,
        counts: sealed.counts,
        pages: sealed.pages,
        source_bytes: sealed.source_bytes,
        cut,
        delta,
    }
}

/// Whether a segment that has been open for `elapsed` needs a journal now. Past half of the replay limit it does, unless
/// its growth says that it will be sealed well within the limit: a fast source then pays nothing.
fn journal_due(elapsed: Duration, limit: Duration, counted: u64, chunk_size: u64) -> bool {
    if elapsed < limit / 2 {
        return false;
    }
    let expected = elapsed.as_secs_f64() * chunk_size as f64 / (counted.max(1)) as f64;
    expected > limit.as_secs_f64() * 0.8
}

/// Ends the pump when the lane ends, however it ends.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_segment_is_journaled_and_a_fast_one_is_not() {
        let limit = Duration::from_secs(10);
        assert!(!journal_due(Duration::from_secs(4), limit, 0, 50));
        assert!(journal_due(Duration::from_secs(5), limit, 0, 50));
        assert!(journal_due(Duration::from_secs(5), limit, 10, 50));
        assert!(!journal_due(Duration::from_secs(5), limit, 45, 50));
        assert!(journal_due(Duration::from_secs(9), limit, 49, 50));
    }
}
