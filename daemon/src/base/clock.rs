//! The only place that asks the machine what time it is.

use jiff::Timestamp;
use std::time::{Duration, Instant};

/// The wall clock, cut to microseconds: what the ledger stores.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// The monotonic clock, for how long something took or may take.
#[expect(clippy::disallowed_methods, reason = "the one place that may")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The time since `start`.
pub fn since(start: Instant) -> Duration {
    monotonic().saturating_duration_since(start)
}
