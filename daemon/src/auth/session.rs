//! Sessions: the login request as it is configured, and the token in its answer.

use super::endpoint::{Call, Got};
use super::error::AuthError;
use super::oauth2::Form;
use super::registry::Hide;
use crate::base::secret::Secret;
use crate::config::settings::{SessionMethod, SessionRequest};
use http::header::{ACCEPT, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use serde_json_path::JsonPath;
use std::collections::BTreeMap;
use url::Url;
use url::form_urlencoded::Serializer;

/// Where a token is in an answer.
#[derive(Clone, Debug)]
pub enum TokenAt {
    /// In the JSON body.
    Body(JsonPath),
    /// In a header.
    Header(HeaderName),
    /// In a cookie that is set.
    Cookie(String),
}

impl TokenAt {
    /// Reads a JSONPath, `header NAME` or `cookie NAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("header ") {
            let name = HeaderName::from_bytes(name.trim().as_bytes());
            return name.map(Self::Header).map_err(|_| "this is not the name of a header".to_owned());
        }
        if let Some(name) = text.strip_prefix("cookie ") {
            return Ok(Self::Cookie(name.trim().to_owned()));
        }
        JsonPath::parse(text).map(Self::Body).map_err(|error| error.message().to_owned())
    }

    /// The token, where the answer has one.
    pub fn find(&self, got: &Got) -> Option<Secret> {
        let token = match self {
            Self::Body(path) => {
                let answer: Value = serde_json::from_slice(&got.body).ok()?;
                match path.query(&answer).first()? {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => return None,
                }
            }
            Self::Header(name) => got.headers.get(name)?.to_str().ok()?.trim().to_owned(),
            Self::Cookie(name) => got.headers.get_all(SET_COOKIE).iter().rev().find_map(|cookie| {
                let pair = cookie.to_str().ok()?.split(';').next()?;
                let (key, value) = pair.split_once('=')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            })?,
        };
        (!token.is_empty()).then(|| Secret::new(token))
    }

    /// Whether a redirect may be the answer: browsers are sent on with a cookie.
    pub fn in_head(&self) -> bool {
        !matches!(self, Self::Body(_))
    }
}

/// Builds the request that `settings` (at `key`) describe; its secrets go into the mask.
pub fn build(settings: &SessionRequest, key: &str, base: &Url, hide: &mut Hide<'_>) -> Result<Call, AuthError> {
    let at = |part: &str| format!("{key}.{part}");
    let mut url = match (&settings.path, &settings.url) {
        (Some(path), None) => below(base, path).ok_or_else(|| AuthError::setting(&at("path"), "it makes no URL")),
        (None, Some(url)) => Url::parse(url).map_err(|_| AuthError::setting(&at("url"), "this is no URL")),
        _ => Err(AuthError::setting(key, "give exactly one of `path` and `url`")),
    }?;
    let mut fill = |part: &str, map: &BTreeMap<_, _>| -> Result<Form, AuthError> {
        let one = |(name, text): (&String, &crate::config::units::SecretText)| {
            Ok((name.clone(), hide.fill(&format!("{key}.{part}.{name}"), &text.0)?))
        };
        map.iter().map(one).collect()
    };
    let (wanted, query, form) =
        (fill("headers", &settings.headers)?, fill("query", &settings.query)?, fill("form", &settings.form)?);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (name, value.expose())));
    }
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let body = if let Some(body) = &settings.body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(filled(body, &at("body"), hide)?.to_string())
    } else if settings.form.is_empty() {
        None
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let pairs = form.iter().map(|(name, value)| (name, value.expose()));
        Some(Serializer::new(String::new()).extend_pairs(pairs).finish())
    };
    for (name, value) in &wanted {
        let bad = || AuthError::setting(&format!("{key}.headers.{name}"), "no request can carry this header");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let method = match settings.method {
        SessionMethod::Get => Method::GET,
        SessionMethod::Post => Method::POST,
        SessionMethod::Put => Method::PUT,
        SessionMethod::Delete => Method::DELETE,
    };
    Ok(Call { method, url, headers, body: body.map(Into::into) })
}

/// The body with the secrets in its texts. Its depth is bounded: it came through the loader.
fn filled(value: &Value, key: &str, hide: &mut Hide<'_>) -> Result<Value, AuthError> {
    Ok(match value {
        Value::String(text) => Value::String(hide.fill(key, text)?.expose().to_owned()),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| filled(item, key, hide)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let mut object = serde_json::Map::new();
            for (name, value) in fields {
                object.insert(name.clone(), filled(value, &format!("{key}.{name}"), hide)?);
            }
            Value::Object(object)
        }
        plain => plain.clone(),
    })
}

fn below(base: &Url, path: &str) -> Option<Url> {
    Url::parse(&format!("{}/{}", base.as_str().trim_end_matches('/'), path.trim_start_matches('/'))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;

    fn answer(headers: &[(&str, &str)], body: &str) -> Got {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Got { status: http::StatusCode::OK, headers: map, body: body.to_owned().into(), sent: clock::monotonic() }
    }

    fn find(at: &str, got: &Got) -> Option<String> {
        TokenAt::parse(at).unwrap().find(got).map(|token| token.expose().to_owned())
    }

    #[test]
    fn tokens_are_found_where_they_are() {
        let got = answer(
            &[
                ("X-Session", " h1 "),
                ("Set-Cookie", "sid=old; Path=/"),
                ("Set-Cookie", "sid=c=1; Secure; HttpOnly"),
                ("Set-Cookie", "sids=no"),
            ],
            r#"{"data":{"token":"b1","id":7,"none":null,"empty":""}}"#,
        );
        assert_eq!(find("$.data.token", &got).as_deref(), Some("b1"));
        assert_eq!(find("$.data.id", &got).as_deref(), Some("7"));
        assert_eq!(find("header X-Session", &got).as_deref(), Some("h1"));
        assert_eq!(find("cookie sid", &got).as_deref(), Some("c=1"), "the last one counts");
        for none in ["$.data", "$.data.none", "$.data.empty", "$.x", "header X-None", "cookie si"] {
            assert_eq!(find(none, &got), None, "{none}");
        }
        assert!(TokenAt::parse("data.token").is_err() && TokenAt::parse("header a b").is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(cookie in "[ -~]{0,40}", body in "[{}\\[\\]\":,a-z ]{0,40}") {
            let got = answer(&[("Set-Cookie", &cookie)], &body);
            let _ = (find("cookie sid", &got), find("$.a", &got));
        }
    }
}
