//! Notifications: what was told to whom, what waits, and what was given up.

use crate::Time;
use serde::{Deserialize, Serialize};

/// A message to a recipient about the end of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id: the `webhook-id` of a webhook, the first part of a mail's `Message-ID`.
    pub id: String,
    /// Name of the recipient in the configuration.
    pub recipient: String,
    /// `success`, `failure`, `first_failure` or `recovery`.
    pub event: String,
    /// Id of the task.
    pub task: String,
    /// Name of the export.
    pub export: String,
    /// What became of it.
    pub state: NotificationState,
    /// When the task ended.
    pub created_at: Time,
    /// Attempts to send it.
    pub attempts: u32,
    /// When it is tried next, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,
    /// When it was sent or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Time>,
    /// What went wrong at the last attempt, or who did not take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// It is to be sent.
    Waiting,
    /// The other side has taken it.
    Sent,
    /// It is not tried again.
    GivenUp,
}

impl NotificationState {
    /// The word used in JSON and in queries.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::GivenUp => "given_up",
        }
    }
}

/// What a test of a recipient did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationTest {
    /// Name of the recipient.
    pub recipient: String,
    /// What was done, for a person.
    pub done: String,
}

/// Notifications that do not go out as they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationTrouble {
    /// Those that could not be sent so far, and are tried again.
    pub late: u64,
    /// Those that were given up in the last seven days.
    pub given_up: u64,
}
