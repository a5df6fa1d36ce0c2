//! Carries sealed segments to every destination, each on its own; never asks the source again.

use super::TaskRun;
use super::error::TransferError;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::Name;
use crate::base::retry::RetryPolicy;
use crate::base::{crash, fsio};
use crate::destinations::{Destination, Expected};
use crate::ledger::rows::DeliveryRow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Waits between tries of one segment; a destination is never given up on while the task runs.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial: Duration::from_millis(500), max: Duration::from_secs(60) };

/// What the deliveries of a task know about its extraction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extraction {
    Running,
    /// No more segments will come: deliver what is there.
    Ended,
    /// The task stops: try each segment that is there once more.
    Stopped,
}

/// The deliveries of a task, one worker for each destination.
pub struct Deliveries {
    workers: JoinSet<Result<(), TransferError>>,
    extraction: watch::Sender<Extraction>,
}

/// Starts a worker for each destination.
pub fn start(task: &Arc<TaskRun>) -> Deliveries {
    let extraction = watch::Sender::new(Extraction::Running);
    let mut workers = JoinSet::new();
    for (name, destination) in &task.destinations {
        let worker = Worker { task: task.clone(), name: name.clone(), destination: destination.clone() };
        workers.spawn(worker.run(extraction.subscribe()));
    }
    Deliveries { workers, extraction }
}

impl Deliveries {
    /// Waits until every destination has verified every segment; with `whole` false, until each has been tried once.
    pub async fn finish(mut self, whole: bool) -> Result<(), TransferError> {
        self.extraction.send_replace(if whole { Extraction::Ended } else { Extraction::Stopped });
        let mut first = Ok(());
        while let Some(ended) = self.workers.join_next().await {
            let result = ended.map_err(TransferError::from).and_then(|result| result);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }
}

struct Worker {
    task: Arc<TaskRun>,
    name: Name,
    destination: Destination,
}

impl Worker {
    async fn run(self, mut extraction: watch::Receiver<Extraction>) -> Result<(), TransferError> {
        let mut sealed = self.task.sealed.subscribe();
        loop {
            let state = *extraction.borrow_and_update();
            sealed.mark_unchanged();
            for row in self.task.ledger.pending_deliveries(&self.task.row.id, self.name.as_str()).await? {
                self.deliver(&row, &extraction).await?;
            }
            if state != Extraction::Running {
                return Ok(());
            }
            tokio::select! {
                _ = sealed.changed() => {}
                _ = extraction.changed() => {}
            }
        }
    }

    /// Delivers one segment, however often it takes; a conflict needs an operator.
    async fn deliver(&self, row: &DeliveryRow, extraction: &watch::Receiver<Extraction>) -> Result<(), TransferError> {
        let id = &self.task.row.id;
        let mut waits = RETRY.waits();
        while let Err(error) = self.put(row).await {
            let text = Chain(&error).to_string();
            self.task.ledger.delivery_failed(id, &row.segment.id, self.name.as_str(), &text).await?;
            let stopping = self.task.stop.is_cancelled() || *extraction.borrow() == Extraction::Stopped;
            if stopping || !(error.class().retryable() || error.class() == ErrorClass::Full) {
                return if self.task.stop.is_cancelled() { Err(TransferError::Stopped) } else { Err(error) };
            }
            let wait = waits.next_wait(None).unwrap_or(RETRY.max);
            tracing::warn!(
                EXPORT_TASK = %id, EXPORT_DESTINATION = %self.name, EXPORT_SEGMENT = %row.segment.name,
                "delivery failed, trying again in {wait:.0?}: {text}"
            );
            self.task.until_stopped(tokio::time::sleep(wait)).await?;
        }
        crash::point("delivery.before_commit");
        let everywhere = self.task.ledger.delivery_verified(id, &row.segment.id, self.name.as_str()).await?;
        crash::point("delivery.committed");
        if everywhere {
            let path = self.task.spool.segment(&row.segment.id.stream, &row.segment.name);
            fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
            crash::point("spool.removed");
        }
        Ok(())
    }

    async fn put(&self, row: &DeliveryRow) -> Result<(), TransferError> {
        crash::point("delivery.started");
        let segment = &row.segment;
        let key = key(&self.task, &segment.id.stream, &segment.name);
        let from = self.task.spool.segment(&segment.id.stream, &segment.name);
        let expected = Expected { bytes: segment.bytes, sha256: segment.sha256.clone() };
        let put = self.destination.put_file(&key, &from, &expected).await;
        put.map_err(|source| TransferError::Destination { name: self.name.to_string(), source })
    }
}

/// The key of an object of a task: `<export>/<stream>/<task>/<name>`.
pub fn key(task: &TaskRun, stream: &str, name: &str) -> String {
    format!("{}/{stream}/{}/{name}", task.row.export, task.row.id)
}
