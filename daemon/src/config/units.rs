//! Values with units and placeholders: sizes, durations, file modes, secret texts.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A text as it may stand in a message: quoted, without control characters, at most 60 characters.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// A size in bytes with a unit: `50MB`, `16MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let shown = shown(&text);
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim();
        if unit.is_empty() {
            return Err(format!("{shown} has no unit: write e.g. \"50MB\" or \"16MiB\""));
        }
        let bytes = unit.ends_with(['b', 'B']) && text.starts_with(|c: char| c.is_ascii_digit());
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) if bytes => Ok(Self(size.as_u64())),
            _ => Err(format!("{shown} is not a size: write e.g. \"50MB\" or \"16MiB\"")),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Size {
    /// The largest unit that divides it, so that the text reads back as the same number of bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 6] = [
            (1_000_000_000, "GB"),
            (1 << 30, "GiB"),
            (1_000_000, "MB"),
            (1 << 20, "MiB"),
            (1_000, "kB"),
            (1 << 10, "KiB"),
        ];
        match UNITS.iter().find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A length of time with a unit: `30s`, `500ms`, `1h 30m`, `7d` (days of 24 hours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<jiff::Span>()
            .and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()))
            .ok()
            .and_then(|span| Duration::try_from(span).ok())
            .map(Self)
            .ok_or_else(|| format!("{} is not a duration: write e.g. \"30s\", \"500ms\" or \"1h 30m\"", shown(&text)))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(span) => write!(f, "{span:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

/// A length of time, or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpanOrNever(pub Option<Duration>);

impl SpanOrNever {
    /// The word that stands for no length of time.
    pub const NEVER: &str = "never";
}

impl TryFrom<String> for SpanOrNever {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            Self::NEVER => Ok(Self(None)),
            _ => Span::try_from(text).map(|span| Self(Some(span.0))).map_err(|error| format!("{error}, or \"never\"")),
        }
    }
}

impl From<SpanOrNever> for String {
    fn from(span: SpanOrNever) -> Self {
        span.0.map_or_else(|| SpanOrNever::NEVER.to_owned(), |span| Span(span).to_string())
    }
}

/// File permission bits, written in octal as a string: `"0640"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() == 4 && text.starts_with('0');
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if digits && mode & 0o600 == 0o600 => Ok(Self(mode)),
            _ => {
                Err(format!("{} is not a file mode: write e.g. \"0640\" (the owner must read and write)", shown(&text)))
            }
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// A text that may hold `${NAME}` from auth.env. It is kept unresolved: only `Secrets` fills it, at the moment of use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl fmt::Debug for SecretText {
    /// The placeholder is no secret, but a literal might be one that an operator wrote by mistake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.starts_with("${") { &self.0 } else { "[secret]" })
    }
}

macro_rules! text_schema {
    ($type:ty, $name:literal, { $($key:literal: $value:expr),* $(,)? }) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", $($key: $value),* })
            }
        }
    };
}

text_schema!(Size, "Size", {
    "description": "A size with a unit, e.g. `50MB` (50,000,000 bytes) or `16MiB` (16,777,216 bytes).",
    "pattern": r"^[0-9]+(\.[0-9]+)? *([kKMGTP]i?)?[bB]$",
});
text_schema!(Span, "Span", {
    "description": "A length of time with a unit, e.g. `30s`, `500ms` or `1h 30m`.",
    "pattern": "^[0-9][0-9.]* *[a-zA-Zµ].*$",
});
text_schema!(SpanOrNever, "SpanOrNever", {
    "description": "A length of time with a unit, e.g. `12h` or `35d`, or `never`.",
    "pattern": "^(never|[0-9][0-9.]* *[a-zA-Zµ].*)$",
});
text_schema!(Mode, "Mode", {
    "description": "Permission bits of a file in octal and in quotes, e.g. `\"0640\"`.",
    "pattern": "^0[67][0-7]{2}$",
});
text_schema!(SecretText, "SecretText", {
    "description": "A text that may hold `${NAME}`, a value of auth.env, anywhere; `$${` stands for a plain `${`.",
});
text_schema!(crate::base::ids::Name, "Name", {
    "description": "A name: letters, digits, `_`, `-` and `.`, starting with a letter or digit, at most 64.",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back() {
        for (text, bytes) in [("50MB", 50_000_000), ("16MiB", 16 << 20), ("1kB", 1000), ("7B", 7), ("1.5MB", 1_500_000)]
        {
            let size = Size::try_from(text.to_owned()).unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(Size::try_from(size.to_string()).unwrap(), size);
        }
        for bad in ["", "50", "MB", "-1MB", "50 parsecs"] {
            assert!(Size::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_read_back() {
        for (text, ms) in [("30s", 30_000), ("500ms", 500), ("1h 30m", 5_400_000)] {
            let span = Span::try_from(text.to_owned()).unwrap();
            assert_eq!(span.0.as_millis(), ms, "{text}");
            assert_eq!(Span::try_from(span.to_string()).unwrap(), span);
        }
        for bad in ["", "30", "-3s", "soon"] {
            assert!(Span::try_from(bad.to_owned()).is_err(), "{bad}");
            assert!(SpanOrNever::try_from(bad.to_owned()).is_err_and(|why| why.contains("never")), "{bad}");
        }
        for text in ["never", "35d", "12h"] {
            let span = SpanOrNever::try_from(text.to_owned()).unwrap();
            assert_eq!(span.0.is_none(), text == "never");
            assert_eq!(SpanOrNever::try_from(String::from(span)).unwrap(), span);
        }
    }
}
