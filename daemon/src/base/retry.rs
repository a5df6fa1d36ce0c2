//! The one place that computes how long to wait before trying again (exponential backoff with full jitter).
//!
//! `backoff` is no longer maintained upstream (RUSTSEC-2025-0012); it is named here only, so that it can be replaced here.

use backoff::backoff::Backoff as _;
use std::time::Duration;

/// How often and how long something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first one included; at least 1.
    pub attempts: u32,
    /// The ceiling of the first wait.
    pub initial: Duration,
    /// The ceiling of every wait.
    pub max: Duration,
}

/// The waits of one piece of work, in order.
#[derive(Debug)]
pub struct Waits {
    inner: backoff::ExponentialBackoff,
    left: u32,
}

impl RetryPolicy {
    /// Starts counting.
    pub fn waits(&self) -> Waits {
        // Full jitter (a wait uniform in 0..ceiling) is a randomization of 1 around half the ceiling.
        let inner = backoff::ExponentialBackoffBuilder::new()
            .with_initial_interval(self.initial / 2)
            .with_max_interval(self.max / 2)
            .with_randomization_factor(1.0)
            .with_multiplier(2.0)
            .with_max_elapsed_time(None)
            .build();
        Waits { inner, left: self.attempts.saturating_sub(1) }
    }
}

impl Waits {
    /// How long to wait before the next try, or `None` when all tries are used up. `asked` is what the other side
    /// wants (Retry-After): it is honoured in full, and the jitter comes on top.
    pub fn next_wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let own = self.inner.next_backoff().unwrap_or_default();
        Some(asked.map_or(own, |asked| asked + own / 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_end_and_stay_below_the_ceiling() {
        let policy = RetryPolicy { attempts: 6, initial: Duration::from_millis(100), max: Duration::from_millis(400) };
        let mut waits = policy.waits();
        let mut count = 0;
        while let Some(wait) = waits.next_wait(None) {
            assert!(wait <= Duration::from_millis(400), "{wait:?}");
            count += 1;
        }
        assert_eq!(count, 5);
    }

    #[test]
    fn retry_after_is_never_shortened() {
        let policy = RetryPolicy { attempts: 2, initial: Duration::from_secs(1), max: Duration::from_secs(1) };
        assert!(policy.waits().next_wait(Some(Duration::from_secs(7))).unwrap() >= Duration::from_secs(7));
    }
}
