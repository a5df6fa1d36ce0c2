//! Points and lengths of time as operators write them, and how an API wants them written.

use super::units::shown;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use std::time::Duration;

/// A length of time that follows the calendar: `15m`, `1h`, `1d`, `1w`, `1mo`, `1y`. Never zero or negative.
#[derive(Clone, Copy, Debug)]
pub struct Step(Span);

impl Step {
    /// Reads a length.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is not a length of time: write e.g. 1h, 1d, 1w, 1mo or 1y", shown(text));
        let span: Span = text.trim().parse().map_err(|_| wrong())?;
        if span.is_positive() { Ok(Self(span)) } else { Err(wrong()) }
    }

    /// `times` such lengths after a time, or before it where `times` is negative. From the 31st, one month leads to the
    /// end of a shorter month, and two months to the 31st again: so this is not the same as going step by step. `None`
    /// beyond the years that calendars here know.
    pub fn after(&self, start: &Zoned, times: i64) -> Option<Zoned> {
        start.checked_add(self.0.checked_mul(times).ok()?).ok()
    }
}

/// A point of time: a fixed one, a local one, or one that counts from the creation of the task.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// The task's creation, less a length.
    Now(Option<Step>),
    /// A fixed one.
    At(Timestamp),
    /// The local time of a zone.
    Local(DateTime),
}

impl Moment {
    /// Reads `now`, `now - 30d`, an RFC 3339 time, a local time or a day.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("now") {
            let rest = rest.trim_start();
            return match rest.strip_prefix('-') {
                Some(length) => Step::parse(length).map(Some).map(Self::Now),
                None if rest.is_empty() => Ok(Self::Now(None)),
                None => Err(format!("{} is not a time: write now, or e.g. now - 30d", shown(text))),
            };
        }
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        text.parse()
            .map(Self::Local)
            .map_err(|_| format!("{} is not a time: write e.g. 2024-01-31, 2024-01-31T00:00:00Z or now", shown(text)))
    }

    /// The point of time for a task created at `now`.
    pub fn resolve(&self, now: Timestamp, zone: &TimeZone) -> Option<Zoned> {
        match self {
            Self::Now(None) => Some(now.to_zoned(zone.clone())),
            Self::Now(Some(length)) => length.after(&now.to_zoned(zone.clone()), -1),
            Self::At(at) => Some(at.to_zoned(zone.clone())),
            Self::Local(local) => local.to_zoned(zone.clone()).ok(),
        }
    }
}

/// How an API wants times written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339, with the offset of the zone (`Z` in UTC).
    Rfc3339,
    /// Whole seconds since 1970.
    Seconds,
    /// Whole milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
    /// A strftime format.
    Pattern(String),
}

impl TimeFormat {
    /// Reads the word of a format, or a strftime format that holds at least one `%`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "rfc3339" => return Ok(Self::Rfc3339),
            "epoch" | "%s" => return Ok(Self::Seconds),
            "epoch_ms" => return Ok(Self::Milliseconds),
            "epoch_us" => return Ok(Self::Microseconds),
            _ => {}
        }
        let format = Self::Pattern(text.to_owned());
        if !text.contains('%') {
            let words = "rfc3339, epoch, epoch_ms, epoch_us, or a strftime format such as %Y-%m-%d";
            return Err(format!("{} is not a format of times: write {words}", shown(text)));
        }
        let some = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        format.write(&some).map(|_| format).map_err(|why| format!("{} is not a strftime format: {why}", shown(text)))
    }

    /// A time as the API wants it.
    pub fn write(&self, at: &Zoned) -> Result<String, String> {
        Ok(match self {
            Self::Rfc3339 if *at.time_zone() == TimeZone::UTC => at.timestamp().to_string(),
            Self::Rfc3339 => at.timestamp().display_with_offset(at.offset()).to_string(),
            Self::Seconds => at.timestamp().as_second().to_string(),
            Self::Milliseconds => at.timestamp().as_millisecond().to_string(),
            Self::Microseconds => at.timestamp().as_microsecond().to_string(),
            Self::Pattern(pattern) => strtime::format(pattern, at).map_err(|error| error.to_string())?,
        })
    }

    /// How long a unit is, where times are numbers.
    pub fn unit(&self) -> Option<Duration> {
        match self {
            Self::Seconds => Some(Duration::from_secs(1)),
            Self::Milliseconds => Some(Duration::from_millis(1)),
            Self::Microseconds => Some(Duration::from_micros(1)),
            Self::Rfc3339 | Self::Pattern(_) => None,
        }
    }

    /// Reads a time that a source gave: RFC 3339, or a whole number in the unit of this format (seconds unless it says
    /// milliseconds or microseconds).
    pub fn read(&self, text: &str) -> Option<Timestamp> {
        if let Ok(number) = text.parse::<i64>() {
            return match self {
                Self::Milliseconds => Timestamp::from_millisecond(number),
                Self::Microseconds => Timestamp::from_microsecond(number),
                Self::Rfc3339 | Self::Seconds | Self::Pattern(_) => Timestamp::from_second(number),
            }
            .ok();
        }
        text.parse().ok()
    }
}

/// Reads the name of a time zone.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("{} is not a time zone: write e.g. UTC or Europe/Paris", shown(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Zoned {
        text.parse::<Timestamp>().unwrap().to_zoned(TimeZone::UTC)
    }

    #[test]
    fn steps_follow_the_calendar() {
        for (step, times, end) in [
            ("1h", 2, "2024-01-31T02:00:00Z"),
            ("1d", -31, "2023-12-31T00:00:00Z"),
            ("1w", 1, "2024-02-07T00:00:00Z"),
            ("1mo", 1, "2024-02-29T00:00:00Z"),
            ("1mo", 2, "2024-03-31T00:00:00Z"),
            ("1y", 1, "2025-01-31T00:00:00Z"),
            ("15m", 1, "2024-01-31T00:15:00Z"),
        ] {
            let reached = Step::parse(step).unwrap().after(&at("2024-01-31T00:00:00Z"), times).unwrap();
            assert_eq!(reached, at(end), "{times} times {step}");
        }
        for bad in ["", "0d", "-1d", "1", "d", "1 parsec"] {
            assert!(Step::parse(bad).is_err(), "{bad}");
        }
        assert!(Step::parse("1y").unwrap().after(&at("2024-01-31T00:00:00Z"), 9000).is_none());
    }

    #[test]
    fn moments() {
        let now: Timestamp = "2024-03-31T10:00:00.5Z".parse().unwrap();
        let paris = zone("Europe/Paris").unwrap();
        for (text, instant) in [
            ("now", "2024-03-31T10:00:00.5Z"),
            ("now - 1d", "2024-03-30T11:00:00.5Z"),
            ("now-1mo", "2024-02-29T11:00:00.5Z"),
            ("2024-03-31", "2024-03-30T23:00:00Z"),
            ("2024-07-01T00:00:00", "2024-06-30T22:00:00Z"),
            ("2024-07-01T00:00:00+05:00", "2024-06-30T19:00:00Z"),
        ] {
            let moment = Moment::parse(text).unwrap().resolve(now, &paris).unwrap();
            assert_eq!(moment.timestamp(), instant.parse().unwrap(), "{text}");
        }
        for bad in ["", "nowhere", "now + 1d", "tomorrow", "2024-02-30", "now -"] {
            assert!(Moment::parse(bad).is_err(), "{bad}");
        }
        assert!(zone("Mars/Olympus").is_err());
    }

    #[test]
    fn formats() {
        let time = at("2024-01-31T23:30:00.123456Z");
        let paris = time.with_time_zone(zone("Europe/Paris").unwrap());
        for (format, utc, local) in [
            ("rfc3339", "2024-01-31T23:30:00.123456Z", "2024-02-01T00:30:00.123456+01:00"),
            ("epoch", "1706743800", "1706743800"),
            ("%s", "1706743800", "1706743800"),
            ("epoch_ms", "1706743800123", "1706743800123"),
            ("epoch_us", "1706743800123456", "1706743800123456"),
            ("%Y-%m-%d", "2024-01-31", "2024-02-01"),
            ("%d.%m.%y %H:%M:%S%z", "31.01.24 23:30:00+0000", "01.02.24 00:30:00+0100"),
        ] {
            let format = TimeFormat::parse(format).unwrap();
            assert_eq!(format.write(&time).unwrap(), utc);
            assert_eq!(format.write(&paris).unwrap(), local);
        }
        for bad in ["", "iso", "seconds", "%", "%Ö", "%Y-%"] {
            assert!(TimeFormat::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,20}") {
            let _ = (Step::parse(&text), Moment::parse(&text), TimeFormat::parse(&text), zone(&text));
        }

        #[test]
        fn what_is_written_is_read(us in 0i64..4_000_000_000_000_000, word in prop::sample::select(vec!["rfc3339", "epoch_us"])) {
            let (time, format) = (Timestamp::from_microsecond(us).unwrap(), TimeFormat::parse(word).unwrap());
            let text = format.write(&time.to_zoned(zone("America/New_York").unwrap())).unwrap();
            prop_assert_eq!(format.read(&text), Some(time));
        }
    }
}
