//! Values of a cursor field, in order, and the mark: where the next incremental task of a stream starts.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Parts of a whole in a number: nine digits after the point are kept, more are refused.
const NANO: i128 = 1_000_000_000;

/// What a cursor field holds. Values of one kind alone are compared; a stream has one kind for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorKind {
    /// Numbers: ids, revisions, seconds since 1970.
    Number,
    /// Instants: RFC 3339, the offset also as `+0000`; without an offset UTC is meant, unless the stream says otherwise; a
    /// day is its beginning.
    Instant,
    /// Any other text, in the order of its bytes.
    Text,
}

/// A value of a cursor field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum CursorValue {
    /// A number, in units of 10⁻⁹; as text its plain decimal digits.
    #[serde(with = "number")]
    Number(i128),
    /// An instant.
    Instant(Timestamp),
    /// A text.
    Text(String),
}

/// A mark is the largest cursor value that a stream's data are complete up to.
pub type Mark = CursorValue;

impl CursorValue {
    /// Reads a value as the configuration or a command line has it: the kind is the first that fits.
    pub fn parse(text: &str) -> Self {
        Self::parse_in(text, &TimeZone::UTC)
    }

    /// The same, where a time without an offset is one of `zone`.
    pub fn parse_in(text: &str, zone: &TimeZone) -> Self {
        let instant = || instant(text, zone).map(Self::Instant);
        number(text).map(Self::Number).or_else(instant).unwrap_or(Self::Text(text.into()))
    }

    /// Reads a value of a known kind; `None` where the text is none.
    pub fn parse_as(text: &str, kind: CursorKind) -> Option<Self> {
        Self::parse_as_in(text, kind, &TimeZone::UTC)
    }

    /// The same, where a time without an offset is one of `zone`.
    pub fn parse_as_in(text: &str, kind: CursorKind, zone: &TimeZone) -> Option<Self> {
        match kind {
            CursorKind::Number => number(text).map(Self::Number),
            CursorKind::Instant => instant(text, zone).map(Self::Instant),
            CursorKind::Text => (!text.is_empty()).then(|| Self::Text(text.into())),
        }
    }

    /// The kind.
    pub fn kind(&self) -> CursorKind {
        match self {
            Self::Number(_) => CursorKind::Number,
            Self::Instant(_) => CursorKind::Instant,
            Self::Text(_) => CursorKind::Text,
        }
    }

    /// The value moved back in time. A number is a time where `unit` says how long one of it is; otherwise, like a text,
    /// it stays.
    #[must_use]
    pub fn back(&self, by: Duration, unit: Option<Duration>) -> Self {
        match (self, unit) {
            (Self::Instant(at), _) => Self::Instant(at.saturating_sub(signed(by)).unwrap_or(Timestamp::MIN)),
            (Self::Number(value), Some(unit)) if !unit.is_zero() => {
                let units = i128::try_from(by.as_nanos()).unwrap_or(i128::MAX).saturating_mul(NANO);
                Self::Number(value.saturating_sub(units / i128::try_from(unit.as_nanos()).unwrap_or(1)))
            }
            _ => self.clone(),
        }
    }

    /// The value as one of another kind: a time as a number of units since 1970, or the other way round. `None` where that
    /// cannot be.
    pub fn as_kind(&self, kind: CursorKind, unit: Option<Duration>) -> Option<Self> {
        if self.kind() == kind {
            return Some(self.clone());
        }
        let unit = i128::try_from(unit?.as_nanos()).ok().filter(|unit| *unit > 0)?;
        match (self, kind) {
            (Self::Instant(at), CursorKind::Number) => {
                Some(Self::Number(at.as_nanosecond().saturating_mul(NANO) / unit))
            }
            (Self::Number(value), CursorKind::Instant) => {
                Timestamp::from_nanosecond(value.checked_mul(unit)? / NANO).ok().map(Self::Instant)
            }
            _ => None,
        }
    }

    /// The value, but never one after `now`, as far as it is a time.
    #[must_use]
    pub fn at_most(self, now: Timestamp, unit: Option<Duration>) -> Self {
        match (&self, unit) {
            (Self::Instant(_), _) => self.min(Self::Instant(now)),
            (Self::Number(_), Some(unit)) if !unit.is_zero() => {
                let units = now.as_nanosecond().saturating_mul(NANO) / i128::try_from(unit.as_nanos()).unwrap_or(1);
                self.min(Self::Number(units))
            }
            _ => self,
        }
    }

    /// The value of a [`sort_key`](Self::sort_key); `None` where the bytes are none of this kind.
    pub fn from_sort_key(kind: CursorKind, bytes: &[u8]) -> Option<Self> {
        let signed = || Some((u128::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 127)).cast_signed());
        match kind {
            CursorKind::Number => signed().map(Self::Number),
            CursorKind::Instant => Timestamp::from_nanosecond(signed()?).ok().map(Self::Instant),
            CursorKind::Text => String::from_utf8(bytes.to_vec()).ok().map(Self::Text),
        }
    }

    /// Bytes in the order of the values of one kind, as SQLite compares them.
    pub fn sort_key(&self) -> Vec<u8> {
        let signed = |value: i128| (value.cast_unsigned() ^ (1 << 127)).to_be_bytes().to_vec();
        match self {
            Self::Number(value) => signed(*value),
            Self::Instant(at) => signed(at.as_nanosecond()),
            Self::Text(text) => text.as_bytes().to_vec(),
        }
    }
}

impl fmt::Display for CursorValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => f.write_str(&decimal(*value)),
            Self::Instant(at) => write!(f, "{at}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

fn signed(by: Duration) -> SignedDuration {
    SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)
}

/// Plain decimal digits, at most nine of them after the point.
fn number(text: &str) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let part_is_there = !digits.contains('.') || !part.is_empty();
    let known = !whole.is_empty() && plain(whole) && plain(part) && part.len() <= 9 && part_is_there;
    let scale = 10_i128.pow(9 - u32::try_from(part.len()).ok().filter(|_| known)?);
    let part = if part.is_empty() { 0 } else { part.parse::<i128>().ok()? * scale };
    let value = whole.parse::<i128>().ok()?.checked_mul(NANO)?.checked_add(part)?;
    Some(if negative { -value } else { value })
}

fn decimal(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = (value.unsigned_abs() / NANO.unsigned_abs(), value.unsigned_abs() % NANO.unsigned_abs());
    if part == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{}", format!("{part:09}").trim_end_matches('0'))
}

/// A time or day. Of a local time that comes twice, when clocks are put back, the first is meant; of one that is left out,
/// the same length after the change.
fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    if text.ends_with(']') {
        // The name of its zone stands behind it (RFC 9557).
        return text.parse::<Zoned>().ok().map(|at| at.timestamp());
    }
    let local = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(Into::into))?;
    Some(local.to_zoned(zone.clone()).ok()?.timestamp())
}

/// A number as text, because JSON readers are not sure of more than 53 bits.
mod number {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(value: &i128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::decimal(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        let text = String::deserialize(from)?;
        super::number(&text).ok_or_else(|| D::Error::custom("plain decimal digits are needed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_kind_that_fits() {
        for (text, shown, kind) in [
            ("17", "17", CursorKind::Number),
            ("-1.50", "-1.5", CursorKind::Number),
            ("1503435956.000247", "1503435956.000247", CursorKind::Number),
            ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00Z", CursorKind::Instant),
            ("2024-05-01 10:00:00.25", "2024-05-01T10:00:00.25Z", CursorKind::Instant),
            ("2024-05-01", "2024-05-01T00:00:00Z", CursorKind::Instant),
            ("2024-05-01T10:00:00.000+0000", "2024-05-01T10:00:00Z", CursorKind::Instant),
            ("2024-05-01T10:00:00.123-0730", "2024-05-01T17:30:00.123Z", CursorKind::Instant),
            ("2024-05-01T10:00:00+02", "2024-05-01T08:00:00Z", CursorKind::Instant),
            ("2024-05-01T10:00:00z", "2024-05-01T10:00:00Z", CursorKind::Instant),
            ("2024-05-01T10:00", "2024-05-01T10:00:00Z", CursorKind::Instant),
            ("2024-05-01T10:00:00,5Z", "2024-05-01T10:00:00.5Z", CursorKind::Instant),
            ("2024-05-01T10:00:00[Europe/Paris]", "2024-05-01T08:00:00Z", CursorKind::Instant),
            ("2024-05-01T10:00:00[Europe/Atlantis]", "2024-05-01T10:00:00[Europe/Atlantis]", CursorKind::Text),
            ("1700000000123", "1700000000123", CursorKind::Number),
            ("20240501", "20240501", CursorKind::Number),
            ("Wed, 01 May 2024 10:00:00 GMT", "Wed, 01 May 2024 10:00:00 GMT", CursorKind::Text),
            ("W/\"17\"", "W/\"17\"", CursorKind::Text),
            ("1e9", "1e9", CursorKind::Text),
            ("1.", "1.", CursorKind::Text),
            ("", "", CursorKind::Text),
        ] {
            let value = CursorValue::parse(text);
            assert_eq!((value.to_string().as_str(), value.kind()), (shown, kind), "{text}");
        }
        assert_eq!(CursorValue::parse_as("", CursorKind::Text), None);
        assert_eq!(CursorValue::parse_as("2024-05-01", CursorKind::Number), None);
    }

    #[test]
    fn a_time_without_an_offset_is_one_of_the_zone() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        for (text, instant) in [
            ("2024-05-01T10:00:00", "2024-05-01T08:00:00Z"),
            ("2024-05-01 10:00:00", "2024-05-01T08:00:00Z"),
            ("2024-01-01", "2023-12-31T23:00:00Z"),
            ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
            ("2024-05-01T10:00:00.000+0000", "2024-05-01T10:00:00Z"),
            // Clocks go back: the first of the two.
            ("2024-10-27T02:30:00", "2024-10-27T00:30:00Z"),
            // Clocks go forward: as long after the change.
            ("2024-03-31T02:30:00", "2024-03-31T01:30:00Z"),
        ] {
            let wanted = CursorValue::Instant(instant.parse().unwrap());
            assert_eq!(CursorValue::parse_in(text, &paris), wanted, "{text}");
            assert_eq!(CursorValue::parse_as_in(text, CursorKind::Instant, &paris), Some(wanted), "{text}");
        }
        assert_eq!(CursorValue::parse_in("17", &paris).kind(), CursorKind::Number);
    }

    #[test]
    fn times_move_back_and_never_lie_in_the_future() {
        let at = |text: &str| CursorValue::parse(text);
        let hour = Duration::from_secs(3600);
        assert_eq!(at("2024-05-01T10:00:00Z").back(hour, None), at("2024-05-01T09:00:00Z"));
        assert_eq!(at("7200").back(hour, Some(Duration::from_secs(1))), at("3600"));
        assert_eq!(at("7200000").back(hour, Some(Duration::from_millis(1))), at("3600000"));
        assert_eq!(at("17").back(hour, None), at("17"));
        let now: Timestamp = "2024-05-01T00:00:00Z".parse().unwrap();
        assert_eq!(at("2030-01-01").at_most(now, None), CursorValue::Instant(now));
        assert_eq!(at("2020-01-01").at_most(now, None), at("2020-01-01"));
        let second = Some(Duration::from_secs(1));
        assert_eq!(at("2024-05-01").as_kind(CursorKind::Number, second), Some(at("1714521600")));
        assert_eq!(at("1714521600").as_kind(CursorKind::Instant, second), Some(at("2024-05-01")));
        assert_eq!(at("2024-05-01").as_kind(CursorKind::Number, None), None);
        assert_eq!(at("9999999999").at_most(now, Some(Duration::from_secs(1))), at("1714521600"));
    }

    proptest! {
        #[test]
        fn the_bytes_have_the_order_of_the_values(a in any::<i64>(), b in any::<i64>()) {
            let number = |n: i64| CursorValue::Number(i128::from(n) * 7);
            prop_assert_eq!(number(a).sort_key().cmp(&number(b).sort_key()), a.cmp(&b));
            let instant = |n: i64| CursorValue::Instant(Timestamp::from_second(n % 100_000_000_000).unwrap());
            prop_assert_eq!(instant(a).sort_key().cmp(&instant(b).sort_key()), instant(a).cmp(&instant(b)));
        }

        #[test]
        fn what_is_written_reads_back(text in "-?[0-9]{1,18}(\\.[0-9]{1,9})?|[ -~]{0,20}|20[0-9]{2}-0[1-9]-1[0-9]T1[0-9]:00:00(\\.[0-9]{1,9})?Z") {
            let value = CursorValue::parse(&text);
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<CursorValue>(&json).unwrap(), value.clone());
            prop_assert_eq!(CursorValue::parse(&value.to_string()), value.clone());
            prop_assert_eq!(CursorValue::from_sort_key(value.kind(), &value.sort_key()), Some(value));
        }
    }
}
