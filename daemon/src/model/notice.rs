//! What the end of a task is news of, and who wants to know it.

use crate::model::segment::Counts;
use crate::model::task::TaskState;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the end of a task is news of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "NotifyEvent")]
pub enum Event {
    /// A task has succeeded.
    Success,
    /// A task has failed.
    Failure,
    /// A task has failed, and the one of the same export that ended before had succeeded, or there was none.
    FirstFailure,
    /// A task has succeeded, and the one of the same export that ended before had failed.
    Recovery,
}

impl Event {
    /// The stable word used in the ledger, in webhooks and in templates.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::FirstFailure => "first_failure",
            Self::Recovery => "recovery",
        }
    }
}

/// Who is told of which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name of the recipient.
    pub to: String,
    /// Events that it is told of.
    pub on: Vec<Event>,
}

/// What is told of a task: its facts at the end that it is about, which a later retry of the task does not change. Without
/// secrets and without links.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Id of the task.
    pub task: String,
    /// Name of the export.
    pub export: String,
    /// Parameters of the run.
    pub params: BTreeMap<String, String>,
    /// Word of the format.
    pub format: String,
    /// How it ended.
    pub state: TaskState,
    /// Why, for a person.
    pub reason: String,
    /// Class of the error that ended it.
    pub error_class: Option<String>,
    /// Attempts in a row without progress.
    pub attempt: u32,
    /// Who asked for it.
    pub actor: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it first got a slot.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its streams in order; at most [`MAX_STREAMS`].
    pub streams: Vec<StreamFacts>,
    /// The figures of all its streams together.
    pub total: StreamFacts,
    /// How the export's task before it ended.
    pub before: Option<Before>,
}

/// What is told of a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamFacts {
    /// Its name; empty for a sum.
    pub name: String,
    /// Records.
    pub counts: Counts,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its files.
    pub files: u64,
    /// The error that ended it.
    pub error: Option<String>,
}

/// How a task of the same export ended that ended before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// Its id; a task that was tried again came before itself.
    pub task: String,
    /// How.
    pub state: TaskState,
    /// When.
    pub ended_at: Timestamp,
}

/// Streams of a task that are told one by one.
pub const MAX_STREAMS: usize = 200;

/// What an end is news of, after how the export's task before it ended; the most telling first. A cancelled task is no
/// news: somebody did that, and knows it.
pub fn events_of(before: Option<TaskState>, now: TaskState) -> &'static [Event] {
    match (before, now) {
        (Some(TaskState::Failed), TaskState::Succeeded) => &[Event::Recovery, Event::Success],
        (_, TaskState::Succeeded) => &[Event::Success],
        (Some(TaskState::Failed), TaskState::Failed) => &[Event::Failure],
        (_, TaskState::Failed) => &[Event::FirstFailure, Event::Failure],
        (_, TaskState::Pending | TaskState::Processing | TaskState::Paused | TaskState::Cancelled) => &[],
    }
}

/// Who is told of events, each once, in the order of the rules; then those whom the task itself names, whatever the rules say.
pub fn told<'a>(rules: &'a [Rule], named: &'a [String], events: &[Event]) -> Vec<&'a str> {
    if events.is_empty() {
        return Vec::new();
    }
    let wants = |rule: &&Rule| rule.on.iter().any(|event| events.contains(event));
    let mut told: Vec<&str> = Vec::new();
    for to in rules.iter().filter(wants).map(|rule| rule.to.as_str()).chain(named.iter().map(String::as_str)) {
        if !told.contains(&to) {
            told.push(to);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskState::{Cancelled, Failed, Paused, Pending, Processing, Succeeded};

    #[test]
    fn the_first_failure_and_the_recovery_are_told_apart() {
        let cases: [(Option<TaskState>, TaskState, &[Event]); 7] = [
            (None, Succeeded, &[Event::Success]),
            (None, Failed, &[Event::FirstFailure, Event::Failure]),
            (Some(Succeeded), Succeeded, &[Event::Success]),
            (Some(Succeeded), Failed, &[Event::FirstFailure, Event::Failure]),
            (Some(Failed), Failed, &[Event::Failure]),
            (Some(Failed), Succeeded, &[Event::Recovery, Event::Success]),
            (Some(Failed), Cancelled, &[]),
        ];
        for (before, now, events) in cases {
            assert_eq!(events_of(before, now), events, "{before:?} then {now:?}");
        }
        for now in [Pending, Processing, Paused] {
            assert!(events_of(None, now).is_empty(), "{now}");
        }
    }

    #[test]
    fn everybody_is_told_once() {
        let rule = |to: &str, on: &[Event]| Rule { to: to.into(), on: on.to_vec() };
        let rules = [
            rule("ops", &[Event::FirstFailure, Event::Recovery]),
            rule("hook", &[Event::Success, Event::Failure]),
            rule("ops", &[Event::Failure]),
        ];
        let named = ["anna".to_owned(), "hook".to_owned()];
        assert_eq!(told(&rules, &named, events_of(Some(Failed), Succeeded)), ["ops", "hook", "anna"]);
        assert_eq!(told(&rules, &[], events_of(Some(Failed), Failed)), ["hook", "ops"]);
        assert_eq!(told(&rules[..1], &[], events_of(None, Succeeded)), [""; 0]);
        assert_eq!(told(&rules, &named, events_of(None, Cancelled)), [""; 0]);
    }
}
