//! The configured exports.

use crate::Time;
use crate::task::TaskState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A configured export and how it last went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Name of its source.
    pub source: String,
    /// Its streams.
    pub streams: Vec<String>,
    /// Names of its destinations.
    pub to: Vec<String>,
    /// Word of its file format.
    pub format: String,
    /// Parameters that a run may set.
    pub params: BTreeMap<String, ParamSpec>,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Its newest task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_task: Option<TaskRef>,
    /// Its newest task that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<TaskRef>,
}

/// A parameter of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamSpec {
    /// `string`, `integer` or `date`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The only values allowed; none means any.
    #[serde(rename = "enum", default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// Value when the run gives none; without it the run must give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// A task, briefly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    /// Its id.
    pub id: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// When it was created.
    pub created_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}
