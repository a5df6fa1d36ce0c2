//! Where a lane stands: partition, page cursor, records read. Small, serialisable, never a clock.

use serde::{Deserialize, Serialize};

/// What to ask the source for next, in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageCursor {
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

/// Where a lane stands after a page (DESIGN: "offset").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    /// Index of the partition in the stream's partition list.
    pub partition: u32,
    /// What to ask for next there.
    pub cursor: PageCursor,
    /// Pages of the lane before this offset.
    pub pages: u64,
    /// Records of the lane before this offset.
    pub records: u64,
    /// Records of the partition before this offset: what the source's total is compared with at the end.
    #[serde(default)]
    pub partition_records: u64,
    /// Where pages are counted: digest (16 hex digits) of the key of the record in front of this offset, or of the keys of
    /// the page in front of it behind their number and a colon. Whoever goes on here sees by it whether the pages have
    /// shifted meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
}

impl Offset {
    /// The start of a lane whose first partition is `partition`.
    pub fn start(partition: u32) -> Self {
        Self { partition, cursor: PageCursor::Start, pages: 0, records: 0, partition_records: 0, tail: None }
    }

    /// The place behind a page of `count` records that was asked for here.
    #[must_use]
    pub fn behind(&self, cursor: PageCursor, count: u64, tail: Option<String>) -> Self {
        Self {
            partition: self.partition,
            cursor,
            pages: self.pages + 1,
            records: self.records + count,
            partition_records: self.partition_records + count,
            tail,
        }
    }
}

/// One lane of a stream in a task: lane `lane` of `of` reads the partitions i with i mod `of` = `lane`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneId {
    /// Number of this lane, from 0.
    pub lane: u32,
    /// Lanes of the stream.
    pub of: u32,
}
