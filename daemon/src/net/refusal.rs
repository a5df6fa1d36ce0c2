//! What an answer other than 2xx is taken for: the server's own words, how long it asks to wait, what the rules say of it.

use super::coding::Coding;
use super::error::{FetchError, OwnCode};
use super::fetch::{Ask, Fetcher};
use super::judge::Verdict;
use super::limit::Told;
use super::limit::hints::{self, Hint};
use super::mask::MAX_SAID;
use super::retry::retry_after;
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use std::sync::atomic::Ordering;
use std::time::Duration;
use url::Url;

/// How much of a refusal's body is read for the server's own words.
const MAX_REFUSAL: usize = 16 << 10;

/// How much of it is read where a rule may look into it.
const MAX_JUDGED: usize = 256 << 10;

/// Characters of an identifier; what is longer is a sentence, or a secret.
const MAX_CODE: usize = 60;

/// What the headers of an answer say about haste, and the wait that they ask for.
pub fn haste(status: StatusCode, headers: &HeaderMap) -> (Told, Option<Duration>) {
    let hints = hints::read(headers);
    let asked = retry_after(headers);
    let used_up = |hint: &Hint| hint.left == Some(0);
    // Some servers say 403 where they mean 429; that they tell of a limit gives them away.
    let refused = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => asked.is_some() || hints.iter().any(used_up),
        _ => false,
    };
    let reset = hints.iter().filter(|hint| used_up(hint)).filter_map(|hint| hint.reset).max();
    let wait = asked.or(reset.filter(|reset| refused && !reset.is_zero()));
    (Told { refused, hints }, wait)
}

impl Fetcher {
    /// The failure that an answer other than 2xx is.
    pub(super) async fn refusal(&self, ask: &Ask, mut response: Response) -> FetchError {
        let status = response.status();
        let (told, wait) = haste(status, response.headers());
        if wait.is_some() || told.refused {
            self.stats.throttled.fetch_add(1, Ordering::Relaxed);
        }
        let judge = ask.judge.as_ref().filter(|judge| judge.looks_at(status));
        let most = if judge.is_some() { MAX_JUDGED } else { MAX_REFUSAL };
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(chunk.get(..chunk.len().min(most - body.len())).unwrap_or_default());
            if body.len() >= most {
                break;
            }
        }
        let body = match Coding::of(response.headers()) {
            Some(coding) => coding.beginning(&body, most),
            None => body.into(),
        };
        let message = self.mask.clean(&own_words(&body), MAX_SAID);
        match judge.and_then(|judge| judge.judge(status, &body)).filter(|ruling| ruling.verdict != Verdict::Page) {
            Some(ruling) => FetchError::Ruled { status, wait: ruling.wait.or(wait), ruling: Box::new(ruling) },
            None => {
                let code = own_code(&body).filter(|own| !self.mask.finds(&own.code)).map(Box::new);
                FetchError::Status { status, message, code, wait }
            }
        }
    }

    /// Where a redirect leads, as an error may show it: not its query, where keys and customers' names are.
    pub(super) fn shown(&self, from: &Url, location: Option<&str>) -> String {
        let Some(mut to) = location.and_then(|location| from.join(location).ok()) else { return String::new() };
        if !matches!(to.scheme(), "http" | "https") || to.set_username("").is_err() || to.set_password(None).is_err() {
            return String::new();
        }
        to.set_query(None);
        to.set_fragment(None);
        self.mask.clean(to.as_str(), MAX_SAID)
    }
}

/// The server's own words: `message`, `error` or `error.message` of a JSON body, and nothing of any other body.
fn own_words(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return String::new() };
    [value.get("message"), value.get("error"), value.pointer("/error/message")]
        .into_iter()
        .flatten()
        .find_map(serde_json::Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The identifier that a JSON body gives the failure, and where: the usual places only.
fn own_code(body: &[u8]) -> Option<OwnCode> {
    let value = serde_json::from_slice::<serde_json::Value>(body).ok()?;
    let places = [
        ("$.code", "/code"),
        ("$.error.code", "/error/code"),
        ("$.errors[0].code", "/errors/0/code"),
        ("$.error", "/error"),
    ];
    let is_code = |code: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        code.len() <= MAX_CODE && code.starts_with(|c: char| c.is_ascii_alphabetic()) && code.chars().all(plain)
    };
    places.into_iter().find_map(|(path, pointer)| {
        let code = value.pointer(pointer)?.as_str().filter(|code| is_code(code))?;
        Some(OwnCode { path, code: code.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn told(status: u16, fields: &[(&'static str, &'static str)]) -> (bool, Option<u64>) {
        let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let (told, wait) = haste(StatusCode::from_u16(status).unwrap(), &fields.collect());
        (told.refused, wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn a_code_is_an_identifier_in_a_usual_place() {
        for (body, code) in [
            (
                r#"{"code": "rest_post_invalid_page_number", "message": "x"}"#,
                Some(("$.code", "rest_post_invalid_page_number")),
            ),
            (r#"{"error": {"code": "not.found"}}"#, Some(("$.error.code", "not.found"))),
            (r#"{"errors": [{"code": "E-7"}]}"#, Some(("$.errors[0].code", "E-7"))),
            (r#"{"code": 404, "error": "gone"}"#, Some(("$.error", "gone"))),
            (r#"{"error": "no such page"}"#, None),
            (r#"{"code": "404"}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(
                own_code(body.as_bytes()),
                code.map(|(path, code)| OwnCode { path, code: code.to_owned() }),
                "{body}"
            );
        }
    }

    #[test]
    fn a_limit_in_the_headers_tells_haste_from_lack_of_rights() {
        let (left, none, reset) =
            (("x-ratelimit-remaining", "7"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30"));
        assert_eq!(told(429, &[]), (true, None));
        assert_eq!(told(429, &[none, reset]), (true, Some(30)));
        assert_eq!(told(429, &[left, reset]), (true, None), "something is left: another limit was hit");
        assert_eq!(told(429, &[none, reset, ("retry-after", "2")]), (true, Some(2)));
        assert_eq!(told(403, &[]), (false, None));
        assert_eq!(told(403, &[left, reset]), (false, None));
        assert_eq!(told(403, &[none, reset]), (true, Some(30)));
        assert_eq!(told(403, &[("retry-after", "2")]), (true, Some(2)));
        assert_eq!(told(500, &[none, reset]), (false, None));
        assert_eq!(told(503, &[("retry-after", "2")]), (false, Some(2)));
    }
}
