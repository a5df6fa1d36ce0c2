//! One stream of a task: its partitions, its schema from a sample, and its lanes side by side.

use super::error::TransferError;
use super::extract::{Feed, Open, Pump};
use super::lane::Lane;
use super::{StreamPlan, TaskRun};
use crate::base::budget::ByteBudget;
use crate::base::error::ErrorClass;
use crate::base::{crash, fsio};
use crate::formats;
use crate::ledger::Advance;
use crate::ledger::rows::LaneRow;
use crate::model::offset::{LaneId, Offset, Partition};
use crate::model::schema::{Schema, Type};
use crate::model::segment::{CheckpointDelta, SealedSegment};
use crate::record::convert::Plan;
use crate::record::infer::Sample;
use crate::record::page::Page;
use crate::sources::PageStream;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The sample that fixes a task's schema ends at this many JSON bytes …
const SAMPLE_BYTES: u64 = 16_000_000;
/// … or at this many pages; never at a time.
const SAMPLE_PAGES: usize = 50;

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
            let all = all.get_or_insert_default();
            all.merge(new);
            all.clone()
        });
        // What a page says counts its own partition only.
        let total = total.filter(|_| self.partitions == 1);
        let step = Advance { lane_done: done, observed: observed.as_ref(), total, destinations: &destinations };
        self.task.ledger.advance(&self.task.row.id, segment, step).await?;
        self.task.sealed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Ends a lane whose last pages hold no records.
    pub async fn finish_lane(&self, lane: u32, delta: &CheckpointDelta) -> Result<(), TransferError> {
        self.task.ledger.finish_lane(&self.task.row.id, self.name.as_str(), lane, delta).await?;
        Ok(())
    }
}

/// What the sample read of a lane.
#[derive(Default)]
struct Sampled {
    pages: VecDeque<Page>,
    opened: Option<PageStream>,
}

/// Reads a stream to its end, from wherever its lanes stand.
pub async fn extract(task: &Arc<TaskRun>, stream: &StreamPlan) -> Result<(), TransferError> {
    let (id, name) = (&task.row.id, stream.name.as_str());
    let source_error = |source| TransferError::Source { stream: name.to_owned(), source };
    let listed = task.until_stopped(task.source.partitions(&stream.name)).await?.map_err(source_error)?;
    let partitions: Arc<[Partition]> = task.ledger.store_partitions(id, name, &listed).await?.into();
    crash::point("partitions.stored");
    task.progress.expect(partitions.len());
    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
    let of = stream.settings.lanes.clamp(1, count.max(1));
    let starts: Vec<Offset> = (0..of).map(Offset::start).collect();
    let mut lanes = task.ledger.open_lanes(id, name, &starts).await?;
    task.spool.prepare(name)?;

    let opener = |lane: u32| -> Open {
        let (task, name, partitions) = (task.clone(), stream.name.clone(), partitions.clone());
        Arc::new(move |from| task.source.open(&name, partitions.clone(), LaneId { lane, of }, from))
    };
    let row = task.ledger.streams(id).await?.into_iter().find(|row| row.stream == name).unwrap_or_default();
    let (known, observed) = (row.schema, Mutex::new(row.observed));
    let (schema, mut sampled) = match known {
        Some(schema) => (schema, BTreeMap::new()),
        None => {
            let (schema, sampled) = task.until_stopped(sample(task, stream, &lanes, &opener)).await??;
            let (schema, _) = task.ledger.store_schema(id, name, &schema).await?;
            crash::point("schema.stored");
            (schema, sampled)
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
        stop,
    });
    let mut running = JoinSet::new();
    let budget = ByteBudget::new(task.page_buffer);
    for row in lanes {
        let start = sampled.remove(&row.lane).unwrap_or_default();
        let open = opener(row.lane);
        running.spawn(run_lane(run.clone(), row, start, open, budget.clone()));
    }
    join(&run.stop, running).await?;
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

/// Runs a lane; a journal that no longer fits is dropped, noted, and the lane starts over from its committed offset.
async fn run_lane(
    run: Arc<StreamRun>,
    row: LaneRow,
    start: Sampled,
    open: Open,
    budget: ByteBudget,
) -> Result<(), TransferError> {
    let task = run.task.clone();
    let pump = Pump { budget, cpu: task.cpu.clone(), plan: run.plan.clone() };
    let feed = |start: Sampled| Feed {
        stream: run.name.to_string(),
        from: row.offset.clone(),
        sampled: start.pages,
        opened: start.opened,
        replay: None,
        open: open.clone(),
    };
    match Lane::new(run.clone(), row.clone()).run(feed(start), pump.clone()).await {
        Err(TransferError::JournalDiffers) => {
            let lane = Lane::new(run.clone(), row.clone());
            let path = lane.journal_path();
            fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
            let note = format!(
                "lane {}: the source's pages changed since they were journaled; the journal of segment {} was dropped and its pages were read again",
                row.lane, row.next_n
            );
            tracing::warn!(EXPORT_TASK = %task.row.id, EXPORT_STREAM = %run.name, "{note}");
            task.ledger.add_note(&task.row.id, run.name.as_str(), &note).await?;
            lane.run(feed(Sampled::default()), pump).await
        }
        other => other,
    }
}

/// Reads the first pages, lane after lane, and infers the task's schema from them and from the last version.
async fn sample(
    task: &Arc<TaskRun>,
    stream: &StreamPlan,
    lanes: &[LaneRow],
    opener: &impl Fn(u32) -> Open,
) -> Result<(Schema, BTreeMap<u32, Sampled>), TransferError> {
    let source_error = |source| TransferError::Source { stream: stream.name.to_string(), source };
    let mut sample = Sample::new(&declared(stream)?);
    let mut sampled = BTreeMap::new();
    let (mut bytes, mut pages) = (0, 0);
    for lane in lanes.iter().filter(|lane| !lane.done) {
        let mut read = Sampled::default();
        let mut source = opener(lane.lane)(lane.offset.clone()).map_err(source_error)?;
        while bytes < SAMPLE_BYTES && pages < SAMPLE_PAGES {
            let Some(page) = source.next().await.map_err(source_error)? else { break };
            crash::point("page.fetched");
            bytes += page.record_bytes();
            pages += 1;
            sample.add(&page);
            read.pages.push_back(page);
        }
        read.opened = Some(source);
        sampled.insert(lane.lane, read);
        if bytes >= SAMPLE_BYTES || pages >= SAMPLE_PAGES {
            break;
        }
    }
    let last = task.ledger.last_schema(&task.row.export, stream.name.as_str()).await?.map(|last| {
        let mut schema = last.schema;
        for seen in &last.observed {
            schema = schema.merge(seen);
        }
        schema
    });
    Ok((sample.finish(last.as_ref()), sampled))
}

fn declared(stream: &StreamPlan) -> Result<BTreeMap<String, Type>, TransferError> {
    let parse = |(field, text): (&String, &String)| match Type::parse(text) {
        Ok(kind) => Ok((field.clone(), kind)),
        Err(why) => Err(TransferError::Broken {
            message: format!("use the declared type of {}.{field}: {why}", stream.name),
            class: ErrorClass::Config,
        }),
    };
    stream.settings.types.iter().map(parse).collect()
}
