//! Rows about what is on its way to destinations.

use super::{ManifestRow, SegmentRow, StreamRow, TaskRow};
use crate::base::ids::TaskId;
use crate::model::task::TaskState;

/// A segment at a destination.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    /// Which segment.
    pub segment: SegmentRow,
    /// Name of the destination.
    pub destination: String,
    /// Whether it is verified there.
    pub verified: bool,
    /// Tries so far.
    pub attempts: u32,
    /// The last error.
    pub error: Option<String>,
}

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// Name of the destination.
    pub destination: String,
    /// Key of the object.
    pub key: String,
    /// The destination's own name for it.
    pub id: String,
}

/// A segment whose file nobody waits for any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FreedSegment {
    /// Name of the stream.
    pub stream: String,
    /// Name of the file.
    pub name: String,
}

/// What lies in the spools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spooled {
    /// Bytes of segments that some destination waits for.
    pub bytes: u64,
    /// Which holds most of them.
    pub holder: Option<Holder>,
}

/// A destination that segments of a task wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The task.
    pub task: TaskId,
    /// Its state: one that is closed delivers nothing.
    pub state: TaskState,
    /// The destination.
    pub destination: String,
    /// Bytes that wait.
    pub bytes: u64,
}

/// How far a task is.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// What is at its destinations.
    pub sums: Vec<DeliverySum>,
    /// What was read, over all its streams.
    pub read: Sums,
}

/// Sums over the streams of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Records read.
    pub records: u64,
    /// JSON bytes read.
    pub source_bytes: u64,
    /// Bytes of segments.
    pub bytes: u64,
    /// Pages read.
    pub pages: u64,
    /// Records in all, where the source says so of every stream.
    pub total: Option<u64>,
}

impl Sums {
    /// Over streams; of none there is no total.
    pub fn over(streams: impl IntoIterator<Item = Self>) -> Self {
        let both = |sum: Self, next: Self| Self {
            records: sum.records + next.records,
            source_bytes: sum.source_bytes + next.source_bytes,
            bytes: sum.bytes + next.bytes,
            pages: sum.pages + next.pages,
            total: sum.total.zip(next.total).map(|(sum, next)| sum.saturating_add(next)),
        };
        streams.into_iter().reduce(both).unwrap_or_default()
    }
}

/// A task from close by, in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// What is at its destinations.
    pub sums: Vec<DeliverySum>,
    /// Its streams, in order.
    pub streams: Vec<StreamRow>,
    /// Its manifests, by stream and destination.
    pub manifests: Vec<ManifestRow>,
    /// The exports that are paused, by name.
    pub paused: Vec<String>,
}

/// What was last done for an export.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// Whether an operator holds it back.
    pub paused: bool,
    /// Its newest task.
    pub newest: Option<TaskRow>,
    /// Its newest task that succeeded.
    pub success: Option<TaskRow>,
}

/// What there is to see of some tasks, in one snapshot.
#[derive(Clone, Debug)]
pub struct Look {
    /// The tasks.
    pub tasks: Vec<(TaskRow, Figures)>,
    /// The exports that are paused, by name.
    pub paused: Vec<String>,
    /// Notifications that wait longer than they should.
    pub late: u64,
    /// Notifications that were given up lately.
    pub given_up: u64,
}

/// What of a task is at a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliverySum {
    /// The destination.
    pub destination: String,
    /// Files that go there, as far as they are sealed.
    pub files: u64,
    /// Files that are verified there.
    pub delivered: u64,
    /// Bytes that go there.
    pub bytes: u64,
    /// Bytes that are verified there.
    pub delivered_bytes: u64,
    /// The last error of a file that is not there.
    pub error: Option<String>,
    /// Whether everything is published there.
    pub published: bool,
    /// Whether it is filled back after the task's end.
    pub filling: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_known_only_if_it_is_for_every_stream() {
        let over = |totals: &[Option<u64>]| {
            Sums::over(totals.iter().map(|&total| Sums { total, pages: 2, ..Sums::default() }))
        };
        assert_eq!(over(&[Some(1), Some(2)]).total, Some(3));
        assert_eq!(over(&[Some(1), None]).total, None);
        assert_eq!(over(&[Some(u64::MAX), Some(2)]).total, Some(u64::MAX));
        assert_eq!(over(&[]).total, None);
        assert_eq!(over(&[None, None]).pages, 4);
    }
}
