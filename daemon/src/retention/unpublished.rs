//! Removes the unpublished files of tasks that ended long ago without success, and before that the manifests of cancelled ones.

use super::error::PruneError;
use super::places::Places;
use super::prune::Pruner;
use super::remove;
use crate::base::blocking::aside;
use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::config::settings::{Config, Export};
use crate::destinations::local::PRIVATE;
use crate::destinations::{object_dir, object_key};
use crate::host::messages::Message;
use crate::ledger::input::OffsetTarget;
use crate::ledger::rows::{TaskFilter, TaskRow, UploadRow};
use crate::ledger::{Ledger, LedgerError};
use crate::model::segment::Role;
use crate::model::task::TaskState;
use crate::transfer::spool::{self, Spool};
use futures_util::future::join_all;
use jiff::SignedDuration;
use std::path::Path;
use std::time::Duration;

/// Tasks that one look considers, newest first.
const MOST: u32 = 10_000;

/// Time after a cancel in which a request of its run may still be on its way.
const SETTLE: SignedDuration = SignedDuration::from_secs(120);

/// Sweeps what is due; whether a cancelled task is to be looked at again soon.
pub async fn sweep(pruner: &Pruner) -> Result<bool, LedgerError> {
    let states = vec![TaskState::Failed, TaskState::Cancelled];
    let mut soon = false;
    for task in pruner.ledger().tasks(&TaskFilter { export: None, states, limit: MOST }).await? {
        match withdraw(pruner, &task).await {
            Ok(settled) => soon |= !settled,
            Err(error) => tracing::warn!(
                MESSAGE_ID = Message::RetentionTrouble.id(), EXPORT_TASK = %task.id, EXPORT_NAME = %task.export,
                "failed to withdraw the manifests of task {}, trying again later: {}", task.id, Chain(&error)
            ),
        }
        let Some(left) = aside(|| Left::of(&task, pruner.state_dir())) else { continue };
        match left.sweep(pruner, &task).await {
            Ok(()) => tracing::info!(
                MESSAGE_ID = Message::RetentionRemoved.id(), EXPORT_TASK = %task.id, EXPORT_NAME = %task.export,
                "swept the unpublished files of task {}, which ended as {}", task.id, task.state
            ),
            Err(error) => tracing::warn!(
                MESSAGE_ID = Message::RetentionTrouble.id(), EXPORT_TASK = %task.id, EXPORT_NAME = %task.export,
                "failed to sweep the files of task {}, trying again later: {}", task.id, Chain(&error)
            ),
        }
    }
    Ok(soon)
}

/// Removes what a cancelled task wrote of manifests that the ledger has taken back: whoever reads by manifests would find its
/// records there, and once more in the next task's. False where it is too early for that.
async fn withdraw(pruner: &Pruner, task: &TaskRow) -> Result<bool, PruneError> {
    let ledger = pruner.ledger();
    if task.state != TaskState::Cancelled {
        return Ok(true);
    }
    let written = ledger.to_withdraw(&task.id).await?;
    if written.is_empty() {
        return Ok(true);
    }
    if task.ended_at.is_none_or(|at| clock::now().duration_since(at) < SETTLE) {
        return Ok(false);
    }
    let _claim = ledger.claim_sweep(task).await?;
    let mut places = Places::new(ledger, pruner.opener(), pruner.config());
    let mut failed = None;
    let goes_to = goes_to(task);
    for manifest in written.iter().filter(|row| goes_to.as_ref().is_none_or(|names| names.contains(&row.destination))) {
        let removed = async {
            let destination = places.open(&task.id, &manifest.destination).await?;
            remove::manifest(&*destination, task, &manifest.stream).await
        };
        failed = removed.await.err().or(failed);
    }
    match failed {
        Some(error) => Err(error),
        None => {
            ledger.withdrawn(&task.id, written.len()).await?;
            Ok(true)
        }
    }
}

/// Where a task goes, if it says so: a restore has taken the destinations out that it did not look at.
fn goes_to(task: &TaskRow) -> Option<Vec<String>> {
    let config: serde_json::Value = serde_json::from_str(&task.config).ok()?;
    let names = config.pointer(&format!("/exports/{}/to", task.export))?.as_array()?;
    Some(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

/// Whether a task has left files that are still to be swept, now or later. Reads directories.
pub fn left(task: &TaskRow, state_dir: &Path) -> bool {
    Left::spool(task, state_dir).is_some_and(|(_, spool)| spool.dir().is_dir())
}

/// A stream of which nothing is published, at a destination.
struct Unpublished {
    stream: String,
    /// Its directory.
    dir: String,
    /// Its segments.
    keys: Vec<String>,
}

/// What an ended task left behind.
struct Left {
    destinations: Vec<Name>,
    spool: Spool,
}

impl Left {
    /// What is due of a task; `None` while it is kept, and once it is gone.
    fn of(task: &TaskRow, state_dir: &Path) -> Option<Self> {
        let (export, spool) = Self::spool(task, state_dir)?;
        let age = clock::now().duration_since(task.ended_at?);
        if Duration::try_from(age).ok()? < export.keep.unpublished.0 {
            return None;
        }
        // It goes last, so that whatever is interrupted is done again.
        spool.dir().is_dir().then(|| Self { destinations: export.to.clone(), spool })
    }

    /// The export of a task as it was then, and its spool.
    fn spool(task: &TaskRow, state_dir: &Path) -> Option<(Export, Spool)> {
        let config = Config::from_effective(&serde_json::from_str(&task.config).ok()?).ok()?;
        let home = spool::home(&config, task.home.as_deref());
        let base = home.map_or(state_dir.to_owned(), |(_, home)| home.root.join(PRIVATE));
        let spool = Spool::new(&base, state_dir, &task.id, 0o640);
        let export = config.exports.into_values().next()?;
        Some((export, spool))
    }

    /// The ledger first: a later retry must find offsets that no longer count on what is deleted here. A destination that does
    /// not answer holds up no other; the spool stays until all of them have.
    async fn sweep(&self, pruner: &Pruner, task: &TaskRow) -> Result<(), PruneError> {
        let ledger = pruner.ledger();
        // Until the last removal: segments and rejected records of a retry would have the names of what goes here.
        let _claim = ledger.claim_sweep(task).await?;
        let composed = ledger.manifests(&task.id).await?;
        let mut streams: Vec<String> = ledger.streams(&task.id).await?.into_iter().map(|row| row.stream).collect();
        // A manifest may be on its way, or published: what it lists stays, and what its records left behind.
        streams.retain(|stream| !composed.iter().any(|manifest| manifest.stream == *stream));
        let followed = self.followed(pruner, task, &mut streams).await;
        let mut objects = Vec::new();
        for stream in &streams {
            start_over(ledger, task, stream).await?;
            let segments = ledger.segments(&task.id, stream).await?;
            let key = |name: &str| object_key(&task.export, stream, &task.id, name);
            // Parts never left the spool.
            let keys = segments
                .iter()
                .filter(|segment| segment.role != Role::Part)
                .map(|segment| key(&segment.name))
                .collect();
            let dir = object_dir(&task.export, stream, &task.id);
            objects.push(Unpublished { stream: stream.clone(), dir, keys });
        }
        let uploads = ledger.uploads(&task.id).await?;
        let swept = self.destinations.iter().map(|name| at_destination(pruner, task, name, (&objects, &uploads)));
        join_all(swept).await.into_iter().collect::<Result<(), _>>()?;
        for stream in &streams {
            remove::directory(&self.spool.quarantine().join(stream))?;
        }
        remove::empty(self.spool.quarantine())?;
        match followed {
            // So that it is looked at again.
            Some(error) => Err(error),
            None => Ok(self.spool.remove()?),
        }
    }

    /// Takes out the streams that readers are led to at a destination that answers, and says where; one that does not answer is
    /// asked once more before anything goes there.
    async fn followed(&self, pruner: &Pruner, task: &TaskRow, streams: &mut Vec<String>) -> Option<PruneError> {
        let mut places = Places::new(pruner.ledger(), pruner.opener(), pruner.config());
        let mut followed = None;
        for name in self.destinations.iter().filter(|_| task.chained) {
            let Ok(destination) = places.open(&task.id, name.as_str()).await else { continue };
            for stream in streams.clone() {
                match remove::unfollowed(&*destination, task, &stream).await {
                    Ok(()) => {}
                    Err(error @ PruneError::Followed { .. }) => {
                        followed = Some(error);
                        streams.retain(|kept| *kept != stream);
                    }
                    Err(_) => break,
                }
            }
        }
        followed
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
    (objects, uploads): (&[Unpublished], &[UploadRow]),
) -> Result<(), PruneError> {
    let mut places = Places::new(pruner.ledger(), pruner.opener(), pruner.config());
    let destination = places.open(&task.id, name.as_str()).await?;
    for Unpublished { stream, dir, keys } in objects {
        // Written by a run that could not note it, or whose note a cancel took back. Never is half a data set seen.
        remove::manifest(&*destination, task, stream).await?;
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
