//! Wire types of the saas-export-daemon control API (HTTP/1.1 and JSON over a Unix socket, paths below `/v1`).
//!
//! Field names are stable: a release adds fields, it never renames or removes one. Times are RFC 3339 in UTC, sizes are
//! bytes, durations are seconds. A field without a value is left out.

pub mod answer;
pub mod check;
pub mod event;
pub mod export;
pub mod files;
pub mod ledger;
pub mod notification;
pub mod offsets;
mod plural;
pub mod prune;
pub mod schedule;
pub mod schema;
mod size;
pub mod status;
pub mod task;

pub use answer::{Answer, Error, ErrorCode};
pub use check::{Preflight, PreflightStep, StepResult};
pub use event::Event;
pub use export::{Export, ParamSpec, TaskRef};
pub use files::{FileEntry, FileLink, Files, VerifyProblem, VerifyReport};
pub use ledger::{LedgerBackup, LedgerCheck, LedgerSnapshot, LedgerStep};
pub use notification::{Notification, NotificationState, NotificationTest, NotificationTrouble};
pub use offsets::{Cursor, LaneOffset, Mark, Offset, OffsetsDoc, StreamOffsets};
pub use plural::plural;
pub use prune::{ChainFate, Fate, PruneReport};
pub use schedule::{LastSlot, Schedule, ScheduledTime, SlotOutcome};
pub use schema::{FieldDiff, SchemaColumn, SchemaDiff, SchemaMisfit, SchemaReport, StreamDiff, StreamSchema};
pub use size::size;
pub use status::{
    Access, Caller, CheckReport, LedgerHealth, RateLimit, RateWindow, ReloadReport, SourceRate, StaleStream, Status,
    TaskCounts, Version,
};
pub use task::{
    Acted, Counts, Deliver, Delivering, Progress, Published, StreamDetail, Submit, Submitted, TaskDestination,
    TaskDetail, TaskState, TaskSummary, Waiting,
};

/// Where the daemon listens unless its configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/saas-export/control.sock";

/// Name of the header that makes a POST repeatable: the same key gives the same answer.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Name of the header of a download: the SHA-256 that its body must have, lower-case hex.
pub const SHA256_HEADER: &str = "x-sha256";

/// An instant as RFC 3339 text in UTC, e.g. `2026-11-21T02:45:01Z`.
pub type Time = String;
