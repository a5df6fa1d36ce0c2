//! Live figures of a running task, counted without locks on the fast path.

use crate::base::clock;
use crate::ledger::rows::StreamRow;
use crate::model::progress::{AtDestination, Progress};
use crate::model::task::Waiting;
use crate::net::stats::SourceStats;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The rate is measured over this long.
const WINDOW: Duration = Duration::from_secs(5);
/// Readings kept for the rate.
const READINGS: usize = 64;
/// Partitions whose totals are added up; of more the sum stays unknown.
const MAX_TOTALS: usize = 10_000;
/// Least time between two readings.
const BETWEEN: Duration = Duration::from_millis(200);

/// Sums over the streams of a task, segments in the making included.
#[derive(Debug, Default)]
pub struct Counters {
    records: AtomicU64,
    source_bytes: AtomicU64,
    pages: AtomicU64,
    sampled: Sampled,
    committed: AtomicU64,
    /// Bytes of open segments by lane, and of those that are being closed.
    open: Mutex<BTreeMap<(u32, bool), u64>>,
    totals: Mutex<Totals>,
    readings: Mutex<Vec<(Instant, u64)>>,
    source: OnceLock<Arc<SourceStats>>,
    held: Mutex<Option<Waiting>>,
    places: Mutex<BTreeMap<String, AtDestination>>,
    /// What it does once the source is read, for a person.
    putting: Mutex<Option<String>>,
}

/// What the sample has read and no lane has taken yet.
#[derive(Debug, Default)]
struct Sampled {
    records: AtomicU64,
    source_bytes: AtomicU64,
    pages: AtomicU64,
}

impl Sampled {
    /// Takes a page off, as far as there is something left.
    fn take(&self, records: u64, source_bytes: u64) {
        for (of, less) in [(&self.records, records), (&self.source_bytes, source_bytes), (&self.pages, 1)] {
            let _ = of.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(less)));
        }
    }
}

/// What the source says that there is in all.
#[derive(Debug, Default)]
struct Totals {
    expected: usize,
    known: BTreeMap<(String, u32), u64>,
}

impl Counters {
    /// Also shows the figures of the source's requests.
    pub fn attach(&self, stats: Arc<SourceStats>) {
        let _ = self.source.set(stats);
    }

    /// Why extraction waits, for another reason than its source; or that it goes on.
    pub fn hold(&self, waiting: Option<Waiting>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    /// How the deliveries to a destination go.
    pub fn at(&self, destination: &str, now: AtDestination) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(destination.to_owned(), now);
    }

    /// So many partitions more will be read.
    pub fn expect(&self, partitions: usize) {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).expected += partitions;
    }

    /// A partition has so many records.
    pub fn total(&self, stream: &str, partition: u32, records: u64) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        if totals.expected > MAX_TOTALS {
            return;
        }
        totals.known.insert((stream.to_owned(), partition), records);
    }

    /// Starts from what the ledger holds.
    pub fn reset(&self, rows: &[StreamRow]) {
        let sum = |of: fn(&StreamRow) -> u64| rows.iter().map(of).sum();
        self.records.store(sum(|row| row.counts.read), Relaxed);
        self.source_bytes.store(sum(|row| row.source_bytes), Relaxed);
        self.pages.store(sum(|row| row.pages), Relaxed);
        self.committed.store(sum(|row| row.bytes), Relaxed);
        self.forget_sampled();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner) = Totals::default();
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The sample has read a page; a lane will count it once more when it takes it.
    pub fn sampled(&self, records: u64, source_bytes: u64) {
        self.sampled.records.fetch_add(records, Relaxed);
        self.sampled.source_bytes.fetch_add(source_bytes, Relaxed);
        self.sampled.pages.fetch_add(1, Relaxed);
    }

    /// The sample begins again, or no lane takes its pages any more.
    pub fn forget_sampled(&self) {
        for of in [&self.sampled.records, &self.sampled.source_bytes, &self.sampled.pages] {
            of.store(0, Relaxed);
        }
    }

    /// Counts a page.
    pub fn add_page(&self, records: u64, source_bytes: u64) {
        self.sampled.take(records, source_bytes);
        self.records.fetch_add(records, Relaxed);
        self.source_bytes.fetch_add(source_bytes, Relaxed);
        self.pages.fetch_add(1, Relaxed);
    }

    /// Bytes of a lane's open segment.
    pub fn open_bytes(&self, lane: u32, bytes: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert((lane, false), bytes);
    }

    /// A lane's open segment is being closed.
    pub fn closing(&self, lane: u32) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = open.remove(&(lane, false)).unwrap_or(0);
        open.insert((lane, true), bytes);
    }

    /// The segment of a lane that was being closed was committed.
    pub fn committed(&self, lane: u32, bytes: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&(lane, true));
        self.committed.fetch_add(bytes, Relaxed);
    }

    /// Says what it does beside reading and delivering; `None` once that is done.
    pub fn puts_together(&self, what: Option<String>) {
        *self.putting.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// Whether it does what [`Counters::puts_together`] says.
    pub fn busy(&self) -> bool {
        self.putting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes a reading for the rate. Called about every second, so that a single look later on has something to compare
    /// with.
    pub fn note(&self) {
        self.rate(self.records.load(Relaxed) + self.sampled.records.load(Relaxed));
    }

    /// The rate over the readings of the last seconds; this is one, too.
    fn rate(&self, records: u64) -> f64 {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::monotonic();
        let age = |at: Instant| now.saturating_duration_since(at);
        readings.retain(|(at, _)| age(*at) <= WINDOW);
        let rate = readings.first().map_or(0.0, |(at, then)| {
            let seconds = age(*at).as_secs_f64();
            if seconds > 0.0 { records.saturating_sub(*then) as f64 / seconds } else { 0.0 }
        });
        if readings.len() < READINGS && readings.last().is_none_or(|(at, _)| age(*at) >= BETWEEN) {
            readings.push((now, records));
        }
        rate
    }

    /// The figures now. The rate is that of the last seconds.
    pub fn read(&self) -> Progress {
        let sampled = &self.sampled;
        let records = self.records.load(Relaxed) + sampled.records.load(Relaxed);
        let rate = self.rate(records);
        let open: u64 = self.open.lock().unwrap_or_else(PoisonError::into_inner).values().sum();
        Progress {
            records,
            source_bytes: self.source_bytes.load(Relaxed) + sampled.source_bytes.load(Relaxed),
            bytes: self.committed.load(Relaxed) + open,
            pages: self.pages.load(Relaxed) + sampled.pages.load(Relaxed),
            rate,
            total: self.known_total(),
            retries: self.source.get().map_or(0, |stats| stats.retries.load(Relaxed)),
            waiting: self.waiting(),
            carried: false,
            destinations: self.places.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn waiting(&self) -> Option<Waiting> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        held.or_else(|| self.putting()).or_else(|| self.source.get()?.waiting().borrow().clone())
    }

    fn putting(&self) -> Option<Waiting> {
        let putting = self.putting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        putting.map(|reason| Waiting { reason, until: None })
    }

    /// The sum, once every partition that was announced has told.
    fn known_total(&self) -> Option<u64> {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        (totals.expected > 0 && totals.known.len() >= totals.expected).then(|| totals.known.values().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sample_reads_counts_at_once_and_only_once() {
        let counters = Counters::default();
        let read = || (counters.read().records, counters.read().source_bytes, counters.read().pages);
        counters.sampled(100, 1000);
        counters.sampled(50, 500);
        assert_eq!(read(), (150, 1500, 2));
        counters.add_page(100, 1000);
        assert_eq!(read(), (150, 1500, 2));
        counters.add_page(50, 500);
        counters.add_page(7, 70);
        assert_eq!(read(), (157, 1570, 3));
        // A limit may cut what was sampled; and a sample may be read again.
        counters.sampled(10, 100);
        counters.forget_sampled();
        assert_eq!(read(), (157, 1570, 3));
    }

    #[test]
    fn what_it_does_after_reading_is_told_while_it_lasts() {
        let counters = Counters::default();
        assert!(!counters.busy() && counters.read().waiting.is_none());
        counters.puts_together(Some("puts orders.csv together".into()));
        let told = counters.read().waiting.map(|waiting| (waiting.reason, waiting.until));
        assert!(counters.busy() && told == Some(("puts orders.csv together".into(), None)));
        counters.puts_together(None);
        assert!(!counters.busy() && counters.read().waiting.is_none());
    }

    #[test]
    fn one_look_after_a_reading_knows_the_rate() {
        let counters = Counters::default();
        counters.note();
        std::thread::sleep(Duration::from_millis(50));
        counters.add_page(100, 1000);
        let rate = counters.read().rate;
        assert!(rate > 0.0 && rate <= 2000.0, "100 records in at least 50 ms: {rate}/s");
        counters.reset(&[]);
        assert_eq!(counters.read().rate, 0.0);
    }
}
