//! Where the lanes of a task stand, and the marks of an export; the document that is read is the one that is written.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The offsets of a task, or the marks of an export. Setting refuses a document of another task, and a lane whose revision
/// has changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetsDoc {
    /// Name of the export.
    pub export: String,
    /// Id of the task; none where an export has no open task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Streams, by name.
    pub streams: BTreeMap<String, StreamOffsets>,
}

/// The offsets of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamOffsets {
    /// Where the next incremental task of the export starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// Its lanes, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneOffset>,
}

/// A value of the cursor field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Mark {
    /// A number, as its decimal digits.
    Number(String),
    /// An instant (RFC 3339).
    Instant(String),
    /// Any other text.
    Text(String),
}

/// The offset of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneOffset {
    /// Lane number, from 0.
    pub lane: u32,
    /// Raised each time the lane has to be read again.
    pub revision: u32,
    /// The committed offset.
    pub offset: Offset,
}

/// Where a lane stands after a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offset {
    /// Index of the partition in the stream's list.
    pub partition: u32,
    /// What to ask for next there.
    pub cursor: Cursor,
    /// Pages of the lane before this offset.
    pub pages: u64,
    /// Records of the lane before this offset.
    pub records: u64,
    /// Records of the partition before this offset.
    pub partition_records: u64,
    /// Where pages are counted: digest of the keys of the records in front of this offset, by which a shift of the pages is
    /// noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
}

/// What to ask the source for next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// The first page.
    Start,
    /// The page behind an opaque cursor.
    Token(String),
    /// The page at this absolute URL.
    Url(String),
    /// The page of this number.
    Page(u64),
    /// The page that starts at this record.
    Record(u64),
    /// Nothing more in this partition.
    End,
}
