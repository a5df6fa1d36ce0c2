//! One stream of a task: its partitions, its schema from a sample, and its lanes side by side.

use super::cause;
use super::error::TransferError;
use super::extract::{Feed, Pump};
use super::family::{Family, Picker};
use super::journal::{Found, Replay};
use super::lane::{Lane, next_segment};
use super::limit::{self, Left};
use super::pages::{Open, Pages};
use super::room::Booked;
use super::{StreamPlan, TaskRun, follow, parents, restart, sample};
use crate::base::budget::ByteBudget;
use crate::base::error::{Chain, ErrorClass};
use crate::base::{crash, fsio};
use crate::config::settings::FileLayout;
use crate::formats;
use crate::host::messages::Message;
use crate::ledger::rows::LaneRow;
use crate::ledger::{Advance, Tail};
use crate::metrics::{METERS, StreamMeter};
use crate::model::offset::{LaneId, Offset};
use crate::model::partitions::Partitions;
use crate::model::schema::Schema;
use crate::model::segment::{Counts, Role, SealedSegment};
use crate::record::convert::Plan;
use crate::record::follow::Follow;
use crate::record::rules::Rules;
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
    pub partitions: u32,
    /// Takes what its children need of its records.
    pub picker: Option<Arc<Picker>>,
    /// What the task has seen beside its schema, over all lanes.
    pub observed: Mutex<Option<Schema>>,
    /// What its records are compared with, where it is incremental.
    pub follow: Option<Arc<Follow>>,
    /// The most records that are remembered at the boundary.
    pub max_boundary: u32,
    /// What the schema may become.
    pub rules: Rules,
    /// The schema, if it may grow while the stream is read.
    pub growing: Option<Schema>,
    /// What was left of the export's limits when this run of the stream began.
    pub left: Left,
    /// The room of its open segments in the spool.
    pub booked: Booked,
    /// Stops its lanes: the task's, or when one of them fails.
    pub stop: CancellationToken,
}

impl StreamRun {
    /// Commits a sealed segment: row, offset and audit in one transaction. `step` holds what the lane knows.
    pub async fn advance(&self, segment: &SealedSegment, step: Advance<'_>) -> Result<(), TransferError> {
        let (destinations, role) = match self.task.export.layout {
            FileLayout::Parts => (self.task.destination_names(), Role::File),
            FileLayout::Single => (Vec::new(), Role::Part),
        };
        let observed = step.observed.map(|new| {
            let mut all = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
            let merged = all.take().unwrap_or_default().merge(new);
            all.insert(merged).clone()
        });
        // What a page says counts its own partition only.
        let total = step.total.filter(|_| self.partitions == 1);
        let step = Advance { observed: observed.as_ref(), total, destinations: &destinations, role, ..step };
        self.task.ledger.advance(&self.task.row.id, segment, step).await?;
        let meter = self.count(&segment.counts);
        meter.segments.add(1);
        for (of, more) in
            [(&meter.pages, segment.pages), (&meter.source_bytes, segment.source_bytes), (&meter.bytes, segment.bytes)]
        {
            of.add(more);
        }
        self.task.sealed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Counts committed records for whoever monitors.
    fn count(&self, counts: &Counts) -> Arc<StreamMeter> {
        let meter = METERS.streams.of((self.task.row.export.clone(), self.name.to_string()));
        for (of, more) in [
            (&meter.read, counts.read),
            (&meter.written, counts.written),
            (&meter.rejected, counts.rejected),
            (&meter.duplicate, counts.duplicate),
            (&meter.filtered, counts.filtered),
            (&meter.over_limit, counts.over_limit),
        ] {
            of.add(more);
        }
        meter
    }

    /// Records that a limit of the export ends the stream here.
    pub async fn limited(&self, reached: &'static str) -> Result<(), TransferError> {
        let note = limit::note(&self.task.export.limits, reached);
        Ok(self.task.ledger.stream_limited(&self.task.row.id, self.name.as_str(), reached, &note).await?)
    }

    /// Converts the pages of its lanes.
    fn pump(&self) -> Pump {
        let (budget, cpu) = (ByteBudget::new(self.task.page_buffer), self.task.cpu.clone());
        Pump { budget, cpu, plan: self.plan.clone(), picker: self.picker.clone(), follow: self.follow.clone() }
    }

    /// The schema that the stream would need for what was seen now, if it may be read again with it.
    pub fn outgrown(&self, seen: &Schema) -> Option<Schema> {
        let own = self.growing.as_ref()?;
        let all = self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        self.rules.widened(own, &all.merge(seen))
    }

    /// Says in the task's report what a frozen schema kept out.
    async fn report(&self, schema: &Schema) -> Result<(), TransferError> {
        let rows = self.task.ledger.streams(&self.task.row.id).await?;
        let beside = rows.into_iter().find(|row| row.stream == self.name.as_str()).and_then(|row| row.observed);
        if let Some(note) = beside.and_then(|beside| self.rules.kept_out(schema, &beside)) {
            self.task.ledger.add_note(&self.task.row.id, self.name.as_str(), &note).await?;
        }
        Ok(())
    }

    /// Ends a lane whose last pages hold no record to be written.
    pub async fn finish_lane(&self, lane: u32, tail: Tail) -> Result<(), TransferError> {
        let counts = tail.counts;
        self.task.ledger.finish_lane(&self.task.row.id, self.name.as_str(), lane, tail).await?;
        self.count(&counts);
        Ok(())
    }
}

/// Reads a stream to its end, from wherever its lanes stand; from their start again when its schema has to grow.
pub async fn extract(task: &Arc<TaskRun>, stream: &StreamPlan) -> Result<(), TransferError> {
    let rules = Rules::new(&stream.settings, &task.export.schema).map_err(|error| TransferError::Broken {
        message: format!("read stream {}: {}", stream.name, Chain(&error)),
        class: ErrorClass::Config,
    })?;
    let mut may_grow = rules.restarts(formats::layout(&task.export.format));
    loop {
        match read(task, stream, &rules, may_grow).await {
            Err(TransferError::Outgrown { schema }) => may_grow = restart::restart(task, stream, &schema).await?,
            Err(shifted @ TransferError::Shifted { .. }) => restart::shifted(task, stream, shifted).await?,
            other => return other,
        }
    }
}

async fn read(task: &Arc<TaskRun>, stream: &StreamPlan, rules: &Rules, may_grow: bool) -> Result<(), TransferError> {
    let (id, name) = (&task.row.id, stream.name.as_str());
    let left = Left::after(&task.export.limits, &task.ledger.streams(id).await?);
    let (following, range) = follow::begin(task, stream).await?;
    let partitions = Arc::new(match left.reached() {
        Some(_) => Partitions::single(), // Nothing will be asked for.
        None => parents::partitions(task, stream, range).await?,
    });
    let picker = Family::of(task)?.picker(&stream.name)?;
    task.progress.expect(partitions.len() as usize);
    // The first records are the same in every run only where one lane reads them.
    let of = if task.export.limits.counts() { 1 } else { stream.settings.lanes.clamp(1, partitions.len().max(1)) };
    let starts: Vec<Offset> = (0..of).map(Offset::start).collect();
    let mut lanes = task.ledger.open_lanes(id, name, &starts).await?;
    let booked = prepare(task, name, &lanes).await?;
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
            let (schema, feeds) = sample_again(task, (stream, rules), &lanes, &opener).await?;
            (store_schema(task, name, &schema).await?, feeds)
        }
    };
    let plan = Arc::new(rules.plan(&schema, formats::layout(&task.export.format)));
    lanes.retain(|lane| !lane.done);
    let stop = task.stop.child_token();
    let run = Arc::new(StreamRun {
        task: task.clone(),
        name: stream.name.clone(),
        plan,
        partitions: partitions.len(),
        picker,
        observed,
        follow: following.follow,
        max_boundary: following.max_boundary,
        rules: rules.clone(),
        growing: may_grow.then(|| schema.clone()),
        left,
        booked,
        stop,
    });
    let mut running = JoinSet::new();
    let pump = run.pump();
    for row in lanes {
        let open = opener(row.lane);
        let feed = match feeds.remove(&row.lane) {
            Some(feed) => feed,
            None => Feed::new(Pages::of_lane(&task.spool, name, &row, open.clone())?),
        };
        running.spawn(run_lane(run.clone(), row, feed, open, pump.clone()));
    }
    let ended = join(&run.stop, running).await;
    task.progress.forget_sampled();
    follow::report(task, &run).await?;
    for note in task.source.stats().all_notes(name) {
        task.ledger.add_note(id, name, &note).await?;
    }
    ended?;
    end(&run, &schema).await
}

/// Fixes the schema for the task, and says if it is another one than that of the task before.
async fn store_schema(task: &TaskRun, stream: &str, schema: &Schema) -> Result<Schema, TransferError> {
    let before = task.ledger.last_schema(&task.row.export, stream).await?.map(|last| last.version);
    let (schema, version) = task.ledger.store_schema(&task.row.id, stream, schema).await?;
    crash::point("schema.stored");
    cause::schema(task, stream, (before, version));
    Ok(schema)
}

/// Every lane is at its end.
async fn end(run: &StreamRun, schema: &Schema) -> Result<(), TransferError> {
    run.report(schema).await?;
    run.task.ledger.stream_extracted(&run.task.row.id, run.name.as_str()).await?;
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
            drop_journal(&run.task, run.name.as_str(), &row, CHANGED).await?;
            let pages = Pages::of_lane(&run.task.spool, run.name.as_str(), &row, again)?;
            Lane::new(run, row).run(Feed::new(pages), pump).await
        }
        other => other,
    }
}

/// Reads the sample; when the journal of a lane no longer fits, again without it.
async fn sample_again(
    task: &TaskRun,
    (stream, rules): (&StreamPlan, &Rules),
    lanes: &[LaneRow],
    opener: &impl Fn(u32) -> Open,
) -> Result<(Schema, BTreeMap<u32, Feed>), TransferError> {
    loop {
        let differs = match task.until_stopped(sample::sample(task, (stream, rules), lanes, opener)).await? {
            Err(TransferError::JournalDiffers { lane }) => lane,
            other => return other,
        };
        if let Some(row) = lanes.iter().find(|row| row.lane == differs) {
            drop_journal(task, stream.name.as_str(), row, CHANGED).await?;
        }
    }
}

/// Why a journal is dropped: its pages are no longer what the source gives.
const CHANGED: &str = "the source's pages changed since they were journaled";
/// Why a journal is dropped: another state-key, or none, sealed it.
const CLOSED: &str = "the state-key does not open what was journaled (it was lost or changed, or the file is damaged)";

/// Makes the stream's directory, drops the journals there that this state-key does not open (nothing is lost: their pages
/// were never committed), and books room for what its lanes have open.
async fn prepare(task: &TaskRun, stream: &str, lanes: &[LaneRow]) -> Result<Booked, TransferError> {
    task.spool.prepare(stream)?;
    for row in lanes.iter().filter(|row| !row.done) {
        let path = task.spool.journal(&next_segment(stream, row));
        if matches!(Replay::open(&path, task.spool.own())?, Found::Closed) {
            drop_journal(task, stream, row, CLOSED).await?;
        }
    }
    let reading = lanes.iter().filter(|lane| !lane.done).count() as u64;
    task.room.book(task, reading * task.chunk_size()).await
}

/// Removes a journal that cannot be used, and says so in the task's report.
async fn drop_journal(task: &TaskRun, stream: &str, row: &LaneRow, why: &str) -> Result<(), TransferError> {
    let path = task.spool.journal(&next_segment(stream, row));
    fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
    let note = format!(
        "lane {}: {why}; the journal of segment {} was dropped and its pages were read again",
        row.lane, row.next_n
    );
    tracing::warn!(
        MESSAGE_ID = Message::ReadAgain.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
        EXPORT_STREAM = %stream, "{note}"
    );
    Ok(task.ledger.add_note(&task.row.id, stream, &note).await?)
}
