//! Brings a segment back into the spool from a destination that has it, so that it can be delivered to another one.

use super::TaskRun;
use super::deliver::key;
use super::error::TransferError;
use super::room::Booked;
use crate::base::blocking::aside;
use crate::base::error::{Chain, ErrorClass};
use crate::base::{crash, fsio};
use crate::destinations::{Destination, DestinationError};
use crate::ledger::rows::SegmentRow;
use futures_util::StreamExt as _;
use saas_export_manifest::Digester;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::io::AsyncWriteExt as _;

/// The files that are fetched back, each once however many destinations wait for it.
#[derive(Default)]
pub struct Locks(Mutex<BTreeMap<String, Weak<File>>>);

/// A file of which there is one copy at a time.
#[derive(Default)]
struct File(tokio::sync::Mutex<Weak<Fetched>>);

impl Locks {
    fn file(&self, name: &str) -> Arc<File> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = files.get(name).and_then(Weak::upgrade) {
            return file;
        }
        let file = Arc::default();
        files.insert(name.to_owned(), Arc::downgrade(&file));
        file
    }
}

/// A segment in the spool that was brought back there, and the room that it takes. It leaves with the last who delivers it:
/// a destination that is dead must not fill the disk with what another one has already.
pub struct Fetched {
    path: PathBuf,
    _booked: Option<Booked>,
    /// Keeps the entry by which others find it.
    _file: Arc<File>,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // Left behind, it goes with the task's directory.
        let _ = fsio::remove(&self.path);
    }
}

/// Makes sure that a segment of a task that has ended lies in the spool: it does still, or it is read from another
/// destination of the task and compared on the way.
pub async fn fetch(task: &TaskRun, segment: &SegmentRow, to: &Path) -> Result<Arc<Fetched>, TransferError> {
    // One at a time: several destinations may be filled back, and one copy serves them all.
    let file = task.fetching.file(&format!("{}/{}", segment.id.stream, segment.name));
    let mut known = file.0.lock().await;
    if let Some(fetched) = known.upgrade() {
        return Ok(fetched);
    }
    let booked = match tokio::fs::try_exists(to).await.unwrap_or(false) {
        true => None,
        false => Some(bring(task, segment, to).await?),
    };
    let fetched = Arc::new(Fetched { path: to.to_owned(), _booked: booked, _file: file.clone() });
    *known = Arc::downgrade(&fetched);
    Ok(fetched)
}

/// Reads a segment from another destination.
async fn bring(task: &TaskRun, segment: &SegmentRow, to: &Path) -> Result<Booked, TransferError> {
    let booked = task.room.book(task, segment.bytes).await?;
    task.room.enter(task).await?;
    task.spool.prepare(&segment.id.stream)?;
    let mut why = Vec::new();
    for name in task.ledger.verified_at(&task.row.id, &segment.id).await? {
        let Some((_, from)) = task.destinations.iter().find(|(known, _)| known.as_str() == name) else { continue };
        match copy(task, segment, &**from, to).await {
            Ok(true) => {
                crash::point("delivery.fetched");
                return Ok(booked);
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
    aside(|| created.set_permissions(mode)).map_err(io("chmod"))?;
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
