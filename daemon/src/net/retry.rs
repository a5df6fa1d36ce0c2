//! How long to wait before a request is tried again: Retry-After (RFC 9110, section 10.2.3) and the task's budget of retries.

use crate::base::clock;
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::fmt::{rfc2822, strtime};
use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A longer wait is for the queue: the request fails with the wait in its class.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Waits beyond this are cut: a task is better tried again after a day than parked for a year by a header gone wrong.
const ABSURD: Duration = Duration::from_secs(86_400);

/// The retries that one task may use in all.
#[derive(Debug)]
pub struct RetryBudget {
    size: u32,
    left: AtomicU32,
}

impl RetryBudget {
    /// A full budget.
    pub fn new(size: u32) -> Self {
        Self { size, left: AtomicU32::new(size) }
    }

    /// Uses one retry; false when none is left.
    pub fn take(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// What it was at the start.
    pub fn size(&self) -> u32 {
        self.size
    }
}

/// The wait that an answer asks for; `None` where it asks for none or the header cannot be read. A date is taken
/// relative to the answer's own `Date`, so that a wrong clock on either side does no harm.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.parse::<f64>().is_ok() {
        return wait_of(text, Duration::from_secs(1));
    }
    let then = http_date(text)?;
    let now = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?)).unwrap_or_else(clock::now);
    let wait = then.duration_since(now).max(SignedDuration::ZERO);
    Some(Duration::try_from(wait).unwrap_or_default().min(ABSURD))
}

/// The wait that a number means, in units of this length; `None` where it is none, or below zero.
pub fn wait_of(text: &str, unit: Duration) -> Option<Duration> {
    let seconds = text.trim().parse::<f64>().ok()? * unit.as_secs_f64();
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(ABSURD.as_secs_f64())))
}

/// Reads the three forms of an HTTP date (RFC 9110, section 5.6.7).
pub fn http_date(text: &str) -> Option<Timestamp> {
    if let Ok(at) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Some(at);
    }
    let civil = |format: &str, text: &str| {
        let at = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    civil("%A, %d-%b-%y %H:%M:%S GMT", text).or_else(|| civil("%a %b %e %H:%M:%S %Y", text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(retry: &str, date: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(retry).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        headers
    }

    #[test]
    fn the_three_forms_are_one_instant() {
        let at = "1994-11-06T08:49:37Z".parse().ok();
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(http_date(text), at, "{text}");
        }
        for bad in ["", "soon", "Sun, 06 Nov", "1994-11-06"] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn both_forms_of_retry_after() {
        assert_eq!(retry_after(&headers("120", None)), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(&headers("0", None)), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("1.5", None)), Some(Duration::from_millis(1500)));
        let (now, then) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(retry_after(&headers(then, Some(now))), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(&headers(now, Some(then))), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers(then, None)), Some(Duration::ZERO), "long past");
        for bad in ["-1", "NaN", "inf", "soon"] {
            assert_eq!(retry_after(&headers(bad, None)), None, "{bad}");
        }
        let day = Some(Duration::from_secs(86_400));
        for long in ["31536000", "1e300"] {
            assert_eq!(retry_after(&headers(long, None)), day, "{long}");
        }
        assert_eq!(retry_after(&headers("Sun, 06 Nov 2394 08:49:37 GMT", Some(now))), day);
    }

    #[test]
    fn waits_have_their_unit() {
        let (second, ms) = (Duration::from_secs(1), Duration::from_millis(1));
        assert_eq!(wait_of("1337", ms), Some(Duration::from_millis(1337)));
        assert_eq!(wait_of(" 0.25 ", second), Some(Duration::from_millis(250)));
        assert_eq!(wait_of("1e300", ms), Some(ABSURD));
        for bad in ["", "-1", "NaN", "inf", "1e999", "soon"] {
            assert_eq!(wait_of(bad, ms), None, "{bad}");
        }
    }

    #[test]
    fn a_budget_ends() {
        let budget = RetryBudget::new(2);
        assert_eq!([budget.take(), budget.take(), budget.take(), budget.take()], [true, true, false, false]);
    }

    proptest! {
        #[test]
        fn any_header_is_survived(text in "[ -~]{0,40}") {
            if let Some(wait) = retry_after(&headers(&text, None)) {
                prop_assert!(wait <= ABSURD);
            }
        }
    }
}
