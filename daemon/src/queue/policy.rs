//! What starts next, and what follows from the end of a run: pure functions of the queue, the slots and the outcome.

use super::handle::Actor;
use crate::base::error::ErrorClass;
use crate::base::ids::TaskId;
use crate::base::retry::RetryPolicy;
use crate::ledger::input::Change;
use crate::ledger::rows::{QueuedTask, TaskRow};
use crate::model::task::{TaskEvent, TaskState};
use crate::transfer::Outcome;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// Waits between the attempts of a task.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial: Duration::from_secs(4), max: Duration::from_secs(300) };
/// A run that waits is looked at again after at most this long, unless it asks for longer itself.
const MAX_RECHECK: Duration = Duration::from_secs(30);

/// What the slots hold now.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// Tasks that may extract at the same time.
    pub parallel: usize,
    /// Slots in use.
    pub used: usize,
    /// Exports with a task of their chains that extracts.
    pub chained_exports: BTreeSet<String>,
    /// Tasks that are still putting things away.
    pub stopping: BTreeSet<TaskId>,
    /// Exports outside of their windows.
    pub closed: BTreeSet<String>,
}

/// First in, first out: the candidates come in queue order; one that may not start now does not hold up the next.
pub fn choose(candidates: &[QueuedTask], mut slots: Slots) -> Vec<TaskId> {
    let mut start = Vec::new();
    for candidate in candidates {
        if candidate.extracted {
            // Its source is not asked any more.
            if !slots.stopping.contains(&candidate.id) {
                start.push(candidate.id.clone());
            }
            continue;
        }
        if slots.used >= slots.parallel {
            continue;
        }
        let twin = candidate.chained && slots.chained_exports.contains(&candidate.export);
        if twin || slots.stopping.contains(&candidate.id) || slots.closed.contains(&candidate.export) {
            continue;
        }
        slots.used += 1;
        if candidate.chained {
            slots.chained_exports.insert(candidate.export.clone());
        }
        start.push(candidate.id.clone());
    }
    start
}

/// Why a pending task is not started any more. Failures use up attempts in a row where they are recorded; so this is a
/// task whose daemon died each time, without a segment committed in between.
pub fn used_up(attempt: u32, attempts: u32) -> Option<Change> {
    (attempt >= attempts).then(|| Change {
        error_class: Some(ErrorClass::Bug),
        ..because(&format!(
            "survive: the daemon that ran it ended without stopping it in attempt {attempt} of {attempts}, before \
             anything was committed. See the journal of that time (out of memory?), then `exportctl retry`"
        ))
    })
}

/// What the ledger is told about the end of a run. Nothing where a person's word was stored while it stopped: a pause
/// stands, unless everything is done already, and a resumed task is in the queue.
pub fn after(
    outcome: &Outcome,
    task: &TaskRow,
    attempts: u32,
    cancelled_by: Option<&Actor>,
    now: Timestamp,
) -> Option<(TaskEvent, Change)> {
    if task.state.closed() {
        return None;
    }
    let runs = task.state == TaskState::Processing;
    match (outcome, cancelled_by) {
        (Outcome::Done, _) if task.state == TaskState::Pending => None,
        (Outcome::Done, _) => Some((TaskEvent::Succeed, because("everything is verified and published"))),
        (_, Some(actor)) => Some((TaskEvent::Cancel, by(actor, "cancelled by an operator"))),
        _ if !runs => None,
        (Outcome::Stopped | Outcome::Wait(..), None) => {
            // Being stopped is no failed attempt.
            let attempt = Some(task.attempt.saturating_sub(1));
            let reason = "the daemon was stopped; it goes on at the next start";
            Some((TaskEvent::Recover, Change { attempt, queue_head: true, ..because(reason) }))
        }
        (Outcome::Closed(waiting), None) => {
            let attempt = Some(task.attempt.saturating_sub(1));
            let until = waiting.until.map(|until| format!("; it goes on at {until:.0}")).unwrap_or_default();
            let reason = format!("{}{until}", waiting.reason);
            Some((TaskEvent::Recover, Change { attempt, queue_head: true, ..because(&reason) }))
        }
        (Outcome::RetryAfter(wait, class, why), None) => {
            let change = Change { error_class: Some(*class), ..because(why) };
            if task.attempt >= attempts {
                return Some((TaskEvent::Fail, change));
            }
            let wait = wait.unwrap_or_else(|| backoff(task.attempt));
            let not_before = Some(now + wait);
            Some((TaskEvent::TryAgain, Change { not_before, ..change }))
        }
        (Outcome::Failed(class, why), None) => {
            Some((TaskEvent::Fail, Change { error_class: Some(*class), ..because(why) }))
        }
    }
}

/// When a run that waits is looked at again: after `asked`, and while it goes on waiting for the same, ever later.
pub fn recheck(asked: Duration, before: Option<Duration>) -> Duration {
    before.map_or(asked, |before| (before * 2).min(MAX_RECHECK).max(asked))
}

/// A change that the daemon makes by itself.
pub(super) fn because(reason: &str) -> Change {
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

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
