//! What is counted while the daemon runs, without locks where it counts; and the text that monitoring reads.
//!
//! Counters begin at zero with each start, as OpenMetrics expects. What must outlive a restart (the last success, what waits
//! for a destination) is no counter: it is read from the ledger when somebody asks.

pub mod families;
pub mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// Series of one kind: names come from configurations alone, but those of past ones stay until a restart.
const MOST: usize = 10_000;

/// The counters of this process.
pub static METERS: LazyLock<Meters> = LazyLock::new(Meters::default);

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Time that only grows.
#[derive(Debug, Default)]
pub struct Spent(Counter);

impl Spent {
    /// Adds to it.
    pub fn add(&self, more: Duration) {
        self.0.add(u64::try_from(more.as_micros()).unwrap_or(u64::MAX));
    }

    /// Seconds.
    pub fn seconds(&self) -> f64 {
        self.0.get() as f64 / 1e6
    }
}

/// What was committed of a stream, what was read again included.
#[derive(Debug, Default)]
pub struct StreamMeter {
    /// Records that the source gave.
    pub read: Counter,
    /// Records in files.
    pub written: Counter,
    /// Records in the quarantine.
    pub rejected: Counter,
    /// Records dropped as exact repetitions.
    pub duplicate: Counter,
    /// Records dropped by a filter.
    pub filtered: Counter,
    /// Records beyond a limit.
    pub over_limit: Counter,
    /// Pages.
    pub pages: Counter,
    /// JSON bytes of pages.
    pub source_bytes: Counter,
    /// Files.
    pub segments: Counter,
    /// Bytes of files.
    pub bytes: Counter,
}

/// How many classes of answers are counted: none, 1xx to 5xx.
const CLASSES: usize = 6;

/// The requests of an export to its source.
#[derive(Debug, Default)]
pub struct RequestMeter {
    answers: [Counter; CLASSES],
    /// Requests sent again after a failure.
    pub retries: Counter,
    /// Time spent waiting because of rate limits.
    pub throttled: Spent,
}

impl RequestMeter {
    /// Counts a request by its status; by none where no answer came.
    pub fn answered(&self, status: Option<u16>) {
        let class = status.map_or(0, |status| usize::from(status / 100));
        if let Some(count) = self.answers.get(class) {
            count.add(1);
        }
    }

    /// Requests by class of status: `2xx`, or `none` for those without an answer.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(self.answers.iter().map(Counter::get))
    }
}

/// The deliveries to a destination.
#[derive(Debug, Default)]
pub struct DestinationMeter {
    /// Files that were verified there.
    pub segments: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Tries that failed.
    pub failures: Counter,
    failed_at: AtomicI64,
    tried: AtomicBool,
    away: AtomicBool,
}

impl DestinationMeter {
    /// A try failed, at this many microseconds since 1970.
    pub fn failed(&self, at: i64) {
        self.failures.add(1);
        self.failed_at.store(at, Relaxed);
        self.tried.store(true, Relaxed);
        self.away.store(true, Relaxed);
    }

    /// A try worked; whether the one before it had failed.
    pub fn worked(&self) -> bool {
        self.tried.store(true, Relaxed);
        self.away.swap(false, Relaxed)
    }

    /// Whether the last try worked; none where there was none.
    pub fn reachable(&self) -> Option<bool> {
        self.tried.load(Relaxed).then(|| !self.away.load(Relaxed))
    }

    /// Seconds since 1970 of the last failure, if there was one.
    pub fn failed_at(&self) -> Option<f64> {
        Some(self.failed_at.load(Relaxed)).filter(|at| *at != 0).map(|at| at as f64 / 1e6)
    }
}

/// Meters by the names that they are about.
#[derive(Debug)]
pub struct Named<K, T>(Mutex<BTreeMap<K, Arc<T>>>);

impl<K, T> Default for Named<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone, T: Default> Named<K, T> {
    /// The meter of a name; where there are too many, one that nobody reads.
    pub fn of(&self, name: K) -> Arc<T> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if meters.len() >= MOST && !meters.contains_key(&name) {
            return Arc::default();
        }
        meters.entry(name).or_default().clone()
    }

    /// All of them, in order of name.
    pub fn all(&self) -> Vec<(K, Arc<T>)> {
        let meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.iter().map(|(name, meter)| (name.clone(), meter.clone())).collect()
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Meters {
    /// By export and stream.
    pub streams: Named<(String, String), StreamMeter>,
    /// By source and export.
    pub requests: Named<(String, String), RequestMeter>,
    /// By destination.
    pub destinations: Named<String, DestinationMeter>,
    /// Ends of tasks by export and the state they ended in.
    pub ended: Named<(String, &'static str), Counter>,
    /// Pieces of work done by the threads that convert and encode.
    pub conversions: Counter,
    /// The time that took.
    pub converting: Spent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class() {
        let meter = RequestMeter::default();
        for status in [Some(200), Some(206), Some(429), Some(503), None, Some(999)] {
            meter.answered(status);
        }
        let counts: BTreeMap<_, _> = meter.answers().collect();
        assert_eq!(counts, [("none", 1), ("1xx", 0), ("2xx", 2), ("3xx", 0), ("4xx", 1), ("5xx", 1)].into());
    }

    #[test]
    fn a_destination_is_away_from_its_first_failure_to_its_next_success() {
        let meter = DestinationMeter::default();
        assert_eq!((meter.reachable(), meter.failed_at()), (None, None));
        assert!(!meter.worked());
        meter.failed(5_500_000);
        meter.failed(6_500_000);
        assert_eq!((meter.reachable(), meter.failed_at(), meter.failures.get()), (Some(false), Some(6.5), 2));
        assert!(meter.worked() && !meter.worked());
        assert_eq!(meter.reachable(), Some(true));
    }

    #[test]
    fn names_are_bounded() {
        let named = Named::<usize, Counter>::default();
        for name in 0..MOST + 5 {
            named.of(name).add(1);
        }
        named.of(7).add(1);
        assert_eq!((named.all().len(), named.of(7).get()), (MOST, 2));
    }
}
