//! What the dispatcher does when somebody asks: submit, pause, resume, cancel, retry, reload.

use super::dispatcher::{Dispatcher, Engine};
use super::handle::{Act, Actor, Refusal, ReloadReport, Request, Submitted, Target};
use super::policy::by;
use crate::base::crash;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::TaskId;
use crate::host::messages::Message;
use crate::ledger::input::{AuditEntry, Change};
use crate::ledger::rows::{TaskFilter, TaskRow};
use crate::ledger::{LedgerError, Slot};
use crate::metrics::METERS;
use crate::model::task::{TaskEvent, TaskState};
use saas_export_api::plural;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// Open tasks that one command may touch.
const MOST: u32 = 10_000;

/// Changes of the configuration that the log and the audit name; more are told as a number.
const CHANGES_NAMED: usize = 5;

type Answer = oneshot::Sender<Result<Vec<TaskId>, Refusal>>;

/// Answers that wait until running tasks have stopped.
#[derive(Default)]
pub(super) struct Answers(Vec<Waiting>);

struct Waiting {
    act: Act,
    left: BTreeSet<TaskId>,
    changed: Vec<TaskId>,
    /// Why the last one that did not get there did not.
    missed: Option<Refusal>,
    answer: Answer,
}

impl Answers {
    /// A run has ended, and its task is in this state, or that could not be recorded yet: whoever waited for it and for
    /// nothing else is told.
    pub(super) fn ended(&mut self, id: &TaskId, state: Option<TaskState>) {
        self.tell(id, |act| match state {
            Some(state) if reached(act, state) => Ok(()),
            Some(state) => {
                Err(Refusal::Conflict(format!("task {id} is {state} by now; `exportctl show {id}` tells how")))
            }
            None => {
                let why = format!("task {id} has stopped, but the ledger could not take it; this is tried again");
                Err(Refusal::Unavailable(why))
            }
        });
    }

    /// What was wanted of a run is refused now that it has stopped: whoever waited for it and for nothing else is told.
    pub(super) fn refused(&mut self, id: &TaskId, why: &Refusal) {
        self.tell(id, |_| Err(why.clone()));
    }

    fn tell(&mut self, id: &TaskId, became: impl Fn(Act) -> Result<(), Refusal>) {
        for waiting in &mut self.0 {
            if waiting.left.remove(id) {
                match became(waiting.act) {
                    Ok(()) => waiting.changed.push(id.clone()),
                    Err(why) => waiting.missed = Some(why),
                }
            }
        }
        for done in self.0.extract_if(.., |waiting| waiting.left.is_empty()) {
            let result = match done.missed {
                Some(why) if done.changed.is_empty() => Err(why),
                _ => Ok(done.changed),
            };
            let _ = done.answer.send(result);
        }
    }
}

fn submitted(task: TaskId, created: bool, request: &Request) -> Submitted {
    if created {
        tracing::info!(
            MESSAGE_ID = Message::TaskQueued.id(), EXPORT_TASK = %task, EXPORT_NAME = %request.export,
            EXPORT_STATE = "pending", EXPORT_ACTOR = %request.actor.0, "task {task} queued by {}", request.actor.0
        );
    }
    Submitted { task, created }
}

fn reached(act: Act, state: TaskState) -> bool {
    matches!((act, state), (Act::Pause, TaskState::Paused) | (Act::Cancel, TaskState::Cancelled))
}

/// What a command did to one task.
enum Acted {
    /// It is where it was wanted.
    Changed,
    /// It will be, when its run has stopped.
    Stopping,
    /// It stays as it is.
    Left,
}

impl<E: Engine> Dispatcher<E> {
    pub(super) async fn submit(&self, request: &Request) -> Result<Submitted, Refusal> {
        let new = self.engine.plan(request)?;
        let (task, created) = self.ledger.create_task(new).await.map_err(|error| refusal(&error))?;
        crash::point("task.submitted");
        Ok(submitted(task, created, request))
    }

    /// The same for a slot of a schedule: both are stored, or neither is.
    pub(super) async fn submit_slot(&self, request: &Request, slot: Slot) -> Result<Option<Submitted>, Refusal> {
        let new = self.engine.plan(request)?;
        crash::point("slot.before_commit");
        let made = self.ledger.create_slot_task(new, slot).await.map_err(|error| refusal(&error))?;
        crash::point("slot.committed");
        Ok(made.map(|(task, created)| submitted(task, created, request)))
    }

    pub(super) async fn reload(&self, actor: &Actor) -> Result<ReloadReport, Refusal> {
        let report = self.engine.reload().await.inspect_err(|refused| {
            tracing::error!(
                MESSAGE_ID = Message::ReloadRefused.id(), EXPORT_ACTOR = %actor.0,
                "the configuration was not reloaded, the old one stays in force: {refused}"
            );
        })?;
        let mut summary = format!("{} applied, {} need a restart", report.applied.len(), report.needs_restart.len());
        let changes: Vec<&str> = report.applied.iter().chain(&report.needs_restart).map(String::as_str).collect();
        for (index, change) in changes.iter().take(CHANGES_NAMED).enumerate() {
            summary.push_str(if index == 0 { ": " } else { "; " });
            summary.push_str(change);
        }
        if changes.len() > CHANGES_NAMED {
            summary.push_str(&format!("; and {} more", changes.len() - CHANGES_NAMED));
        }
        let entry = AuditEntry {
            actor: actor.0.clone(),
            action: "reload".into(),
            reason: summary.clone(),
            ..AuditEntry::default()
        };
        self.ledger.audit(entry).await.map_err(|error| refusal(&error))?;
        tracing::info!(
            MESSAGE_ID = Message::Reloaded.id(), EXPORT_ACTOR = %actor.0, "configuration reloaded by {}: {summary}", actor.0
        );
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
            Ok((changed, left)) => self.answers.0.push(Waiting { act, left, changed, missed: None, answer }),
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
        self.hold_exports(act, target, actor).await?;
        let named = matches!(target, Target::Task(_));
        let (mut changed, mut left) = (Vec::new(), BTreeSet::new());
        for row in rows {
            match self.act_on(act, &row, actor, named).await {
                Ok(Acted::Changed) => changed.push(row.id),
                Ok(Acted::Stopping) => {
                    left.insert(row.id);
                }
                Ok(Acted::Left) => {}
                Err(Refusal::Unavailable(why)) if !changed.is_empty() || !left.is_empty() => {
                    let before = changed.len() + left.len();
                    return Err(Refusal::Unavailable(format!(
                        "{why} (changed before it: {before} {})",
                        plural(before, "task")
                    )));
                }
                Err(refused) => return Err(refused),
            }
        }
        Ok((changed, left))
    }

    async fn act_on(&mut self, act: Act, row: &TaskRow, actor: &Actor, named: bool) -> Result<Acted, Refusal> {
        // Its deliveries go on, if they do, once what is asked for is done.
        self.carriers.stop(&row.id);
        let Some(run) = self.running.get_mut(&row.id) else {
            self.apply(act, &row.id, actor).await?;
            return Ok(Acted::Changed);
        };
        run.forget_order();
        if run.cancelled_by.is_some() && act != Act::Cancel {
            let why = format!("task {} is being cancelled", row.id);
            return if named { Err(Refusal::Conflict(why)) } else { Ok(Acted::Left) };
        }
        if act == Act::Cancel && !run.parked() {
            run.cancelled_by.get_or_insert_with(|| actor.clone());
            run.stop();
            return Ok(Acted::Stopping);
        }
        // A pause is stored before the run has stopped, so that it also holds if the daemon dies meanwhile.
        self.apply(act, &row.id, actor).await?;
        match self.running.get_mut(&row.id) {
            Some(run) if act == Act::Pause && !run.parked() => {
                run.stop();
                Ok(Acted::Stopping)
            }
            Some(run) if run.parked() => {
                self.running.remove(&row.id);
                Ok(Acted::Changed)
            }
            _ => Ok(Acted::Changed),
        }
    }

    /// Pauses an export or lets it go on, as the target says; `resume --all` lets all of them go on.
    async fn hold_exports(&self, act: Act, target: &Target, actor: &Actor) -> Result<(), Refusal> {
        let exports = match (act, target) {
            (Act::Pause | Act::Resume, Target::Export(export)) => vec![export.to_string()],
            (Act::Resume, Target::All) => self.ledger.paused_exports().await.map_err(|error| refusal(&error))?,
            _ => return Ok(()),
        };
        for export in exports {
            let held = self.ledger.set_export_paused(&export, act == Act::Pause, &actor.0).await;
            held.map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    async fn apply(&self, act: Act, id: &TaskId, actor: &Actor) -> Result<(), Refusal> {
        let (event, change) = match act {
            Act::Pause => (TaskEvent::Pause, by(actor, "paused by an operator")),
            Act::Resume => (TaskEvent::Resume, Change { queue_head: true, ..by(actor, "resumed by an operator") }),
            Act::Cancel => (TaskEvent::Cancel, by(actor, "cancelled by an operator")),
            Act::Retry => (TaskEvent::Retry, by(actor, "retried by an operator")),
        };
        let row = self.ledger.task_event(id, event, change).await.map_err(|error| refusal(&error))?;
        let message = match act {
            Act::Pause => Message::TaskPaused,
            Act::Resume => Message::TaskResumed,
            Act::Cancel => Message::TaskCancelled,
            Act::Retry => Message::TaskRequeued,
        };
        tracing::info!(
            MESSAGE_ID = message.id(), EXPORT_TASK = %id, EXPORT_NAME = %row.export, EXPORT_STATE = row.state.word(),
            EXPORT_ACTOR = %actor.0, "task {id} is {} by {}", row.state, actor.0
        );
        if act == Act::Cancel {
            METERS.ended.of((row.export.clone(), row.state.word())).add(1);
        }
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

pub(super) fn refusal(error: &LedgerError) -> Refusal {
    let text = format!("failed to {}", Chain(error));
    match error.class() {
        ErrorClass::Conflict => Refusal::Conflict(text),
        _ => Refusal::Unavailable(text),
    }
}
