//! The daemon itself: version, status, reload and the check of its configuration.

use crate::Time;
use crate::task::TaskSummary;
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
    /// Who asks, and what they may.
    pub caller: Caller,
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

/// What a reload found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// What is in force from now on.
    pub applied: Vec<String>,
    /// What takes effect only after a restart.
    pub needs_restart: Vec<String>,
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
