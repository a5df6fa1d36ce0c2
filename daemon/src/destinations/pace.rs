//! How fast a destination is written to: bytes per second over all its uploads, and how much was sent.

use crate::base::clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time for which bytes may be sent ahead, so that a limit is kept without stopping after each part.
const BURST: Duration = Duration::from_millis(250);

/// The pace of a destination.
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes per second; `None` is as fast as it goes.
    per_second: Option<u64>,
    /// When everything that was asked for so far may have been sent.
    paid_until: Mutex<Option<Instant>>,
    sent: AtomicU64,
}

impl Pace {
    /// A pace of so many bytes a second.
    pub fn new(per_second: Option<u64>) -> Self {
        Self { per_second, ..Self::default() }
    }

    /// Waits until `bytes` more may be sent, and counts them. Ask for small pieces: what is asked for at once is sent at once.
    pub async fn take(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        let Some(per_second) = self.per_second.filter(|rate| *rate > 0) else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / per_second as f64);
        let wait = self.reserve(clock::monotonic(), cost);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Bytes sent so far, repetitions included.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Books `cost` at `now`; how long to wait before it may be spent.
    fn reserve(&self, now: Instant, cost: Duration) -> Duration {
        let mut paid = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let start = paid.map_or(now, |at| at.max(now.checked_sub(BURST).unwrap_or(now)));
        *paid = Some(start + cost);
        start.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_over_pieces_of_any_size() {
        let pace = Pace::new(Some(1000));
        let start = clock::monotonic();
        let mut now = start;
        let mut booked = 0;
        for bytes in [100, 900, 1, 499, 2000].into_iter().cycle().take(50) {
            now += pace.reserve(now, Duration::from_secs_f64(bytes as f64 / 1000.0));
            booked += bytes;
        }
        let took = now.duration_since(start).as_secs_f64();
        assert!(took >= booked as f64 / 1000.0 - 2.3 && took <= booked as f64 / 1000.0, "{booked} bytes in {took} s");
    }

    #[test]
    fn time_that_was_not_used_is_not_saved_up() {
        let pace = Pace::new(Some(1000));
        let start = clock::monotonic();
        assert_eq!(pace.reserve(start, Duration::from_secs(1)), Duration::ZERO);
        let later = start + Duration::from_secs(100);
        assert_eq!(pace.reserve(later, Duration::from_secs(1)), Duration::ZERO);
        assert!(pace.reserve(later, Duration::from_secs(1)) >= Duration::from_millis(700));
    }
}
