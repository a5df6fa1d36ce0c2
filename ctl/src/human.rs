//! Numbers, sizes, times and texts as people read them.

use jiff::Timestamp;
use saas_export_api::{Progress, TaskState, TaskSummary, plural, size};

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 record`, `1,234 records`.
pub fn many(number: u64, one: &str) -> String {
    format!("{} {}", count(number), plural(number, one))
}

/// A length of time with its two largest units: `45s`, `3m 40s`, `2h 05m`, `1d 3h`.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h {minutes:02}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Records per second.
pub fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 10.0 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", count(per_second.max(0.0).round() as u64))
    }
}

/// A part of a whole: `12 %`. Never 100 before it is all.
pub fn percent(part: u64, whole: u64) -> String {
    let percent = (u128::from(part) * 100).checked_div(u128::from(whole)).unwrap_or(100);
    format!("{} %", percent.min(100))
}

/// Seconds between two instants of the API; none where one is missing or unreadable, or the order is wrong.
pub fn seconds_between(from: Option<&str>, to: Option<&str>) -> Option<u64> {
    let from: Timestamp = from?.parse().ok()?;
    let to: Timestamp = to?.parse().ok()?;
    u64::try_from(to.duration_since(from).as_secs()).ok()
}

/// How long ago an instant was: `3m 40s ago`.
pub fn ago(time: &str, now: Timestamp) -> String {
    match seconds_between(Some(time), Some(&now.to_string())) {
        Some(seconds) => format!("{} ago", duration(seconds)),
        None => clean(time),
    }
}

/// An instant to the second: `2026-11-21T02:45:01Z`.
pub fn moment(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{}Z", clean(seconds)),
        None => clean(time),
    }
}

/// Text of others without what would drive the terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The same for a text of several lines: the line ends stay.
pub fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// `120,000 of 1,000,000 records (12 %), 4,000/s, 48.0 MB, ETA 3m 40s`.
pub fn progress(progress: &Progress) -> String {
    let mut text = match progress.total {
        Some(total) if total > 0 => {
            let part = percent(progress.records, total);
            format!("{} of {} ({part})", count(progress.records), many(total, "record"))
        }
        _ => many(progress.records, "record"),
    };
    if progress.rate > 0.0 {
        text.push_str(&format!(", {}", rate(progress.rate)));
    }
    text.push_str(&format!(", {}", size(progress.bytes)));
    if let Some(seconds) = progress.eta_seconds {
        text.push_str(&format!(", ETA {}", duration(seconds)));
    }
    text
}

/// Why a task is where it is, in one line; empty where its state says it all.
pub fn why(task: &TaskSummary) -> String {
    let mut text = match &task.waiting {
        Some(waiting) => format!("waits: {}", clean(&waiting.reason)),
        None => clean(&task.reason),
    };
    if task.extracted && task.state == TaskState::Processing && text.is_empty() {
        text = "delivering".into();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([many(0, "file"), many(1, "file"), many(1000, "file")], ["0 files", "1 file", "1,000 files"]);
    }

    #[test]
    fn durations_and_rates() {
        let cases = [(0, "0s"), (59, "59s"), (220, "3m 40s"), (7_500, "2h 05m"), (97_200, "1d 3h")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(rate(0.0), "0/s");
        assert_eq!(rate(2.54), "2.5/s");
        assert_eq!(rate(4000.4), "4,000/s");
        assert_eq!(rate(f64::NAN), "0/s");
    }

    #[test]
    fn a_part_is_all_only_at_the_end() {
        assert_eq!(percent(999_999, 1_000_000), "99 %");
        assert_eq!(percent(7, 7), "100 %");
        assert_eq!(percent(8, 7), "100 %");
        assert_eq!(percent(0, 0), "100 %");
        assert_eq!(percent(u64::MAX, u64::MAX), "100 %");
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-11-21T02:48:41Z".parse().unwrap();
        assert_eq!(ago("2026-11-21T02:45:01Z", now), "3m 40s ago");
        assert_eq!(ago("2030-01-01T00:00:00Z", now), "2030-01-01T00:00:00Z");
        assert_eq!(moment("2026-11-21T02:45:01.905672Z"), "2026-11-21T02:45:01Z");
        assert_eq!(moment("2026-11-21T02:45:01Z"), "2026-11-21T02:45:01Z");
        assert_eq!(seconds_between(Some("x"), Some("2026-11-21T02:45:01Z")), None);
    }

    #[test]
    fn a_reason_cannot_drive_the_terminal() {
        assert_eq!(clean("a\x1b[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(clean_lines("a\x1b[31mb\nc\r\n"), "a\u{fffd}[31mb\nc\u{fffd}\n");
    }

    #[test]
    fn progress_says_what_is_known() {
        let known = Progress {
            records: 120_000,
            bytes: 48_000_000,
            total: Some(1_000_000),
            rate: 4_000.0,
            eta_seconds: Some(220),
            ..Progress::default()
        };
        assert_eq!(progress(&known), "120,000 of 1,000,000 records (12 %), 4,000/s, 48.0 MB, ETA 3m 40s");
        assert_eq!(progress(&Progress::default()), "0 records, 0 B");
        assert_eq!(progress(&Progress { records: 1, ..Progress::default() }), "1 record, 0 B");
    }
}
