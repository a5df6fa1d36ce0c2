//! How the values of a cursor field are read: as what they look like, or as the settings say.

use super::settings::Incremental;
use super::times::{TimeFormat, zone};
use crate::model::mark::{CursorKind, CursorValue};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Compiled `cursor_format` and `timezone`.
#[derive(Clone, Debug)]
pub struct CursorFormat {
    how: How,
    /// Of times without an offset.
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    /// By their looks.
    Open,
    /// Of this kind, whatever they look like.
    Kind(CursorKind),
    /// Numbers that count time, or times of a strftime format.
    Time(TimeFormat),
}

impl Default for CursorFormat {
    fn default() -> Self {
        Self { how: How::Open, zone: TimeZone::UTC }
    }
}

impl CursorFormat {
    /// Compiles the settings; the error is the key and what is wrong with it.
    pub fn compile(settings: &Incremental) -> Result<Self, (&'static str, String)> {
        let zone = zone(&settings.timezone).map_err(|why| ("timezone", why))?;
        let how = settings.cursor_format.as_deref().map_or(Ok(How::Open), How::parse);
        Ok(Self { how: how.map_err(|why| ("cursor_format", why))?, zone })
    }

    /// The kind that the settings fix.
    pub fn kind(&self) -> Option<CursorKind> {
        match &self.how {
            How::Open => None,
            How::Kind(kind) => Some(*kind),
            How::Time(_) => Some(CursorKind::Instant),
        }
    }

    /// The time zone of times without an offset.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Reads the value of a record, of a kind where that is known; `None` where it is none.
    pub fn read(&self, text: &str, kind: Option<CursorKind>) -> Option<CursorValue> {
        match (&self.how, kind) {
            _ if text.is_empty() => None,
            (How::Time(format), _) => self.time(text, format).map(CursorValue::Instant),
            (How::Kind(kind), _) => CursorValue::parse_as_in(text, *kind, &self.zone),
            (How::Open, Some(kind)) => CursorValue::parse_as_in(text, kind, &self.zone),
            (How::Open, None) => Some(CursorValue::parse_in(text, &self.zone)),
        }
    }

    /// Reads a bound as an operator writes it: as the records do, or in the way that the configuration writes times.
    pub fn bound(&self, text: &str) -> CursorValue {
        self.read(text, None).unwrap_or_else(|| CursorValue::parse_in(text, &self.zone))
    }

    fn time(&self, text: &str, format: &TimeFormat) -> Option<Timestamp> {
        let TimeFormat::Pattern(pattern) = format else {
            let value = CursorValue::parse_as(text, CursorKind::Number)?;
            let Some(CursorValue::Instant(at)) = value.as_kind(CursorKind::Instant, format.unit()) else { return None };
            return Some(at);
        };
        let time = strtime::parse(pattern, text).ok()?;
        if time.offset().is_some() || time.timestamp().is_some() {
            return time.to_timestamp().ok();
        }
        let local = time.to_datetime().ok().or_else(|| time.to_date().ok().map(Into::into))?;
        Some(local.to_zoned(self.zone.clone()).ok()?.timestamp())
    }
}

impl How {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "number" => return Ok(Self::Kind(CursorKind::Number)),
            "text" => return Ok(Self::Kind(CursorKind::Text)),
            "rfc3339" => return Ok(Self::Kind(CursorKind::Instant)),
            _ => {}
        }
        let format = TimeFormat::parse(text).map_err(|why| format!("{why}; or number or text"))?;
        let how = Self::Time(format.clone());
        // A format that does not hold the whole date writes what cannot be read.
        let some = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        let reads = |at: &Zoned| {
            let reader = CursorFormat { how: how.clone(), zone: TimeZone::UTC };
            format.write(at).ok().and_then(|text| reader.read(&text, None)).is_some()
        };
        if reads(&some) {
            Ok(how)
        } else {
            Err("does not hold a day with its month and year, or cannot be read".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn format(format: Option<&str>, zone: &str) -> Result<CursorFormat, (&'static str, String)> {
        let settings = json!({ "cursor_field": "at", "cursor_format": format, "timezone": zone });
        CursorFormat::compile(&serde_json::from_value(settings).unwrap())
    }

    #[test]
    fn values_are_read_as_the_settings_say() {
        let instant = |text: &str| Some(CursorValue::Instant(text.parse().unwrap()));
        for (cursor_format, zone, text, value) in [
            (None, "UTC", "1700000000", Some(CursorValue::parse("1700000000"))),
            (None, "UTC", "2024-05-01T10:00:00.000+0200", instant("2024-05-01T08:00:00Z")),
            (None, "Europe/Paris", "2024-05-01T10:00:00", instant("2024-05-01T08:00:00Z")),
            (None, "Europe/Paris", "2024-05-01T10:00:00Z", instant("2024-05-01T10:00:00Z")),
            (None, "UTC", "", None),
            (Some("rfc3339"), "UTC", "20240501", instant("2024-05-01T00:00:00Z")),
            (Some("rfc3339"), "UTC", "yesterday", None),
            (Some("epoch"), "UTC", "1700000000", instant("2023-11-14T22:13:20Z")),
            (Some("epoch"), "UTC", "1700000000.000247", instant("2023-11-14T22:13:20.000247Z")),
            (Some("epoch"), "UTC", "-1", instant("1969-12-31T23:59:59Z")),
            (Some("epoch_ms"), "Europe/Paris", "1700000000123", instant("2023-11-14T22:13:20.123Z")),
            (Some("epoch_us"), "UTC", "1700000000123456", instant("2023-11-14T22:13:20.123456Z")),
            (Some("epoch"), "UTC", "2024-05-01", None),
            (Some("%d.%m.%Y %H:%M"), "Europe/Paris", "01.05.2024 10:00", instant("2024-05-01T08:00:00Z")),
            (Some("%d/%m/%Y"), "Europe/Paris", "01/05/2024", instant("2024-04-30T22:00:00Z")),
            (
                Some("%a, %d %b %Y %H:%M:%S %z"),
                "UTC",
                "Wed, 01 May 2024 10:00:00 +0200",
                instant("2024-05-01T08:00:00Z"),
            ),
            (Some("%Y%m%d%H%M%S"), "UTC", "20240501100000", instant("2024-05-01T10:00:00Z")),
            (Some("%d.%m.%Y"), "UTC", "2024-05-01", None),
            (Some("number"), "UTC", "0017", Some(CursorValue::parse("17"))),
            (Some("number"), "UTC", "2024-05-01", None),
            (Some("text"), "UTC", "0017", Some(CursorValue::Text("0017".into()))),
        ] {
            let format = format(cursor_format, zone).unwrap();
            assert_eq!(format.read(text, None), value, "{cursor_format:?} {text}");
            let fixed = value.as_ref().map(CursorValue::kind);
            assert!(cursor_format.is_none() || fixed.is_none() || format.kind() == fixed, "{cursor_format:?}");
        }
        let open = CursorFormat::default();
        assert_eq!(open.read("17", Some(CursorKind::Text)), Some(CursorValue::Text("17".into())));
        assert_eq!(open.read("17", Some(CursorKind::Instant)), None);
    }

    #[test]
    fn bounds_are_read_as_records_or_as_plain_times() {
        let bound = |cursor_format: &str, text: &str| format(Some(cursor_format), "Europe/Paris").unwrap().bound(text);
        let wanted = CursorValue::parse("2024-04-30T22:00:00Z");
        assert_eq!(bound("%d/%m/%Y", "01/05/2024"), wanted);
        assert_eq!(bound("%d/%m/%Y", "2024-05-01"), wanted);
        assert_eq!(bound("epoch_ms", "1714514400000"), wanted);
        assert_eq!(bound("epoch_ms", "2024-05-01"), wanted);
        assert_eq!(bound("text", "2024"), CursorValue::Text("2024".into()));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for bad in ["", "iso", "%H:%M", "%d %b", "%Y-%", "%Y %j %Q %", "epoch_ns"] {
            assert_eq!(format(Some(bad), "UTC").unwrap_err().0, "cursor_format", "{bad}");
        }
        assert_eq!(format(None, "Mars/Olympus").unwrap_err().0, "timezone");
    }

    proptest! {
        #[test]
        fn any_value_is_survived(
            text in "\\PC{0,24}|-?[0-9.]{0,40}",
            word in prop::sample::select(vec!["rfc3339", "epoch", "epoch_us", "%d.%m.%Y %H:%M", "%s", "number", "text"]),
        ) {
            let read = format(Some(word), "America/New_York").unwrap().read(&text, None);
            prop_assert!(read.is_none_or(|value| Some(value.kind()) == format(Some(word), "UTC").unwrap().kind()));
        }

        #[test]
        fn what_is_written_is_read(
            second in -60_000_000_000_i64..250_000_000_000,
            word in prop::sample::select(vec!["epoch", "epoch_ms", "%Y-%m-%dT%H:%M:%S%z", "%d %b %Y %I:%M:%S %p"]),
            name in prop::sample::select(vec!["UTC", "Asia/Kolkata"]),
        ) {
            let at = Timestamp::from_second(second).unwrap();
            let zone = zone(name).unwrap();
            let text = TimeFormat::parse(word).unwrap().write(&at.to_zoned(zone.clone())).unwrap();
            // Zones of old had offsets of seconds, which no format writes.
            let whole = at.to_zoned(zone).offset().seconds() % 60 == 0;
            let read = format(Some(word), name).unwrap().read(&text, None);
            prop_assert!(!whole || second < 0 || read == Some(CursorValue::Instant(at)), "{} {:?}", text, read);
        }
    }
}
