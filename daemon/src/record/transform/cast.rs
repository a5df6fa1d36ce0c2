//! `cast`: values as another type, where that is exact.

use super::writer::push_string;
use crate::config::transform::castable;
use crate::model::schema::Type;
use crate::record::json::Scanner;
use crate::record::scalar;
use jiff::Timestamp;
use std::io::Write as _;

/// Most digits of a decimal.
const DIGITS: u8 = 38;

/// What a value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Text.
    String,
    /// 64-bit signed.
    Integer,
    /// IEEE 754 double.
    Float,
    /// true and false.
    Boolean,
    /// Digits in all, and after the point.
    Decimal(u8, i8),
    /// An instant; a number counts units of `10^-scale` seconds since 1970.
    Timestamp {
        /// Powers of ten in a second.
        scale: i8,
    },
}

impl To {
    /// Reads the word of a type.
    pub fn parse(word: &str) -> Result<Self, String> {
        match castable(word)? {
            Type::Integer => Ok(Self::Integer),
            Type::Float => Ok(Self::Float),
            Type::Boolean => Ok(Self::Boolean),
            Type::Decimal { precision, scale } => Ok(Self::Decimal(precision, scale)),
            Type::Timestamp => Ok(Self::Timestamp { scale: if word == "timestamp_ms" { 3 } else { 0 } }),
            _ => Ok(Self::String),
        }
    }

    /// Appends the value `raw`, which starts with `first`, as this type; false where it is not exactly one, and then what
    /// is appended means nothing.
    pub fn write(self, first: u8, raw: &[u8], out: &mut Vec<u8>, scratch: &mut Vec<u8>) -> bool {
        if matches!(first, b'{' | b'[') {
            return false;
        }
        if self == Self::String {
            match first {
                b'"' => out.extend_from_slice(raw),
                _ => push_string(out, raw),
            }
            return true;
        }
        let text = match first {
            b'"' => {
                let token = Scanner::new(raw).string();
                match token.and_then(|token| token.decode(scratch)) {
                    Ok(text) => text,
                    Err(_) => return false,
                }
            }
            _ => raw,
        };
        self.write_text(text, first != b'"', out)
    }

    fn write_text(self, text: &[u8], plain: bool, out: &mut Vec<u8>) -> bool {
        if let Self::Boolean = self {
            let value = [(&b"true"[..], "true"), (b"1", "true"), (b"false", "false"), (b"0", "false")];
            let value = value.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
            out.extend_from_slice(value.map_or("", |(_, value)| value).as_bytes());
            return value.is_some();
        }
        let mut scanner = Scanner::new(text);
        let number = scanner.number().ok().filter(|number| number.len() == text.len());
        match (self, number) {
            (Self::Integer, Some(number)) => match whole(number) {
                Some(value) => write!(out, "{value}").is_ok(),
                None => false,
            },
            (Self::Float, Some(number)) => {
                out.extend_from_slice(number);
                scalar::float(number).is_some()
            }
            (Self::Decimal(precision, scale), Some(number)) => {
                out.extend_from_slice(number);
                scalar::decimal(number, precision, scale).is_some()
            }
            (Self::Timestamp { scale }, Some(number)) => instant(number, scale, out),
            (Self::Timestamp { .. }, None) => {
                push_string(out, text);
                !plain && scalar::timestamp(text).is_some()
            }
            _ => false,
        }
    }
}

/// A number that is whole and fits i64, however it is written.
fn whole(number: &[u8]) -> Option<i64> {
    scalar::integer(number).or_else(|| scalar::decimal(number, DIGITS, 0).and_then(|value| i64::try_from(value).ok()))
}

/// Appends the instant as RFC 3339 in UTC.
fn instant(number: &[u8], scale: i8, out: &mut Vec<u8>) -> bool {
    // Units of a microsecond: six digits behind the point of seconds, three behind that of milliseconds.
    let micros = scalar::decimal(number, DIGITS, 6 - scale).and_then(|micros| i64::try_from(micros).ok());
    let Some(at) = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()) else { return false };
    let start = out.len();
    let written = write!(out, "\"{at}\"").is_ok();
    let text = out.get(start + 1..out.len().saturating_sub(1)).unwrap_or_default();
    written && scalar::timestamp(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(to: &str, raw: &str) -> Option<String> {
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        let first = raw.as_bytes()[0];
        let done = To::parse(to).unwrap().write(first, raw.as_bytes(), &mut out, &mut scratch);
        done.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn exact_values_are_cast_and_others_are_not() {
        for (to, from, want) in [
            ("string", "12.50", "\"12.50\""),
            ("string", "true", "\"true\""),
            ("string", "\"x\"", "\"x\""),
            ("integer", "\"12\"", "12"),
            ("integer", "12.0", "12"),
            ("integer", "1e3", "1000"),
            ("integer", "\"-9223372036854775808\"", "-9223372036854775808"),
            ("integer", "\"\\u0031\"", "1"),
            ("float", "\"0.5\"", "0.5"),
            ("boolean", "\"TRUE\"", "true"),
            ("boolean", "0", "false"),
            ("decimal(5,2)", "\"123.40\"", "123.40"),
            ("decimal(5,2)", "123.4", "123.4"),
            ("timestamp", "1700000000", "\"2023-11-14T22:13:20Z\""),
            ("timestamp", "\"1700000000.5\"", "\"2023-11-14T22:13:20.5Z\""),
            ("timestamp_ms", "1700000000123", "\"2023-11-14T22:13:20.123Z\""),
            ("timestamp", "-1.5", "\"1969-12-31T23:59:58.5Z\""),
            ("timestamp", "\"2024-01-01T00:00:00+02:00\"", "\"2024-01-01T00:00:00+02:00\""),
        ] {
            assert_eq!(cast(to, from).as_deref(), Some(want), "{from} to {to}");
        }
        for (to, from) in [
            ("string", "{}"),
            ("integer", "1.5"),
            ("integer", "\" 1\""),
            ("integer", "\"007\""),
            ("integer", "9223372036854775808"),
            ("integer", "true"),
            ("integer", "\"\""),
            ("float", "0.12345678901234567891"),
            ("boolean", "2"),
            ("boolean", "\"yes\""),
            ("decimal(5,2)", "1.234"),
            ("decimal(5,2)", "12345"),
            ("timestamp", "\"2024-01-01T00:00:00\""),
            ("timestamp", "1e300"),
            ("timestamp", "true"),
            ("timestamp", "99999999999999"),
        ] {
            assert_eq!(cast(to, from), None, "{from} to {to}");
        }
        for bad in ["json", "time", "list(integer)", "int", ""] {
            assert!(To::parse(bad).is_err(), "{bad}");
        }
    }
}
