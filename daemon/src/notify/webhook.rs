//! Webhooks: one signed POST (Standard Webhooks, <https://www.standardwebhooks.com>), never followed elsewhere.

use super::outcome::Refused;
use crate::base::error::Chain;
use crate::base::secret::Resolve;
use crate::config::keys::webhook_key;
use crate::config::message::Message;
use crate::config::secrets::Secrets;
use crate::config::settings::Webhook;
use crate::net::error::FetchError;
use crate::net::http::{ClientSettings, client};
use crate::net::mask::{MAX_SAID, Mask};
use crate::net::retry::retry_after;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use reqwest::Response;
use ring::hmac;
use std::sync::Arc;

/// Bytes of an answer that are read, for what it says of a refusal.
const MAX_ANSWER: usize = 8 * 1024;

/// The header with the id that stays the same over all attempts.
const ID: &str = "webhook-id";
/// The header with the second of the attempt.
const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signature.
const SIGNATURE: &str = "webhook-signature";

/// The body: `type`, `timestamp` and `data` as the specification proposes; `data` are the fields of [`Message`].
pub fn body(message: &Message) -> String {
    let kind = if message.event == "test" { "test" } else { &message.state };
    serde_json::json!({ "type": format!("task.{kind}"), "timestamp": message.ended_at, "data": message }).to_string()
}

/// The signature of a body: version 1, HMAC-SHA256 over id, second and body, joined by dots.
pub fn signature(key: &[u8], id: &str, second: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, format!("{id}.{second}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

/// Sends one, signed for this moment.
pub async fn send(
    settings: &Webhook,
    secrets: &Arc<Secrets>,
    (id, body): (&str, String),
    now: Timestamp,
) -> Result<(), Refused> {
    let mut mask = Mask::default();
    let headers = headers(settings, secrets, (id, &body), (now, &mut mask))?;
    let (of_client, secrets) = (settings.clone(), secrets.clone());
    // Building it reads certificates.
    let built = tokio::task::spawn_blocking(move || {
        let keep_alive = of_client.keep_alive();
        let needs_tls = of_client.url.starts_with("https");
        let settings = ClientSettings { keep_alive: &keep_alive, proxy: None, tls: &of_client.tls, needs_tls };
        client(&settings, &*secrets, &mut Mask::default()).map_err(|error| Chain(&error).to_string())
    });
    let client = match built.await {
        Ok(Ok(client)) => client,
        Ok(Err(why)) => return Err(Refused::ForNow(why, None)),
        Err(error) => return Err(Refused::ForNow(error.to_string(), None)),
    };
    let exchange = async {
        let request = client.post(&settings.url).headers(headers).body(body);
        let sent = request.send().await;
        let response = sent.map_err(|error| lost(FetchError::from_client(error, settings.timeout.0), &mask))?;
        judged(response, &mask).await
    };
    let slow = || Refused::ForNow(format!("no whole answer within {}", settings.timeout), None);
    tokio::time::timeout(settings.timeout.0, exchange).await.unwrap_or_else(|_| Err(slow()))
}

fn headers(
    settings: &Webhook,
    secrets: &Secrets,
    (id, body): (&str, &str),
    (now, mask): (Timestamp, &mut Mask),
) -> Result<HeaderMap, Refused> {
    // What is missing may be there after a reload.
    let unfilled = |why: String| Refused::ForNow(why, None);
    let secret = secrets.resolve(&settings.secret).map_err(|error| unfilled(error.to_string()))?;
    mask.add(secret.expose());
    let key = webhook_key(secret.expose());
    let key = key.ok_or_else(|| unfilled("use the secret: it is none of webhooks (whsec_…)".into()))?;
    let second = now.as_second();
    let mut headers = HeaderMap::new();
    for (name, text) in &settings.headers {
        let value = Resolve::resolve(secrets, &text.0).map_err(unfilled)?;
        mask.add(value.expose());
        let mut header = HeaderValue::from_str(value.expose())
            .map_err(|_| unfilled(format!("use the header {name}: it holds a character that no header can")))?;
        header.set_sensitive(true);
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            headers.insert(name, header);
        }
    }
    let own = [
        (http::header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
        (ID, id.to_owned()),
        (TIMESTAMP, second.to_string()),
        (SIGNATURE, signature(&key, id, second, body)),
    ];
    for (name, value) in own {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

fn lost(error: FetchError, mask: &Mask) -> Refused {
    Refused::ForNow(mask.clean(&Chain(&error).to_string(), MAX_SAID), None)
}

/// What an answer means.
async fn judged(response: Response, mask: &Mask) -> Result<(), Refused> {
    let (status, wait) = (response.status(), retry_after(response.headers()));
    if status.is_success() {
        return Ok(());
    }
    let said = said(response, mask).await;
    let why = match said.is_empty() {
        true => format!("the server answers {status}"),
        false => format!("the server answers {status}: {said}"),
    };
    Err(match for_now(status) {
        true => Refused::ForNow(why, wait),
        false if status.is_redirection() => Refused::ForGood(format!("{why}; redirects are not followed")),
        false => Refused::ForGood(why),
    })
}

/// Whether the same message may be taken later: the server is in trouble, or asks for patience.
fn for_now(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

async fn said(mut response: Response, mask: &Mask) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER.saturating_sub(bytes.len());
        bytes.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
        if bytes.len() >= MAX_ANSWER {
            break;
        }
    }
    mask.clean(&String::from_utf8_lossy(&bytes), MAX_SAID)
}
