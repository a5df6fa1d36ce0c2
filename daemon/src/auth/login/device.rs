//! The device flow (RFC 8628): the person types a code anywhere, the daemon asks until they have.

use super::Say;
use crate::auth::error::AuthError;
use crate::auth::oauth2::post;
use crate::auth::recipe::{Recipe, TokenServer};
use crate::auth::token::{self, Refusal, Tokens};
use crate::base::secret::Secret;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// The grant type (section 3.4).
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The time between two questions where the server says none (section 3.5).
const INTERVAL: Duration = Duration::from_secs(5);
/// What `slow_down` adds to it.
const SLOWER: Duration = Duration::from_secs(5);
/// Times between questions are kept within these, whatever the server says.
const BETWEEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// Characters of a code or URL that a person is shown.
const MAX_SHOWN: usize = 2000;

/// What the server tells for a person.
struct Code {
    device_code: Secret,
    user_code: String,
    place: String,
    complete: Option<String>,
    interval: Duration,
}

pub(super) async fn login(recipe: &Recipe, server: &TokenServer, url: &Url, say: Say<'_>) -> Result<Tokens, AuthError> {
    const WHAT: &str = "get a code for the login";
    // The client names itself as it does at the token endpoint (section 3.1).
    let mut form = super::scope(server);
    form.extend(server.params.iter().cloned());
    let got = recipe.call(WHAT, &post(url, server.client.as_ref(), form)).await?;
    let code = match read(&got.body) {
        Some(code) if got.status.is_success() => code,
        _ => {
            let refusal = match token::read(&got) {
                Err(refusal @ (Refusal::Code { .. } | Refusal::Redirect(_))) => refusal,
                _ if got.status.is_success() => Refusal::Unusable("has no device_code, user_code and verification_uri"),
                _ => Refusal::Status(got.status.as_u16()),
            };
            return Err(recipe.refused(WHAT, url, &refusal, "check `auth.oauth2.client_id` and `device_url`"));
        }
    };
    recipe.learned.add(code.device_code.expose());
    let shown = |text: &str| recipe.mask.clean(text, MAX_SHOWN);
    say(&format!(
        "Open this page in any browser:\n\n    {}\n\nand enter the code:  {}",
        shown(&code.place),
        shown(&code.user_code)
    ));
    if let Some(complete) = &code.complete {
        say(&format!("Or, with the code in it:\n\n    {}", shown(complete)));
    }
    poll(recipe, server, code).await
}

async fn poll(recipe: &Recipe, server: &TokenServer, code: Code) -> Result<Tokens, AuthError> {
    const WHAT: &str = "get the first refresh token";
    let mut interval = code.interval;
    loop {
        tokio::time::sleep(interval.clamp(BETWEEN.0, BETWEEN.1)).await;
        let call = server.ask(GRANT, vec![("device_code".to_owned(), code.device_code.clone())]);
        let got = match recipe.call(WHAT, &call).await {
            Ok(got) => got,
            // The person may still be at it when the network is back.
            Err(AuthError::Ask { cause, .. }) if cause.retryable() => {
                interval *= 2;
                continue;
            }
            Err(error) => return Err(error),
        };
        let refusal = match token::read(&got) {
            Ok(tokens) => return Ok(tokens),
            Err(refusal) => refusal,
        };
        match &refusal {
            Refusal::Code { code, .. } if code == "authorization_pending" => {}
            Refusal::Code { code, .. } if code == "slow_down" => interval += SLOWER,
            Refusal::Code { code, .. } if code == "expired_token" => {
                return Err(AuthError::Login("the code expired before anybody agreed: begin again".to_owned()));
            }
            Refusal::Code { code, .. } if code == "access_denied" => {
                return Err(AuthError::Login("the person did not agree".to_owned()));
            }
            _ => return Err(recipe.refused(WHAT, &server.url, &refusal, "check `auth.oauth2`")),
        }
    }
}

fn read(body: &[u8]) -> Option<Code> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    let interval = answer.get("interval").and_then(Value::as_f64).filter(|seconds| (0.0..1e6).contains(seconds));
    Some(Code {
        device_code: Secret::new(text("device_code")?),
        user_code: text("user_code")?,
        // An older name, which is still in use.
        place: text("verification_uri").or_else(|| text("verification_url"))?,
        complete: text("verification_uri_complete"),
        interval: interval.map_or(INTERVAL, Duration::from_secs_f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_as_servers_write_them() {
        let code =
            read(br#"{"device_code":"d","user_code":"U","verification_url":"https://a","expires_in":1}"#).unwrap();
        assert_eq!((code.place.as_str(), code.interval), ("https://a", INTERVAL));
        let code = br#"{"device_code":"d","user_code":"U","verification_uri":"https://a","interval":7}"#;
        assert_eq!(read(code).unwrap().interval, Duration::from_secs(7));
        for bad in ["", "[]", r#"{"device_code":"d","user_code":"U"}"#] {
            assert!(read(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
