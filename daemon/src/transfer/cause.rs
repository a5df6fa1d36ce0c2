//! What the journal and the metrics are told of a task on its way: a destination that fails or works again, a schema that is
//! another one, records that were left out.

use super::TaskRun;
use super::error::TransferError;
use crate::base::clock;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::destinations::DestinationError;
use crate::host::fold::{self, About};
use crate::host::messages::Message;
use crate::ledger::rows::StreamRow;
use crate::metrics::METERS;
use saas_export_api::plural;
use std::time::Duration;

/// What the journal calls an error of a delivery.
pub fn message(error: &TransferError) -> Message {
    match (error, error.class()) {
        (TransferError::Ledger(_), _) => Message::LedgerTrouble,
        (TransferError::ReadBack { .. }, _) => Message::ChecksumMismatch,
        (TransferError::Destination { source: DestinationError::Corrupt { .. }, .. }, _) => Message::ChecksumMismatch,
        (_, ErrorClass::Conflict) => Message::Conflict,
        (_, ErrorClass::Auth) => Message::AuthFailed,
        (_, ErrorClass::Full) => Message::DiskFull,
        (_, ErrorClass::Bug) => Message::Bug,
        _ => Message::DestinationAway,
    }
}

/// A try at a destination failed. It is a line in the log when it is tried again after `wait`; only the first of many.
pub fn failed_delivery(task: &TaskRun, destination: &str, error: &TransferError, wait: Option<Duration>) {
    METERS.destinations.of(destination.to_owned()).failed(clock::now().as_microsecond());
    let Some(wait) = wait else { return };
    let about = About {
        task: Some(task.row.id.to_string()),
        export: Some(task.row.export.clone()),
        destination: Some(destination.to_owned()),
        class: Some(error.class().word()),
        ..About::default()
    };
    let text = format!("delivery to {destination} failed, trying again in {wait:.0?}: {}", Chain(error));
    fold::warn(message(error), about, &text);
}

/// A try at a destination worked.
pub fn works(task: &TaskRun, destination: &str) {
    if METERS.destinations.of(destination.to_owned()).worked() {
        tracing::info!(
            MESSAGE_ID = Message::DestinationBack.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
            EXPORT_DESTINATION = %destination, "destination {destination} works again"
        );
    }
}

/// A file is verified at a destination.
pub fn delivered(destination: &str, bytes: u64) {
    let meter = METERS.destinations.of(destination.to_owned());
    meter.segments.add(1);
    meter.bytes.add(bytes);
}

/// A stream has another version of its schema than the task before had; its first one is no news.
pub fn schema(task: &TaskRun, stream: &str, (before, now): (Option<u32>, u32)) {
    let Some(before) = before.filter(|before| *before < now) else { return };
    tracing::info!(
        MESSAGE_ID = Message::SchemaChanged.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
        EXPORT_STREAM = %stream, "the schema of stream {stream} is now version {now}; it was {before}"
    );
}

/// What did not become records in files as it came, once a stream is read.
pub fn counts(task: &TaskRun, row: &StreamRow) {
    let (id, export, stream, counts) = (&task.row.id, &task.row.export, &row.stream, &row.counts);
    if counts.rejected > 0 {
        tracing::warn!(
            MESSAGE_ID = Message::RecordsRejected.id(), EXPORT_TASK = %id, EXPORT_NAME = %export, EXPORT_STREAM = %stream,
            "of {} {} of stream {stream}, {} did not pass and went to the quarantine", counts.read,
            plural(counts.read, "record"), counts.rejected
        );
    }
    if counts.rescued > 0 {
        tracing::info!(
            MESSAGE_ID = Message::SchemaChanged.id(), EXPORT_TASK = %id, EXPORT_NAME = %export, EXPORT_STREAM = %stream,
            "{} {} of stream {stream} did not fit its schema and went to `_rescued`", counts.rescued,
            plural(counts.rescued, "value")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_the_message_that_helps() {
        let at = |source| TransferError::Destination { name: "lake".into(), source };
        let location = || "lake/x".to_owned();
        let remote =
            |class| DestinationError::Remote { action: "store", location: location(), class, message: String::new() };
        let corrupt = DestinationError::Corrupt { location: location(), found: "other".into() };
        let conflict = DestinationError::Conflict { location: location(), found: "other".into() };
        for (error, wanted) in [
            (at(corrupt), Message::ChecksumMismatch),
            (at(conflict), Message::Conflict),
            (at(remote(ErrorClass::Auth)), Message::AuthFailed),
            (at(remote(ErrorClass::Full)), Message::DiskFull),
            (at(remote(ErrorClass::Transient)), Message::DestinationAway),
            (TransferError::ReadBack { path: "x".into() }, Message::ChecksumMismatch),
        ] {
            assert_eq!(message(&error), wanted, "{error}");
        }
    }
}
