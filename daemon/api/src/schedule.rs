//! Schedules: when exports run by themselves, and how that last went.

use crate::Time;
use crate::export::TaskRef;
use serde::{Deserialize, Serialize};

/// When an export runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Name of the export.
    pub export: String,
    /// `calendar` or `cron`.
    pub kind: String,
    /// The expression, as it is written.
    pub expression: String,
    /// Its time zone, e.g. `Europe/Paris`.
    pub timezone: String,
    /// How long after each time of its expression it runs; `randomized_delay` is the most it may be.
    pub delay_seconds: u64,
    /// Whether times that were missed are made up for by one run.
    pub catch_up: bool,
    /// Whether an operator paused the export: then it does not run by itself.
    pub paused: bool,
    /// Its next times; fewer where there are no more.
    pub next: Vec<ScheduledTime>,
    /// The last time that was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSlot>,
}

/// A time at which an export runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledTime {
    /// When it runs: the time of its expression and the delay.
    pub at: Time,
    /// The same as a clock in its time zone shows it, e.g. `2026-11-23T02:30:00+01:00`.
    pub local: String,
}

/// What became of a time of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSlot {
    /// The time of its expression.
    pub slot: Time,
    /// When it was decided on.
    pub decided_at: Time,
    /// What was decided.
    pub outcome: SlotOutcome,
    /// The task that it made, or that was still open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
}

/// What was decided on a time of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotOutcome {
    /// A task was made.
    Run,
    /// A task of the same request was still open, so it was skipped.
    Skipped,
    /// It was missed, and is not made up for.
    Missed,
}
