//! Tasks: how one is asked for, and what is known about it.

use crate::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// In the queue, or waiting for its next attempt.
    Pending,
    /// Extracting or delivering.
    Processing,
    /// Stopped by an operator; keeps its place.
    Paused,
    /// Everything verified and published.
    Succeeded,
    /// Ended by an error; `retry` starts it again.
    Failed,
    /// Ended by an operator; `retry` starts it again.
    Cancelled,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Processing, Self::Paused, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether the task is over.
    pub fn closed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The word used in JSON and in queries.
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
}

/// What to run: the body of `POST /v1/exports/{export}/run`; an empty body means all defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Submit {
    /// Parameters that the export declares.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Word of a format (`parquet`, `avro`, `csv`, `ndjson`, `json`) other than the export's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Read everything again, as the start of a new chain.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Back-fill: read incremental streams again from this cursor value on, inclusive. No mark moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Back-fill: up to this cursor value, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only these streams; all of the export's where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
    /// Names of configured recipients that are told how the task ends, whatever the export's own rules say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
}

/// What became of a request for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Id of the task.
    pub task: String,
    /// False where an equal request is still open and this is its task.
    pub created: bool,
}

/// The tasks that a pause, resume, cancel or retry changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// Their ids; empty where nothing had to change.
    pub tasks: Vec<String>,
}

/// Why a task does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// A sentence for a person, e.g. `disk full: 12 MB missing on /srv/exports`.
    pub reason: String,
    /// When it goes on by itself, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// How far a task is; sums over its streams. What is not committed yet is included while the task is processing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Records read from the source.
    pub records: u64,
    /// JSON bytes read from the source.
    pub source_bytes: u64,
    /// Bytes encoded.
    pub bytes: u64,
    /// Pages read.
    pub pages: u64,
    /// Records in all, where the source says so for every stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Requests that failed and were tried again.
    pub retries: u64,
    /// Records per second over the last seconds; 0 while nothing runs.
    pub rate: f64,
    /// Seconds to the end at this rate, where `total` is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its id, `<UTC creation>-<8 hex digits>`.
    pub id: String,
    /// Name of the export.
    pub export: String,
    /// Parameters of this run.
    pub params: BTreeMap<String, String>,
    /// Word of the file format.
    pub format: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// Why it is there, for a person; empty where the state says it all.
    pub reason: String,
    /// Class of the last error: `transient`, `throttled`, `auth`, `config`, `data`, `full`, `conflict`, `bug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_class: Option<String>,
    /// Why it does not move, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Attempts in a row without progress, the current one included.
    pub attempt: u32,
    /// Who asked for it.
    pub actor: String,
    /// Whether all its data are fetched and only delivery is left.
    pub extracted: bool,
    /// When it was created.
    pub created_at: Time,
    /// When it first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// How far it is.
    pub progress: Progress,
    /// How far it is at each of its destinations, in the order of its export; in a list only of open tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<TaskDestination>,
}

/// What of a task is at one of its destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDestination {
    /// Name of the destination.
    pub name: String,
    /// Files that go there, as far as they are sealed.
    pub files: u64,
    /// Files that are verified there.
    pub delivered: u64,
    /// Bytes of the files that go there.
    pub bytes: u64,
    /// Bytes of the files that are verified there.
    pub delivered_bytes: u64,
    /// Bytes sent there since the daemon's start by all tasks, repetitions included; 0 where nothing is sent (a directory).
    #[serde(default)]
    pub sent_bytes: u64,
    /// Whether the task's manifests are published there.
    pub published: bool,
    /// Whether it is filled back after the task's end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub filling: bool,
    /// The last error, while nothing has worked since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Time>,
}

/// What is wanted of a destination of a task: the body of `POST /v1/tasks/{task}/deliver`; one of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deliver {
    /// Fill this configured destination back from the task, which has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Go on without this destination, and release what it holds in the spool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<String>,
}

/// What was begun or released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivering {
    /// Id of the task.
    pub task: String,
    /// Name of the destination.
    pub destination: String,
    /// Files that are delivered to it from now on, or that were released; 0 where that was begun already.
    pub files: u64,
}

/// A task with everything that is known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDetail {
    /// What a list shows.
    pub task: TaskSummary,
    /// Its streams, in order of name.
    pub streams: Vec<StreamDetail>,
    /// Its manifests: one per stream and destination.
    pub manifests: Vec<Published>,
}

/// What became of the records of a stream: `read = written + rejected + duplicate + filtered + over_limit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records that the source gave.
    pub read: u64,
    /// Records in files.
    pub written: u64,
    /// Records in the quarantine.
    pub rejected: u64,
    /// Records dropped as exact repetitions.
    pub duplicate: u64,
    /// Records dropped by a filter.
    pub filtered: u64,
    /// Records beyond a limit of the export.
    pub over_limit: u64,
    /// Values kept in `_rescued`; their records are written.
    pub rescued: u64,
}

/// A stream of a task; committed figures only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamDetail {
    /// Its name.
    pub name: String,
    /// What became of its records.
    pub counts: Counts,
    /// Pages read.
    pub pages: u64,
    /// JSON bytes read.
    pub source_bytes: u64,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Number of its segments.
    pub segments: u64,
    /// Records in all, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Columns of its schema; none before the sample is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<u32>,
    /// `full` or `incremental`, once it is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Whether all its data are fetched.
    pub extracted: bool,
    /// The limit of its export that ended it: `max_rows` or `max_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,
    /// The error that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Remarks, e.g. that a journal was dropped.
    pub notes: Vec<String>,
}

/// A manifest at a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Name of the stream.
    pub stream: String,
    /// Name of the destination.
    pub destination: String,
    /// When it was published; none while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Time>,
    /// When retention removed it and its files from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned_at: Option<Time>,
}
