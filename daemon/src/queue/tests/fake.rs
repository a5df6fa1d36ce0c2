//! A bench: a ledger, a dispatcher, and an engine whose runs follow a script.

use crate::base::clock;
use crate::base::ids::{RequestKey, TaskId};
use crate::ledger::Ledger;
use crate::ledger::input::NewTask;
use crate::ledger::rows::{AuditRow, TaskRow};
use crate::model::scope::Scope;
use crate::model::task::TaskState;
use crate::queue::dispatcher::{Dispatcher, Engine, RunControl};
use crate::queue::handle::{Act, Actor, QueueHandle, Refusal, ReloadReport, Request, Target};
use crate::transfer::Outcome;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What one run does.
pub enum Script {
    /// Ends at once.
    End(Outcome),
    /// Ends like this when it is asked to stop.
    WhenStopped(Outcome),
    /// Ends like this when the gate is opened, whoever asks it to stop.
    AtGate(Arc<Notify>, Outcome),
}

/// An engine whose runs follow the script of their export; without one they run until they are stopped.
#[derive(Default)]
pub struct Fake {
    scripts: Mutex<BTreeMap<String, VecDeque<Script>>>,
    /// The rows that runs were started with.
    pub started: Mutex<Vec<TaskRow>>,
}

impl Engine for Fake {
    fn plan(&self, request: &Request) -> Result<NewTask, Refusal> {
        let params: Vec<_> = request.params.clone().into_iter().collect();
        Ok(NewTask {
            export: request.export.clone(),
            key: RequestKey::new(&request.export, &params, "csv", ""),
            params,
            scope: Scope::default(),
            chained: false,
            format: "csv".into(),
            config: "{}".into(),
            streams: vec!["orders".into()],
            notify: request.notify.clone(),
            actor: request.actor.0.clone(),
            at: clock::now(),
        })
    }

    fn run(self: Arc<Self>, row: TaskRow, control: RunControl) -> BoxFuture<'static, Outcome> {
        let script = self.scripts.lock().unwrap().entry(row.export.clone()).or_default().pop_front();
        self.started.lock().unwrap().push(row);
        Box::pin(async move {
            match script.unwrap_or(Script::WhenStopped(Outcome::Stopped)) {
                Script::End(outcome) => outcome,
                Script::WhenStopped(outcome) => {
                    control.stop.cancelled().await;
                    outcome
                }
                Script::AtGate(gate, outcome) => {
                    gate.notified().await;
                    outcome
                }
            }
        })
    }

    fn attempts(&self, _row: &TaskRow) -> u32 {
        3
    }

    fn has_export(&self, _name: &str) -> bool {
        true
    }

    fn parallel(&self) -> usize {
        2
    }

    fn reload(&self) -> BoxFuture<'_, Result<ReloadReport, Refusal>> {
        Box::pin(std::future::ready(Ok(ReloadReport::default())))
    }
}

/// A dispatcher at work.
pub struct Bench {
    pub ledger: Ledger,
    pub queue: QueueHandle,
    pub engine: Arc<Fake>,
    pub dispatcher: JoinHandle<()>,
    pub dir: TempDir,
}

impl Bench {
    /// A dispatcher over an empty ledger; the runs of an export follow its scripts, one after the other.
    pub fn new(scripts: impl IntoIterator<Item = (&'static str, Vec<Script>)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("state")).unwrap();
        let bench = Self::over(dir, ledger);
        let scripts = scripts.into_iter().map(|(export, runs)| (export.to_owned(), runs.into()));
        *bench.engine.scripts.lock().unwrap() = scripts.collect();
        bench
    }

    /// A dispatcher over this ledger.
    pub fn over(dir: TempDir, ledger: Ledger) -> Self {
        let engine = Arc::<Fake>::default();
        let (queue, inbox) = QueueHandle::new();
        let dispatcher = tokio::spawn(Dispatcher::new(engine.clone(), ledger.clone()).run(inbox));
        Self { ledger, queue, engine, dispatcher, dir }
    }

    /// Asks for a run of an export.
    pub async fn run(&self, export: &str) -> TaskId {
        let actor = Actor("anna".into());
        let request = Request {
            export: export.into(),
            params: BTreeMap::new(),
            format: None,
            scope: Scope::default(),
            notify: Vec::new(),
            actor,
        };
        self.queue.submit(request).await.unwrap().task
    }

    /// Asks for a run and waits until it is under way.
    pub async fn under_way(&self, export: &str) -> TaskId {
        let runs = self.runs(export);
        let id = self.run(export).await;
        soon("the run starts", async || self.runs(export) > runs).await;
        id
    }

    /// How often runs of an export were started.
    pub fn runs(&self, export: &str) -> usize {
        self.engine.started.lock().unwrap().iter().filter(|row| row.export == export).count()
    }

    /// Acts on a task, in the background.
    pub fn act(&self, act: Act, target: Target) -> JoinHandle<Result<Vec<TaskId>, Refusal>> {
        let queue = self.queue.clone();
        tokio::spawn(async move { queue.act(act, target, Actor("anna".into())).await })
    }

    /// A task as the ledger has it.
    pub async fn task(&self, id: &TaskId) -> TaskRow {
        self.ledger.task(id).await.unwrap().unwrap()
    }

    /// Waits until a task is in a state.
    pub async fn reaches(&self, id: &TaskId, state: TaskState) -> TaskRow {
        soon(state.word(), async || self.task(id).await.state == state).await;
        self.task(id).await
    }

    /// Waits until a task says that it waits.
    pub async fn waits(&self, id: &TaskId) {
        soon("it waits", async || self.task(id).await.waiting.is_some()).await;
    }

    /// What the audit says of a task.
    pub async fn audit(&self, id: &TaskId) -> Vec<AuditRow> {
        let mut rows = self.ledger.audit_since(0, 10_000).await.unwrap();
        rows.retain(|row| row.task.as_deref() == Some(id.as_str()));
        rows
    }
}

/// Waits until something is so.
pub async fn soon(what: &str, holds: impl AsyncFn() -> bool) {
    let start = clock::monotonic();
    while !holds().await {
        assert!(clock::since(start) < Duration::from_secs(30), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
