//! Removes the objects of a chain, in the order in which no reader ever meets half of it; each removal may be repeated.
//!
//! First the manifests, the newest link's first: what is left at any moment is the chain as it once was, or nothing. A directory
//! without a manifest is no data set, so that its files may go in any order.

use super::error::PruneError;
use super::places::Places;
use crate::base::blocking::aside;
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::base::{crash, fsio};
use crate::destinations::{Answer, Destination, LATEST, object_dir, object_key};
use crate::host::messages::Message;
use crate::ledger::Ledger;
use crate::ledger::prunes::{ChainAt, LinkAt};
use crate::ledger::rows::TaskRow;
use crate::transfer::spool::Spool;
use futures_util::{StreamExt as _, TryStreamExt as _};
use saas_export_manifest::{Latest, MANIFEST_NAME, Manifest, beside};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a destination may take for one object.
const LIMIT: Duration = Duration::from_secs(60);
/// Objects that are removed at the same time.
const AT_ONCE: usize = 8;
/// The largest `latest.json` that is read.
const MAX_LATEST: u64 = 16 << 20;

/// Waits for a destination, but not for ever.
pub(super) async fn within<T>(answer: Answer<'_, T>, location: impl Fn() -> String) -> Result<T, PruneError> {
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(PruneError::Silent { location: location(), limit: LIMIT }),
    }
}

/// Removes an object; one that is gone already is no error.
pub(super) async fn object(destination: &dyn Destination, key: &str) -> Result<(), PruneError> {
    within(destination.delete(key), || destination.location(key)).await
}

/// Removes objects, several at a time.
pub(super) async fn all(destination: &dyn Destination, keys: Vec<String>) -> Result<(), PruneError> {
    let removed = futures_util::stream::iter(keys).map(|key| async move {
        object(destination, &key).await?;
        crash::point("prune.object_removed");
        Ok(())
    });
    removed.buffer_unordered(AT_ONCE).try_collect().await
}

/// Whether readers are still led to a chain. What cannot be read is an error: nothing goes on a guess.
pub(super) async fn is_followed(places: &mut Places<'_>, chain: &ChainAt) -> Result<bool, PruneError> {
    let (Some(link), true) = (chain.links.last(), chain.data_set.is_empty()) else { return Ok(false) };
    let destination = places.open(&link.task, &chain.destination).await?;
    let led_to = led_to(&*destination, &chain.export, &chain.stream).await?;
    let named = |link: &LinkAt| led_to.iter().any(|task| task == link.task.as_str());
    Ok(chain.links.iter().any(named))
}

/// The tasks whose manifests `latest.json` of a stream lists; none where there is no such file.
pub(super) async fn led_to(
    destination: &dyn Destination,
    export: &str,
    stream: &str,
) -> Result<Vec<String>, PruneError> {
    let key = format!("{export}/{stream}/{LATEST}");
    let location = || destination.location(&key);
    let Some(found) = within(destination.read_small(&key, MAX_LATEST), location).await? else { return Ok(Vec::new()) };
    let latest = Latest::parse(&found.bytes)
        .map_err(|error| PruneError::Latest { location: location(), why: error.to_string() })?;
    Ok(latest.manifests.into_iter().map(|entry| entry.task).collect())
}

/// Fails where readers are led to a task's stream.
pub(super) async fn unfollowed(destination: &dyn Destination, task: &TaskRow, stream: &str) -> Result<(), PruneError> {
    // Nobody is ever led to a task outside of the chains.
    if task.chained && led_to(destination, &task.export, stream).await?.iter().any(|found| found == task.id.as_str()) {
        let location = destination.location(&object_dir(&task.export, stream, &task.id));
        return Err(PruneError::Followed { location, task: task.id.clone() });
    }
    Ok(())
}

/// Removes the manifest of a task's stream that was not published, if there is one, with what lies beside it; the manifest first,
/// because that is what makes a directory a data set. Refused where readers are led to it.
pub(super) async fn manifest(destination: &dyn Destination, task: &TaskRow, stream: &str) -> Result<(), PruneError> {
    unfollowed(destination, task, stream).await?;
    let key = |name: &str| object_key(&task.export, stream, &task.id, name);
    object(destination, &key(MANIFEST_NAME)).await?;
    crash::point("prune.manifest_removed");
    all(destination, beside().map(key).into()).await
}

/// Removes everything that a chain has at its destination.
pub(super) async fn objects(ledger: &Ledger, places: &mut Places<'_>, chain: &ChainAt) -> Result<(), PruneError> {
    let mut opened: Vec<(&TaskId, Arc<dyn Destination>)> = Vec::with_capacity(chain.links.len());
    for link in chain.links.iter().rev() {
        let destination = places.open(&link.task, &chain.destination).await?;
        object(&*destination, &object_key(&chain.export, &chain.stream, &link.task, MANIFEST_NAME)).await?;
        crash::point("prune.manifest_removed");
        opened.push((&link.task, destination));
    }
    for (task, destination) in opened {
        let keys = names(ledger, chain, task).await?;
        let keys = keys.iter().map(|name| object_key(&chain.export, &chain.stream, task, name)).collect();
        all(&*destination, keys).await?;
        let dir = object_dir(&chain.export, &chain.stream, task);
        within(destination.tidy(&dir), || destination.location(&dir)).await?;
    }
    Ok(())
}

/// Names of what lies beside a manifest.
async fn names(ledger: &Ledger, chain: &ChainAt, task: &TaskId) -> Result<Vec<String>, PruneError> {
    let mut names: Vec<String> = beside().map(str::to_owned).into();
    let row = ledger.manifest(task, &chain.stream, &chain.destination).await?;
    match row.map(|row| Manifest::parse(&row.bytes)) {
        Some(Ok(manifest)) => names.extend(manifest.segments.into_iter().map(|segment| segment.name)),
        // The ledger knows the segments as well; the manifest only says it as it was published.
        unreadable => {
            if let Some(Err(error)) = unreadable {
                tracing::warn!(MESSAGE_ID = Message::RetentionTrouble.id(), EXPORT_TASK = %task, "failed to read a stored manifest: {}", Chain(&error));
            }
            let segments = ledger.segments(task, &chain.stream).await?;
            names.extend(segments.into_iter().map(|segment| segment.name));
        }
    }
    Ok(names)
}

/// Removes the rejected records of a task of which nothing else is left.
pub(super) async fn rejected_records(state_dir: &Path, task: &TaskId) -> Result<(), PruneError> {
    let dir = Spool::new(state_dir, state_dir, task, 0o640).quarantine().to_owned();
    let removed = tokio::task::spawn_blocking(move || directory(&dir)).await;
    removed.map_err(crate::destinations::DestinationError::from)?
}

/// Removes a directory of this machine unless something is in it.
pub(super) fn empty(dir: &Path) -> Result<(), PruneError> {
    match aside(|| std::fs::remove_dir(dir)) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {}
        Err(source) => return Err(PruneError::Remove { path: dir.to_owned(), source }),
    }
    Ok(())
}

/// Removes a directory of this machine with all that is in it.
pub(super) fn directory(dir: &Path) -> Result<(), PruneError> {
    if !aside(|| dir.is_dir()) {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Path::new("/"));
    let removed = aside(|| std::fs::remove_dir_all(dir)).and_then(|()| fsio::sync_dir(parent));
    removed.map_err(|source| PruneError::Remove { path: dir.to_owned(), source })
}
