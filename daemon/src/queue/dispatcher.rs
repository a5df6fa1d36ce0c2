//! The loop that owns what is running: commands, ends of runs and timers come in one after the other.

use super::carry::Carriers;
use super::commands::Answers;
use super::handle::{Command, Inbox, Refusal, ReloadReport, Request};
use super::policy::{self, Slots};
use super::runs::Running;
use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::host::messages::Message;
use crate::ledger::input::NewTask;
use crate::ledger::rows::TaskRow;
use crate::ledger::{Ledger, LedgerError};
use crate::model::notice::Rule;
use crate::model::task::Waiting;
use crate::transfer::Outcome;
use crate::transfer::progress::Counters;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tasks at the head of the queue that are looked at when a slot is free. Enough: of those only the twins of a plain task
/// that extracts cannot start, of which there are at most three (the other formats) for each slot.
const LOOK_AHEAD: u32 = 1000;
/// The loop turns at least this often, so that the watchdog sees it.
const TICK: Duration = Duration::from_secs(1);
/// What the dispatcher needs from the layers that know the configuration.
pub trait Engine: Send + Sync + 'static {
    /// How often a task that runs says how far it is.
    fn progress_every(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Checks a request and says what the ledger stores of it.
    fn plan(&self, request: &Request) -> Result<NewTask, Refusal>;
    /// Runs a task from wherever it stands, with what it stored. Nothing in it may block a thread of the runtime, or go
    /// on for long once it is asked to stop.
    fn run(self: Arc<Self>, row: TaskRow, control: RunControl) -> BoxFuture<'static, Outcome>;
    /// Carries on with the deliveries of a task that is paused, or that has succeeded and is filled back elsewhere. Like
    /// [`Engine::run`], but asks no source.
    fn carry(self: Arc<Self>, _row: TaskRow, _control: RunControl) -> BoxFuture<'static, Outcome> {
        Box::pin(std::future::ready(Outcome::Done))
    }
    /// Attempts in a row that a task has, by what it stored.
    fn attempts(&self, row: &TaskRow) -> u32;
    /// Whether an export of this name is configured.
    fn has_export(&self, name: &str) -> bool;
    /// Tasks that may extract at the same time.
    fn parallel(&self) -> usize;
    /// Why no task of an export may start now, where it has time windows and this is outside of them.
    fn closed(&self, _export: &str) -> Option<Waiting> {
        None
    }
    /// Who is told how a task ends.
    fn tell(&self, _row: &TaskRow) -> Vec<Rule> {
        Vec::new()
    }
    /// Reads the configuration again.
    fn reload(&self) -> BoxFuture<'_, Result<ReloadReport, Refusal>>;
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

/// The dispatcher.
pub struct Dispatcher<E> {
    pub(super) engine: Arc<E>,
    pub(super) ledger: Ledger,
    pub(super) running: BTreeMap<TaskId, Running>,
    pub(super) jobs: JoinSet<(TaskId, Outcome)>,
    pub(super) extracted: (mpsc::Sender<TaskId>, mpsc::Receiver<TaskId>),
    pub(super) answers: Answers,
    pub(super) carriers: Carriers,
    /// Whether the ledger could not take the end of a run lately: said once, not at each try.
    pub(super) untold: bool,
    drain: Option<oneshot::Sender<()>>,
    /// The one export whose tasks it runs, in one-shot mode.
    only: Option<String>,
    /// Why no task could be started at the last turn.
    trouble: Option<String>,
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
            carriers: Carriers::default(),
            untold: false,
            drain: None,
            only: None,
            trouble: None,
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
    pub async fn run(mut self, mut inbox: Inbox) {
        // Those of the daemon before go on.
        self.carriers.look();
        loop {
            self.heartbeat.store(clock::since(self.started).as_secs(), Ordering::Relaxed);
            // So that whoever looks once sees the speed of the last seconds.
            let every = self.engine.progress_every();
            self.running.values_mut().for_each(|run| run.note(every));
            if self.drain.is_some() && self.jobs.is_empty() && self.carriers.jobs.is_empty() {
                break;
            }
            self.tend().await;
            if self.drain.is_none() {
                let filled = self.fill().await;
                self.complain(filled);
                if self.only.is_none() {
                    self.carry().await;
                }
            }
            inbox.live.show(self.carriers.shown().chain(self.running.values().map(Running::shown)));
            let quiet = self.until_wake();
            tokio::select! {
                command = inbox.commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => break,
                },
                Some(ended) = self.jobs.join_next(), if !self.jobs.is_empty() => match ended {
                    Ok((id, outcome)) => self.ended(&id, outcome).await,
                    Err(error) => self.panicked(&error).await,
                },
                Some(ended) = self.carriers.jobs.join_next(), if !self.carriers.jobs.is_empty() => match ended {
                    Ok((id, outcome)) => self.carried(&id, outcome).await,
                    Err(error) => self.panicked(&error).await,
                },
                Some(id) = self.extracted.1.recv() => {
                    if let Some(run) = self.running.get_mut(&id) {
                        run.extracted();
                    }
                }
                () = tokio::time::sleep(quiet) => {}
            }
        }
        inbox.live.show(std::iter::empty());
        if let Some(done) = self.drain {
            let _ = done.send(());
        }
    }

    /// Whether the daemon ends.
    pub(super) fn drains(&self) -> bool {
        self.drain.is_some()
    }

    fn until_wake(&self) -> Duration {
        let wake = self.wake.and_then(|at| Duration::try_from(at.duration_since(clock::now())).ok());
        let due = self.running.values().filter_map(Running::due).chain(self.carriers.due()).min();
        let due = due.map(|at| at.saturating_duration_since(clock::monotonic()));
        [wake, due].into_iter().flatten().fold(TICK, Duration::min)
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Submit(request, answer) => {
                let _ = answer.send(self.submit(&request).await);
            }
            Command::SubmitSlot(request, slot, answer) => {
                let _ = answer.send(self.submit_slot(&request, slot).await);
            }
            Command::Act(act, target, actor, answer) => self.act(act, target, actor, answer).await,
            Command::Reload(actor, answer) => {
                let _ = answer.send(self.reload(&actor).await);
            }
            Command::Order(id, order, answer) => self.order(id, order, answer).await,
            Command::Drain(answer) => {
                self.drain = Some(answer);
                self.carriers.stop_all();
                self.stop_all().await;
            }
        }
    }

    /// Starts pending tasks while there are slots.
    async fn fill(&mut self) -> Result<(), LedgerError> {
        self.wake = None;
        let slots = self.slots();
        let head = self.ledger.queue_head(self.only.as_deref(), clock::now(), LOOK_AHEAD).await?;
        self.wake = head.next;
        let exports: BTreeSet<&String> = head.due.iter().map(|task| &task.export).collect();
        let closed = exports.into_iter().filter(|export| self.engine.closed(export).is_some()).cloned().collect();
        let slots = Slots { closed, ..slots };
        for id in policy::choose(&head.due, slots) {
            self.start(&id).await?;
        }
        Ok(())
    }

    fn slots(&self) -> Slots {
        let extracting = self.running.values().filter_map(Running::extracts);
        let plain = extracting.clone().filter(|(_, plain)| *plain);
        Slots {
            parallel: self.engine.parallel(),
            used: extracting.count(),
            chained_exports: plain.map(|(export, _)| export.to_owned()).collect(),
            stopping: self.running.keys().cloned().chain(self.carriers.busy()).collect(),
            closed: BTreeSet::new(),
        }
    }

    /// Says once that no task can be started, not at every turn.
    fn complain(&mut self, filled: Result<(), LedgerError>) {
        let trouble = filled.err().map(|error| Chain(&error).to_string());
        if let Some(text) = trouble.as_ref().filter(|_| self.trouble != trouble) {
            tracing::error!(MESSAGE_ID = Message::LedgerTrouble.id(), "failed to start tasks: {text}");
        }
        self.trouble = trouble;
    }

    async fn panicked(&mut self, error: &tokio::task::JoinError) {
        // State that nobody owns any more is worse than a restart, which recovers every task from the ledger.
        tracing::error!(
            MESSAGE_ID = Message::Bug.id(),
            "a task's run ended by a bug, the daemon ends so that it can recover: {error}"
        );
        std::process::abort();
    }
}
