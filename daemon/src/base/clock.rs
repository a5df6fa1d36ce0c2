//! The only place that asks the machine what time it is.

use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The wall clock, cut to microseconds: what the ledger stores.
pub fn now() -> Timestamp {
    let now = if cfg!(debug_assertions) { jumped(Timestamp::now()) } else { Timestamp::now() };
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// A clock that jumps, so that a test can see what comes of it: `SAAS_EXPORT_CLOCK` names a file with the seconds that it is
/// wrong by, which may change at any time. Only builds with debug assertions look.
fn jumped(now: Timestamp) -> Timestamp {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("SAAS_EXPORT_CLOCK").map(Into::into));
    let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    let seconds = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now)
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
