//! Reads what a token endpoint answers (RFC 6749, sections 5.1 and 5.2); pure.

use super::endpoint::Got;
use crate::base::error::ErrorClass;
use crate::base::secret::Secret;
use serde_json::Value;
use std::time::Duration;

/// Longer lifetimes are cut: nobody means more, and sums of times stay far from their ends.
const LONGEST_LIFETIME: u64 = 10 * 365 * 86_400;

/// Tokens that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access: Secret,
    /// How long it lives, as far as the server says.
    pub lifetime: Option<Duration>,
    /// A new refresh token.
    pub refresh: Option<Secret>,
}

/// Why no token came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server says so.
    Code {
        /// `error`.
        code: String,
        /// `error_description`; may be empty.
        said: String,
    },
    /// Only a status, with no reason.
    Status(u16),
    /// A redirect.
    Redirect(u16),
    /// An answer that is no token; the words follow `the answer `.
    Unusable(&'static str),
}

/// Reads an answer.
pub fn read(got: &Got) -> Result<Tokens, Refusal> {
    let status = got.status;
    if status.is_redirection() {
        return Err(Refusal::Redirect(status.as_u16()));
    }
    let answer: Option<Value> = serde_json::from_slice(&got.body).ok();
    let answer = answer.unwrap_or_default();
    // Some servers refuse with status 200.
    if let Some(code) = answer.get("error").and_then(code) {
        let said = answer.get("error_description").and_then(Value::as_str).unwrap_or_default();
        return Err(Refusal::Code { code, said: said.to_owned() });
    }
    if !status.is_success() {
        return Err(Refusal::Status(status.as_u16()));
    }
    if !answer.is_object() {
        return Err(Refusal::Unusable("is not a JSON object"));
    }
    let text = |key: &str| answer.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let access = text("access_token").ok_or(Refusal::Unusable("has no access_token"))?;
    // A token that must be signed or bound to a key is of no use to a client that cannot (section 7.1).
    if text("token_type").is_some_and(|kind| !kind.to_ascii_lowercase().starts_with("bearer")) {
        return Err(Refusal::Unusable("has a token_type other than Bearer"));
    }
    let lifetime = answer.get("expires_in").and_then(seconds);
    Ok(Tokens { access: Secret::new(access), lifetime, refresh: text("refresh_token").map(Secret::new) })
}

/// `error` as a text, or as an object with a code in it.
fn code(error: &Value) -> Option<String> {
    let code = [Some(error), error.get("code"), error.get("type"), error.get("message")];
    code.into_iter().flatten().find_map(Value::as_str).map(str::to_owned)
}

/// Seconds as a number, or as the text of one; none where they say nothing.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (seconds.is_finite() && seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(LONGEST_LIFETIME as f64)))
}

impl Refusal {
    /// What the refusal means.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Code { code, .. } => match code.as_str() {
                "invalid_grant" | "invalid_client" | "access_denied" => ErrorClass::Auth,
                "server_error" | "temporarily_unavailable" | "slow_down" => ErrorClass::Transient,
                _ => ErrorClass::Config,
            },
            Self::Status(401 | 403) => ErrorClass::Auth,
            Self::Status(_) | Self::Redirect(_) | Self::Unusable(_) => ErrorClass::Config,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    fn got(status: u16, body: &str) -> Got {
        Got {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
            sent: clock::monotonic(),
        }
    }

    #[test]
    fn tokens_as_servers_write_them() {
        let read = |body: &str| read(&got(200, body)).unwrap();
        let full = read(r#"{"access_token":"a","token_type":"bearer","expires_in":3600,"refresh_token":"r","x":1}"#);
        assert_eq!(full.lifetime, Some(Duration::from_secs(3600)));
        assert_eq!(full.refresh.as_ref().map(Secret::expose), Some("r"));
        for (told, lifetime) in [(r#""3599""#, Some(3599)), ("0", None), ("-5", None), ("null", None), ("[]", None)] {
            let tokens = read(&format!(r#"{{"access_token":"a","expires_in":{told}}}"#));
            assert_eq!(tokens.lifetime.map(|time| time.as_secs()), lifetime, "{told}");
        }
        assert!(read(r#"{"access_token":"a","expires_in":1e300}"#).lifetime.is_some());
    }

    #[test]
    fn refusals_and_their_classes() {
        let class = |status, body: &str| read(&got(status, body)).unwrap_err().class().word();
        assert_eq!(class(400, r#"{"error":"invalid_grant","error_description":"gone"}"#), "auth");
        assert_eq!(class(401, r#"{"error":"invalid_client"}"#), "auth");
        assert_eq!(class(200, r#"{"error":"invalid_grant"}"#), "auth");
        assert_eq!(class(400, r#"{"error":"invalid_scope"}"#), "config");
        assert_eq!(class(400, r#"{"error":"temporarily_unavailable"}"#), "transient");
        assert_eq!(class(403, "<html>"), "auth");
        assert_eq!(class(404, ""), "config");
        assert_eq!(read(&got(302, r#"{"access_token":"a"}"#)), Err(Refusal::Redirect(302)));
        for body in ["", "[]", "{}", r#"{"access_token":""}"#, r#"{"access_token":"a","token_type":"DPoP"}"#] {
            assert!(matches!(read(&got(200, body)), Err(Refusal::Unusable(_))), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(status in 200_u16..600, body in "[{}\\[\\]\":,a-z_0-9 ]{0,60}") {
            let _ = read(&got(status, &body));
        }
    }
}
