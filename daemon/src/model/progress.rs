//! The live figures of a task that is Processing.

use super::task::Waiting;
use jiff::Timestamp;
use std::collections::BTreeMap;

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
    /// Whether only its deliveries are carried on with: of the other figures the ledger's count.
    pub carried: bool,
    /// How the deliveries go, by destination.
    pub destinations: BTreeMap<String, AtDestination>,
}

/// How the deliveries of a task to one destination go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtDestination {
    /// Bytes sent there since the daemon's start, by all tasks, repetitions included.
    pub sent: u64,
    /// The last error, while nothing has worked since.
    pub error: Option<String>,
    /// When it is tried again, after an error.
    pub next_try: Option<Timestamp>,
}
