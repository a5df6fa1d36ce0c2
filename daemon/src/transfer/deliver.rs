//! Carries sealed segments to every destination and publishes there, each on its own; never asks the source again.

use super::TaskRun;
use super::error::TransferError;
use super::publish::publish;
use super::single;
use super::uploads::LedgerLog;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::Name;
use crate::base::retry::RetryPolicy;
use crate::base::{crash, fsio};
use crate::destinations::{Destination, DestinationError, Expected, Put, object_key};
use crate::ledger::rows::DeliveryRow;
use crate::model::segment::Role;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Waits between tries; a destination is never given up on while the source is being read.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial: Duration::from_millis(500), max: Duration::from_secs(60) };

/// A destination that failed so often in a row is left for later, once nothing but it is to be done.
const TRIES: u32 = 5;

/// What the deliveries of a task know about its extraction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extraction {
    Running,
    /// No more segments will come: deliver what is there, and publish.
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
        let worker = Worker {
            task: task.clone(),
            name: name.clone(),
            destination: destination.clone(),
            extraction: extraction.subscribe(),
        };
        workers.spawn(worker.run());
    }
    Deliveries { workers, extraction }
}

impl Deliveries {
    /// Waits until every destination has verified and published everything; with `whole` false, until each segment that
    /// is there has been tried once. The error is that of the first destination that needs somebody to act, or else of
    /// the first that failed.
    pub async fn finish(mut self, whole: bool) -> Result<(), TransferError> {
        self.extraction.send_replace(if whole { Extraction::Ended } else { Extraction::Stopped });
        let mut worst: Option<TransferError> = None;
        while let Some(ended) = self.workers.join_next().await {
            let Err(error) = ended.map_err(TransferError::from).and_then(|result| result) else { continue };
            if worst.as_ref().is_none_or(|worst| mends_itself(worst) && !mends_itself(&error)) {
                worst = Some(error);
            }
        }
        worst.map_or(Ok(()), Err)
    }
}

fn mends_itself(error: &TransferError) -> bool {
    let class = error.class();
    class.retryable() || matches!(class, ErrorClass::Full | ErrorClass::Stopped)
}

/// What a worker does at its destination.
#[derive(Clone, Copy)]
enum Step<'a> {
    Probe,
    Put(&'a DeliveryRow),
    Publish,
}

struct Worker {
    task: Arc<TaskRun>,
    name: Name,
    destination: Arc<dyn Destination>,
    extraction: watch::Receiver<Extraction>,
}

impl Worker {
    async fn run(mut self) -> Result<(), TransferError> {
        let mut sealed = self.task.sealed.subscribe();
        self.patiently(Step::Probe).await?;
        loop {
            let state = *self.extraction.borrow_and_update();
            sealed.mark_unchanged();
            for row in self.task.ledger.pending_deliveries(&self.task.row.id, self.name.as_str()).await? {
                self.patiently(Step::Put(&row)).await?;
                self.commit(&row).await?;
            }
            match state {
                Extraction::Running => {}
                Extraction::Stopped => return Ok(()),
                Extraction::Ended => return self.patiently(Step::Publish).await,
            }
            if *self.extraction.borrow() != state {
                continue;
            }
            tokio::select! {
                biased;
                () = self.task.stop.cancelled() => return Err(TransferError::Stopped),
                _ = sealed.changed() => {}
                _ = self.extraction.changed() => {}
            }
        }
    }

    /// Does a step, again and again while the source is still being read: a destination never holds up the source or
    /// another destination. What only an operator can mend is left at once.
    async fn patiently(&mut self, step: Step<'_>) -> Result<(), TransferError> {
        let mut waits = RETRY.waits();
        for tries in 1.. {
            let Err(error) = self.task.until_stopped(self.attempt(step)).await? else { return Ok(()) };
            let text = Chain(&error).to_string();
            if let Step::Put(row) = step {
                let id = (&self.task.row.id, &row.segment.id);
                self.task.ledger.delivery_failed(id.0, id.1, self.name.as_str(), &text).await?;
            }
            let wait = waits.next_wait(None).unwrap_or(RETRY.max);
            let last = match *self.extraction.borrow() {
                Extraction::Running => false,
                Extraction::Ended => tries >= TRIES,
                Extraction::Stopped => true,
            };
            if last || !mends_itself(&error) {
                return Err(error);
            }
            tracing::warn!(
                EXPORT_TASK = %self.task.row.id, EXPORT_DESTINATION = %self.name,
                "delivery to {} failed, trying again in {wait:.0?}: {text}", self.name
            );
            tokio::select! {
                biased;
                () = self.task.stop.cancelled() => return Err(TransferError::Stopped),
                () = tokio::time::sleep(wait) => {}
                _ = self.extraction.changed() => {}
            }
        }
        Ok(())
    }

    async fn attempt(&self, step: Step<'_>) -> Result<(), TransferError> {
        match step {
            Step::Probe => self.destination.probe().await.map(drop).map_err(|source| self.failed(source)),
            Step::Put(row) => self.put(row).await,
            Step::Publish => publish(&self.task, &self.name, &*self.destination).await,
        }
    }

    /// Notes a verified segment; when every destination has it, it leaves the spool.
    async fn commit(&self, row: &DeliveryRow) -> Result<(), TransferError> {
        let id = &self.task.row.id;
        crash::point("delivery.before_commit");
        let everywhere = self.task.ledger.delivery_verified(id, &row.segment.id, self.name.as_str()).await?;
        crash::point("delivery.committed");
        if everywhere {
            let path = self.task.spool.segment(&row.segment.id.stream, &row.segment.name);
            fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
            crash::point("spool.removed");
            if row.segment.role == Role::Single {
                single::forget_parts(&self.task, &row.segment.id.stream).await?;
            }
        }
        Ok(())
    }

    fn failed(&self, source: DestinationError) -> TransferError {
        TransferError::Destination { name: self.name.to_string(), source }
    }

    async fn put(&self, row: &DeliveryRow) -> Result<(), TransferError> {
        crash::point("delivery.started");
        let segment = &row.segment;
        let key = key(&self.task, &segment.id.stream, &segment.name);
        let from = self.task.spool.segment(&segment.id.stream, &segment.name);
        let expected = Expected { bytes: segment.bytes, sha256: segment.sha256.clone(), crc32c: segment.crc32c };
        let (ledger, task, destination) = (&self.task.ledger, &self.task.row.id, self.name.as_str());
        let log = LedgerLog { ledger, task, destination, key: &key };
        let put = Put { key: &key, from: &from, expected: &expected, log: &log };
        let Err(source) = self.destination.put_file(put).await else { return Ok(()) };
        // The stream may have been sent back to its start meanwhile; then nobody needs the segment, and its file is gone.
        match self.task.ledger.is_superseded(&self.task.row.id, &segment.id).await? {
            true => Ok(()),
            false => Err(self.failed(source)),
        }
    }
}

/// The key of an object of a task.
pub fn key(task: &TaskRun, stream: &str, name: &str) -> String {
    object_key(&task.row.export, stream, &task.row.id, name)
}
