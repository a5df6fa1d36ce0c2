//! Requests that may be repeated: the same `Idempotency-Key` gives the same answer, and nothing happens twice.

use super::ControlState;
use super::reply::{Failure, Reply};
use super::routes::Handler;
use super::service::Call;
use super::wire;
use crate::base::ids::hex;
use crate::host::messages::Message;
use http::{HeaderMap, Method, StatusCode};
use saas_export_api::{ErrorCode, IDEMPOTENCY_KEY};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The longest key.
const LONGEST: usize = 200;

/// Keys whose requests are under way; as many as there are connections at most.
#[derive(Default)]
pub struct UnderWay(Mutex<BTreeSet<String>>);

/// An answer as the ledger keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    location: Option<String>,
    body: String,
}

/// The key of a request.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= LONGEST => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => {
            Err(Failure::invalid(format!("the Idempotency-Key is not 1 to {LONGEST} printable ASCII characters")))
        }
    }
}

/// Answers a POST with a key as it was answered before; otherwise lets `handler` do it, and keeps the answer. A refusal
/// is not kept: nothing has changed, so trying again is a new try.
pub async fn once(
    key: Option<String>,
    method: &Method,
    path: &str,
    call: Call,
    handler: Handler,
) -> Result<Reply, Failure> {
    let Some(key) = key.filter(|_| *method == Method::POST) else { return handler(call).await };
    // Of one user: nobody learns or blocks the answers of another.
    let key = format!("{} {key}", call.caller.uid);
    let fingerprint = fingerprint(method, path, &call);
    let state = call.state.clone();
    let _turn = Turn::take(&state, &key)?;
    if let Some(kept) = state.ledger.idempotent(&key, &fingerprint).await.map_err(wire::ledger_error)? {
        return again(&kept);
    }
    let reply = handler(call).await?;
    if let Reply::Document { status, location, body } = &reply {
        let kept = Kept {
            status: status.as_u16(),
            location: location.clone(),
            body: String::from_utf8_lossy(body).into_owned(),
        };
        if let Ok(kept) = serde_json::to_string(&kept) {
            // What was asked for is done and durable; that its answer could not be kept does not undo it.
            if let Err(error) = state.ledger.remember(&key, &fingerprint, &kept).await {
                tracing::warn!(MESSAGE_ID = Message::LedgerTrouble.id(), %error, "failed to keep an answer for its repetition");
            }
        }
    }
    Ok(reply)
}

fn again(kept: &str) -> Result<Reply, Failure> {
    let unreadable = |_| Failure::new(ErrorCode::Internal, "failed to read the answer kept for this Idempotency-Key");
    let kept: Kept = serde_json::from_str(kept).map_err(unreadable)?;
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    Ok(Reply::Document { status, location: kept.location, body: kept.body.into() })
}

/// What a key stands for: a repetition must ask for the same.
fn fingerprint(method: &Method, path: &str, call: &Call) -> String {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), path.as_bytes(), format!("{:?}", call.target.query).as_bytes(), &call.body]
    {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// A key in use; free again when dropped.
struct Turn<'a> {
    state: &'a ControlState,
    key: String,
}

impl<'a> Turn<'a> {
    fn take(state: &'a ControlState, key: &str) -> Result<Self, Failure> {
        let mut keys = state.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.insert(key.to_owned()) {
            return Ok(Self { state, key: key.to_owned() });
        }
        Err(Failure::new(ErrorCode::Conflict, "a request with this Idempotency-Key is under way")
            .hint("ask again when it is answered"))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.state.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
