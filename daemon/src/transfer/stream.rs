//! One stream of a task: its partitions, its schema from a sample, and its lanes side by side.

use super::error::TransferError;
use super::extract::{Feed, Pump};
use super::lane::{Lane, next_segment};
use super::limit::{self, Left};
use super::pages::{Open, Pages};
use super::{StreamPlan, TaskRun, sample};
use crate::base::budget::ByteBudget;
use crate::base::{crash, fsio};
use crate::formats;
use crate::ledger::Advance;
use crate::ledger::rows::LaneRow;
use crate::model::offset::{LaneId, Offset, Partition};
use crate::model::schema::Schema;
use crate::model::segment::{CheckpointDelta, SealedSegment};
use crate::record::convert::Plan;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A stream being extracted.
pub struct StreamRun {
    /// The task.
    pub task: Arc<TaskRun>,
    /// The stream's name.
    pub name: crate::base::ids::Name,
    /// How its records are converted.
    pub plan: Arc<Plan>,
    /// Number of its partitions.
    pub partitions: usize,
    /// What the task has seen beside its schema, over all lanes.
    pub observed: Mutex<Option<Schema>>,
    /// What was left of the export's limits when this run of the stream began.
    pub left: Left,
    /// Stops its lanes: the task's, or when one of them fails.
    pub stop: CancellationToken,
}

impl StreamRun {
    /// Commits a sealed segment: row, offset and audit in one transaction.
    pub async fn advance(
        &self,
        segment: &SealedSegment,
        done: bool,
        observed: Option<&Schema>,
        total: Option<u64>,
    ) -> Result<(), TransferError> {
        let destinations = self.task.destination_names();
        let observed = observed.map(|new| {
            let mut all = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
            let merged = all.take().unwrap_or_default().merge(new);
            all.insert(merged).clone()
        });
        // What a page says counts its own partition only.
        let total = total.filter(|_| self.partitions == 1);
        let step = Advance { lane_done: done, observed: observed.as_ref(), total, destinations: &destinations };
        self.task.ledger.advance(&self.task.row.id, segment, step).await?;
        self.task.sealed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Records that a limit of the export ends the stream here.
    pub async fn limited(&self, reached: &'static str) -> Result<(), TransferError> {
        let note = limit::note(&self.task.export.limits, reached);
        Ok(self.task.ledger.stream_limited(&self.task.row.id, self.name.as_str(), reached, &note).await?)
    }

    /// Ends a lane whose last pages hold no records.
    pub async fn finish_lane(&self, lane: u32, delta: &CheckpointDelta) -> Result<(), TransferError> {
        self.task.ledger.finish_lane(&self.task.row.id, self.name.as_str(), lane, delta).await?;
        Ok(())
    }
}

/// Reads a stream to its end, from wherever its lanes stand.
pub async fn extract(task: &Arc<TaskRun>, stream: &StreamPlan) -> Result<(), TransferError> {
    let (id, name) = (&task.row.id, stream.name.as_str());
    let source_error = |source| TransferError::Source { stream: name.to_owned(), source };
    let rows = task.ledger.streams(id).await?;
    let left = Left::after(&task.export.limits, &rows);
    let listed = match left.reached() {
        // Nothing will be asked for.
        Some(_) => vec![Partition { index: 0, values: BTreeMap::new() }],
        None => task.until_stopped(task.source.partitions(&stream.name)).await?.map_err(source_error)?,
    };
    let partitions: Arc<[Partition]> = task.ledger.store_partitions(id, name, &listed).await?.into();
    crash::point("partitions.stored");
    task.progress.expect(partitions.len());
    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
    // The first records are the same in every run only where one lane reads them.
    let of = if task.export.limits.counts() { 1 } else { stream.settings.lanes.clamp(1, count.max(1)) };
    let starts: Vec<Offset> = (0..of).map(Offset::start).collect();
    let mut lanes = task.ledger.open_lanes(id, name, &starts).await?;
    task.spool.prepare(name)?;

    let opener = |lane: u32| -> Open {
        let (task, name, partitions) = (task.clone(), stream.name.clone(), partitions.clone());
        Arc::new(move |from| {
            let pages = task.source.open(&name, partitions.clone(), LaneId { lane, of }, from)?;
            Ok(pages.within(task.page_buffer))
        })
    };
    let row = task.ledger.streams(id).await?.into_iter().find(|row| row.stream == name).unwrap_or_default();
    let (known, observed) = (row.schema, Mutex::new(row.observed));
    let (schema, mut feeds) = match known {
        Some(schema) => (schema, BTreeMap::new()),
        None => {
            let (schema, feeds) = sample_again(task, stream, &lanes, &opener).await?;
            let (schema, _) = task.ledger.store_schema(id, name, &schema).await?;
            crash::point("schema.stored");
            (schema, feeds)
        }
    };
    let plan = Arc::new(Plan::new(&schema, formats::layout(&task.export.format)));
    lanes.retain(|lane| !lane.done);
    let stop = task.stop.child_token();
    let run = Arc::new(StreamRun {
        task: task.clone(),
        name: stream.name.clone(),
        plan,
        partitions: partitions.len(),
        observed,
        left,
        stop,
    });
    let mut running = JoinSet::new();
    let pump = Pump { budget: ByteBudget::new(task.page_buffer), cpu: task.cpu.clone(), plan: run.plan.clone() };
    for row in lanes {
        let open = opener(row.lane);
        let feed = match feeds.remove(&row.lane) {
            Some(feed) => feed,
            None => Feed::new(Pages::of_lane(&task.spool, name, &row, open.clone())?),
        };
        running.spawn(run_lane(run.clone(), row, feed, open, pump.clone()));
    }
    let ended = join(&run.stop, running).await;
    for note in task.source.stats().notes(name) {
        task.ledger.add_note(id, name, &note).await?;
    }
    ended?;
    task.ledger.stream_extracted(id, name).await?;
    crash::point("stream.extracted");
    Ok(())
}

/// Waits for every lane; the first error stops the others, and they put away what they hold.
async fn join(stop: &CancellationToken, mut lanes: JoinSet<Result<(), TransferError>>) -> Result<(), TransferError> {
    let mut first = None;
    while let Some(ended) = lanes.join_next().await {
        let Err(error) = ended.map_err(TransferError::from).and_then(|result| result) else { continue };
        stop.cancel();
        if first.is_none() || matches!(first, Some(TransferError::Stopped)) {
            first = Some(error);
        }
    }
    first.map_or(Ok(()), Err)
}

/// Runs a lane; when its journal no longer fits, the lane starts over from its committed offset without it.
async fn run_lane(run: Arc<StreamRun>, row: LaneRow, feed: Feed, again: Open, pump: Pump) -> Result<(), TransferError> {
    match Lane::new(run.clone(), row.clone()).run(feed, pump.clone()).await {
        Err(TransferError::JournalDiffers { .. }) => {
            // A journal that the sample began may reach into the segments that were sealed meanwhile.
            let rows = run.task.ledger.lanes(&run.task.row.id, run.name.as_str()).await?;
            let row = rows.into_iter().find(|now| now.lane == row.lane).unwrap_or(row);
            drop_journal(&run.task, run.name.as_str(), &row).await?;
            let pages = Pages::of_lane(&run.task.spool, run.name.as_str(), &row, again)?;
            Lane::new(run, row).run(Feed::new(pages), pump).await
        }
        other => other,
    }
}

/// Reads the sample; when the journal of a lane no longer fits, again without it.
async fn sample_again(
    task: &TaskRun,
    stream: &StreamPlan,
    lanes: &[LaneRow],
    opener: &impl Fn(u32) -> Open,
) -> Result<(Schema, BTreeMap<u32, Feed>), TransferError> {
    loop {
        let differs = match task.until_stopped(sample::sample(task, stream, lanes, opener)).await? {
            Err(TransferError::JournalDiffers { lane }) => lane,
            other => return other,
        };
        if let Some(row) = lanes.iter().find(|row| row.lane == differs) {
            drop_journal(task, stream.name.as_str(), row).await?;
        }
    }
}

/// Removes a journal whose pages are no longer what the source gives, and says so in the task's report.
async fn drop_journal(task: &TaskRun, stream: &str, row: &LaneRow) -> Result<(), TransferError> {
    let path = task.spool.journal(&next_segment(stream, row));
    fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
    let note = format!(
        "lane {}: the source's pages changed since they were journaled; the journal of segment {} was dropped and its pages were read again",
        row.lane, row.next_n
    );
    tracing::warn!(EXPORT_TASK = %task.row.id, EXPORT_STREAM = %stream, "{note}");
    Ok(task.ledger.add_note(&task.row.id, stream, &note).await?)
}
