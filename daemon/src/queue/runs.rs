//! The tasks that the dispatcher runs: how each starts, waits, and has its end recorded.

use super::commands::refusal;
use super::dispatcher::{Dispatcher, Engine, RunControl};
use super::handle::Actor;
use super::live::Shown;
use super::policy;
use crate::base::error::{Chain, ErrorClass};
use crate::base::ids::TaskId;
use crate::base::{clock, crash};
use crate::host::messages::Message;
use crate::ledger::LedgerError;
use crate::ledger::input::Change;
use crate::ledger::rows::TaskRow;
use crate::metrics::METERS;
use crate::model::task::{TaskEvent, TaskState, Waiting};
use crate::transfer::progress::Counters;
use crate::transfer::{DISK_FULL, Outcome};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A run that waited and whose pages do not move is taken to go on after this long.
const GOES_ON: Duration = Duration::from_secs(30);
/// An end that the ledger could not take is told to it again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// A task that is Processing, or whose run is still stopping.
pub(super) struct Running {
    row: TaskRow,
    stop: CancellationToken,
    /// Who wants it cancelled once it has stopped; nothing said later takes that back.
    pub(super) cancelled_by: Option<Actor>,
    progress: Arc<Counters>,
    extracting: bool,
    /// Whether it was stopped for an order about its destinations, and goes on as soon as that is carried out.
    again: bool,
    attempts: u32,
    phase: Phase,
    waiting: Option<Wait>,
    since: Instant,
    /// When the log was last told how far it is.
    told: Instant,
}

/// Where a run is.
enum Phase {
    /// Its job runs.
    Runs,
    /// It waits for something outside, without a job, and is started again then.
    Parked(Instant),
    /// Its job has ended, and the ledger does not know it yet; it is told then.
    Ended(Outcome, Instant),
}

/// What a run waits for, or waited for until a moment ago.
#[derive(Clone)]
struct Wait {
    what: Waiting,
    recheck: Duration,
    /// Pages when it began to wait: more of them show that it goes on.
    pages: u64,
}

impl Running {
    /// Whether no job runs and nothing is left to record, so that a command may act on the task at once.
    pub(super) fn parked(&self) -> bool {
        matches!(self.phase, Phase::Parked(_))
    }

    /// Asks it to stop. Where it has stopped already, the ledger is told at the next turn.
    pub(super) fn stop(&mut self) {
        self.stop.cancel();
        if let Phase::Ended(_, again) = &mut self.phase {
            *again = clock::monotonic();
        }
    }

    /// Stops it for an order about its destinations; whether its job is still to end. A parked one is begun again at once.
    pub(super) fn stop_for_order(&mut self) -> bool {
        match self.phase {
            Phase::Runs => {
                self.again = self.again || !self.stop.is_cancelled();
                self.stop.cancel();
                true
            }
            Phase::Parked(_) => {
                self.phase = Phase::Parked(clock::monotonic());
                self.waiting = None;
                false
            }
            Phase::Ended(..) => false,
        }
    }

    /// Somebody wants something else of it.
    pub(super) fn forget_order(&mut self) {
        self.again = false;
    }

    /// When the dispatcher must look at it.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Runs => None,
            Phase::Parked(at) | Phase::Ended(_, at) => Some(*at),
        }
    }

    /// The export whose slot it holds, and whether the task is plain.
    pub(super) fn extracts(&self) -> Option<(&str, bool)> {
        let extracts = self.extracting && !matches!(self.phase, Phase::Ended(..));
        extracts.then_some((self.row.export.as_str(), self.row.params.is_empty()))
    }

    /// Only delivery is left.
    pub(super) fn extracted(&mut self) {
        self.extracting = false;
    }

    /// Where its live figures are.
    pub(super) fn shown(&self) -> Shown {
        let waiting = self.waiting.as_ref().map(|wait| wait.what.clone());
        Shown { id: self.row.id.clone(), counters: self.progress.clone(), waiting, carried: false }
    }

    /// Takes a reading of its figures, for the rate; and says `every` so often in the log how far it is.
    pub(super) fn note(&mut self, every: Duration) {
        self.progress.note();
        if !matches!(self.phase, Phase::Runs) || clock::since(self.told) < every {
            return;
        }
        self.told = clock::monotonic();
        let (id, now) = (&self.row.id, self.shown().read());
        let of = now.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let waits = now.waiting.map(|waiting| format!("; it waits: {}", waiting.reason)).unwrap_or_default();
        tracing::info!(
            MESSAGE_ID = Message::TaskProgress.id(), EXPORT_TASK = %id, EXPORT_NAME = %self.row.export,
            "task {id} has read {}{of} records in {} pages ({:.1}/s) and written {:.1} MB{waits}",
            now.records, now.pages, now.rate, now.bytes as f64 / 1e6
        );
    }

    fn goes_on(&self) -> bool {
        let runs = matches!(self.phase, Phase::Runs);
        let on = |wait: &Wait| self.progress.busy() || self.progress.read().pages > wait.pages;
        let moved = |wait: &Wait| on(wait) || clock::since(self.since) >= GOES_ON;
        runs && self.waiting.as_ref().is_some_and(moved)
    }
}

impl<E: Engine> Dispatcher<E> {
    /// Starts a task's next attempt, unless its attempts are used up.
    pub(super) async fn start(&mut self, id: &TaskId) -> Result<(), LedgerError> {
        let Some(row) = self.ledger.task(id).await?.filter(|row| row.state == TaskState::Pending) else {
            return Ok(());
        };
        let attempts = self.engine.attempts(&row);
        if let Some(change) = policy::used_up(row.attempt, attempts) {
            let reason = change.reason.clone();
            let change = Change { tell: self.engine.tell(&row), ..change };
            self.ledger.task_event(id, TaskEvent::Fail, change).await?;
            METERS.ended.of((row.export.clone(), TaskState::Failed.word())).add(1);
            tracing::error!(
                MESSAGE_ID = Message::Bug.id(), EXPORT_TASK = %id, EXPORT_NAME = %row.export, EXPORT_STATE = "failed",
                EXPORT_ERROR_CLASS = "bug", "task {id} failed to {reason}"
            );
            return Ok(());
        }
        let nth = format!("attempt {} of {attempts}", row.attempt + 1);
        let change = policy::because(&format!("started, {nth}"));
        let row = self.ledger.task_event(id, TaskEvent::Start, change).await?;
        crash::point("task.started");
        tracing::info!(
            MESSAGE_ID = Message::TaskStarted.id(), EXPORT_TASK = %id, EXPORT_NAME = %row.export,
            EXPORT_STATE = "processing", "task {id} started ({nth})"
        );
        self.spawn(row, attempts, None);
        Ok(())
    }

    /// Looks after the runs whose time has come, and after those that waited and go on.
    pub(super) async fn tend(&mut self) {
        let now = clock::monotonic();
        let due = |run: &Running| run.goes_on() || run.due().is_some_and(|at| at <= now);
        let ids: Vec<_> = self.running.iter().filter(|(_, run)| due(run)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            match self.running.get_mut(&id).map(|run| (&run.phase, run.waiting.is_some())) {
                Some((Phase::Parked(_), _)) => self.start_again(&id).await,
                Some((Phase::Ended(..), _)) => self.settle(&id).await,
                Some((Phase::Runs, true)) => {
                    self.tell_waiting(&id, None).await;
                    if let Some(run) = self.running.get_mut(&id) {
                        run.waiting = None;
                    }
                }
                _ => {}
            }
        }
    }

    /// Starts a run that waited, as the ledger knows the task now.
    async fn start_again(&mut self, id: &TaskId) {
        match self.ledger.task(id).await {
            Ok(Some(row)) if row.state == TaskState::Processing => {
                let Some(run) = self.running.remove(id) else { return };
                tracing::debug!(EXPORT_TASK = %id, EXPORT_NAME = %row.export, "task {id} looks whether it can go on");
                self.spawn(row, run.attempts, run.waiting);
            }
            Ok(_) => {
                self.running.remove(id);
            }
            Err(error) => {
                tracing::debug!(EXPORT_TASK = %id, "failed to look whether task {id} can go on: {}", Chain(&error));
                if let Some(run) = self.running.get_mut(id) {
                    run.phase = Phase::Parked(clock::monotonic() + TELL_AGAIN);
                }
            }
        }
    }

    /// A run that waited keeps saying so until it has gone on for a while.
    fn spawn(&mut self, row: TaskRow, attempts: u32, waiting: Option<Wait>) {
        let id = row.id.clone();
        let (stop, progress) = (CancellationToken::new(), Arc::<Counters>::default());
        let control =
            RunControl { stop: stop.clone(), progress: progress.clone(), extracted: self.extracted.0.clone() };
        let job = self.engine.clone().run(row.clone(), control);
        let of = id.clone();
        self.jobs.spawn(async move { (of, job.await) });
        let extracting = !row.extracted;
        let (cancelled_by, phase, since) = (None, Phase::Runs, clock::monotonic());
        let again = false;
        let told = since;
        let run =
            Running { row, stop, cancelled_by, progress, extracting, again, attempts, phase, waiting, since, told };
        self.running.insert(id, run);
    }

    /// A job has ended: the run waits, or the ledger is told.
    pub(super) async fn ended(&mut self, id: &TaskId, outcome: Outcome) {
        self.carry_out(id).await;
        self.carriers.look();
        let Some(run) = self.running.get_mut(id) else { return };
        match outcome {
            // It was stopped for an order that is carried out now.
            Outcome::Stopped | Outcome::Wait(..) | Outcome::RetryAfter(..) if run.again => self.start_again(id).await,
            Outcome::Wait(what, recheck) if !run.stop.is_cancelled() => self.park(id, what, recheck).await,
            outcome => {
                run.phase = Phase::Ended(outcome, clock::monotonic());
                self.settle(id).await;
            }
        }
    }

    async fn park(&mut self, id: &TaskId, what: Waiting, asked: Duration) {
        let Some(run) = self.running.get_mut(id) else { return };
        let same = run.waiting.as_ref().filter(|before| before.what.same_kind(&what));
        let recheck = policy::recheck(asked, same.map(|before| before.recheck));
        let news = same.is_none();
        run.phase = Phase::Parked(clock::monotonic() + recheck);
        run.waiting = Some(Wait { what: what.clone(), recheck, pages: run.progress.read().pages });
        if news {
            let full = what.reason.starts_with(DISK_FULL);
            let message = if full { Message::DiskFull } else { Message::TaskWaits };
            tracing::warn!(
                MESSAGE_ID = message.id(), EXPORT_TASK = %id, EXPORT_NAME = %run.row.export,
                "task {id} waits: {}", what.reason
            );
            self.tell_waiting(id, Some(what)).await;
        }
    }

    async fn tell_waiting(&self, id: &TaskId, waiting: Option<Waiting>) {
        if let Err(error) = self.ledger.set_waiting(id, waiting).await {
            tracing::warn!(
                MESSAGE_ID = Message::LedgerTrouble.id(), EXPORT_TASK = %id,
                "failed to record why task {id} waits: {}", Chain(&error)
            );
        }
    }

    /// Stops every run, because the daemon ends; those without a job are put back into the queue at once.
    pub(super) async fn stop_all(&mut self) {
        let ids: Vec<_> = self.running.keys().cloned().collect();
        for id in ids {
            let Some(run) = self.running.get_mut(&id) else { continue };
            run.forget_order();
            run.stop();
            if run.parked() {
                run.phase = Phase::Ended(Outcome::Stopped, clock::monotonic());
            }
            self.settle(&id).await;
        }
    }

    /// Tells the ledger how a run ended. What it cannot take now, it is told again: a task is never left Processing.
    async fn settle(&mut self, id: &TaskId) {
        let Some(run) = self.running.get(id) else { return };
        let Phase::Ended(outcome, _) = &run.phase else { return };
        match self.record_end(run, outcome).await {
            Ok(state) => {
                self.untold = false;
                self.running.remove(id);
                self.answers.ended(id, Some(state));
            }
            // The ledger says that the task is elsewhere already, and it is the truth.
            Err(error @ (LedgerError::Illegal { .. } | LedgerError::NoSuchTask(_))) => {
                tracing::error!(
                    MESSAGE_ID = Message::LedgerTrouble.id(), EXPORT_TASK = %id,
                    "failed to record how task {id} ended: {}", Chain(&error)
                );
                self.running.remove(id);
                self.answers.ended(id, None);
            }
            // What is published is not taken back: the task goes on to its end, as if nobody had said anything.
            Err(error @ LedgerError::Refused(_)) if run.cancelled_by.is_some() => self.uncancel(id, &error).await,
            Err(error) => self.tell_again(id, &error),
        }
    }

    async fn uncancel(&mut self, id: &TaskId, error: &LedgerError) {
        tracing::info!(EXPORT_TASK = %id, "task {id} goes on: failed to {}", Chain(error));
        self.answers.refused(id, &refusal(error));
        let drains = self.drains();
        let Some(run) = self.running.get_mut(id) else { return };
        run.cancelled_by = None;
        match &run.phase {
            Phase::Ended(Outcome::Stopped | Outcome::Wait(..), _) if !drains => self.start_again(id).await,
            _ => Box::pin(self.settle(id)).await,
        }
    }

    fn tell_again(&mut self, id: &TaskId, error: &LedgerError) {
        if !std::mem::replace(&mut self.untold, true) {
            let text = Chain(error);
            tracing::error!(
                MESSAGE_ID = Message::LedgerTrouble.id(), EXPORT_TASK = %id,
                "failed to record how task {id} ended, this is tried again: {text}"
            );
        }
        if let Some(run) = self.running.get_mut(id)
            && let Phase::Ended(_, again) = &mut run.phase
        {
            *again = clock::monotonic() + TELL_AGAIN;
        }
        self.answers.ended(id, None);
    }

    async fn record_end(&self, run: &Running, outcome: &Outcome) -> Result<TaskState, LedgerError> {
        let id = &run.row.id;
        let row = self.ledger.task(id).await?.ok_or_else(|| LedgerError::NoSuchTask(id.clone()))?;
        let follows = policy::after(outcome, &row, run.attempts, run.cancelled_by.as_ref(), clock::now());
        let Some((event, change)) = follows else {
            let (export, state) = (&row.export, row.state);
            if let Outcome::Failed(_, why) | Outcome::RetryAfter(_, _, why) = outcome {
                tracing::warn!(
                    MESSAGE_ID = Message::TaskRetries.id(), EXPORT_TASK = %id, EXPORT_NAME = %export,
                    "task {id} is {state}; before, it failed to {why}"
                );
            }
            return Ok(state);
        };
        let (reason, class) = (change.reason.clone(), change.error_class);
        let change = Change { tell: self.engine.tell(&row), ..change };
        let row = self.ledger.task_event(id, event, change).await?;
        crash::point("task.ended");
        tell_end(&row, event, class, &reason);
        Ok(row.state)
    }
}

/// Says and counts what became of a run.
fn tell_end(row: &TaskRow, event: TaskEvent, class: Option<ErrorClass>, reason: &str) {
    let (id, export, state) = (&row.id, &row.export, row.state.word());
    let message = match event {
        TaskEvent::Fail => Message::of_failure(class),
        TaskEvent::TryAgain => Message::TaskRetries,
        TaskEvent::Succeed => Message::TaskSucceeded,
        TaskEvent::Cancel => Message::TaskCancelled,
        _ => Message::TaskRequeued,
    };
    if row.state.closed() {
        METERS.ended.of((export.clone(), state)).add(1);
    }
    let (message, class) = (message.id(), class.map(ErrorClass::word));
    match event {
        TaskEvent::Fail => tracing::error!(
            MESSAGE_ID = message, EXPORT_TASK = %id, EXPORT_NAME = %export, EXPORT_STATE = state,
            EXPORT_ERROR_CLASS = class, "task {id} failed to {reason}"
        ),
        TaskEvent::TryAgain => tracing::warn!(
            MESSAGE_ID = message, EXPORT_TASK = %id, EXPORT_NAME = %export, EXPORT_STATE = state,
            EXPORT_ERROR_CLASS = class, "task {id} will be tried again: it failed to {reason}"
        ),
        _ => tracing::info!(
            MESSAGE_ID = message, EXPORT_TASK = %id, EXPORT_NAME = %export, EXPORT_STATE = state,
            "task {id} is {state}: {reason}"
        ),
    }
}
