//! Verifies a task's published files: everything at its destinations against what the ledger holds.

pub(super) mod object;

use crate::base::error::Chain;
use crate::base::ids::{Name, TaskId};
use crate::config::settings::{Config, Destination as Settings, HttpVerify};
use crate::destinations::{Destination, Expected, Opener, object_key};
use crate::ledger::rows::{ManifestRow, TaskRow};
use crate::ledger::{Ledger, LedgerError};
use crate::queue::handle::Refusal;
use futures_util::StreamExt as _;
use object::{Depth, Found, Place, asked, check};
use saas_export_api::{VerifyProblem, VerifyReport};
use saas_export_manifest::{
    LATEST_NAME, Latest, MANIFEST_NAME, Manifest, SUMS_NAME, is_plain_name, sha256sums, unexpected_segments,
};
use std::sync::Arc;

/// The largest `latest.json` that is read.
const MAX_LATEST: u64 = 16 << 20;
/// Objects that are looked at at the same time.
const AT_ONCE: usize = 4;

/// What is verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// Only at this destination.
    pub only: Option<&'a str>,
    /// Whether every byte is read, also where the destination itself says a checksum.
    pub deep: bool,
}

/// Compares every published file of a task with the ledger, at one destination or at all.
pub async fn verify(ledger: &Ledger, opener: &Opener, id: &TaskId, ask: Ask<'_>) -> Result<VerifyReport, Refusal> {
    let row = ledger.task(id).await.map_err(failed)?;
    let row = row.ok_or_else(|| Refusal::NotFound(format!("there is no task {id}")))?;
    let stored = serde_json::from_str(&row.config).unwrap_or_default();
    let config = Config::from_effective(&stored).map_err(|why| Refusal::Unavailable(why.to_string()))?;
    if let Some(only) = ask.only.filter(|only| !config.destinations.contains_key(*only)) {
        let names: Vec<_> = config.destinations.keys().map(Name::as_str).collect();
        let names = names.join(", ");
        return Err(Refusal::NotFound(format!("task {id} has no destination {only:?}; it has {names}")));
    }
    let manifests = ledger.manifests(id).await.map_err(failed)?;
    let mut wanted: Vec<_> =
        manifests.into_iter().filter(|found| ask.only.is_none_or(|name| name == found.destination)).collect();
    let pruned = wanted.iter().find_map(|found| found.pruned_at);
    wanted.retain(ManifestRow::there);
    if wanted.is_empty() {
        let whose = ask.only.map(|name| format!(" at {name}")).unwrap_or_default();
        if let Some(when) = pruned {
            return Err(Refusal::Conflict(format!("the files of task {id}{whose} were pruned at {when}")));
        }
        return Err(Refusal::Conflict(format!("task {id} has published nothing{whose}: it is {}", row.state)));
    }
    let (task, problems, skipped) = (id.to_string(), Vec::new(), Vec::new());
    let mut report = VerifyReport { task, ok: true, files: 0, bytes: 0, problems, skipped };
    for found in &wanted {
        let Some(settings) = config.destinations.get(found.destination.as_str()) else { continue };
        let opened = opener.open(settings).map_err(|error| {
            Refusal::Unavailable(format!("failed to use destination {}: {}", found.destination, Chain(&error)))
        })?;
        let deep = if ask.deep { Depth::EveryByte } else { Depth::Checksum };
        let stream = Stream { ledger, row: &row, found, settings, destination: opened, depth: deep };
        if stream.hidden().await? {
            report.skipped.push(found.destination.clone());
        } else {
            stream.verify(&mut report).await?;
        }
    }
    report.skipped.sort();
    report.skipped.dedup();
    if wanted.iter().all(|found| report.skipped.contains(&found.destination)) {
        let names = report.skipped.join(", ");
        let message = format!("{names} lets nothing be read (verify: none), so that nobody can say what is there");
        return Err(Refusal::Conflict(message));
    }
    report.ok = report.problems.is_empty();
    Ok(report)
}

fn failed(error: LedgerError) -> Refusal {
    Refusal::Unavailable(format!("failed to {}", Chain(&error)))
}

/// A published stream of a task at one destination.
struct Stream<'a> {
    ledger: &'a Ledger,
    row: &'a TaskRow,
    found: &'a ManifestRow,
    settings: &'a Settings,
    destination: Arc<dyn Destination>,
    depth: Depth,
}

impl Stream<'_> {
    fn key(&self, name: &str) -> String {
        object_key(&self.row.export, &self.found.stream, &self.row.id, name)
    }

    fn place(&self) -> Place<'_> {
        Place { destination: &*self.destination, name: &self.found.destination, local: self.settings.local() }
    }

    fn problem(&self, key: &str, problem: String) -> VerifyProblem {
        VerifyProblem {
            destination: self.found.destination.clone(),
            stream: self.found.stream.clone(),
            path: self.destination.location(key),
            problem,
        }
    }

    /// Whether the destination was set up as one that lets nobody read (`verify: none`), and does not even show the manifest.
    async fn hidden(&self) -> Result<bool, Refusal> {
        if !matches!(self.settings, Settings::Http(http) if http.verify == HttpVerify::None) {
            return Ok(false);
        }
        let (key, limit) = (self.key(MANIFEST_NAME), self.found.bytes.len() as u64);
        let shown = asked(&self.place(), || self.destination.read_small(&key, limit)).await?;
        Ok(matches!(shown, Ok(None)))
    }

    /// Verifies what the manifest lists, the manifest itself, and what readers follow to it.
    async fn verify(&self, report: &mut VerifyReport) -> Result<(), Refusal> {
        let manifest = Manifest::parse(&self.found.bytes)
            .map_err(|error| Refusal::Unavailable(format!("failed to read the stored manifest: {error}")))?;
        if self.is_followed().await? {
            report.files += 1;
            let key = format!("{}/{}/{LATEST_NAME}", self.row.export, self.found.stream);
            let problem = self.latest_problem(&key).await?;
            report.problems.extend(problem.map(|problem| self.problem(&key, problem)));
        }
        let looks = self.objects(&manifest)?.into_iter().map(|(key, expected)| async move {
            let result = check(&self.place(), &key, expected.as_ref(), self.depth).await;
            (key, result)
        });
        let mut looks = futures_util::stream::iter(looks).buffered(AT_ONCE);
        while let Some((key, result)) = looks.next().await {
            let Found { read, problem } = result?;
            report.files += 1;
            report.bytes += read;
            report.problems.extend(problem.map(|problem| self.problem(&key, problem)));
        }
        for name in self.unexpected(&manifest).await? {
            report.files += 1;
            report.problems.push(self.problem(&self.key(&name), "is not in the manifest".into()));
        }
        Ok(())
    }

    /// Every object that must be there, with what it must be; nothing for a name that must not be opened.
    fn objects(&self, manifest: &Manifest) -> Result<Vec<(String, Option<Expected>)>, Refusal> {
        let mut objects = Vec::with_capacity(manifest.segments.len() + 2);
        for segment in &manifest.segments {
            let crc32c = u32::from_str_radix(&segment.crc32c, 16).map_err(|_| {
                Refusal::Unavailable(format!("failed to read the stored manifest: the CRC-32C of {}", segment.name))
            })?;
            let expected = Expected { bytes: segment.bytes, sha256: segment.sha256.clone(), crc32c };
            objects.push((self.key(&segment.name), is_plain_name(&segment.name).then_some(expected)));
        }
        let sums = sha256sums(manifest, &self.found.bytes);
        objects.push((self.key(MANIFEST_NAME), Some(Expected::of(&self.found.bytes))));
        objects.push((self.key(SUMS_NAME), Some(Expected::of(sums.as_bytes()))));
        Ok(objects)
    }

    /// Segments that nobody listed; where a destination can be listed.
    async fn unexpected(&self, manifest: &Manifest) -> Result<Vec<String>, Refusal> {
        let Some(local) = self.settings.local() else { return Ok(Vec::new()) };
        let (dir, manifest) = (local.root.join(self.key("")), manifest.clone());
        let listed =
            tokio::task::spawn_blocking(move || unexpected_segments(&dir, &manifest).map_err(|why| (dir, why)));
        match listed.await {
            Ok(Ok(names)) => Ok(names),
            Ok(Err((dir, why))) => {
                Err(Refusal::Unavailable(format!("failed to read the directory {}: {why}", dir.display())))
            }
            Err(error) => Err(Refusal::Unavailable(error.to_string())),
        }
    }

    /// Whether a pointer leads to the task: one with parameters or a format of its own is another data set, and a destination
    /// that lacks the start of the chain has none.
    async fn is_followed(&self) -> Result<bool, Refusal> {
        let (id, stream) = (&self.row.id, self.found.stream.as_str());
        // The ledgers of old versions have tasks with parameters among the chained ones.
        if !self.row.chained || !self.row.params.is_empty() {
            return Ok(false);
        }
        let Some(link) = self.ledger.link(id, stream).await.map_err(failed)? else { return Ok(true) };
        let chain = self.ledger.chain(id, stream, &self.found.destination).await.map_err(failed)?;
        Ok(chain.len() as u64 == link.place.position + 1)
    }

    /// What is wrong with the `latest.json` that must lead to this task or to a later one.
    async fn latest_problem(&self, key: &str) -> Result<Option<String>, Refusal> {
        let (row, found) = (self.row, self.found);
        let bytes = match asked(&self.place(), || self.destination.read_small(key, MAX_LATEST)).await? {
            Ok(Some(small)) => small.bytes,
            Ok(None) => return Ok(Some("is missing".into())),
            Err(error) => return Ok(Some(format!("cannot be read: {}", Chain(&error)))),
        };
        let latest = match Latest::parse(&bytes) {
            Ok(latest) => latest,
            Err(error) => return Ok(Some(format!("is not what was published: {error}"))),
        };
        if latest.export != row.export || latest.stream != found.stream {
            return Ok(Some(format!("belongs to stream {} of export {}", latest.stream, latest.export)));
        }
        self.list_problem(&latest).await
    }

    /// What is wrong with a list of manifests. It must be what the daemon writes when it is the turn of the last task in it:
    /// the chain up to that one, whole and in order, with the same bytes.
    async fn list_problem(&self, latest: &Latest) -> Result<Option<String>, Refusal> {
        let (row, stream) = (self.row, self.found.stream.as_str());
        let Some(last) = latest.manifests.last() else { return Ok(Some("leads to no task".into())) };
        // By the ledger's order: the clock may have been set back between two tasks.
        if last.task != row.id.as_str() && !self.ledger.is_newer(stream, &last.task, &row.id).await.map_err(failed)? {
            return Ok(Some("does not lead to this task or to a later one".into()));
        }
        let id = TaskId::known(&last.task);
        let known = self.ledger.task(&id).await.map_err(failed)?;
        if known.is_none_or(|known| known.export != row.export) {
            return Ok(Some(format!("leads to the task {id}, which is none of export {}", row.export)));
        }
        let chain = self.ledger.chain(&id, stream, &self.found.destination).await.map_err(failed)?;
        for (entry, link) in latest.manifests.iter().zip(&chain) {
            if entry.task != link.task.as_str() || entry.sha256 != link.sha256 {
                return Ok(Some(format!(
                    "lists a manifest of task {} that was not published in place {} of the chain",
                    entry.task, link.chain.position
                )));
            }
            if entry.mode != link.mode
                || entry.primary_key != link.primary_key
                || entry.cursor_field != link.cursor_field
            {
                return Ok(Some(format!("says something else of task {} than the ledger", entry.task)));
            }
        }
        if latest.manifests.len() != chain.len() {
            let (listed, linked) = (latest.manifests.len(), chain.len());
            return Ok(Some(format!("lists {listed} of the {linked} manifests of the chain up to the task {id}")));
        }
        let same = chain.last().is_some_and(|link| link.chain == latest.chain);
        Ok((!same).then(|| format!("names another chain than that of the task {id}")))
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
