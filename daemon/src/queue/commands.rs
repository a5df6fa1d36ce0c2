//! What the dispatcher does when somebody asks: submit, pause, resume, cancel, retry, reload.

use super::dispatcher::{Dispatcher, Engine, by};
use super::handle::{Act, Actor, Refusal, ReloadReport, Request, Submitted, Target};
use crate::base::crash;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::TaskId;
use crate::ledger::LedgerError;
use crate::ledger::input::{AuditEntry, Change};
use crate::ledger::rows::{TaskFilter, TaskRow};
use crate::model::task::{TaskEvent, TaskState};
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// Open tasks that one command may touch.
const MOST: u32 = 10_000;

type Answer = oneshot::Sender<Result<Vec<TaskId>, Refusal>>;

/// Answers that wait until running tasks have stopped.
#[derive(Default)]
pub(super) struct Answers(Vec<Waiting>);

struct Waiting {
    left: BTreeSet<TaskId>,
    changed: Vec<TaskId>,
    answer: Answer,
}

impl Answers {
    /// A run has ended: whoever waited for it and for nothing else is told.
    pub(super) fn ended(&mut self, id: &TaskId, changed: bool) {
        for waiting in &mut self.0 {
            if waiting.left.remove(id) && changed {
                waiting.changed.push(id.clone());
            }
        }
        for done in self.0.extract_if(.., |waiting| waiting.left.is_empty()) {
            let nothing = "the task ended before it could be stopped; `exportctl show` tells how";
            let result =
                if done.changed.is_empty() { Err(Refusal::Conflict(nothing.into())) } else { Ok(done.changed) };
            let _ = done.answer.send(result);
        }
    }
}

impl<E: Engine> Dispatcher<E> {
    pub(super) async fn submit(&self, request: &Request) -> Result<Submitted, Refusal> {
        let new = self.engine.plan(request)?;
        let (task, created) = self.ledger.create_task(new).await.map_err(|error| refusal(&error))?;
        crash::point("task.submitted");
        if created {
            tracing::info!(EXPORT_TASK = %task, EXPORT_NAME = %request.export, "task {task} queued by {}", request.actor.0);
        }
        Ok(Submitted { task, created })
    }

    pub(super) async fn reload(&self, actor: &Actor) -> Result<ReloadReport, Refusal> {
        let report = self.engine.reload()?;
        let summary = format!("{} applied, {} need a restart", report.applied.len(), report.needs_restart.len());
        let entry = AuditEntry {
            actor: actor.0.clone(),
            action: "reload".into(),
            reason: summary.clone(),
            ..AuditEntry::default()
        };
        self.ledger.audit(entry).await.map_err(|error| refusal(&error))?;
        tracing::info!("configuration reloaded by {}: {summary}", actor.0);
        Ok(report)
    }

    pub(super) async fn act(&mut self, act: Act, target: Target, actor: Actor, answer: Answer) {
        match self.begin(act, &target, &actor).await {
            Err(refused) => {
                let _ = answer.send(Err(refused));
            }
            Ok((changed, left)) if left.is_empty() => {
                let _ = answer.send(Ok(changed));
            }
            Ok((changed, left)) => self.answers.0.push(Waiting { left, changed, answer }),
        }
    }

    /// Acts on what does not run, and asks what runs to stop: the changed tasks, and those to wait for.
    async fn begin(
        &mut self,
        act: Act,
        target: &Target,
        actor: &Actor,
    ) -> Result<(Vec<TaskId>, BTreeSet<TaskId>), Refusal> {
        let rows = self.find(act, target).await?;
        if let Target::Export(export) = target
            && matches!(act, Act::Pause | Act::Resume)
        {
            let paused = self.ledger.set_export_paused(export.as_str(), act == Act::Pause, &actor.0).await;
            paused.map_err(|error| refusal(&error))?;
        }
        let (mut changed, mut left) = (Vec::new(), BTreeSet::new());
        for row in rows {
            let stops = matches!(act, Act::Pause | Act::Cancel);
            match self.running.get_mut(&row.id) {
                Some(run) if stops && run.parked.is_none() => {
                    run.wanted = Some((act, actor.clone()));
                    run.stop.cancel();
                    left.insert(row.id);
                }
                other => {
                    if stops && other.is_some() {
                        self.running.remove(&row.id);
                    }
                    self.apply(act, &row.id, actor).await?;
                    changed.push(row.id);
                }
            }
        }
        Ok((changed, left))
    }

    async fn apply(&self, act: Act, id: &TaskId, actor: &Actor) -> Result<(), Refusal> {
        let (event, change) = match act {
            Act::Pause => (TaskEvent::Pause, by(actor, "paused by an operator")),
            Act::Resume => (TaskEvent::Resume, Change { queue_head: true, ..by(actor, "resumed by an operator") }),
            Act::Cancel => (TaskEvent::Cancel, by(actor, "cancelled by an operator")),
            Act::Retry => (TaskEvent::Retry, by(actor, "retried by an operator")),
        };
        let row = self.ledger.task_event(id, event, change).await.map_err(|error| refusal(&error))?;
        tracing::info!(EXPORT_TASK = %id, EXPORT_NAME = %row.export, "task {id} is {} by {}", row.state, actor.0);
        Ok(())
    }

    /// The tasks that a command is about. One that is named must be able to take it; of many, those that can.
    async fn find(&self, act: Act, target: &Target) -> Result<Vec<TaskRow>, Refusal> {
        let takes: &[TaskState] = match act {
            Act::Pause => &[TaskState::Pending, TaskState::Processing],
            Act::Resume => &[TaskState::Paused],
            Act::Cancel => &[TaskState::Pending, TaskState::Processing, TaskState::Paused],
            Act::Retry => &[TaskState::Failed, TaskState::Cancelled],
        };
        let export = match target {
            Target::Task(id) => {
                let row = self.ledger.task(id).await.map_err(|error| refusal(&error))?;
                let row = row.ok_or_else(|| Refusal::NotFound(format!("there is no task {id}")))?;
                if !takes.contains(&row.state) {
                    let word = format!("{act:?}").to_lowercase();
                    return Err(Refusal::Conflict(format!("task {id} is {}: it cannot {word}", row.state)));
                }
                return Ok(vec![row]);
            }
            Target::Export(name) if !self.engine.has_export(name.as_str()) => {
                return Err(Refusal::NotFound(format!("there is no export {name} in the configuration")));
            }
            Target::Export(name) => Some(name.to_string()),
            Target::All => None,
        };
        let filter = TaskFilter { export, states: takes.to_vec(), limit: MOST };
        self.ledger.tasks(&filter).await.map_err(|error| refusal(&error))
    }
}

fn refusal(error: &LedgerError) -> Refusal {
    let text = format!("failed to {}", Chain(error));
    match error.class() {
        ErrorClass::Conflict => Refusal::Conflict(text),
        _ => Refusal::Unavailable(text),
    }
}
