//! One task's run, a file per stage in order: extract, convert, encode, spool, deliver, publish.
//!
//! ```text
//! extract ─▶ convert ─▶ lane: encode ─▶ spool: seal ─▶ ledger ─▶ (single) ─▶ deliver ─▶ publish
//!    └ journal (slow sources) ┘            (one transaction)               (each destination on its own)
//! ```

mod cause;
pub mod closing;
pub mod cpu;
pub mod deliver;
pub mod error;
pub mod extract;
pub mod family;
pub mod fetch;
pub mod follow;
pub mod journal;
pub mod keeper;
pub mod lane;
pub mod limit;
pub mod pages;
pub mod parents;
pub mod progress;
pub mod protect;
pub mod publish;
pub mod recover;
pub mod restart;
pub mod room;
pub mod sample;
pub mod single;
pub mod spool;
pub mod stream;
pub mod tries;
pub mod uploads;

use crate::base::crash;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::Name;
use crate::config::settings::{Export, OnStreamError, Stream};
use crate::destinations::Destination;
use crate::ledger::Ledger;
use crate::ledger::rows::{StreamRow, TaskRow};
use crate::model::task::Waiting;
use crate::sources::Source;
use cpu::Cpu;
use error::TransferError;
use family::Family;
use progress::Counters;
use room::Room;
use saas_export_api::plural;
use saas_export_manifest::Mode;
use spool::Spool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often a task that waits for room looks again.
const RECHECK_ROOM: Duration = Duration::from_secs(2);
/// How often a task that waits for a destination looks again.
pub const RECHECK_DELIVERY: Duration = Duration::from_secs(30);

/// A stream of a task.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// Its name.
    pub name: Name,
    /// Its settings.
    pub settings: Stream,
    /// Hash of what its offsets depend on: path, paginator, key, records.
    pub fingerprint: String,
}

/// How a destination is used.
pub struct Place {
    /// The destination.
    pub destination: Arc<dyn Destination>,
    /// Files that are delivered there at the same time, over all tasks.
    pub turns: Arc<Semaphore>,
    /// Files that one task delivers there at the same time.
    pub connections: usize,
}

/// All that the run of a task needs.
pub struct TaskRun {
    /// The task as it stood when the run began.
    pub row: TaskRow,
    /// Its export.
    pub export: Export,
    /// Its streams, in order.
    pub streams: Vec<StreamPlan>,
    /// Where it reads.
    pub source: Source,
    /// Where it delivers.
    pub destinations: Vec<(Name, Arc<dyn Destination>)>,
    /// How each of them is used, in the same order.
    pub places: Vec<Place>,
    /// The destination on whose mount the spool lies.
    pub home: Option<Name>,
    /// The room of all spools.
    pub room: Arc<Room>,
    /// Files that are being fetched back.
    pub fetching: fetch::Locks,
    /// The ledger.
    pub ledger: Ledger,
    /// Where its files lie meanwhile.
    pub spool: Spool,
    /// The threads that convert and encode.
    pub cpu: Cpu,
    /// Bytes of pages in memory.
    pub page_buffer: u64,
    /// The most fetching that may be repeated.
    pub replay_limit: Duration,
    /// Asks the run to stop at the next page boundary.
    pub stop: CancellationToken,
    /// Live figures.
    pub progress: Arc<Counters>,
    /// Counts committed segments, to wake the deliveries.
    pub sealed: watch::Sender<u64>,
    /// Told once when only delivery is left: the slot is free again.
    pub extracted: mpsc::Sender<crate::base::ids::TaskId>,
}

/// How a run ended; the queue decides what follows.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is verified and published.
    Done,
    /// It was asked to stop, and has put everything away.
    Stopped,
    /// The window of its export closed, and it has put everything away.
    Closed(Waiting),
    /// It cannot go on until something outside changes; it is looked at again after this time.
    Wait(Waiting, Duration),
    /// It failed; another attempt may help.
    RetryAfter(Option<Duration>, ErrorClass, String),
    /// It failed; somebody must act.
    Failed(ErrorClass, String),
}

impl TaskRun {
    /// Target size of a segment.
    pub fn chunk_size(&self) -> u64 {
        self.export.chunk_size.0
    }

    /// Names of the destinations.
    pub fn destination_names(&self) -> Vec<String> {
        self.destinations.iter().map(|(name, _)| name.to_string()).collect()
    }

    /// Runs `work` until the task is asked to stop, also while a request stalls.
    pub async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, TransferError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(TransferError::Stopped),
            result = work => Ok(result),
        }
    }
}

/// Which half of a run failed: until extraction has ended the task may fail, from then on it can only wait.
struct Failure {
    extracted: bool,
    error: TransferError,
}

/// Runs a task from wherever it stands.
pub async fn run(task: Arc<TaskRun>) -> Outcome {
    let Err(Failure { extracted, error }) = run_once(&task).await else { return Outcome::Done };
    let text = Chain(&error).to_string();
    match error.class() {
        ErrorClass::Stopped => Outcome::Stopped,
        ErrorClass::Full => Outcome::Wait(Waiting { reason: full(&task, &error), until: None }, RECHECK_ROOM),
        class @ ErrorClass::Bug => Outcome::Failed(class, text),
        _ if extracted => {
            Outcome::Wait(Waiting { reason: format!("it failed to {text}"), until: None }, RECHECK_DELIVERY)
        }
        class @ ErrorClass::Throttled(wait) => Outcome::RetryAfter(Some(wait), class, text),
        class if class.retryable() => Outcome::RetryAfter(None, class, text),
        class => Outcome::Failed(class, text),
    }
}

/// Carries on with the deliveries of a task that is paused, or that has succeeded and is filled back elsewhere.
pub async fn carry(task: Arc<TaskRun>) -> Outcome {
    let carried = async {
        task.progress.reset(&task.ledger.streams(&task.row.id).await?);
        deliver::carry(&task).await
    };
    let Err(error) = carried.await else { return Outcome::Done };
    match error.class() {
        ErrorClass::Stopped => Outcome::Stopped,
        ErrorClass::Full => Outcome::Wait(Waiting { reason: full(&task, &error), until: None }, RECHECK_ROOM),
        _ => {
            let reason = format!("it failed to {}", Chain(&error));
            Outcome::Wait(Waiting { reason, until: None }, RECHECK_DELIVERY)
        }
    }
}

/// How the reason of a task that waits for room on a disk begins.
pub const DISK_FULL: &str = "disk full";

/// Which disk is full, and what is missing there as far as that can be known.
fn full(task: &TaskRun, error: &TransferError) -> String {
    let place = match error {
        TransferError::Destination { name, .. } => format!("at destination {name}"),
        TransferError::Ledger(_) => "where the ledger lies".to_owned(),
        _ => {
            let missing = match error {
                TransferError::Room { missing, .. } => *missing,
                _ => task.spool.missing(task.chunk_size()).unwrap_or(0),
            };
            format!("{:.1} MB missing at {}", missing as f64 / 1e6, task.spool.dir().display())
        }
    };
    format!("{DISK_FULL}: {place} ({}); it goes on by itself when there is room", Chain(error))
}

async fn run_once(task: &Arc<TaskRun>) -> Result<(), Failure> {
    // An error before extraction begins is one of its end, where there is nothing left to extract.
    let before = |error| Failure { extracted: task.row.extracted, error };
    let after = |error| Failure { extracted: true, error };
    recover::clean(task).await.map_err(before)?;
    let rows = task.ledger.streams(&task.row.id).await.map_err(TransferError::from).map_err(before)?;
    task.progress.reset(&rows);
    let home = task.home.as_ref().map(Name::as_str);
    task.ledger.set_home(&task.row.id, home).await.map_err(TransferError::from).map_err(before)?;
    let delivered = deliver::start(task);
    let extracted = limit::within_time(task, extract_all(task, &rows)).await;
    let assembled = match &extracted {
        Ok(()) => single::assemble(task).await,
        Err(_) => Ok(()),
    };
    let delivered = delivered.finish(extracted.is_ok() && assembled.is_ok()).await;
    // What the source's half says comes first: it decides whether the task can still fail.
    extracted.map_err(before)?;
    assembled.map_err(after)?;
    delivered.map_err(after)?;
    failed_streams(task).await.map_err(|error| Failure { extracted: false, error })?;
    task.spool.remove().map_err(after)?;
    crash::point("task.before_end");
    Ok(())
}

/// Extracts every stream that is not at its end, parents before their children; from its return on the source is never asked
/// again.
async fn extract_all(task: &Arc<TaskRun>, rows: &[StreamRow]) -> Result<(), TransferError> {
    let family = Family::of(task)?;
    let plan = |name: &Name| task.streams.iter().find(|stream| stream.name == *name);
    for stream in family.order().iter().filter_map(plan) {
        let row = rows.iter().find(|row| row.stream == stream.name.as_str());
        if row.is_some_and(|row| row.error.is_some()) {
            continue;
        }
        let Err(error) = extract(task, stream, row.is_some_and(|row| row.extracted)).await else { continue };
        let keep = task.export.on_stream_error == OnStreamError::PublishRest;
        if !(keep && last_word(task, &error).await?) {
            return Err(error);
        }
        let why = Chain(&error).to_string();
        task.ledger.stream_failed(&task.row.id, stream.name.as_str(), &why).await?;
    }
    task.ledger.task_extracted(&task.row.id, task.streams.iter().map(follow::end).collect()).await?;
    crash::point("task.extracted");
    let _ = task.extracted.send(task.row.id.clone()).await;
    Ok(())
}

/// Extracts one stream, if it is not `done`, and checks that it keeps what the export promises.
async fn extract(task: &Arc<TaskRun>, stream: &StreamPlan, done: bool) -> Result<(), TransferError> {
    if !done {
        room(task)?;
        stream::extract(task, stream).await?;
    }
    let rows = task.ledger.streams(&task.row.id).await?;
    let Some(row) = rows.iter().find(|row| row.stream == stream.name.as_str()) else { return Ok(()) };
    if !done {
        cause::counts(task, row);
    }
    check(task, row)
}

/// Whether no further attempt would follow this error.
async fn last_word(task: &TaskRun, error: &TransferError) -> Result<bool, TransferError> {
    if matches!(error.class(), ErrorClass::Stopped | ErrorClass::Full) {
        return Ok(false);
    }
    // Progress sets the attempts back, so that the row that the run began with says nothing.
    let attempt = task.ledger.task(&task.row.id).await?.map_or(task.row.attempt, |row| row.attempt);
    Ok(!error.class().retryable() || attempt >= task.export.attempts)
}

/// The error of a task that published only the rest of its streams.
async fn failed_streams(task: &TaskRun) -> Result<(), TransferError> {
    let rows = task.ledger.streams(&task.row.id).await?;
    let failed: Vec<_> = rows.iter().filter(|row| row.error.is_some()).collect();
    let Some(first) = failed.first() else { return Ok(()) };
    let names: Vec<_> = failed.iter().map(|row| row.stream.as_str()).collect();
    let why = first.error.as_deref().unwrap_or_default();
    let message = format!("read {} (the other streams are published): {why}", names.join(", "));
    Err(TransferError::Broken { message, class: ErrorClass::Data })
}

/// An error while the spool has no room for another segment. Deliveries need none, so that they go on meanwhile.
fn room(task: &TaskRun) -> Result<(), TransferError> {
    match task.spool.missing(task.chunk_size())? {
        0 => Ok(()),
        _ => Err(TransferError::Broken { message: "begin a segment".into(), class: ErrorClass::Full }),
    }
}

/// Promise 8, as far as counts can show it.
fn check(task: &TaskRun, row: &StreamRow) -> Result<(), TransferError> {
    let broken = |message: String, class| Err(TransferError::Broken { message, class });
    if !row.counts.balanced() {
        return broken(format!("account for every record of {}: {:?}", row.stream, row.counts), ErrorClass::Bug);
    }
    let limit = &task.export.max_rejected;
    let most = limit.count.min((limit.rate * row.counts.read as f64) as u64);
    if row.counts.rejected > most {
        let message = format!(
            "accept stream {}: of {} {}, {} did not pass; max_rejected allows {most}; see \
             `saas-export-daemon quarantine {} {}`",
            row.stream,
            row.counts.read,
            plural(row.counts.read, "record"),
            row.counts.rejected,
            task.row.id,
            row.stream,
        );
        return broken(message, ErrorClass::Data);
    }
    // That nothing is new is what an incremental task mostly finds.
    let may_be_empty = task.export.allow_empty || row.mode == Some(Mode::Incremental) || row.limited.is_some();
    if row.counts.read == 0 && !may_be_empty {
        let message = format!(
            "accept stream {}: the source gave no records. If that can be right, set exports.{}.allow_empty: true",
            row.stream, task.row.export
        );
        return broken(message, ErrorClass::Data);
    }
    Ok(())
}
