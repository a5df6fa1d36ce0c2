//! The daemon itself: version, status, reload and the check of its configuration.

use crate::Time;
use crate::notification::NotificationTrouble;
use crate::task::{TaskSummary, Waiting};
use serde::{Deserialize, Serialize};

/// What answers on the socket (`GET /`, `GET /v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Name of the program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Versions of the API it speaks, e.g. `v1`.
    pub api: Vec<String>,
    /// Additions to the API since its first release, by name.
    pub extensions: Vec<String>,
    /// Path of the OpenAPI document.
    pub openapi: String,
}

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// When it started.
    pub started_at: Time,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Path of its configuration file.
    pub config: String,
    /// Open tasks, counted.
    pub tasks: TaskCounts,
    /// Whether the ledger takes writes.
    pub ledger: LedgerHealth,
    /// Exports that an operator paused.
    pub paused_exports: Vec<String>,
    /// The open tasks: those that run first.
    pub open: Vec<TaskSummary>,
    /// The sources of the open tasks, in order of name: how fast they are asked, and what limits that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceRate>,
    /// Notifications that do not go out as they should, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<NotificationTrouble>,
    /// Streams whose last success is older than their export's `freshness`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<StaleStream>,
    /// Who asks, and what they may.
    pub caller: Caller,
}

/// A stream that is older than it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleStream {
    /// Name of the export.
    pub export: String,
    /// Name of the stream.
    pub stream: String,
    /// When a task last exported it with success; none where none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
    /// How long ago that was; where none has, since the export's first task.
    pub seconds: u64,
    /// The configured freshness, in seconds.
    pub freshness: u64,
}

/// How fast a source is asked, over all its tasks together; counted since the daemon's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRate {
    /// Name of the source.
    pub source: String,
    /// Requests per second over the last seconds.
    pub rate: f64,
    /// Requests without an answer.
    pub under_way: u32,
    /// The most requests at the same time.
    pub concurrency: u32,
    /// The lowest limit in force; none where there is none, or none is known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<RateLimit>,
    /// What the server says about its own window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<RateWindow>,
    /// Requests so far.
    pub requests: u64,
    /// Requests that were refused because there were too many (429) so far.
    pub refused: u64,
    /// Why nothing is sent, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// A limit of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests per second.
    pub per_second: f64,
    /// Where it comes from: `configured` (`rate`), `server` (its rate-limit headers) or `learnt` (its refusals).
    pub from: String,
}

/// A window of requests that a server counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateWindow {
    /// Requests in a window, where the server says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Requests left in it.
    pub left: u64,
    /// When it ends.
    pub ends_at: Time,
}

/// Open tasks, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Processing.
    pub running: u32,
    /// Paused.
    pub paused: u32,
    /// Pending.
    pub queued: u32,
}

/// Whether the ledger takes writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHealth {
    /// True while it does; otherwise every request that writes is refused.
    pub healthy: bool,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Look (group `saas-export-viewer`).
    Read,
    /// Run, pause, resume, cancel, retry, verify (group `saas-export-operator`).
    Operate,
    /// Everything (group `saas-export-admin`, root and the daemon's own user).
    Admin,
}

/// Who asks, as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Name for the audit, e.g. `uid 1000 (anna)`.
    pub actor: String,
    /// What they may do.
    pub access: Access,
}

/// What a reload found and did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// What is in force from now on.
    pub applied: Vec<String>,
    /// What takes effect only after a restart.
    pub needs_restart: Vec<String>,
    /// What it means for open tasks, and for streams that cannot go on from their marks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What is wrong in the configuration file as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Path of the file.
    pub config: String,
    /// Whether a reload would take it.
    pub ok: bool,
    /// Each mistake with `file:line:column`, key path and hint.
    pub problems: Vec<String>,
}
