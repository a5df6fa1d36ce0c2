//! What lies in the spools, and what of a task is where.

use crate::base::ids::TaskId;

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
    /// The destination.
    pub destination: String,
    /// Bytes that wait.
    pub bytes: u64,
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
