//! The loop that owns what is running: commands, ends of runs and timers come in one after the other.

use super::commands::Answers;
use super::handle::{Act, Actor, Command, Progress, Refusal, ReloadReport, Request};
use super::policy::{self, Candidate, Slots};
use crate::base::error::{Chain, ErrorClass};
use crate::base::ids::TaskId;
use crate::base::retry::RetryPolicy;
use crate::base::{clock, crash};
use crate::ledger::input::{Change, NewTask};
use crate::ledger::rows::{TaskFilter, TaskRow};
use crate::ledger::{Ledger, LedgerError};
use crate::model::task::{TaskEvent, TaskState, Waiting};
use crate::transfer::progress::Counters;
use crate::transfer::{self, Outcome, TaskRun};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Pending tasks that are looked at when a slot is free; more than can start, and bounded.
const LOOK_AHEAD: u32 = 1000;
/// The loop turns at least this often, so that the watchdog sees it.
const TICK: Duration = Duration::from_secs(1);
/// Waits between the attempts of a task.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial: Duration::from_secs(4), max: Duration::from_secs(300) };

/// What the dispatcher needs from the layers that know the configuration.
pub trait Engine: Send + Sync + 'static {
    /// Checks a request and says what the ledger stores of it.
    fn plan(&self, request: &Request) -> Result<NewTask, Refusal>;
    /// Builds the run of a task from what it stored.
    fn build(&self, row: TaskRow, control: RunControl) -> Result<TaskRun, (ErrorClass, String)>;
    /// Whether an export of this name is configured.
    fn has_export(&self, name: &str) -> bool;
    /// Tasks that may extract at the same time.
    fn parallel(&self) -> usize;
    /// Reads the configuration again.
    fn reload(&self) -> Result<ReloadReport, Refusal>;
}

/// How the dispatcher and a run speak to each other.
pub struct RunControl {
    /// Asks the run to stop.
    pub stop: CancellationToken,
    /// Its live figures.
    pub progress: Arc<Counters>,
    /// Where it says that only delivery is left.
    pub extracted: mpsc::Sender<TaskId>,
}

/// A task that is Processing.
pub(super) struct Running {
    pub(super) row: TaskRow,
    pub(super) stop: CancellationToken,
    /// What an operator wants of it once it has stopped.
    pub(super) wanted: Option<(Act, Actor)>,
    progress: Arc<Counters>,
    extracting: bool,
    attempts: u32,
    waiting: Option<Waiting>,
    /// When a run that waits is started again.
    pub(super) parked: Option<Instant>,
    since: Instant,
}

/// The dispatcher.
pub struct Dispatcher<E> {
    pub(super) engine: Arc<E>,
    pub(super) ledger: Ledger,
    pub(super) running: BTreeMap<TaskId, Running>,
    jobs: JoinSet<(TaskId, Outcome)>,
    extracted: (mpsc::Sender<TaskId>, mpsc::Receiver<TaskId>),
    pub(super) answers: Answers,
    drain: Option<oneshot::Sender<()>>,
    /// The one export whose tasks it runs, in one-shot mode.
    only: Option<String>,
    wake: Option<jiff::Timestamp>,
    /// Seconds since `started` at the last turn of the loop; the watchdog reads it.
    heartbeat: Arc<AtomicU64>,
    started: Instant,
}

impl<E: Engine> Dispatcher<E> {
    /// A dispatcher over a ledger that has been recovered.
    pub fn new(engine: Arc<E>, ledger: Ledger) -> Self {
        Self {
            engine,
            ledger,
            running: BTreeMap::new(),
            jobs: JoinSet::new(),
            extracted: mpsc::channel(super::handle::INBOX),
            answers: Answers::default(),
            drain: None,
            only: None,
            wake: None,
            heartbeat: Arc::default(),
            started: clock::monotonic(),
        }
    }

    /// Runs the tasks of one export alone; those of others stay in the queue.
    #[must_use]
    pub fn only(self, export: &str) -> Self {
        Self { only: Some(export.to_owned()), ..self }
    }

    /// Seconds since the loop last turned.
    pub fn heartbeat(&self) -> impl Fn() -> Duration + Send + Sync + use<E> {
        let (heartbeat, started) = (self.heartbeat.clone(), self.started);
        move || clock::since(started).saturating_sub(Duration::from_secs(heartbeat.load(Ordering::Relaxed)))
    }

    /// Turns until it is asked to drain and everything has stopped.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            self.heartbeat.store(clock::since(self.started).as_secs(), Ordering::Relaxed);
            // So that whoever looks once sees the speed of the last seconds.
            self.running.values().for_each(|run| run.progress.note());
            if self.drain.is_some() {
                if self.jobs.is_empty() {
                    break;
                }
            } else if let Err(error) = self.fill().await {
                tracing::error!(EXPORT_ERROR_CLASS = "ledger", "failed to start tasks: {}", Chain(&error));
            }
            let quiet = self.until_wake();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => break,
                },
                Some(ended) = self.jobs.join_next(), if !self.jobs.is_empty() => match ended {
                    Ok((id, outcome)) => self.ended(&id, outcome).await,
                    Err(error) => self.panicked(&error).await,
                },
                Some(id) = self.extracted.1.recv() => self.only_delivery_left(&id),
                () = tokio::time::sleep(quiet) => {}
            }
        }
        if let Some(done) = self.drain {
            let _ = done.send(());
        }
    }

    fn until_wake(&self) -> Duration {
        let wake = self.wake.and_then(|at| Duration::try_from(at.duration_since(clock::now())).ok());
        let parked = self.running.values().filter_map(|run| run.parked).min();
        let parked = parked.map(|at| at.saturating_duration_since(clock::monotonic()));
        [wake, parked].into_iter().flatten().fold(TICK, Duration::min)
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Submit(request, answer) => {
                let _ = answer.send(self.submit(&request).await);
            }
            Command::Act(act, target, actor, answer) => self.act(act, target, actor, answer).await,
            Command::Reload(actor, answer) => {
                let _ = answer.send(self.reload(&actor).await);
            }
            Command::Progress(answer) => {
                let _ = answer.send(self.progress());
            }
            Command::Drain(answer) => {
                self.drain = Some(answer);
                for run in self.running.values_mut() {
                    run.stop.cancel();
                    run.parked = None;
                }
            }
        }
    }

    fn progress(&self) -> BTreeMap<String, Progress> {
        let read = |run: &Running| {
            let live = run.progress.read();
            Progress { waiting: run.waiting.clone().or(live.waiting), ..live }
        };
        self.running.iter().map(|(id, run)| (id.to_string(), read(run))).collect()
    }

    /// Starts what may start: parked runs whose time has come, then pending tasks while there are slots.
    async fn fill(&mut self) -> Result<(), LedgerError> {
        let now = clock::monotonic();
        self.clear_waiting().await;
        let due = |run: &&Running| run.parked.is_some_and(|at| at <= now);
        let parked: Vec<_> = self.running.values().filter(due).map(|run| run.row.clone()).collect();
        for row in parked {
            self.spawn(row);
        }
        let filter = TaskFilter { export: self.only.clone(), states: vec![TaskState::Pending], limit: LOOK_AHEAD };
        let mut pending = self.ledger.tasks(&filter).await?;
        pending.sort_by_key(|row| row.queue_pos);
        let candidates: Vec<_> = pending.iter().map(candidate).collect();
        let choice = policy::choose(&candidates, self.slots().await?, clock::now());
        self.wake = choice.wake;
        for id in choice.start {
            let Some(row) = pending.iter().find(|row| row.id == id) else { continue };
            if row.state != TaskState::Pending {
                continue;
            }
            let row = self.ledger.task_event(&id, TaskEvent::Start, Change::default()).await?;
            crash::point("task.started");
            self.spawn(row);
        }
        Ok(())
    }

    async fn clear_waiting(&mut self) {
        let goes_on = |run: &&Running| run.waiting.is_some() && run.parked.is_none() && clock::since(run.since) >= TICK;
        let ids: Vec<_> = self.running.values().filter(goes_on).map(|run| run.row.id.clone()).collect();
        for id in ids {
            self.tell_waiting(&id, None).await;
            if let Some(run) = self.running.get_mut(&id) {
                run.waiting = None;
            }
        }
    }

    async fn slots(&self) -> Result<Slots, LedgerError> {
        let extracting = self.running.values().filter(|run| run.extracting);
        Ok(Slots {
            parallel: self.engine.parallel(),
            used: extracting.clone().count(),
            plain_exports: extracting
                .filter(|run| run.row.params.is_empty())
                .map(|run| run.row.export.clone())
                .collect(),
            paused: self.ledger.paused_exports().await?.into_iter().collect::<BTreeSet<_>>(),
            stopping: self.running.keys().cloned().collect(),
        })
    }

    fn spawn(&mut self, row: TaskRow) {
        let id = row.id.clone();
        let (stop, progress) = (CancellationToken::new(), Arc::<Counters>::default());
        let control =
            RunControl { stop: stop.clone(), progress: progress.clone(), extracted: self.extracted.0.clone() };
        let built = self.engine.build(row.clone(), control);
        let attempts = built.as_ref().map_or(1, |run| run.export.attempts);
        let extracting = !row.extracted;
        tracing::info!(EXPORT_TASK = %id, EXPORT_NAME = %row.export, "task {id} started (attempt {})", row.attempt);
        // A run that waited keeps saying so until it has gone on for a while.
        let waiting = self.running.remove(&id).and_then(|run| run.waiting);
        let since = clock::monotonic();
        let run = Running { row, stop, wanted: None, progress, extracting, attempts, waiting, parked: None, since };
        self.running.insert(id.clone(), run);
        match built {
            Ok(run) => {
                self.jobs.spawn(async move { (id, transfer::run(Arc::new(run)).await) });
            }
            Err((class, why)) => {
                self.jobs.spawn(async move { (id, Outcome::Failed(class, why)) });
            }
        }
    }

    fn only_delivery_left(&mut self, id: &TaskId) {
        if let Some(run) = self.running.get_mut(id) {
            run.extracting = false;
        }
    }

    async fn panicked(&mut self, error: &tokio::task::JoinError) {
        // State that nobody owns any more is worse than a restart, which recovers every task from the ledger.
        tracing::error!("a task's run ended by a bug, the daemon ends so that it can recover: {error}");
        std::process::abort();
    }

    async fn ended(&mut self, id: &TaskId, outcome: Outcome) {
        let Some(mut run) = self.running.remove(id) else { return };
        if let (Outcome::Wait(waiting, recheck), None, None) = (&outcome, &run.wanted, &self.drain) {
            if run.waiting.as_ref() != Some(waiting) {
                tracing::warn!(EXPORT_TASK = %id, EXPORT_NAME = %run.row.export, "task {id} waits: {}", waiting.reason);
                self.tell_waiting(id, Some(waiting.clone())).await;
            }
            run.waiting = Some(waiting.clone());
            run.parked = Some(clock::monotonic() + *recheck);
            self.running.insert(id.clone(), run);
            return;
        }
        if run.waiting.is_some() {
            self.tell_waiting(id, None).await;
        }
        let wanted = run.wanted.clone();
        let mut settled = self.settle(&run, outcome).await;
        // It failed on its own while it was asked to pause: what waits for its next attempt is paused all the same.
        if let (Ok(TaskState::Pending), Some((Act::Pause, actor))) = (&settled, &wanted) {
            let pause = self.ledger.task_event(id, TaskEvent::Pause, by(actor, "paused by an operator"));
            settled = pause.await.map(|row| row.state);
        }
        let changed = match settled {
            Ok(state) => wanted.is_none_or(|(act, _)| reached(act, state)),
            Err(error) => {
                tracing::error!(EXPORT_TASK = %id, "failed to record how task {id} ended: {}", Chain(&error));
                false
            }
        };
        self.answers.ended(id, changed);
    }

    async fn tell_waiting(&self, id: &TaskId, waiting: Option<Waiting>) {
        if let Err(error) = self.ledger.set_waiting(id, waiting).await {
            tracing::warn!(EXPORT_TASK = %id, "failed to record why task {id} waits: {}", Chain(&error));
        }
    }

    /// Records the state that follows from the end of a run.
    async fn settle(&mut self, run: &Running, outcome: Outcome) -> Result<TaskState, LedgerError> {
        let id = &run.row.id;
        let row = self.ledger.task(id).await?.unwrap_or_else(|| run.row.clone());
        let (event, change) = match (outcome, &run.wanted) {
            (Outcome::Done, _) => (TaskEvent::Succeed, because("everything is verified and published")),
            (_, Some((Act::Cancel, actor))) => (TaskEvent::Cancel, by(actor, "cancelled by an operator")),
            (Outcome::Stopped | Outcome::Wait(..), Some((_, actor))) => {
                (TaskEvent::Pause, by(actor, "paused by an operator"))
            }
            (Outcome::Stopped | Outcome::Wait(..), None) => {
                // Being stopped is no failed attempt.
                let attempt = Some(row.attempt.saturating_sub(1));
                let reason = "the daemon was stopped; it goes on at the next start";
                (TaskEvent::Recover, Change { attempt, queue_head: true, ..because(reason) })
            }
            (Outcome::RetryAfter(wait, class, why), _) => {
                let change = Change { error_class: Some(class), ..because(&why) };
                if row.attempt >= run.attempts {
                    (TaskEvent::Fail, change)
                } else {
                    let wait = wait.unwrap_or_else(|| backoff(row.attempt));
                    let not_before = Some(clock::now() + wait);
                    (TaskEvent::TryAgain, Change { not_before, ..change })
                }
            }
            (Outcome::Failed(class, why), _) => (TaskEvent::Fail, Change { error_class: Some(class), ..because(&why) }),
        };
        let reason = change.reason.clone();
        let row = self.ledger.task_event(id, event, change).await?;
        crash::point("task.ended");
        let (export, state) = (&row.export, row.state);
        match event {
            TaskEvent::Fail => {
                tracing::error!(EXPORT_TASK = %id, EXPORT_NAME = %export, "task {id} failed to {reason}");
            }
            TaskEvent::TryAgain => {
                tracing::warn!(EXPORT_TASK = %id, EXPORT_NAME = %export, "task {id} will be tried again: it failed to {reason}");
            }
            _ => tracing::info!(EXPORT_TASK = %id, EXPORT_NAME = %export, "task {id} is {state}: {reason}"),
        }
        Ok(state)
    }
}

/// A change that the daemon makes by itself.
fn because(reason: &str) -> Change {
    Change { reason: reason.to_owned(), ..Change::default() }
}

/// A change that somebody asked for.
pub(super) fn by(actor: &Actor, reason: &str) -> Change {
    Change { reason: reason.to_owned(), actor: actor.0.clone(), ..Change::default() }
}

fn backoff(attempt: u32) -> Duration {
    let mut waits = RETRY.waits();
    for _ in 1..attempt.min(16) {
        let _ = waits.next_wait(None);
    }
    waits.next_wait(None).unwrap_or(RETRY.max).max(Duration::from_millis(500))
}

fn reached(act: Act, state: TaskState) -> bool {
    matches!((act, state), (Act::Pause, TaskState::Paused) | (Act::Cancel, TaskState::Cancelled))
}

fn candidate(row: &TaskRow) -> Candidate {
    Candidate {
        id: row.id.clone(),
        export: row.export.clone(),
        plain: row.params.is_empty(),
        not_before: row.not_before,
    }
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
