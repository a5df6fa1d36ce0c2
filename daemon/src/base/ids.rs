//! Names that are safe in paths and logs, and the ids of tasks.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The longest name of a source, stream, destination or export.
pub const MAX_NAME: usize = 64;

/// A name from the configuration: `[A-Za-z0-9][A-Za-z0-9_.-]*`, at most [`MAX_NAME`] bytes; safe as a path component.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a name: use letters, digits, '_', '-' and '.', starting with a letter or digit, at most 64")]
pub struct NotAName(String);

impl Name {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Self, NotAName> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if first && text.len() <= MAX_NAME && text.chars().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAName(text.chars().take(MAX_NAME).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;
    fn try_from(text: String) -> Result<Self, NotAName> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A task's id: `<UTC creation, to the second>-<8 hex of the request key>`, e.g. `20261121T024501Z-9f86d081`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(String);

impl TaskId {
    /// The id of a task created at `at` for the request `key`.
    pub fn new(at: Timestamp, key: &RequestKey) -> Self {
        Self(format!("{}-{}", at.strftime("%Y%m%dT%H%M%SZ"), &key.0[..8]))
    }

    /// An id as it was stored or given by a caller; it is only ever looked up.
    pub fn known(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether a text has the form of an id.
    pub fn looks_like_one(text: &str) -> bool {
        let digits = |text: &str, most: usize| text.len() == most && text.bytes().all(|byte| byte.is_ascii_digit());
        let Some((at, key)) = text.split_once('-') else { return false };
        let at = at.strip_suffix('Z').and_then(|at| at.split_once('T'));
        at.is_some_and(|(day, time)| digits(day, 8) && digits(time, 6))
            && key.len() == 8
            && key.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What makes two requests the same: hash of export, parameters and format; 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestKey(pub String);

impl RequestKey {
    /// The key of a request. `params` must be in a fixed order; `scope` is empty where it is the usual one.
    pub fn new(export: &str, params: &[(String, String)], format: &str, scope: &str) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        part(export);
        part(format);
        for (name, value) in params {
            part(name);
            part(value);
        }
        if !scope.is_empty() {
            part("");
            part(scope);
        }
        Self(hex(&hash.finalize()))
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["", ".", "..", "a/b", "/a", ".hidden", "a\0", "a b", "ü", "-x", &"a".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "shop-nightly", "a..b", "9.x_y"] {
            assert!(Name::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn request_keys_do_not_run_together() {
        let key = |e: &str, p: &[(&str, &str)]| {
            let p: Vec<_> = p.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            RequestKey::new(e, &p, "csv", "")
        };
        assert_eq!(key("a", &[("b", "c")]), key("a", &[("b", "c")]));
        assert_ne!(key("a", &[("b", "c")]), key("a", &[("bc", "")]));
    }
}
