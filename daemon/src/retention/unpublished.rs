//! Removes the unpublished files of tasks that ended long ago without success.

use super::error::PruneError;
use super::places::Places;
use super::prune::Pruner;
use super::remove;
use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::config::settings::Config;
use crate::destinations::local::PRIVATE;
use crate::destinations::{object_dir, object_key};
use crate::ledger::input::OffsetTarget;
use crate::ledger::rows::{TaskFilter, TaskRow, UploadRow};
use crate::ledger::{Ledger, LedgerError};
use crate::model::segment::Role;
use crate::model::task::TaskState;
use crate::transfer::spool::{self, Spool};
use futures_util::future::join_all;
use std::path::Path;
use std::time::Duration;

/// Tasks that one look considers, newest first.
const MOST: u32 = 10_000;

/// Sweeps what is due.
pub async fn sweep(pruner: &Pruner) -> Result<(), LedgerError> {
    let states = vec![TaskState::Failed, TaskState::Cancelled];
    for task in pruner.ledger().tasks(&TaskFilter { export: None, states, limit: MOST }).await? {
        let Some(left) = Left::of(&task, pruner.state_dir()) else { continue };
        match left.sweep(pruner, &task).await {
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
    destinations: Vec<Name>,
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
        let home = spool::home(&config, task.home.as_deref());
        let base = home.map_or(state_dir.to_owned(), |(_, home)| home.root.join(PRIVATE));
        let spool = Spool::new(&base, state_dir, &task.id, 0o640);
        // It goes last, so that whatever is interrupted is done again.
        spool.dir().is_dir().then(|| Self { destinations: export.to.clone(), spool })
    }

    /// The ledger first: a later retry must find offsets that no longer count on what is deleted here. A destination that does
    /// not answer holds up no other; the spool stays until all of them have.
    async fn sweep(&self, pruner: &Pruner, task: &TaskRow) -> Result<(), PruneError> {
        let ledger = pruner.ledger();
        let composed = ledger.manifests(&task.id).await?;
        let mut objects = Vec::new();
        for stream in ledger.streams(&task.id).await? {
            // A manifest may be on its way, or published: what it lists stays.
            if composed.iter().any(|manifest| manifest.stream == stream.stream) {
                continue;
            }
            start_over(ledger, task, &stream.stream).await?;
            let segments = ledger.segments(&task.id, &stream.stream).await?;
            let key = |name: &str| object_key(&task.export, &stream.stream, &task.id, name);
            // Parts never left the spool.
            let keys = segments
                .iter()
                .filter(|segment| segment.role != Role::Part)
                .map(|segment| key(&segment.name))
                .collect();
            objects.push((object_dir(&task.export, &stream.stream, &task.id), keys));
        }
        let uploads = ledger.uploads(&task.id).await?;
        let swept = self.destinations.iter().map(|name| at_destination(pruner, task, name, (&objects, &uploads)));
        join_all(swept).await.into_iter().collect::<Result<(), _>>()?;
        remove::directory(self.spool.quarantine())?;
        Ok(self.spool.remove()?)
    }
}

/// Sends the lanes of a stream back to their start, once. A task that was retried meanwhile is refused.
async fn start_over(ledger: &Ledger, task: &TaskRow, stream: &str) -> Result<(), LedgerError> {
    let lanes = ledger.lanes(&task.id, stream).await?;
    let segments = ledger.segments(&task.id, stream).await?;
    let closed = ledger.task(&task.id).await?.is_some_and(|now| now.state.closed());
    // An earlier look did it already, where a destination did not answer then.
    if closed && lanes.iter().all(|lane| lane.offset == lane.start) && segments.iter().all(|row| row.superseded) {
        return Ok(());
    }
    let target = OffsetTarget::Task(task.id.clone());
    ledger.reset_offsets(target, Some(stream), "daemon", "kept for keep.unpublished").await.map(drop)
}

/// Removes the objects and uploads of a task at a destination.
async fn at_destination(
    pruner: &Pruner,
    task: &TaskRow,
    name: &Name,
    (objects, uploads): (&[(String, Vec<String>)], &[UploadRow]),
) -> Result<(), PruneError> {
    let mut places = Places::new(pruner.ledger(), pruner.opener(), pruner.config());
    let destination = places.open(&task.id, name.as_str()).await?;
    for (dir, keys) in objects {
        remove::all(&*destination, keys.clone()).await?;
        remove::within(destination.tidy(dir), || destination.location(dir)).await?;
    }
    for upload in uploads.iter().filter(|upload| upload.destination == name.as_str()) {
        let location = || destination.location(&upload.key);
        remove::within(destination.abort(&upload.key, &upload.id), location).await?;
        pruner.ledger().forget_upload(&task.id, &upload.destination, &upload.key).await?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "unpublished_tests.rs"]
mod tests;
