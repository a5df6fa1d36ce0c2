//! The rows of the ledger as the rest of the daemon sees them.

mod delivered;
mod notice;
mod schedules;

pub use delivered::*;
pub use notice::*;
pub use schedules::*;

use crate::base::ids::{RequestKey, TaskId};
use crate::model::mark::Mark;
use crate::model::offset::Offset;
use crate::model::schema::Schema;
use crate::model::scope::Scope;
use crate::model::segment::{Counts, Plain, Role, SegmentId};
use crate::model::task::{TaskState, Waiting};
use jiff::Timestamp;
use saas_export_manifest::{ChainPosition, Mode};

/// A task.
#[derive(Clone, Debug)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// Name of the export.
    pub export: String,
    /// What makes an equal request this task.
    pub key: RequestKey,
    /// Parameters, in order of name.
    pub params: Vec<(String, String)>,
    /// What of the export it reads.
    pub scope: Scope,
    /// Whether its manifests belong to the chains that `latest.json` lists.
    pub chained: bool,
    /// Word of the format.
    pub format: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// Why it is there, for a person; empty where the state says it all.
    pub reason: String,
    /// Class of the last error.
    pub error_class: Option<String>,
    /// Why it does not move, while it waits.
    pub waiting: Option<Waiting>,
    /// Attempts in a row without progress, the current one included; 0 as soon as the current one made some. An
    /// attempt that an operator paused does not count.
    pub attempt: u32,
    /// Place in the queue: smaller is earlier.
    pub queue_pos: i64,
    /// The export's effective configuration as JSON, without secrets.
    pub config: String,
    /// Who asked for it.
    pub actor: String,
    /// When it was created; `now` of everything the task computes.
    pub created_at: Timestamp,
    /// When it first got a slot.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it may be tried again.
    pub not_before: Option<Timestamp>,
    /// Whether all its data lie in the spool or beyond, and only delivery is left.
    pub extracted: bool,
    /// The destination on whose mount its spool lies, once it has run.
    pub home: Option<String>,
}

/// A pending task, as far as the choice of what starts next depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedTask {
    /// Its id.
    pub id: TaskId,
    /// Name of the export.
    pub export: String,
    /// Whether it belongs to the export's chains: two such tasks never extract together.
    pub chained: bool,
    /// Whether only delivery is left, which needs no slot.
    pub extracted: bool,
}

/// The head of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueHead {
    /// Tasks that may start now, in order.
    pub due: Vec<QueuedTask>,
    /// When the next of those may start that failed before.
    pub next: Option<Timestamp>,
}

/// A stream of a task.
#[derive(Clone, Debug, Default)]
pub struct StreamRow {
    /// Name of the stream.
    pub stream: String,
    /// What the stream was when it was begun: a digest of path, paginator, key and cursor field.
    pub fingerprint: Option<String>,
    /// Whether it is read in full, once it is begun.
    pub mode: Option<Mode>,
    /// The task's schema, once the sample is read.
    pub schema: Option<Schema>,
    /// Its version in the ledger.
    pub schema_version: u32,
    /// Types seen beside the schema.
    pub observed: Option<Schema>,
    /// Sums over its segments.
    pub counts: Counts,
    /// Pages in its segments.
    pub pages: u64,
    /// JSON bytes in its segments.
    pub source_bytes: u64,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Number of its segments.
    pub segments: u64,
    /// Records in all, where the source says so.
    pub total: Option<u64>,
    /// Whether every lane is at its end.
    pub extracted: bool,
    /// The limit of its export that ended it: `max_rows` or `max_bytes`.
    pub limited: Option<String>,
    /// How a shift of the source's pages would have been noticed.
    pub shift_protection: String,
    /// The error that ended it.
    pub error: Option<String>,
    /// Remarks for the report, e.g. a dropped journal.
    pub notes: Vec<String>,
}

impl StreamRow {
    /// What was read of it.
    pub fn read(&self) -> Sums {
        let Self { source_bytes, bytes, pages, total, .. } = *self;
        Sums { records: self.counts.read, source_bytes, bytes, pages, total }
    }
}

/// A task's stream in its chain.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where.
    pub place: ChainPosition,
    /// What it is there.
    pub as_new: super::input::NewLink,
}

/// How a stream of a task is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// In full, or only what is new or asked for.
    pub mode: Mode,
    /// The mark that it starts from.
    pub mark: Option<Mark>,
    /// The task whose newest records may come once more.
    pub boundary: Option<TaskId>,
}

impl Default for Begun {
    fn default() -> Self {
        Self { mode: Mode::Full, mark: None, boundary: None }
    }
}

/// The mark of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRow {
    /// Name of the stream.
    pub stream: String,
    /// Where its next incremental task starts.
    pub mark: Mark,
    /// Digest of what the stream was.
    pub fingerprint: Option<String>,
    /// The task whose end moved it there.
    pub task: TaskId,
}

/// A lane of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRow {
    /// Lane number.
    pub lane: u32,
    /// Revision; raised when the lane had to be read again.
    pub revision: u32,
    /// Where it began.
    pub start: Offset,
    /// The committed offset.
    pub offset: Offset,
    /// Number of the next segment.
    pub next_n: u64,
    /// Whether the lane is at its end.
    pub done: bool,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// Which.
    pub id: SegmentId,
    /// File name.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// CRC-32C.
    pub crc32c: u32,
    /// What is encrypted in the file, where it is encrypted as a whole.
    pub plain: Option<Plain>,
    /// What became of its records.
    pub counts: Counts,
    /// Pages in it.
    pub pages: u64,
    /// JSON bytes in it.
    pub source_bytes: u64,
    /// The lane's offset before it.
    pub first: Offset,
    /// The lane's offset after it.
    pub last: Offset,
    /// Whether a later revision replaced it.
    pub superseded: bool,
    /// What its file is to readers.
    pub role: Role,
    /// When it was committed.
    pub created_at: Timestamp,
}

impl SegmentRow {
    /// Whether the manifest lists its file.
    pub fn listed(&self) -> bool {
        !self.superseded && self.role != Role::Part
    }

    /// Whether it holds records that its lane read and that count.
    pub fn read(&self) -> bool {
        !self.superseded && self.role != Role::Single
    }
}

/// A manifest at a destination.
#[derive(Clone, Debug)]
pub struct ManifestRow {
    /// Name of the stream.
    pub stream: String,
    /// Name of the destination.
    pub destination: String,
    /// Its bytes, as composed once.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, lower-case hex.
    pub sha256: String,
    /// Its signature, where it is signed.
    pub signature: Option<Vec<u8>>,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// Since when retention removes it, and all that it lists, from there.
    pub pruned_at: Option<Timestamp>,
}

impl ManifestRow {
    /// Whether it is published, and still there.
    pub fn there(&self) -> bool {
        self.published_at.is_some() && self.pruned_at.is_none()
    }
}

/// A manifest as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their signature, where they are signed.
    pub signature: Option<Vec<u8>>,
}

/// A line of the audit.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Position; grows without gaps being promised.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// The task, if it is about one.
    pub task: Option<String>,
    /// The export, if it is about one.
    pub export: Option<String>,
    /// Who: `uid 1000 (anna)`, `daemon`.
    pub actor: String,
    /// What: a task event or e.g. `segment_committed`, `published`, `reload`.
    pub action: String,
    /// State before, for a transition.
    pub from_state: Option<TaskState>,
    /// State after, for a transition.
    pub to_state: Option<TaskState>,
    /// Why, for a person.
    pub reason: String,
    /// More, as a JSON object.
    pub detail: Option<String>,
    /// SHA-256 over the hash before it and this row, lower-case hex.
    pub hash: String,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Only of this export.
    pub export: Option<String>,
    /// Only in one of these states; all if empty.
    pub states: Vec<TaskState>,
    /// At most this many, newest first.
    pub limit: u32,
}

/// What is known of a stream's schema before a task reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSchema {
    /// The schema of the newest version.
    pub schema: Schema,
    /// Its version, from 1.
    pub version: u32,
    /// What tasks saw beside their schemas, oldest task first; whether the newest schema has it already or not. Merging
    /// them all into `schema` in this order forgets nothing, also where a task failed or ran beside another.
    pub observed: Vec<Schema>,
}

/// What a lane's move by an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneMoved {
    /// The stream.
    pub stream: String,
    /// The lane as it stands now.
    pub lane: LaneRow,
    /// The segments that no longer count, in order.
    pub superseded: Vec<SegmentRow>,
}

/// A manifest of a chain, as `latest.json` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainManifest {
    /// Id of the task.
    pub task: TaskId,
    /// Place in the chain.
    pub chain: ChainPosition,
    /// Whether it is the whole stream or what changed.
    pub mode: Mode,
    /// Fields that identify a record.
    pub primary_key: Vec<String>,
    /// Field that incremental tasks follow.
    pub cursor_field: Option<String>,
    /// SHA-256 of the manifest at the destination, lower-case hex.
    pub sha256: String,
}

/// Which task a text means.
#[derive(Clone, Debug)]
pub enum FoundTask {
    /// None.
    None,
    /// This one.
    One(Box<TaskRow>),
    /// Several ids start with it; the newest ones.
    Many(Vec<TaskId>),
}
