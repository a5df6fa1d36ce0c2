//! Published files themselves, and links to them. Data leave the machine here, so each one is on record with who took it.

use crate::base::clock;
use crate::base::error::Chain;
use crate::config::settings::{Destination, reached};
use crate::control::reads;
use crate::control::reply::{BodyError, Failure, Reply, ReplyBody};
use crate::control::service::Call;
use crate::control::wire;
use crate::control::{Content, ObjectAt};
use crate::destinations::object_key;
use crate::host::messages::Message;
use crate::ledger::input::AuditEntry;
use crate::ledger::rows::{ManifestRow, TaskRow};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use jiff::SignedDuration;
use saas_export_api::{ErrorCode, FileLink};
use saas_export_manifest::{Digests, MANIFEST_NAME, Manifest, SIGNATURE_NAME, SUMS_NAME, sha256sums};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a link counts unless it is told otherwise, in seconds.
const LINK_DEFAULT: u64 = 3600;
/// The longest that a link counts, in seconds: what the stores take.
const LINK_MOST: u64 = 7 * 24 * 3600;
/// The longest that a destination may take for the next piece.
const PIECE_LIMIT: Duration = Duration::from_secs(120);

/// The manifest that was used last: who downloads a task asks for one of its files after the other.
#[derive(Default)]
pub struct LastManifest(Mutex<Option<(String, Arc<Manifest>)>>);

impl LastManifest {
    fn read(&self, row: &ManifestRow) -> Result<Arc<Manifest>, Failure> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, manifest)) = last.as_ref().filter(|(sha256, _)| *sha256 == row.sha256) {
            return Ok(manifest.clone());
        }
        let manifest = Manifest::parse(&row.bytes).map(Arc::new).map_err(|error| {
            Failure::new(ErrorCode::Internal, format!("failed to read the stored manifest: {}", Chain(&error)))
        })?;
        *last = Some((row.sha256.clone(), manifest.clone()));
        Ok(manifest)
    }
}

/// A published file that was asked for.
struct Asked {
    row: TaskRow,
    stream: String,
    name: String,
    destination: String,
    object: ObjectAt,
    /// What it must be.
    expected: Digests,
}

/// `GET /v1/tasks/{task}/files/{stream}/{name}?destination=`: the bytes as they are at the destination, with the SHA-256
/// that they must have in a header.
pub async fn get(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&["destination"])?;
    let asked = find(&call).await?;
    let content = tokio::select! {
        content = call.state.hooks.read_object(asked.object.clone()) => content.map_err(wire::refusal)?,
        () = call.stop.cancelled() => return Err(going_down()),
    };
    let content = content.ok_or_else(|| gone(&asked))?;
    record(&call, &asked, "download", json!({})).await?;
    Ok(Reply::Content { body: body(content, asked.expected.bytes, call.stop), digest: Some(asked.expected) })
}

/// `GET /v1/tasks/{task}/links/{stream}/{name}?destination=&expires=SECONDS`: a link by which anybody can read the file until
/// it expires. It is a secret: nothing keeps it but the answer.
pub async fn link(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&["destination", "expires"])?;
    let seconds = call.target.query.number("expires", LINK_DEFAULT, LINK_MOST)?;
    if seconds == 0 {
        return Err(Failure::invalid("parameter \"expires\": a link counts for at least 1 second"));
    }
    let asked = find(&call).await?;
    let expires = Duration::from_secs(seconds);
    let url = tokio::select! {
        url = call.state.hooks.link(asked.object.clone(), expires) => url.map_err(wire::refusal)?,
        () = call.stop.cancelled() => return Err(going_down()),
    };
    let Some(url) = url else {
        let message = format!("the destination {} cannot make links", asked.destination);
        let hint = format!("exportctl get {} -o DIR {}/{} downloads the file", asked.row.id, asked.stream, asked.name);
        return Err(Failure::new(ErrorCode::Conflict, message).hint(hint));
    };
    record(&call, &asked, "link", json!({ "expires_seconds": seconds })).await?;
    let until = clock::now().saturating_add(SignedDuration::from_secs(seconds.try_into().unwrap_or(i64::MAX)));
    Reply::sync(FileLink {
        task: asked.row.id.to_string(),
        stream: asked.stream,
        name: asked.name,
        destination: asked.destination,
        url,
        expires_at: until.map(wire::time).unwrap_or_default(),
    })
}

/// The file that a call names: one that a published manifest of the task lists, or what lies beside that.
async fn find(call: &Call) -> Result<Asked, Failure> {
    let row = reads::task_or_export(&call.state, call.arg(0)).await?;
    let (stream, name) = (call.arg(1).to_owned(), call.arg(2).to_owned());
    let places = wire::places(&row)?;
    let wanted = call.target.query.get("destination");
    let (found, place) = manifest(call, &row, &stream, &places, wanted).await?;
    let manifest = call.state.last_manifest.read(&found)?;
    let expected = match name.as_str() {
        MANIFEST_NAME => Some(Digests::of(&found.bytes)),
        SUMS_NAME => Some(Digests::of(sha256sums(&manifest, &found.bytes).as_bytes())),
        SIGNATURE_NAME => found.signature.as_deref().map(Digests::of),
        other => listed(&manifest, other),
    };
    let expected = expected.ok_or_else(|| {
        let message = format!("stream {stream} of task {} has no file {name:?}", row.id);
        Failure::new(ErrorCode::NotFound, message).hint(format!("exportctl files {} lists them", row.id))
    })?;
    let config = call.state.config();
    let settings = reached(&place, config.destinations.get(found.destination.as_str())).clone();
    let key = object_key(&row.export, &stream, &row.id, &name);
    Ok(Asked { row, stream, name, destination: found.destination, object: ObjectAt { settings, key }, expected })
}

fn listed(manifest: &Manifest, name: &str) -> Option<Digests> {
    let segment = manifest.segments.iter().find(|segment| segment.name == name)?;
    let crc32c = u32::from_str_radix(&segment.crc32c, 16).unwrap_or_default();
    Some(Digests { sha256: segment.sha256.clone(), crc32c, bytes: segment.bytes })
}

/// The published manifest of a stream at the destination that is `wanted`, else at the first one of the export that has it.
async fn manifest(
    call: &Call,
    row: &TaskRow,
    stream: &str,
    places: &wire::Places,
    wanted: Option<&str>,
) -> Result<(ManifestRow, Destination), Failure> {
    if let Some(wanted) = wanted.filter(|wanted| !places.iter().any(|(name, _)| name == wanted)) {
        let names: Vec<&str> = places.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!("task {} has no destination {wanted:?}", row.id);
        return Err(Failure::new(ErrorCode::NotFound, message).hint(format!("it has {}", names.join(", "))));
    }
    let mut pruned = None;
    for (name, place) in places.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name)) {
        let found = call.state.ledger.manifest(&row.id, stream, name).await.map_err(wire::ledger_error)?;
        match found {
            Some(found) if found.there() => return Ok((found, place.clone())),
            Some(found) => pruned = pruned.or(found.pruned_at),
            None => {}
        }
    }
    let at = wanted.map(|name| format!(" at {name}")).unwrap_or_default();
    Err(match pruned {
        Some(when) => Failure::new(
            ErrorCode::Conflict,
            format!("stream {stream} of task {} was pruned{at} at {}", row.id, wire::time(when)),
        )
        .hint("exportctl files EXPORT lists what is still there"),
        None => Failure::new(ErrorCode::NotFound, format!("task {} has published no stream {stream:?}{at}", row.id))
            .hint(format!("exportctl show {}", row.id)),
    })
}

/// A line of the audit, before the first byte leaves; what cannot be recorded does not happen.
async fn record(call: &Call, asked: &Asked, action: &str, more: serde_json::Value) -> Result<(), Failure> {
    let mut detail = json!({
        "stream": asked.stream, "file": asked.name, "destination": asked.destination,
        "bytes": asked.expected.bytes,
    });
    if let (Some(detail), Some(more)) = (detail.as_object_mut(), more.as_object()) {
        detail.extend(more.clone());
    }
    let entry = AuditEntry {
        task: Some(asked.row.id.clone()),
        export: Some(asked.row.export.clone()),
        actor: call.caller.actor.0.clone(),
        action: action.to_owned(),
        reason: format!("{}/{} at {}", asked.stream, asked.name, asked.destination),
        detail: Some(detail.to_string()),
    };
    call.state.ledger.audit(entry).await.map_err(wire::ledger_error)
}

/// The content as it comes, one piece in memory. It breaks off where the destination does, and when the daemon goes down; of an
/// object that is longer than it must be comes little more than shows that.
fn body(content: Content, most: u64, stop: CancellationToken) -> ReplyBody {
    let pieces = stream::unfold(Some((content, most, stop)), |state| async move {
        let (mut content, left, stop) = state?;
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Some((Err(BodyError::from("the daemon is going down")), None)),
            next = tokio::time::timeout(PIECE_LIMIT, content.next()) => next,
        };
        match next {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => {
                let rest = left.checked_sub(piece.len() as u64);
                Some((Ok(Frame::data(piece)), rest.map(|left| (content, left, stop))))
            }
            Ok(Some(Err(error))) => {
                tracing::warn!(
                    MESSAGE_ID = Message::ControlTrouble.id(),
                    "failed to read for a download: {}",
                    Chain(&error)
                );
                Some((Err(BodyError::from("the destination broke off")), None))
            }
            Err(_) => Some((Err(BodyError::from("the destination does not go on")), None)),
        }
    });
    StreamBody::new(pieces.map(|piece: Result<Frame<Bytes>, BodyError>| piece)).boxed_unsync()
}

fn gone(asked: &Asked) -> Failure {
    let location = asked.object.settings.location(&asked.object.key);
    Failure::new(ErrorCode::Conflict, format!("{location} is gone"))
        .hint(format!("exportctl verify {} says what else is wrong", asked.row.id))
}

fn going_down() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the daemon is going down")
}
