//! The ledger itself: snapshots of it, and whether it is as it should be.

use crate::base::error::Chain;
use crate::control::reply::{BodyError, Failure, Reply, ReplyBody};
use crate::control::service::Call;
use crate::control::wire;
use crate::host::messages::Message;
use crate::ledger::input::AuditEntry;
use crate::ledger::{CheckStep, Snapshot};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use saas_export_api::{ErrorCode, LedgerBackup, LedgerCheck, LedgerSnapshot, LedgerStep};
use std::fs::File;
use std::io::{self, Read as _};
use tokio_util::sync::CancellationToken;

/// Bytes that are read of a snapshot at a time.
const PIECE: usize = 256 * 1024;

/// `GET /v1/ledger/snapshots`: newest first.
pub async fn snapshots(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let found = call.state.ledger.snapshots().await.map_err(wire::ledger_error)?;
    Reply::sync(found.into_iter().map(snapshot).collect::<Vec<_>>())
}

/// `POST /v1/ledger/snapshots`: takes one, however long that takes. Where the caller goes away it is taken all the same.
pub async fn backup(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let taken = tokio::select! {
        taken = call.state.ledger.snapshot(&call.caller.actor.0) => taken.map_err(wire::ledger_error)?,
        () = call.stop.cancelled() => return Err(going_down()),
    };
    let LedgerSnapshot { name, path, taken_at, bytes } = snapshot(taken.snapshot);
    let seconds = (taken.took.as_secs_f64() * 1000.0).round() / 1000.0;
    Reply::sync(LedgerBackup { name, path, taken_at, bytes, sha256: taken.sha256, seconds })
}

/// `GET /v1/ledger/snapshots/{snapshot}`: its bytes. They leave the machine here, so it is on record with who took them.
pub async fn download(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let name = call.arg(0);
    let opened = call.state.ledger.open_snapshot(name).await.map_err(wire::ledger_error)?;
    let Some((file, bytes)) = opened else {
        return Err(Failure::new(ErrorCode::NotFound, format!("there is no snapshot {name:?}"))
            .hint("exportctl ledger snapshots lists them"));
    };
    let entry = AuditEntry {
        actor: call.caller.actor.0.clone(),
        action: "snapshot_download".into(),
        reason: name.to_owned(),
        detail: Some(serde_json::json!({ "bytes": bytes }).to_string()),
        ..AuditEntry::default()
    };
    call.state.ledger.audit(entry).await.map_err(wire::ledger_error)?;
    Ok(Reply::Content { body: body(file, call.stop), digest: None })
}

/// `GET /v1/ledger/check`: reads the whole ledger, beside what the daemon does meanwhile.
pub async fn check(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let (steps, took) = tokio::select! {
        checked = call.state.ledger.check() => checked.map_err(wire::ledger_error)?,
        () = call.stop.cancelled() => return Err(going_down()),
    };
    let ok = steps.iter().all(|step| step.problems.is_empty());
    let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
    let ledger = call.state.ledger.path().display().to_string();
    Reply::sync(LedgerCheck { ledger, ok, seconds, steps: steps.into_iter().map(step).collect() })
}

/// A step as it is told.
fn step(step: CheckStep) -> LedgerStep {
    let remedy = (!step.problems.is_empty()).then(|| step.remedy.to_owned());
    LedgerStep { name: step.name.to_owned(), looked_at: step.looked_at.to_owned(), problems: step.problems, remedy }
}

fn snapshot(found: Snapshot) -> LedgerSnapshot {
    LedgerSnapshot {
        path: found.path.display().to_string(),
        taken_at: wire::time(found.taken_at),
        name: found.name,
        bytes: found.bytes,
    }
}

/// The file piece by piece, read off the async threads. It breaks off when the daemon goes down.
fn body(file: File, stop: CancellationToken) -> ReplyBody {
    let pieces = stream::unfold(Some((file, stop)), |state| async move {
        let (file, stop) = state?;
        if stop.is_cancelled() {
            return Some((Err(BodyError::from("the daemon is going down")), None));
        }
        match tokio::task::spawn_blocking(move || read(file)).await.map_err(io::Error::from).flatten() {
            Ok((piece, _)) if piece.is_empty() => None,
            Ok((piece, file)) => Some((Ok(Frame::data(piece)), Some((file, stop)))),
            Err(error) => {
                tracing::warn!(
                    MESSAGE_ID = Message::ControlTrouble.id(),
                    "failed to read a snapshot for a download: {}",
                    Chain(&error)
                );
                Some((Err(BodyError::from("the snapshot could not be read")), None))
            }
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

fn read(mut file: File) -> io::Result<(Bytes, File)> {
    let mut piece = vec![0; PIECE];
    let got = file.read(&mut piece)?;
    piece.truncate(got);
    Ok((piece.into(), file))
}

fn going_down() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the daemon is going down")
}
