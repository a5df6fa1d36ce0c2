//! The live figures of a task that is Processing.

use super::task::Waiting;

/// Live figures of a task; sums over its streams, segments in the making included.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Records read from the source.
    pub records: u64,
    /// JSON bytes read.
    pub source_bytes: u64,
    /// Bytes encoded.
    pub bytes: u64,
    /// Pages read.
    pub pages: u64,
    /// Records in all, where the source says so for every stream.
    pub total: Option<u64>,
    /// Requests that failed and were tried again.
    pub retries: u64,
    /// Records per second over the last seconds.
    pub rate: f64,
    /// Why it does not move, while it waits (also where the ledger could not be told).
    pub waiting: Option<Waiting>,
}
