//! Carries sealed segments to every destination and publishes there, each on its own; never asks the source again.

use super::TaskRun;
use super::cause;
use super::error::TransferError;
use super::fetch::{self, Fetched};
use super::publish::publish;
use super::single;
use super::tries::{Tries, Workers};
use super::uploads::LedgerLog;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::{crash, fault, fsio};
use crate::destinations::{DestinationError, Expected, Put, object_key};
use crate::ledger::rows::DeliveryRow;
use crate::model::delivery::{Extraction, Failure, Rest, Turn};
use crate::model::progress::AtDestination;
use crate::model::segment::{Role, SegmentId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;

/// The deliveries of a task, one worker for each destination.
pub struct Deliveries {
    workers: JoinSet<Result<(), TransferError>>,
    extraction: watch::Sender<Extraction>,
}

/// Starts a worker for each destination.
pub fn start(task: &Arc<TaskRun>) -> Deliveries {
    begin(task, Extraction::Running, |_| true)
}

fn begin(task: &Arc<TaskRun>, state: Extraction, wanted: impl Fn(&str) -> bool) -> Deliveries {
    let extraction = watch::Sender::new(state);
    let mut workers = JoinSet::new();
    let crew = Workers::default();
    let wanted = task.destinations.iter().enumerate().filter(|(_, (name, _))| wanted(name.as_str()));
    // All of them join before the first one begins: it would think that it is alone.
    let all: Vec<_> = wanted.map(|(index, _)| (index, crew.join())).collect();
    for (index, tries) in all {
        let (task, extraction) = (task.clone(), extraction.subscribe());
        workers.spawn(Worker { task, index, extraction, tries }.run());
    }
    Deliveries { workers, extraction }
}

/// Carries on with the deliveries of a task that does not run: of one that an operator paused what is sealed, of one that
/// has succeeded what is filled back to further destinations.
pub async fn carry(task: &Arc<TaskRun>) -> Result<(), TransferError> {
    if !task.row.state.closed() {
        return begin(task, Extraction::Paused, |_| true).end().await;
    }
    let filling = task.ledger.back_fills(&task.row.id).await?;
    begin(task, Extraction::Ended, |name| filling.iter().any(|one| one == name)).end().await?;
    task.spool.remove()
}

impl Deliveries {
    /// Waits until every destination has verified and published everything; with `whole` false, until what is there has been sent
    /// or a try has failed. The error is that of the first destination that needs somebody to act, or else of
    /// the first that failed.
    pub async fn finish(self, whole: bool) -> Result<(), TransferError> {
        self.extraction.send_replace(if whole { Extraction::Ended } else { Extraction::Stopped });
        self.end().await
    }

    async fn end(mut self) -> Result<(), TransferError> {
        let mut worst = None;
        while let Some(ended) = self.workers.join_next().await {
            if let Err(error) = ended.map_err(TransferError::from).and_then(|result| result) {
                TransferError::keep_worst(&mut worst, error);
            }
        }
        worst.map_or(Ok(()), Err)
    }
}

/// What a worker does at its destination.
#[derive(Clone, Copy)]
enum Step<'a> {
    Probe,
    Put(&'a Carried),
    Publish,
}

/// A delivery under way.
struct Carried {
    row: DeliveryRow,
    /// Its file, where it was fetched from another destination.
    fetched: Mutex<Option<Arc<Fetched>>>,
}

impl Carried {
    fn fetched(&self) -> MutexGuard<'_, Option<Arc<Fetched>>> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker {
    task: Arc<TaskRun>,
    /// Which of the task's destinations.
    index: usize,
    extraction: watch::Receiver<Extraction>,
    tries: Tries,
}

impl Worker {
    /// Works to its end. While the source is still being read, an error of the ledger or the spool is no end either: nobody
    /// would deliver, and what waits for room would wait for ever.
    async fn run(self) -> Result<(), TransferError> {
        self.task.progress.at(self.name(), self.standing());
        loop {
            let Err(error) = self.work().await else { return Ok(()) };
            let goes_on = !matches!(error.class(), ErrorClass::Stopped | ErrorClass::Bug);
            let extraction = self.extraction();
            if !(goes_on && extraction == Extraction::Running) {
                return Err(error);
            }
            let failure = Failure { began: self.tries.begin(), mends_itself: true, asked: None };
            self.trouble(&error, self.tries.failed(failure, extraction));
        }
    }

    async fn work(&self) -> Result<(), TransferError> {
        let mut sealed = self.task.sealed.subscribe();
        let mut extraction = self.extraction.clone();
        self.patiently(Step::Probe).await?;
        let mut under_way = FuturesUnordered::new();
        let mut ids = HashSet::new();
        let mut left: Option<TransferError> = None;
        loop {
            let state = *extraction.borrow_and_update();
            sealed.mark_unchanged();
            if let Some(error) = left.take_if(|_| under_way.is_empty()) {
                return Err(error);
            }
            if left.is_none() {
                for row in self.next(&ids).await? {
                    ids.insert(row.segment.id.clone());
                    under_way.push(self.deliver(row));
                }
                match state.turn(under_way.len()) {
                    Turn::Wait => {}
                    Turn::Publish => return self.publish().await,
                    Turn::Leave => return Ok(()),
                }
                if *extraction.borrow() != state {
                    continue;
                }
            }
            tokio::select! {
                biased;
                () = self.task.stop.cancelled() => return Err(TransferError::Stopped),
                Some(done) = under_way.next(), if !under_way.is_empty() => match done {
                    Ok(id) => { ids.remove(&id); }
                    Err(error) if self.extraction() == Extraction::Running => return Err(error),
                    // What is on its way beside it still arrives.
                    Err(error) => {
                        self.tries.leave();
                        TransferError::keep_worst(&mut left, error);
                    }
                },
                _ = sealed.changed() => {}
                _ = extraction.changed() => {}
            }
        }
    }

    fn extraction(&self) -> Extraction {
        *self.extraction.borrow()
    }

    fn name(&self) -> &str {
        self.task.destinations.get(self.index).map_or("", |(name, _)| name.as_str())
    }

    fn place(&self) -> Result<&super::Place, TransferError> {
        let place = self.task.places.get(self.index);
        place.ok_or_else(|| TransferError::Worker("a destination is gone".into()))
    }

    /// What is to be begun beside what is under way, in the order of the data.
    async fn next(&self, under_way: &HashSet<SegmentId>) -> Result<Vec<DeliveryRow>, TransferError> {
        let most = self.place()?.connections;
        let free = most.saturating_sub(under_way.len());
        if free == 0 {
            return Ok(Vec::new());
        }
        let limit = u32::try_from(most + under_way.len()).unwrap_or(u32::MAX);
        let rows = self.task.ledger.next_deliveries(&self.task.row.id, self.name(), limit).await?;
        Ok(rows.into_iter().filter(|row| !under_way.contains(&row.segment.id)).take(free).collect())
    }

    async fn deliver(&self, row: DeliveryRow) -> Result<SegmentId, TransferError> {
        let carried = Carried { row, fetched: Mutex::default() };
        self.patiently(Step::Put(&carried)).await?;
        self.commit(&carried.row).await?;
        Ok(carried.row.segment.id)
    }

    async fn publish(&self) -> Result<(), TransferError> {
        self.patiently(Step::Publish).await?;
        Ok(self.task.ledger.filled_back(&self.task.row.id, self.name()).await?)
    }

    /// Does a step, again and again until it works or that was the last try.
    async fn patiently(&self, step: Step<'_>) -> Result<(), TransferError> {
        let mut failed = None;
        loop {
            if !self.rest().await? {
                return Err(failed.unwrap_or(TransferError::Stopped));
            }
            let mut began = self.tries.begin();
            let turn = async {
                tokio::select! {
                    biased;
                    turn = self.turn(step) => turn,
                    () = self.tries.given_up(&self.extraction) => Ok(None),
                }
            };
            let done = match self.task.until_stopped(turn).await? {
                // It failed, or was given up, while this file waited for its turn.
                Ok(_) if self.tries.rest(self.extraction()) != Rest::Try => {
                    self.make_room(step);
                    continue;
                }
                Ok(_turn) => {
                    began = self.tries.begin();
                    self.task.until_stopped(self.attempt(step)).await?
                }
                Err(error) => Err(error),
            };
            let Err(error) = done else {
                if self.tries.worked(began) {
                    self.told();
                }
                return Ok(());
            };
            if let Step::Put(carried) = step {
                let (id, text) = ((&self.task.row.id, &carried.row.segment.id), Chain(&error).to_string());
                self.task.ledger.delivery_failed(id.0, id.1, self.name(), &text).await?;
            }
            let asked = match error.class() {
                ErrorClass::Throttled(wait) => Some(wait),
                _ => None,
            };
            let (failure, extraction) =
                (Failure { began, mends_itself: error.mends_itself(), asked }, self.extraction());
            let wait = self.tries.failed(failure, extraction);
            let last = self.tries.gives_up(extraction, failure.mends_itself);
            if self.tries.in_a_row() > 1 || asked.is_some() {
                self.make_room(step);
            }
            self.trouble(&error, wait.filter(|_| !last));
            if last {
                return Err(error);
            }
            failed = Some(error);
        }
    }

    /// What a dead destination would hold here has no room for those that are alive.
    fn make_room(&self, step: Step<'_>) {
        if let Step::Put(carried) = step {
            carried.fetched().take();
        }
    }

    /// Says what went wrong, and in the log when it is tried again.
    fn trouble(&self, error: &TransferError, wait: Option<Duration>) {
        let text = Chain(error).to_string();
        cause::failed_delivery(&self.task, self.name(), error, wait);
        let next_try = self.tries.next_try(self.extraction());
        self.task.progress.at(self.name(), AtDestination { error: Some(text), next_try, ..self.standing() });
    }

    /// Waits until the destination may be tried again, which another file that fails meanwhile puts off and word of the extraction
    /// brings on. False if it is not to be tried again.
    async fn rest(&self) -> Result<bool, TransferError> {
        let mut extraction = self.extraction.clone();
        loop {
            let changed = self.tries.changed();
            let state = *extraction.borrow_and_update();
            let wait = match self.tries.rest(state) {
                Rest::Try => return Ok(true),
                Rest::Leave => return Ok(false),
                Rest::Wait(wait) => wait,
            };
            tokio::select! {
                biased;
                () = self.task.stop.cancelled() => return Err(TransferError::Stopped),
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
                // Nobody says anything any more.
                word = extraction.changed() => if word.is_err() { return Ok(false) },
            }
        }
    }

    /// The right to send a file there, over all tasks that deliver to it; nothing else needs one.
    async fn turn(&self, step: Step<'_>) -> Result<Option<OwnedSemaphorePermit>, TransferError> {
        let Step::Put(carried) = step else { return Ok(None) };
        let segment = &carried.row.segment;
        // Before the turn: who waits for room in the spool must not keep those from delivering that make it.
        if self.task.row.state.closed() && carried.fetched().is_none() {
            let from = self.task.spool.segment(&segment.id.stream, &segment.name);
            let fetched = fetch::fetch(&self.task, segment, &from).await?;
            *carried.fetched() = Some(fetched);
        }
        // None where the semaphore is closed, which nobody does.
        Ok(self.place()?.turns.clone().acquire_owned().await.ok())
    }

    async fn attempt(&self, step: Step<'_>) -> Result<(), TransferError> {
        let place = self.place()?;
        fault::at(self.name()).await.map_err(|source| {
            self.failed(DestinationError::Io { action: "reach", path: place.destination.location("").into(), source })
        })?;
        match step {
            Step::Probe => place.destination.probe().await.map(drop).map_err(|source| self.failed(source)),
            Step::Put(carried) => self.put(carried).await,
            Step::Publish => {
                let (name, destination) = self.task.destinations.get(self.index).ok_or(TransferError::Stopped)?;
                publish(&self.task, name, &**destination).await
            }
        }
    }

    fn standing(&self) -> AtDestination {
        let sent = self.place().map_or(0, |place| place.destination.sent());
        AtDestination { sent, ..AtDestination::default() }
    }

    /// Says that nothing is wrong here.
    fn told(&self) {
        if self.tries.wait(self.extraction()).is_some() {
            return;
        }
        cause::works(&self.task, self.name());
        self.task.progress.at(self.name(), self.standing());
    }

    /// Notes a verified segment; when every destination has it, it leaves the spool.
    async fn commit(&self, row: &DeliveryRow) -> Result<(), TransferError> {
        let id = &self.task.row.id;
        crash::point_at("delivery.before_commit", self.name());
        let everywhere = self.task.ledger.delivery_verified(id, &row.segment.id, self.name()).await?;
        crash::point_at("delivery.committed", self.name());
        cause::delivered(self.name(), row.segment.bytes);
        if everywhere {
            let path = self.task.spool.segment(&row.segment.id.stream, &row.segment.name);
            fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
            crash::point("spool.removed");
            if row.segment.role == Role::Single {
                single::forget_parts(&self.task, &row.segment.id.stream).await?;
            }
        }
        self.told();
        // Also where others wait for it still: on the spool's own mount it is a link now.
        self.task.room.freed();
        Ok(())
    }

    fn failed(&self, source: DestinationError) -> TransferError {
        TransferError::Destination { name: self.name().to_owned(), source }
    }

    async fn put(&self, carried: &Carried) -> Result<(), TransferError> {
        let place = self.place()?;
        let segment = &carried.row.segment;
        let key = key(&self.task, &segment.id.stream, &segment.name);
        let from = self.task.spool.segment(&segment.id.stream, &segment.name);
        crash::point_at("delivery.started", self.name());
        let expected = Expected { bytes: segment.bytes, sha256: segment.sha256.clone(), crc32c: segment.crc32c };
        let (ledger, task, destination) = (&self.task.ledger, &self.task.row.id, self.name());
        let log = LedgerLog { ledger, task, destination, key: &key };
        let put = Put { key: &key, from: &from, expected: &expected, log: &log };
        let Err(source) = place.destination.put_file(put).await else { return Ok(()) };
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
