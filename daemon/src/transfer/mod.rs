//! One task's run, a file per stage in order: extract, convert, encode, spool, deliver, publish.
//!
//! ```text
//! extract ─▶ convert ─▶ lane: encode ─▶ spool: seal ─▶ ledger ─▶ deliver ─▶ publish
//!    └ journal (slow sources) ┘            (one transaction)    (each destination on its own)
//! ```

pub mod cpu;
pub mod deliver;
pub mod error;
pub mod extract;
pub mod journal;
pub mod keeper;
pub mod lane;
pub mod pages;
pub mod progress;
pub mod publish;
pub mod recover;
pub mod sample;
pub mod spool;
pub mod stream;

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
use progress::Counters;
use spool::Spool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often a task that waits for room looks again.
const RECHECK_ROOM: Duration = Duration::from_secs(2);

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
    pub destinations: Vec<(Name, Destination)>,
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

/// Runs a task from wherever it stands.
pub async fn run(task: Arc<TaskRun>) -> Outcome {
    match room(&task) {
        Ok(None) => {}
        Ok(Some(waiting)) => return Outcome::Wait(waiting, RECHECK_ROOM),
        Err(error) => return outcome(&task, &error),
    }
    match run_once(&task).await {
        Ok(()) => Outcome::Done,
        Err(error) => outcome(&task, &error),
    }
}

fn outcome(task: &TaskRun, error: &TransferError) -> Outcome {
    let text = Chain(error).to_string();
    match error.class() {
        ErrorClass::Stopped => Outcome::Stopped,
        ErrorClass::Full => Outcome::Wait(full(task, &text), RECHECK_ROOM),
        class @ ErrorClass::Throttled(wait) => Outcome::RetryAfter(Some(wait), class, text),
        class if class.retryable() => Outcome::RetryAfter(None, class, text),
        class => Outcome::Failed(class, text),
    }
}

/// Why there is not enough room in the spool, if there is not.
fn room(task: &TaskRun) -> Result<Option<Waiting>, TransferError> {
    let missing = task.spool.missing(task.chunk_size())?;
    Ok((missing > 0).then(|| full(task, "the spool has no room")))
}

fn full(task: &TaskRun, why: &str) -> Waiting {
    let missing = task.spool.missing(task.chunk_size()).unwrap_or(0);
    let reason = format!(
        "disk full: {:.1} MB missing at {} ({why}); it goes on by itself when there is room",
        missing as f64 / 1e6,
        task.spool.dir().display(),
    );
    Waiting { reason, until: None }
}

async fn run_once(task: &Arc<TaskRun>) -> Result<(), TransferError> {
    for (name, destination) in &task.destinations {
        let probed = task.until_stopped(destination.probe()).await?;
        probed.map_err(|source| TransferError::Destination { name: name.to_string(), source })?;
    }
    recover::clean(task).await?;
    let rows = task.ledger.streams(&task.row.id).await?;
    task.progress.reset(&rows);
    let delivered = deliver::start(task);
    let extracted = extract(task, &rows).await;
    if extracted.is_ok() {
        task.ledger.task_extracted(&task.row.id).await?;
        crash::point("task.extracted");
        let _ = task.extracted.send(task.row.id.clone()).await;
    }
    let delivered = delivered.finish(extracted.is_ok()).await;
    extracted?;
    delivered?;
    publish::publish(task).await?;
    task.spool.remove()?;
    crash::point("task.before_end");
    Ok(())
}

/// Extracts every stream that is not at its end, and checks that the whole keeps what the export promises.
async fn extract(task: &Arc<TaskRun>, rows: &[StreamRow]) -> Result<(), TransferError> {
    let last_attempt = task.row.attempt >= task.export.attempts;
    for stream in &task.streams {
        let row = rows.iter().find(|row| row.stream == stream.name.as_str());
        if row.is_some_and(|row| row.extracted) {
            continue;
        }
        task.ledger.check_fingerprint(&task.row.id, stream.name.as_str(), &stream.fingerprint).await?;
        let Err(error) = stream::extract(task, stream).await else { continue };
        let keep = task.export.on_stream_error == OnStreamError::PublishRest;
        let final_failure = !matches!(error.class(), ErrorClass::Stopped | ErrorClass::Full)
            && (!error.class().retryable() || last_attempt);
        if !(keep && final_failure) {
            return Err(error);
        }
        let why = Chain(&error).to_string();
        task.ledger.stream_failed(&task.row.id, stream.name.as_str(), &why).await?;
    }
    check(task, &task.ledger.streams(&task.row.id).await?)
}

/// Promise 8, as far as counts can show it.
fn check(task: &TaskRun, rows: &[StreamRow]) -> Result<(), TransferError> {
    let broken = |message: String, class| Err(TransferError::Broken { message, class });
    for row in rows.iter().filter(|row| row.extracted) {
        if !row.counts.balanced() {
            return broken(format!("account for every record of {}: {:?}", row.stream, row.counts), ErrorClass::Bug);
        }
        let limit = &task.export.max_rejected;
        let most = limit.count.min((limit.rate * row.counts.read as f64) as u64);
        if row.counts.rejected > most {
            let message = format!(
                "accept stream {}: {} of {} records were rejected, max_rejected allows {most}; see {}",
                row.stream,
                row.counts.rejected,
                row.counts.read,
                task.spool.quarantine().join(&row.stream).display(),
            );
            return broken(message, ErrorClass::Data);
        }
        if row.counts.read == 0 && !task.export.allow_empty {
            let message = format!(
                "accept stream {}: the source gave no records. If that can be right, set exports.{}.allow_empty: true",
                row.stream, task.row.export
            );
            return broken(message, ErrorClass::Data);
        }
    }
    Ok(())
}
