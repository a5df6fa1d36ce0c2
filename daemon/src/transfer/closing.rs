//! Closes a full segment: footer, sync, read-back, commit. Its lane encodes the next one meanwhile.

use super::error::TransferError;
use super::spool::OpenSegment;
use super::stream::StreamRun;
use crate::base::{crash, fsio};
use crate::ledger::Advance;
use crate::ledger::input::Newest;
use crate::model::partitions::Partitions;
use crate::model::schema::Schema;
use crate::model::segment::{CheckpointDelta, CutReason, SealedSegment, SegmentId};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A segment that gets no more pages.
pub struct Closing {
    /// Its stream.
    pub run: Arc<StreamRun>,
    /// Which it is.
    pub id: SegmentId,
    /// Its file.
    pub segment: OpenSegment,
    /// Why it ends.
    pub cut: CutReason,
    /// From where to where it moves the lane.
    pub delta: CheckpointDelta,
    /// Its journal, which nobody needs once it is committed.
    pub journal: PathBuf,
    /// What was seen beside the schema.
    pub observed: Option<Schema>,
    /// What the source says that there is.
    pub total: Option<u64>,
    /// What children need of its records.
    pub values: Option<Partitions>,
    /// Its newest records, where the stream is incremental.
    pub newest: Option<Newest>,
}

/// A segment that is being closed; that ends with this.
pub struct Underway(JoinHandle<Result<(), TransferError>>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Underway {
    /// Waits until the segment is committed.
    pub async fn ended(&mut self) -> Result<(), TransferError> {
        (&mut self.0).await?
    }
}

impl Closing {
    /// Begins. Segments of a lane are committed in order: the one before must be.
    pub fn begin(self) -> Underway {
        Underway(tokio::spawn(self.close()))
    }

    /// Commits it: segment, offset and audit in one transaction.
    async fn close(self) -> Result<(), TransferError> {
        let Self { run, id, segment, cut, delta, journal, observed, total, values, newest } = self;
        let finished = run.task.cpu.run(move |pool| segment.finish(pool)).await??;
        let sealed = tokio::task::spawn_blocking(move || finished.seal()).await??;
        let (lane, bytes) = (id.lane, sealed.bytes);
        let segment = SealedSegment {
            id,
            name: sealed.name,
            bytes,
            sha256: sealed.sha256,
            crc32c: sealed.crc32c,
            plain: sealed.plain,
            counts: sealed.counts,
            pages: sealed.pages,
            source_bytes: sealed.source_bytes,
            cut,
            delta,
        };
        crash::point("segment.before_commit");
        let step = Advance {
            lane_done: cut != CutReason::Size,
            observed: observed.as_ref(),
            total,
            values: values.as_ref(),
            newest: newest.as_ref(),
            ..Advance::default()
        };
        run.advance(&segment, step).await?;
        crash::point("segment.committed");
        fsio::remove(&journal).map_err(TransferError::spool("remove", &journal))?;
        crash::point("journal.removed");
        run.task.progress.committed(lane, bytes);
        Ok(())
    }
}
