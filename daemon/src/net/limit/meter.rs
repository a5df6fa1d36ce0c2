//! Counts events and tells their rate over the last seconds, in constant memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Least time between two samples.
const GRAIN: Duration = Duration::from_millis(50);

/// Samples kept: ten seconds of them.
const SAMPLES: usize = 200;

/// Events so far, with samples of how many there were when.
#[derive(Debug)]
pub struct Meter {
    total: u64,
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Nothing so far.
    pub fn new(now: Instant) -> Self {
        Self { total: 0, samples: VecDeque::from([(now, 0)]) }
    }

    /// An event.
    pub fn add(&mut self, now: Instant) {
        if self.samples.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= GRAIN) {
            if self.samples.len() >= SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back((now, self.total));
        }
        self.total += 1;
    }

    /// Events in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Events since an instant, between two samples in proportion; of a time before them, since the oldest of them.
    fn since(&self, then: Instant) -> f64 {
        let next = self.samples.partition_point(|(at, _)| *at < then);
        let before = next.checked_sub(1).and_then(|before| self.samples.get(before));
        let base = match (before, self.samples.get(next)) {
            (Some((from, low)), Some((to, high))) => {
                let part = (then - *from).as_secs_f64() / (*to - *from).as_secs_f64();
                *low as f64 + (high - low) as f64 * part
            }
            (None, Some((_, first))) => *first as f64,
            // What came since the last sample came right behind it.
            (_, None) => self.total as f64,
        };
        self.total as f64 - base
    }

    /// Events a second over the last `length`.
    pub fn rate(&self, now: Instant, length: Duration) -> f64 {
        let then = now.checked_sub(length).unwrap_or(now);
        self.since(then) / length.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = clock::monotonic();
        let mut meter = Meter::new(start);
        for n in 0..2000_u64 {
            meter.add(start + Duration::from_millis(n * 10));
        }
        let now = start + Duration::from_secs(20);
        for seconds in [1, 2, 5] {
            let rate = meter.rate(now, Duration::from_secs(seconds));
            assert!((94.0..=106.0).contains(&rate), "{rate} over {seconds} s");
        }
        assert_eq!(meter.rate(now + Duration::from_secs(60), Duration::from_secs(5)), 0.0, "none after a pause");
        assert!(meter.samples.len() <= SAMPLES);
        assert_eq!(meter.total(), 2000);
    }
}
