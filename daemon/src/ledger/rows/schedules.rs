//! Rows about schedules.

use crate::base::ids::TaskId;
use crate::model::due::Seen;
use jiff::Timestamp;

/// How far the schedule of an export has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Name of the export.
    pub export: String,
    /// Of its expression and time zone.
    pub fingerprint: String,
    /// Since when, and up to which slot.
    pub seen: Seen,
    /// When the last slot was decided on.
    pub decided_at: Option<Timestamp>,
    /// What became of it.
    pub outcome: Option<SlotOutcome>,
    /// The task that it made, or that was still open.
    pub task: Option<TaskId>,
}

/// What became of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotOutcome {
    /// A task was made.
    Run,
    /// A task of the same request was still open, so it was skipped.
    Open,
    /// It was missed, and is not made up for.
    Missed,
}

impl SlotOutcome {
    /// The word that the ledger stores.
    pub fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Open => "open",
            Self::Missed => "missed",
        }
    }

    /// The outcome of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Run, Self::Open, Self::Missed].into_iter().find(|outcome| outcome.word() == word)
    }
}
