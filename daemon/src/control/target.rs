//! The path and the query of a request, decoded strictly: nothing is guessed, dropped or normalised.

use super::reply::Failure;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// The deepest path; the deepest route has four segments.
const MAX_SEGMENTS: usize = 16;

/// The most parameters of a query.
const MAX_PARAMETERS: usize = 32;

/// A path and a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The decoded segments; none for `/`.
    pub segments: Vec<String>,
    /// The parameters.
    pub query: Query,
}

/// The parameters of a query, each at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Target {
    /// Reads a path such as `/v1/tasks` and what follows its `?`.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, Failure> {
        let inner = path.strip_prefix('/').ok_or_else(|| Failure::invalid("the path does not start with '/'"))?;
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let mut segments = Vec::new();
        if !inner.is_empty() {
            if inner.split('/').nth(MAX_SEGMENTS).is_some() {
                return Err(Failure::invalid(format!("the path has more than {MAX_SEGMENTS} segments")));
            }
            for segment in inner.split('/') {
                segments.push(decode(segment, false)?);
            }
        }
        Ok(Self { segments, query: Query::parse(query.unwrap_or_default())? })
    }
}

impl Query {
    fn parse(text: &str) -> Result<Self, Failure> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name, true)?;
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Failure::invalid(format!("parameter {name:?} is given twice")));
            }
            if pairs.len() == MAX_PARAMETERS {
                return Err(Failure::invalid(format!("more than {MAX_PARAMETERS} parameters")));
            }
            pairs.push((name, decode(value, true)?));
        }
        Ok(Self(pairs))
    }

    /// The parameters whose names start with `prefix`, without it.
    pub fn under(&self, prefix: &str) -> BTreeMap<String, String> {
        let inside = |(name, value): &(String, String)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()));
        self.0.iter().filter_map(inside).collect()
    }

    /// Refuses parameters that the route does not know; one that ends in a dot stands for all that start with it.
    pub fn only(&self, known: &[&str]) -> Result<(), Failure> {
        let is_known = |name: &str| known.iter().any(|one| *one == name || one.ends_with('.') && name.starts_with(one));
        match self.0.iter().find(|(name, _)| !is_known(name)) {
            None => Ok(()),
            Some((name, _)) if known.is_empty() => {
                Err(Failure::invalid(format!("unknown parameter {name:?}: this path takes none")))
            }
            Some((name, _)) => {
                Err(Failure::invalid(format!("unknown parameter {name:?}: this path takes {}", known.join(", "))))
            }
        }
    }

    /// The parameters whose names start with `prefix`, without it; refuses all others.
    pub fn all_below(&self, prefix: &str) -> Result<BTreeMap<String, String>, Failure> {
        let below = self.0.iter().map(|(name, value)| match name.strip_prefix(prefix) {
            Some(name) if !name.is_empty() => Ok((name.to_owned(), value.clone())),
            _ => Err(Failure::invalid(format!("unknown parameter {name:?}: this path takes {prefix}NAME"))),
        });
        below.collect()
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a number, at most `max`.
    pub fn number<T: FromStr + PartialOrd + Display>(&self, name: &str, default: T, max: T) -> Result<T, Failure> {
        let Some(text) = self.get(name) else { return Ok(default) };
        match text.parse::<T>() {
            Ok(number) if number <= max => Ok(number),
            Ok(_) | Err(_) => {
                Err(Failure::invalid(format!("parameter {name:?}: {text:?} is not a number of at most {max}")))
            }
        }
    }

    /// Whether a switch is on: `?latest`, `?latest=1` or `?latest=true`.
    pub fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.get(name) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Failure::invalid(format!("parameter {name:?}: {other:?} is neither true nor false"))),
        }
    }
}

/// Undoes percent-encoding (RFC 3986); in a query `+` is a space.
fn decode(text: &str, plus: bool) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match (rest.next().and_then(hex_value), rest.next().and_then(hex_value)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(Failure::invalid(format!("{text:?}: '%' is not followed by two hex digits"))),
            },
            b'+' if plus => b' ',
            other => other,
        });
    }
    let decoded = String::from_utf8(bytes).map_err(|_| Failure::invalid(format!("{text:?} is not UTF-8")))?;
    if decoded.chars().any(char::is_control) {
        return Err(Failure::invalid(format!("{text:?} holds a control character")));
    }
    Ok(decoded)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(path: &str, query: &str) -> Result<Target, String> {
        Target::parse(path, Some(query)).map_err(|failure| failure.error.message)
    }

    #[test]
    fn paths_and_parameters() {
        let target = parse("/v1/tasks/a%2Fb/", "export=shop+nightly%21&latest&limit=7").unwrap();
        assert_eq!(target.segments, ["v1", "tasks", "a/b"]);
        assert_eq!(target.query.get("export"), Some("shop nightly!"));
        assert!(target.query.flag("latest").unwrap());
        assert!(!target.query.flag("follow").unwrap());
        assert_eq!(target.query.number("limit", 50, 100).ok(), Some(7));
        assert_eq!(target.query.number("since", 3, 100).ok(), Some(3));
        assert!(parse("/", "").unwrap().segments.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("v1", "", "does not start"),
            ("/a%2", "", "two hex digits"),
            ("/a%zz", "", "two hex digits"),
            ("/a%ff", "", "not UTF-8"),
            ("/a%00", "", "control character"),
            ("/a", "x=1&x=2", "given twice"),
            ("/a", "x=%0a", "control character"),
        ];
        for (path, query, expected) in cases {
            let error = parse(path, query).unwrap_err();
            assert!(error.contains(expected), "{path} {query}: {error}");
        }
        assert!(parse(&"/a".repeat(MAX_SEGMENTS + 1), "").unwrap_err().contains("segments"));
        let many: Vec<String> = (0..=MAX_PARAMETERS).map(|i| format!("p{i}")).collect();
        assert!(parse("/", &many.join("&")).unwrap_err().contains("parameters"));
    }

    #[test]
    fn numbers_and_switches_are_strict() {
        let query = parse("/", "limit=101&a=-1&b=x&follow=yes&unknown").unwrap().query;
        for name in ["limit", "a", "b"] {
            assert!(query.number::<u32>(name, 0, 100).is_err(), "{name}");
        }
        assert!(query.flag("follow").is_err());
        let known = ["limit", "a", "b", "follow"];
        assert!(query.only(&known).unwrap_err().error.message.contains("\"unknown\": this path takes limit, a"));
    }

    proptest! {
        #[test]
        fn no_target_makes_it_panic(path in ".*", query in ".*") {
            let _ = Target::parse(&path, Some(&query));
            let _ = Target::parse(&format!("/{path}"), Some(&query));
        }

        #[test]
        fn what_is_encoded_reads_back(value in "[^\\p{Cc}]{0,40}") {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let target = Target::parse(&format!("/x{encoded}"), Some(&format!("k={encoded}"))).unwrap();
            prop_assert_eq!(&target.segments, &[format!("x{value}")]);
            prop_assert_eq!(target.query.get("k"), Some(value.as_str()));
        }
    }
}
