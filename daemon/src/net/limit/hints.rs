//! Reads what servers say about their windows, in the dialects that are common.
//!
//! * `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60` (draft-ietf-httpapi-ratelimit-headers-10),
//!   and `RateLimit: limit=100, remaining=50, reset=30` of its older versions;
//! * `RateLimit-Limit`, `-Remaining` and `-Reset`, where the limit may have its policy beside it (`100, 100;w=60`);
//! * the same with `X-RateLimit-` or `X-Rate-Limit-` in front, and with `-Second` to `-Day` behind it;
//! * `X-RateLimit-Reset-After` (seconds), and `X-RateLimit-Resource` or `-Bucket` for which of several windows it is.
//!
//! A reset is seconds from now, an instant since 1970 in seconds or milliseconds, an HTTP date, or RFC 3339. What cannot be
//! read is as if it were not there: a server must not be able to stop an export by a header.

use crate::base::clock;
use crate::net::retry::http_date;
use http::HeaderMap;
use http::header::DATE;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A longer header is not looked at.
const MAX_TEXT: usize = 1024;
/// Windows of one answer that are looked at.
const MAX_HINTS: usize = 8;
/// Numbers from here on are instants since 1970, not seconds from now: three years would be a strange window.
const INSTANT: f64 = 1e8;
/// Numbers from here on count milliseconds, and from the next on microseconds.
const MILLIS: f64 = 1e11;
const MICROS: f64 = 1e14;
/// Nothing is further away, nor any window longer, than a year.
const LONGEST: f64 = 366.0 * 86_400.0;

/// A window as one answer tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// Which window, where there are several.
    pub name: String,
    /// Requests in it.
    pub limit: Option<u64>,
    /// Requests left in it.
    pub left: Option<u64>,
    /// How long it still lasts.
    pub reset: Option<Duration>,
    /// Its length.
    pub length: Option<Duration>,
}

impl Hint {
    fn says_something(&self) -> bool {
        self.left.is_some() || (self.limit.is_some() && self.length.is_some())
    }
}

/// The windows that an answer tells of; empty for most servers.
pub fn read(headers: &HeaderMap) -> Vec<Hint> {
    let tells = |name: &str| name.contains("ratelimit") || name.contains("rate-limit");
    if !headers.keys().any(|name| tells(name.as_str())) {
        return Vec::new();
    }
    let now = Now { headers };
    let mut hints = Vec::new();
    draft(&now, &mut hints);
    for prefix in ["ratelimit", "x-ratelimit", "x-rate-limit"] {
        let name = [format!("{prefix}-resource"), format!("{prefix}-bucket")];
        let name = name.iter().find_map(|name| now.text(name)).unwrap_or(prefix).to_owned();
        triple(&now, prefix, ("", None), name, &mut hints);
        for (word, seconds) in [("-second", 1), ("-minute", 60), ("-hour", 3600), ("-day", 86_400)] {
            triple(&now, prefix, (word, Some(seconds)), format!("{prefix}{word}"), &mut hints);
        }
    }
    hints.truncate(MAX_HINTS);
    hints
}

/// The headers of one answer.
struct Now<'a> {
    headers: &'a HeaderMap,
}

impl<'a> Now<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        let text = self.headers.get(name)?.to_str().ok()?.trim();
        (!text.is_empty() && text.len() <= MAX_TEXT).then_some(text)
    }

    /// All fields of a name as one list.
    fn list(&self, name: &str) -> Option<String> {
        let texts: Vec<_> = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        let text = texts.join(",");
        (!text.trim().is_empty() && text.len() <= MAX_TEXT).then_some(text)
    }

    /// The time until a reset.
    fn reset(&self, text: &str) -> Option<Duration> {
        let at = match text.parse::<f64>() {
            Ok(number) if !number.is_finite() || number < 0.0 => return None,
            Ok(number) if number < INSTANT => return Some(Duration::from_secs_f64(number.min(LONGEST))),
            Ok(number) if number < MILLIS => Timestamp::from_second(number as i64).ok()?,
            Ok(number) if number < MICROS => Timestamp::from_millisecond(number as i64).ok()?,
            Ok(number) => Timestamp::from_microsecond(number as i64).ok()?,
            Err(_) => http_date(text).or_else(|| text.parse().ok())?,
        };
        // Relative to the answer's own clock, so that a wrong one on either side does no harm.
        let now = self.text(DATE.as_str()).and_then(http_date).unwrap_or_else(clock::now);
        let left = at.duration_since(now).max(SignedDuration::ZERO);
        Some(Duration::try_from(left).ok()?.min(Duration::from_secs_f64(LONGEST)))
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds > 0.0)?;
    Some(Duration::from_secs_f64(seconds.min(LONGEST)))
}

/// A count; some servers write `100.0`, or a comma behind which their policy stands.
fn count(text: &str) -> Option<u64> {
    let text = text.split([',', ';']).next().unwrap_or_default().trim();
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    // A few servers count below zero when more came than they allow.
    Some(number.max(0.0) as u64)
}

/// `…-limit`, `…-remaining` and `…-reset` of one prefix, each with a word behind it that may tell the length.
fn triple(now: &Now<'_>, prefix: &str, word: (&str, Option<u64>), name: String, hints: &mut Vec<Hint>) {
    let field = |part: &str| now.text(&format!("{prefix}-{part}{}", word.0));
    let limit = field("limit");
    let told = limit.and_then(|text| {
        let policies = text.split(',').filter_map(|policy| param(policy, "w").and_then(seconds));
        policies.min()
    });
    let reset = field("reset").and_then(|text| now.reset(text));
    let hint = Hint {
        name,
        limit: limit.and_then(count),
        left: field("remaining").and_then(count),
        reset: field("reset-after").and_then(seconds).or(reset),
        length: word.1.map(Duration::from_secs).or(told),
    };
    if hint.says_something() {
        hints.push(hint);
    }
}

/// The fields of the draft itself: structured ones, and the dictionary that came before them.
fn draft(now: &Now<'_>, hints: &mut Vec<Hint>) {
    let policies = now.list("ratelimit-policy").unwrap_or_default();
    let mut known: Vec<Hint> = Vec::new();
    for item in split(&policies, ',') {
        let name = name_of(item);
        let quota = param(item, "q").and_then(count).or_else(|| count(&name));
        let length = param(item, "w").and_then(seconds);
        known.push(Hint { name: format!("policy {name}"), limit: quota, length, ..Hint::default() });
    }
    let state = now.list("ratelimit").unwrap_or_default();
    let items = split(&state, ',');
    let of = |key: &str| items.iter().find_map(|item| item.trim().strip_prefix(key)?.trim().strip_prefix('='));
    if let Some(left) = of("remaining") {
        let length = known.iter().filter_map(|policy| policy.length).min();
        let reset = of("reset").and_then(|text| now.reset(text.trim()));
        let limit = of("limit").and_then(count);
        known = vec![Hint { name: "policy".into(), limit, left: count(left), reset, length }];
    } else {
        for item in items {
            let name = format!("policy {}", name_of(item));
            let left = param(item, "r").and_then(count);
            let reset = param(item, "t").and_then(|text| now.reset(text));
            match known.iter_mut().find(|policy| policy.name == name) {
                Some(policy) => (policy.left, policy.reset) = (left, reset),
                None => known.push(Hint { name, left, reset, ..Hint::default() }),
            }
        }
    }
    hints.extend(known.into_iter().filter(Hint::says_something));
}

/// Splits a list at `at`, but not within quotes (RFC 9651, section 3.3.3).
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|c: char| {
        let here = c == at && !quoted;
        match c {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && quoted && !escaped;
        here
    })
    .filter(|item| !item.trim().is_empty())
    .collect()
}

fn name_of(item: &str) -> String {
    split(item, ';').first().map(|name| name.trim().trim_matches('"').to_owned()).unwrap_or_default()
}

/// The value of `;key=…` of a list's item.
fn param<'a>(item: &'a str, key: &str) -> Option<&'a str> {
    let params = split(item, ';').into_iter().skip(1);
    params.filter_map(|param| param.split_once('=')).find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// Limit, left, seconds until the reset, seconds of the length.
    type Told = (Option<u64>, Option<u64>, Option<u64>, Option<u64>);

    fn told(fields: &[(&str, &str)]) -> Vec<Told> {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        let hints = read(&headers(fields)).into_iter();
        hints.map(|hint| (hint.limit, hint.left, seconds(hint.reset), seconds(hint.length))).collect()
    }

    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    #[test]
    fn every_dialect_says_the_same() {
        let all = (Some(100), Some(50), Some(30), None);
        let x = |reset: &str| {
            told(&[DATE, ("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "50"), ("x-ratelimit-reset", reset)])
        };
        for reset in [
            "30",
            "30.0",
            "784111807",
            "784111807000",
            "784111807000000",
            "Sun, 06 Nov 1994 08:50:07 GMT",
            "1994-11-06T08:50:07Z",
        ] {
            assert_eq!(x(reset), [all], "{reset}");
        }
        let fields = |prefix: &str| {
            let name = |part: &str| format!("{prefix}-{part}");
            told(&[(&name("limit"), "100"), (&name("remaining"), "50"), (&name("reset"), "30")])
        };
        for prefix in ["ratelimit", "x-ratelimit", "x-rate-limit"] {
            assert_eq!(fields(prefix), [all], "{prefix}");
        }
        let sixty = (Some(100), Some(50), Some(30), Some(60));
        assert_eq!(
            told(&[("ratelimit", "\"default\";r=50;t=30"), ("ratelimit-policy", "\"default\";q=100;w=60")]),
            [sixty]
        );
        assert_eq!(
            told(&[("ratelimit", "limit=100, remaining=50, reset=30"), ("ratelimit-policy", "100;w=60")]),
            [sixty]
        );
        let beside = [("ratelimit-limit", "100, 100;w=60"), ("ratelimit-remaining", "50"), ("ratelimit-reset", "30")];
        assert_eq!(told(&beside), [sixty]);
    }

    #[test]
    fn several_windows_are_kept_apart() {
        let policy = ("ratelimit-policy", "\"burst\";q=10;w=1, \"d, ay\";q=1000;w=86400;qu=\"requests\"");
        let found = told(&[policy, ("ratelimit", "\"d, ay\";r=7;t=3600")]);
        assert_eq!(found, [(Some(10), None, None, Some(1)), (Some(1000), Some(7), Some(3600), Some(86_400))]);
        let kong =
            [("x-ratelimit-limit-minute", "60"), ("x-ratelimit-remaining-minute", "59"), ("ratelimit-limit", "60")];
        assert_eq!(told(&kong), [(Some(60), Some(59), None, Some(60))]);
        let named = [("x-ratelimit-remaining", "5"), ("x-ratelimit-resource", "search")];
        assert_eq!(read(&headers(&named))[0].name, "search");
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        for reset in ["soon", "-1", "NaN", "inf", "1e400", "\u{7f}"] {
            let Ok(value) = HeaderValue::from_str(reset) else { continue };
            let mut fields = headers(&[("x-ratelimit-remaining", "0")]);
            fields.insert("x-ratelimit-reset", value);
            assert_eq!(read(&fields)[0].reset, None, "{reset}");
        }
        assert_eq!(told(&[("x-ratelimit-reset", "30")]), [], "a reset alone says nothing");
        assert_eq!(told(&[("x-ratelimit-remaining", "-3")]), [(None, Some(0), None, None)]);
        assert_eq!(told(&[("content-type", "application/json")]), []);
    }

    proptest! {
        #[test]
        fn any_header_is_survived(name in 0..10_usize, text in "[ -~]{0,80}", more in "[ \"a-z0-9,;=\\\\]{0,80}") {
            let names = [
                "ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset",
                "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-rate-limit-reset-after", "date",
            ];
            let mut fields = headers(&[("ratelimit-remaining", "1"), ("x-ratelimit-remaining", "1")]);
            for text in [text, more] {
                if let Ok(value) = HeaderValue::from_str(&text) {
                    fields.append(names[name], value);
                }
            }
            let hints = read(&fields);
            prop_assert!(hints.len() <= MAX_HINTS);
            for hint in hints {
                let longest = Duration::from_secs_f64(LONGEST);
                prop_assert!(hint.reset.is_none_or(|reset| reset <= longest));
                prop_assert!(hint.length.is_none_or(|length| length <= longest && !length.is_zero()));
            }
        }
    }
}
