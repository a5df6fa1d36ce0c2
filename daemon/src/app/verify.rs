//! Verifies a task's published files: everything at a destination against what the ledger holds.

use crate::base::error::Chain;
use crate::base::fsio;
use crate::base::ids::{Name, TaskId};
use crate::config::settings::{Config, Destination};
use crate::ledger::rows::{ManifestRow, TaskRow};
use crate::ledger::{Ledger, LedgerError};
use crate::queue::handle::Refusal;
use saas_export_api::{VerifyProblem, VerifyReport};
use saas_export_manifest::{LATEST_NAME, Latest, MANIFEST_NAME, Manifest, verify_published};
use std::io;
use std::path::{Path, PathBuf};

/// The largest `latest.json` that is read.
const MAX_LATEST: u64 = 16 << 20;

/// Reads every published file of a task, at one destination or at all.
pub async fn verify(ledger: &Ledger, id: &TaskId, only: Option<&str>) -> Result<VerifyReport, Refusal> {
    let row = ledger.task(id).await.map_err(failed)?;
    let row = row.ok_or_else(|| Refusal::NotFound(format!("there is no task {id}")))?;
    let stored = serde_json::from_str(&row.config).unwrap_or_default();
    let config = Config::from_effective(&stored).map_err(|why| Refusal::Unavailable(why.to_string()))?;
    if let Some(only) = only.filter(|only| !config.destinations.contains_key(*only)) {
        let names: Vec<_> = config.destinations.keys().map(Name::as_str).collect();
        let names = names.join(", ");
        return Err(Refusal::NotFound(format!("task {id} has no destination {only:?}; it has {names}")));
    }
    let manifests = ledger.manifests(id).await.map_err(failed)?;
    let mut wanted: Vec<_> =
        manifests.into_iter().filter(|found| only.is_none_or(|name| name == found.destination)).collect();
    let pruned = wanted.iter().find_map(|found| found.pruned_at);
    wanted.retain(ManifestRow::there);
    if wanted.is_empty() {
        let whose = only.map(|name| format!(" at {name}")).unwrap_or_default();
        if let Some(when) = pruned {
            return Err(Refusal::Conflict(format!("the files of task {id}{whose} were pruned at {when}")));
        }
        return Err(Refusal::Conflict(format!("task {id} has published nothing{whose}: it is {}", row.state)));
    }
    let mut report = VerifyReport { task: id.to_string(), ok: true, files: 0, bytes: 0, problems: Vec::new() };
    for found in wanted {
        let place = config.destinations.get(found.destination.as_str());
        let Some(local) = place.and_then(Destination::local) else { continue };
        stream(ledger, &row, found, local.root.join(&row.export), &mut report).await?;
    }
    report.ok = report.problems.is_empty();
    Ok(report)
}

fn failed(error: LedgerError) -> Refusal {
    Refusal::Unavailable(format!("failed to {}", Chain(&error)))
}

/// Verifies what one manifest lists, the manifest itself, and what readers follow to it. `dir` is the export's.
async fn stream(
    ledger: &Ledger,
    row: &TaskRow,
    found: ManifestRow,
    dir: PathBuf,
    report: &mut VerifyReport,
) -> Result<(), Refusal> {
    let dir = dir.join(&found.stream);
    let latest = dir.join(LATEST_NAME);
    let wrong = |path: &Path, problem: String| VerifyProblem {
        destination: found.destination.clone(),
        stream: found.stream.clone(),
        path: path.display().to_string(),
        problem,
    };
    // A task with parameters is another data set: nothing leads to it.
    if row.params.is_empty() {
        report.files += 1;
        let problem = latest_problem(ledger, row, &found, &latest).await?;
        report.problems.extend(problem.map(|problem| wrong(&latest, problem)));
    }
    let (dir, composed) = (dir.join(row.id.as_str()), found.bytes.clone());
    let checked = tokio::task::spawn_blocking(move || check(&dir, &composed).map(|result| (dir, result))).await;
    let (dir, result) = match checked {
        Ok(Ok(result)) => result,
        Ok(Err(why)) => return Err(Refusal::Unavailable(why)),
        Err(error) => return Err(Refusal::Unavailable(error.to_string())),
    };
    report.files += result.good + result.problems.len() as u64;
    report.bytes += result.bytes;
    let problems = result.problems.into_iter();
    report.problems.extend(problems.map(|problem| wrong(&dir.join(&problem.name), problem.kind.to_string())));
    Ok(())
}

fn check(dir: &Path, composed: &[u8]) -> Result<saas_export_manifest::VerifyReport, String> {
    let manifest = Manifest::parse(composed).map_err(|error| format!("failed to read the stored manifest: {error}"))?;
    verify_published(dir, &manifest, composed, |_| ()).map_err(|error| format!("failed to {}", Chain(&error)))
}

/// What is wrong with the `latest.json` that must lead to this task or to a later one. Each manifest that it lists must be
/// one that the ledger knows, with the same bytes.
async fn latest_problem(
    ledger: &Ledger,
    row: &TaskRow,
    found: &ManifestRow,
    path: &Path,
) -> Result<Option<String>, Refusal> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || fsio::read_limited(&file, MAX_LATEST)).await;
    let bytes = match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some("is missing".into())),
        Err(error) => return Ok(Some(format!("cannot be read: {error}"))),
    };
    let latest = match Latest::parse(&bytes) {
        Ok(latest) => latest,
        Err(error) => return Ok(Some(format!("is not what was published: {error}"))),
    };
    if latest.export != row.export || latest.stream != found.stream {
        return Ok(Some(format!("belongs to stream {} of export {}", latest.stream, latest.export)));
    }
    if latest.manifests.last().is_none_or(|last| last.task.as_str() < row.id.as_str()) {
        return Ok(Some("does not lead to this task or to a later one".into()));
    }
    for entry in &latest.manifests {
        let known = ledger.manifests(&TaskId::known(&entry.task)).await.map_err(failed)?;
        let known = known.iter().find(|one| one.stream == found.stream && one.destination == found.destination);
        let same = known.is_some_and(|known| known.sha256 == entry.sha256);
        if !same || entry.path != format!("{}/{MANIFEST_NAME}", entry.task) {
            return Ok(Some(format!("leads to a manifest of task {} that was never published", entry.task)));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
