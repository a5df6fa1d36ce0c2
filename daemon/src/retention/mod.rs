//! Removes what nobody follows: the unpublished files of tasks that ended long ago without success.

mod uploads;

use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::base::{clock, fsio};
use crate::config::settings::{Config, Destination as Settings};
use crate::destinations::local::PRIVATE;
use crate::destinations::{Destination, DestinationError, Opener, object_key};
use crate::ledger::input::OffsetTarget;
use crate::ledger::rows::{TaskFilter, TaskRow};
use crate::ledger::{Ledger, LedgerError};
use crate::model::task::TaskState;
use crate::transfer::error::TransferError;
use crate::transfer::spool::Spool;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(3600);
/// Tasks that one look considers, newest first.
const MOST: u32 = 10_000;
/// Looks between two for open uploads: a day.
const UPLOADS_EVERY: u32 = 24;

/// Why a task could not be swept; it is tried again at the next look.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error("change the ledger")]
    Ledger(#[from] LedgerError),
    #[error("clean the destination")]
    Destination(#[from] DestinationError),
    #[error(transparent)]
    Spool(#[from] TransferError),
    #[error("remove {path}")]
    Remove { path: PathBuf, source: std::io::Error },
}

/// Sweeps now and every hour, for as long as it is polled.
pub async fn run(ledger: Ledger, opener: Arc<Opener>, state_dir: PathBuf) {
    for look in 0u32.. {
        if let Err(error) = sweep(&ledger, &opener, &state_dir).await {
            tracing::warn!("failed to look for files to sweep: {}", Chain(&error));
        }
        if look.is_multiple_of(UPLOADS_EVERY)
            && let Err(error) = uploads::sweep(&ledger, &opener).await
        {
            tracing::warn!("failed to look for uploads to give up: {}", Chain(&error));
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn sweep(ledger: &Ledger, opener: &Opener, state_dir: &Path) -> Result<(), LedgerError> {
    let states = vec![TaskState::Failed, TaskState::Cancelled];
    for task in ledger.tasks(&TaskFilter { export: None, states, limit: MOST }).await? {
        let Some(left) = Left::of(&task, state_dir) else { continue };
        match left.sweep(ledger, opener, &task).await {
            Ok(()) => tracing::info!(
                EXPORT_TASK = %task.id, EXPORT_NAME = %task.export,
                "swept the unpublished files of task {}, which ended as {}", task.id, task.state
            ),
            Err(error) => tracing::warn!(
                EXPORT_TASK = %task.id, EXPORT_NAME = %task.export,
                "failed to sweep the files of task {}, trying again later: {}", task.id, Chain(&error)
            ),
        }
    }
    Ok(())
}

/// What an ended task left behind.
struct Left {
    destinations: Vec<(Name, Settings)>,
    spool: Spool,
}

impl Left {
    /// What is due of a task; `None` while it is kept, and once it is gone.
    fn of(task: &TaskRow, state_dir: &Path) -> Option<Self> {
        let config = Config::from_effective(&serde_json::from_str(&task.config).ok()?).ok()?;
        let (_, export) = config.exports.iter().next()?;
        let age = clock::now().duration_since(task.ended_at?);
        if Duration::try_from(age).ok()? < export.keep.unpublished.0 {
            return None;
        }
        let places = export.to.iter().filter_map(|name| config.destinations.get_key_value(name));
        let destinations: Vec<_> = places.map(|(name, place)| (name.clone(), place.clone())).collect();
        let home = destinations.iter().find_map(|(_, place)| place.local());
        let base = home.map_or(state_dir.to_owned(), |home| home.root.join(PRIVATE));
        let spool = Spool::new(&base, state_dir, &task.id, 0o640);
        // It goes last, so that whatever is interrupted is done again.
        spool.dir().is_dir().then_some(Self { destinations, spool })
    }

    /// The ledger first: a later retry must find offsets that no longer count on what is deleted here.
    async fn sweep(&self, ledger: &Ledger, opener: &Opener, task: &TaskRow) -> Result<(), SweepError> {
        let opened = self.destinations.iter().map(|(name, place)| Ok((name, opener.open(place)?)));
        let destinations: Vec<(&Name, Arc<dyn Destination>)> = opened.collect::<Result<_, DestinationError>>()?;
        let composed = ledger.manifests(&task.id).await?;
        for stream in ledger.streams(&task.id).await? {
            // A manifest may be on its way, or published: what it lists stays.
            if composed.iter().any(|manifest| manifest.stream == stream.stream) {
                continue;
            }
            let target = OffsetTarget::Task(task.id.clone());
            ledger.reset_offsets(target, Some(&stream.stream), "daemon", "kept for keep.unpublished").await?;
            for segment in ledger.segments(&task.id, &stream.stream).await? {
                let key = object_key(&task.export, &stream.stream, &task.id, &segment.name);
                for (_, destination) in &destinations {
                    destination.delete(&key).await?;
                }
            }
        }
        for upload in ledger.uploads(&task.id).await? {
            if let Some((_, place)) = destinations.iter().find(|(name, _)| name.as_str() == upload.destination) {
                place.abort(&upload.key, &upload.id).await?;
            }
            ledger.forget_upload(&task.id, &upload.destination, &upload.key).await?;
        }
        let quarantine = self.spool.quarantine();
        if quarantine.is_dir() {
            let removed = std::fs::remove_dir_all(quarantine).and_then(|()| fsio::sync_dir(parent(quarantine)));
            removed.map_err(|source| SweepError::Remove { path: quarantine.to_owned(), source })?;
        }
        Ok(self.spool.remove()?)
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests;
