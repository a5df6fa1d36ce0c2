//! How the rest of the daemon speaks to the dispatcher: typed commands with typed answers.

pub use super::carry::{Order, Ordered};
use super::live::Live;
use crate::base::ids::{Name, TaskId};
use crate::ledger::Slot;
pub use crate::model::progress::Progress;
pub use crate::model::scope::Scope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait in the dispatcher's inbox; callers wait beyond that.
pub const INBOX: usize = 64;

/// Who asks, as the kernel says; goes into the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(pub String);

/// A request for a task.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which export.
    pub export: String,
    /// Parameters of this run.
    pub params: BTreeMap<String, String>,
    /// Word of the format, where it is not the export's own.
    pub format: Option<String>,
    /// What of the export is read.
    pub scope: Scope,
    /// Names of recipients that are told how it ends, beside those of the export.
    pub notify: Vec<String>,
    /// Who asks.
    pub actor: Actor,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The task.
    pub task: TaskId,
    /// False where an equal request is still open and this is its task.
    pub created: bool,
}

/// What a command is about.
#[derive(Clone, Debug)]
pub enum Target {
    /// One task.
    Task(TaskId),
    /// An export: its open tasks and its schedule.
    Export(Name),
    /// Everything.
    All,
}

/// What to do with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Stop, keep everything.
    Pause,
    /// Go on, at the head of the queue.
    Resume,
    /// End without publishing.
    Cancel,
    /// Run a failed or cancelled task again.
    Retry,
}

/// Why a command was not carried out; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such thing.
    #[error("{0}")]
    NotFound(String),
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The daemon cannot do it now.
    #[error("{0}")]
    Unavailable(String),
}

/// What a reload found and did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// What is in force from now on, a line each.
    pub applied: Vec<String>,
    /// What takes effect only after a restart, a line each.
    pub needs_restart: Vec<String>,
    /// What somebody should know about open tasks and marks, a line each.
    pub notes: Vec<String>,
}

/// A command in the dispatcher's inbox.
pub enum Command {
    /// Create a task, or find the open one of an equal request.
    Submit(Request, oneshot::Sender<Result<Submitted, Refusal>>),
    /// The same for a slot of a schedule, if it still counts.
    SubmitSlot(Request, Slot, oneshot::Sender<Result<Option<Submitted>, Refusal>>),
    /// Act on tasks; answers with those it changed.
    Act(Act, Target, Actor, oneshot::Sender<Result<Vec<TaskId>, Refusal>>),
    /// Change the destinations of a task.
    Order(TaskId, Order, oneshot::Sender<Result<Ordered, Refusal>>),
    /// Read the configuration again.
    Reload(Actor, oneshot::Sender<Result<ReloadReport, Refusal>>),
    /// Stop every task at a page boundary and end.
    Drain(oneshot::Sender<()>),
}

/// What the dispatcher takes its commands from, and where it shows what is under way.
pub struct Inbox {
    /// The commands, in their order.
    pub commands: mpsc::Receiver<Command>,
    pub(super) live: Live,
}

/// Where commands go in, and what is under way is seen.
#[derive(Clone)]
pub struct QueueHandle {
    inbox: mpsc::Sender<Command>,
    live: Live,
}

impl QueueHandle {
    /// A handle and the inbox that the dispatcher reads.
    pub fn new() -> (Self, Inbox) {
        let (inbox, commands) = mpsc::channel(INBOX);
        let live = Live::default();
        (Self { inbox, live: live.clone() }, Inbox { commands, live })
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        self.inbox.send(command(answer)).await.ok()?;
        wait.await.ok()
    }

    /// Creates a task, or finds the open one of an equal request.
    pub async fn submit(&self, request: Request) -> Result<Submitted, Refusal> {
        self.ask(|answer| Command::Submit(request, answer)).await.unwrap_or_else(|| Err(going_away()))
    }

    /// Creates the task of a slot of a schedule; not `created` where that of an equal request is still open, and `None` where
    /// the slot does not count any more.
    pub async fn submit_slot(&self, request: Request, slot: Slot) -> Result<Option<Submitted>, Refusal> {
        self.ask(|answer| Command::SubmitSlot(request, slot, answer)).await.unwrap_or_else(|| Err(going_away()))
    }

    /// Pauses, resumes, cancels or retries; answers with the tasks that changed.
    pub async fn act(&self, act: Act, target: Target, actor: Actor) -> Result<Vec<TaskId>, Refusal> {
        self.ask(|answer| Command::Act(act, target, actor, answer)).await.unwrap_or_else(|| Err(going_away()))
    }

    /// Gives a task one more destination, or lets it go on without one.
    pub async fn order(&self, task: TaskId, order: Order) -> Result<Ordered, Refusal> {
        self.ask(|answer| Command::Order(task, order, answer)).await.unwrap_or_else(|| Err(going_away()))
    }

    /// Reads the configuration again.
    pub async fn reload(&self, actor: Actor) -> Result<ReloadReport, Refusal> {
        self.ask(|answer| Command::Reload(actor, answer)).await.unwrap_or_else(|| Err(going_away()))
    }

    /// Live figures of the tasks that are under way, by task id.
    pub fn progress(&self) -> BTreeMap<String, Progress> {
        self.live.progress()
    }

    /// Stops every task at a page boundary.
    pub async fn drain(&self) {
        let _ = self.ask(Command::Drain).await;
    }
}

fn going_away() -> Refusal {
    Refusal::Unavailable("the daemon is shutting down; try again in a moment".into())
}
