//! The life of a task as a pure state machine; the ledger replays it, an illegal event is corruption.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// In the queue, or waiting for its next attempt.
    Pending,
    /// Extracting or delivering.
    Processing,
    /// Stopped by an operator; keeps its place and its offset.
    Paused,
    /// Everything verified and published.
    Succeeded,
    /// Ended by an error; `retry` starts it again.
    Failed,
    /// Ended by an operator; `retry` starts it again.
    Cancelled,
}

/// What can happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEvent {
    /// It got a slot.
    Start,
    /// An operator paused it.
    Pause,
    /// An operator resumed it.
    Resume,
    /// An operator cancelled it.
    Cancel,
    /// All streams are published.
    Succeed,
    /// It ended with an error that no further attempt may mend.
    Fail,
    /// An attempt failed; another follows later.
    TryAgain,
    /// The daemon that ran it is gone; the next one takes it over.
    Recover,
    /// An operator asked for another run of a failed or cancelled task.
    Retry,
}

/// An event that the state does not allow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {state} cannot {event}")]
pub struct IllegalTransition {
    /// The state it was in.
    pub state: TaskState,
    /// What should have happened.
    pub event: TaskEvent,
}

impl TaskState {
    /// The state after `event`.
    pub fn next(self, event: TaskEvent) -> Result<Self, IllegalTransition> {
        use TaskEvent as E;
        use TaskState as S;
        Ok(match (self, event) {
            (S::Pending, E::Start) => S::Processing,
            (S::Pending | S::Processing, E::Pause) => S::Paused,
            (S::Paused, E::Resume) => S::Pending,
            (S::Pending | S::Processing | S::Paused, E::Cancel) => S::Cancelled,
            // A pause is stored at once; the run may still have reached its end before it noticed.
            (S::Processing | S::Paused, E::Succeed) => S::Succeeded,
            (S::Pending | S::Processing, E::Fail) => S::Failed,
            (S::Processing, E::TryAgain | E::Recover) => S::Pending,
            (S::Failed | S::Cancelled, E::Retry) => S::Pending,
            (state, event) => return Err(IllegalTransition { state, event }),
        })
    }

    /// Attempts in a row without progress after `event`, `attempts` before it. A start counts as an attempt; what it commits
    /// takes the count back, and so does a pause. So a recovery counts exactly when nothing was committed since the last start.
    pub fn attempts_after(self, attempts: u32, event: TaskEvent) -> u32 {
        match event {
            TaskEvent::Start => attempts.saturating_add(1),
            TaskEvent::Pause if self == Self::Processing => attempts.saturating_sub(1),
            TaskEvent::Retry => 0,
            _ => attempts,
        }
    }

    /// Whether the task is over (a closed task never blocks a new request).
    pub fn closed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The stable word used in the ledger and the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Pending, Self::Processing, Self::Paused, Self::Succeeded, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl TaskEvent {
    /// The stable word used in the audit.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::TryAgain => "try_again",
            Self::Recover => "recover",
            Self::Retry => "retry",
        }
    }
}

impl fmt::Display for TaskEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a task that is Processing or Pending does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// A sentence that an operator understands, e.g. `disk full: 12 MB missing on /srv/exports`.
    pub reason: String,
    /// When it goes on by itself, if that is known.
    pub until: Option<jiff::Timestamp>,
}

impl Waiting {
    /// Whether both wait for the same thing: the figures in the reason may differ, and so may the time.
    pub fn same_kind(&self, other: &Self) -> bool {
        let words = |waiting: &Self| {
            let words = waiting.reason.split_whitespace().map(str::to_owned);
            words.filter(|word| word.parse::<f64>().is_err()).collect::<Vec<_>>()
        };
        words(self) == words(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_tasks_only_retry() {
        use TaskEvent as E;
        let events = [E::Start, E::Pause, E::Resume, E::Cancel, E::Succeed, E::Fail, E::TryAgain, E::Recover, E::Retry];
        for state in [TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled] {
            let allowed: Vec<_> = events.iter().filter(|e| state.next(**e).is_ok()).collect();
            let expected: &[&E] = if state == TaskState::Succeeded { &[] } else { &[&E::Retry] };
            assert_eq!(allowed, expected);
        }
    }

    #[test]
    fn only_figures_may_differ_between_waits_of_one_kind() {
        let wait = |reason: &str| Waiting { reason: reason.into(), until: None };
        let full = wait("disk full: 12.5 MB missing at /srv/disk1");
        assert!(full.same_kind(&wait("disk full: 9 MB missing at /srv/disk1")));
        assert!(!full.same_kind(&wait("disk full: 9 MB missing at /srv/disk2")));
        assert!(!full.same_kind(&wait("lake does not answer")));
    }

    #[test]
    fn words_round_trip() {
        for word in ["pending", "processing", "paused", "succeeded", "failed", "cancelled"] {
            assert_eq!(TaskState::from_word(word).unwrap().word(), word);
        }
    }
}
