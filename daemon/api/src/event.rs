//! One line of the event stream: a line of the ledger's audit.

use crate::Time;
use crate::task::TaskState;
use serde::{Deserialize, Serialize};

/// Something that happened. `D` is the reader's type for the detail, any JSON object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event<D> {
    /// Position; ask for `since` this to go on behind it.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// The task it is about.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The export it is about.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// Who: `uid 1000 (anna)` or `daemon`.
    pub actor: String,
    /// What: `start`, `pause`, `segment_committed`, `published`, …
    pub action: String,
    /// State before, for a transition.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub from: Option<TaskState>,
    /// State after, for a transition.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub to: Option<TaskState>,
    /// Why, for a person; empty where the action says it all.
    pub reason: String,
    /// More.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub detail: Option<D>,
}
