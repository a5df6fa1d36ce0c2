//! Brings a segment back into the spool from a destination that has it, so that it can be delivered to another one.

use super::TaskRun;
use super::deliver::key;
use super::error::TransferError;
use super::room::Booked;
use crate::base::error::{Chain, ErrorClass};
use crate::base::{crash, fsio};
use crate::destinations::{Destination, DestinationError};
use crate::ledger::rows::SegmentRow;
use futures_util::StreamExt as _;
use saas_export_manifest::Digester;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::io::AsyncWriteExt as _;

/// One lock for each file that is fetched.
#[derive(Debug, Default)]
pub struct Locks(Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Locks {
    fn lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// Makes sure that a segment of a task that has ended lies in the spool: it does still, or it is read from another
/// destination of the task and compared on the way. The booking of its room ends with the delivery.
pub async fn fetch(task: &TaskRun, segment: &SegmentRow, to: &Path) -> Result<Option<Booked>, TransferError> {
    // One at a time: several destinations may be filled back, and one copy serves them all.
    let lock = task.fetching.lock(&format!("{}/{}", segment.id.stream, segment.name));
    let _held = lock.lock().await;
    if tokio::fs::try_exists(to).await.unwrap_or(false) {
        return Ok(None);
    }
    let booked = task.room.book(task, segment.bytes).await?;
    task.room.enter(task).await?;
    task.spool.prepare(&segment.id.stream)?;
    let mut why = Vec::new();
    for name in task.ledger.verified_at(&task.row.id, &segment.id).await? {
        let Some((_, from)) = task.destinations.iter().find(|(known, _)| known.as_str() == name) else { continue };
        match copy(task, segment, &**from, to).await {
            Ok(true) => {
                crash::point("delivery.fetched");
                return Ok(Some(booked));
            }
            Ok(false) => why.push(format!("{name} does not have it any more")),
            Err(TransferError::Stopped) => return Err(TransferError::Stopped),
            Err(error) => why.push(format!("{name}: failed to {}", Chain(&error))),
        }
    }
    let why = if why.is_empty() { "no destination has it".to_owned() } else { why.join("; ") };
    let message = format!("fetch {} of stream {} from another destination: {why}", segment.name, segment.id.stream);
    Err(TransferError::Broken { message, class: ErrorClass::Transient })
}

/// Copies a segment from a destination into the spool; false where it is not there. What differs from the ledger is an error.
async fn copy(task: &TaskRun, segment: &SegmentRow, from: &dyn Destination, to: &Path) -> Result<bool, TransferError> {
    let object = key(task, &segment.id.stream, &segment.name);
    let failed = |source| TransferError::Destination { name: from.location(&object), source };
    let Some(mut content) = from.read(&object).await.map_err(failed)? else { return Ok(false) };
    let temporary = fsio::sibling(to, ".fetched");
    let io = |action| TransferError::spool(action, &temporary);
    let created = fsio::create_fresh(&temporary, 0o600).map_err(io("create"))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(task.spool.mode());
    created.set_permissions(mode).map_err(io("chmod"))?;
    let mut file = tokio::fs::File::from_std(created);
    let mut digester = Digester::default();
    let mut length = 0;
    while let Some(piece) = task.until_stopped(content.next()).await? {
        let piece = piece.map_err(failed)?;
        length += piece.len() as u64;
        if length > segment.bytes {
            break;
        }
        digester.update(&piece);
        file.write_all(&piece).await.map_err(io("write"))?;
    }
    file.sync_all().await.map_err(io("sync"))?;
    let found = digester.finish();
    if (length, &found.sha256, found.crc32c) != (segment.bytes, &segment.sha256, segment.crc32c) {
        let _ = fsio::remove(&temporary);
        let found = format!("it is not what was delivered: {length} bytes, SHA-256 {}", found.sha256);
        return Err(failed(DestinationError::Corrupt { location: from.location(&object), found }));
    }
    tokio::fs::rename(&temporary, to).await.map_err(io("rename"))?;
    Ok(true)
}
