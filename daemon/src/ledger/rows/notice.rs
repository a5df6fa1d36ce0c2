//! A message in the outbox.

use crate::base::ids::TaskId;
use crate::model::notice::Facts;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A message to a recipient about the end of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct NoticeRow {
    /// Its place among all.
    pub seq: i64,
    /// What receivers tell repetitions by.
    pub id: String,
    /// The task.
    pub task: TaskId,
    /// Name of the export.
    pub export: String,
    /// Name of the recipient in the configuration.
    pub recipient: String,
    /// Word of the most telling event.
    pub event: String,
    /// What is told.
    pub facts: Facts,
    /// What became of it.
    pub state: NoticeState,
    /// When the task ended.
    pub created_at: Timestamp,
    /// When it was first to be sent, or an operator last asked to try it again.
    pub since: Timestamp,
    /// Attempts since then.
    pub attempts: u32,
    /// When it is tried, while it waits.
    pub next_at: Timestamp,
    /// When it was sent or given up.
    pub settled_at: Option<Timestamp>,
    /// Addresses that are settled: accepted, or refused and why.
    pub done: BTreeMap<String, Option<String>>,
    /// What went wrong at the last attempt.
    pub error: Option<String>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeState {
    /// It is to be sent.
    Waiting,
    /// The other side has taken it.
    Sent,
    /// It is not tried again.
    GivenUp,
}

impl NoticeState {
    const ALL: [Self; 3] = [Self::Waiting, Self::Sent, Self::GivenUp];

    /// The stable word used in the ledger and the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::GivenUp => "given_up",
        }
    }

    /// The state of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}
