//! What callers hand to the ledger.

use crate::base::error::ErrorClass;
use crate::base::ids::{RequestKey, TaskId};
use crate::model::mark::Mark;
use crate::model::notice::Rule;
use crate::model::offset::Offset;
use crate::model::scope::Scope;
use crate::model::segment::{Plain, SegmentId};
use jiff::Timestamp;
use saas_export_manifest::Mode;
use std::time::Duration;

/// A task to create.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Name of the export.
    pub export: String,
    /// What makes an equal request the same task.
    pub key: RequestKey,
    /// Parameters.
    pub params: Vec<(String, String)>,
    /// What of the export it reads.
    pub scope: Scope,
    /// Whether its manifests belong to the chains that `latest.json` lists: it has no parameters and the export's own
    /// format. At most one such task of an export extracts at a time, in the order of their creation.
    pub chained: bool,
    /// Word of the format.
    pub format: String,
    /// The export's effective configuration as JSON, without secrets.
    pub config: String,
    /// Its streams, in order.
    pub streams: Vec<String>,
    /// Names of recipients that are told how it ends, whatever the rules of its export say.
    pub notify: Vec<String>,
    /// Who asks.
    pub actor: String,
    /// When it was asked for; `now` of everything the task computes.
    pub at: Timestamp,
}

/// What goes with an event of a task.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Why, for a person; empty where the event says it all.
    pub reason: String,
    /// Class of the error behind it.
    pub error_class: Option<ErrorClass>,
    /// Who; the daemon where empty.
    pub actor: String,
    /// When the task may be tried again.
    pub not_before: Option<Timestamp>,
    /// Sets the counter of attempts, where the ledger's own count is not meant.
    pub attempt: Option<u32>,
    /// Puts the task at the head of the queue (a resumed task goes there anyway).
    pub queue_head: bool,
    /// More for the audit, as a JSON object.
    pub detail: Option<String>,
    /// Who is told of the end that this may be; the messages are written by the same transaction.
    pub tell: Vec<Rule>,
}

/// A line for the audit that no change of the ledger writes by itself.
#[derive(Clone, Debug, Default)]
pub struct AuditEntry {
    /// The task, if it is about one.
    pub task: Option<TaskId>,
    /// The export, if it is about one.
    pub export: Option<String>,
    /// Who; the daemon where empty.
    pub actor: String,
    /// What, e.g. `reload`.
    pub action: String,
    /// Why, for a person.
    pub reason: String,
    /// More, as a JSON object.
    pub detail: Option<String>,
}

/// Whose offsets to move.
#[derive(Clone, Debug)]
pub enum OffsetTarget {
    /// This task's.
    Task(TaskId),
    /// Those of the export's newest task.
    Export(String),
}

/// An operator's order to move lanes: all of them, or none.
#[derive(Clone, Debug)]
pub struct SetOffsets {
    /// Whose offsets.
    pub target: OffsetTarget,
    /// Which lanes, and where to.
    pub moves: Vec<LaneMove>,
    /// Who orders it.
    pub actor: String,
    /// Why, for a person.
    pub reason: String,
}

/// A lane that is to stand elsewhere.
#[derive(Clone, Debug)]
pub struct LaneMove {
    /// The stream.
    pub stream: String,
    /// The lane.
    pub lane: u32,
    /// Where to; the lane's start or the end of one of its segments.
    pub offset: Offset,
}

/// The place that a task's stream takes in its chain.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// A full one starts a chain, an incremental one goes on with the stream's newest.
    pub mode: Mode,
    /// Fields that identify a record.
    pub primary_key: Vec<String>,
    /// Field that incremental tasks follow.
    pub cursor_field: Option<String>,
    /// The stream's mark before the task.
    pub mark_before: Option<Mark>,
    /// The stream's mark after the task.
    pub mark_after: Option<Mark>,
}

/// What the end of a stream's extraction depends on, beside what the ledger has.
#[derive(Clone, Debug, Default)]
pub struct StreamEnd {
    /// The stream.
    pub stream: String,
    /// Digest of what the stream is.
    pub fingerprint: String,
    /// Fields that identify a record.
    pub primary_key: Vec<String>,
    /// Field that incremental tasks follow; none: each task reads everything.
    pub cursor_field: Option<String>,
    /// How far before the mark the next task starts.
    pub look_back: Duration,
    /// How long a unit of the cursor field is, where it is a number that counts time.
    pub unit: Option<Duration>,
    /// How a shift of the source's pages would have been noticed.
    pub shift_protection: &'static str,
}

/// The one file of a stream, put together from its parts.
#[derive(Clone, Debug)]
pub struct NewSingle {
    /// Which.
    pub id: SegmentId,
    /// File name in the spool and at every destination.
    pub name: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// CRC-32C (Castagnoli) of the file.
    pub crc32c: u32,
    /// What is encrypted in it, where it is encrypted as a whole.
    pub plain: Option<Plain>,
    /// The parts that it was made of, in order.
    pub parts: Vec<SegmentId>,
    /// Names of the destinations that it goes to.
    pub destinations: Vec<String>,
}

/// A lane that has to read a partition again.
#[derive(Clone, Debug)]
pub struct LaneBack {
    /// The lane.
    pub lane: u32,
    /// The partition.
    pub partition: u32,
    /// Why, for the task's report.
    pub note: String,
}

/// The newest records of a segment: what the next task may be given once more.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The largest cursor value in the segment.
    pub mark: Mark,
    /// The newest records: cursor value (as [`Mark::sort_key`]) and digests of primary key and record.
    pub records: Vec<(Vec<u8>, [u8; 32])>,
    /// Records before this cursor value need not be kept any more.
    pub keep_from: Vec<u8>,
    /// The most records that may be kept.
    pub most: u32,
}

/// One more destination for a task that has succeeded.
#[derive(Clone, Debug)]
pub struct AddDestination {
    /// Its name.
    pub name: String,
    /// Its settings as JSON, without secrets.
    pub settings: serde_json::Value,
    /// Whether the name means another place than the task stored: what lies at the old one says nothing about it.
    pub moved: bool,
    /// Who orders it.
    pub actor: String,
}

/// A destination that a task goes on without.
#[derive(Clone, Debug)]
pub struct DropDestination {
    /// Its name.
    pub name: String,
    /// Who orders it.
    pub actor: String,
}
