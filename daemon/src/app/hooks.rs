//! What the control API needs of the configuration: verification of published files, and a check of the files as they are.

use super::engine::{self, AppEngine, Files};
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::config::settings::{Config, Destination};
use crate::control::ControlHooks;
use crate::ledger::Ledger;
use crate::queue::handle::Refusal;
use futures_util::future::BoxFuture;
use saas_export_api::{VerifyProblem, VerifyReport};
use saas_export_manifest::{Manifest, verify_dir};
use std::path::PathBuf;
use std::sync::Arc;

/// The hooks of the daemon.
pub struct Hooks {
    files: Files,
    ledger: Ledger,
}

/// The hooks over an engine and its ledger.
pub fn hooks(engine: &AppEngine, ledger: &Ledger) -> Arc<dyn ControlHooks> {
    Arc::new(Hooks { files: engine.files().clone(), ledger: ledger.clone() })
}

impl ControlHooks for Hooks {
    fn verify(&self, task: TaskId, destination: Option<String>) -> BoxFuture<'static, Result<VerifyReport, Refusal>> {
        let ledger = self.ledger.clone();
        Box::pin(async move { verify(&ledger, &task, destination.as_deref()).await })
    }

    fn check_config(&self) -> BoxFuture<'static, Vec<String>> {
        let files = self.files.clone();
        Box::pin(async move {
            let check = move || engine::load(&files).err().unwrap_or_default();
            tokio::task::spawn_blocking(check).await.unwrap_or_else(|error| vec![error.to_string()])
        })
    }

    fn config_path(&self) -> PathBuf {
        self.files.config.clone()
    }
}

async fn verify(ledger: &Ledger, id: &TaskId, only: Option<&str>) -> Result<VerifyReport, Refusal> {
    let failed = |error: crate::ledger::LedgerError| Refusal::Unavailable(format!("failed to {}", Chain(&error)));
    let row = ledger.task(id).await.map_err(failed)?;
    let row = row.ok_or_else(|| Refusal::NotFound(format!("there is no task {id}")))?;
    let stored = serde_json::from_str(&row.config).unwrap_or_default();
    let config = Config::from_effective(&stored).map_err(|why| Refusal::Unavailable(why.to_string()))?;
    let mut report = VerifyReport { task: id.to_string(), ok: true, files: 0, bytes: 0, problems: Vec::new() };
    let manifests = ledger.manifests(id).await.map_err(failed)?;
    let published = manifests.into_iter().filter(|row| row.published_at.is_some());
    let wanted: Vec<_> = published.filter(|row| only.is_none_or(|name| name == row.destination)).collect();
    if wanted.is_empty() {
        let whose = only.map(|name| format!(" at {name}")).unwrap_or_default();
        return Err(Refusal::Conflict(format!("task {id} has published nothing{whose}: it is {}", row.state)));
    }
    for found in wanted {
        let Some(Destination::Local(local)) = config.destinations.get(found.destination.as_str()) else { continue };
        let dir = local.root.join(&row.export).join(&found.stream).join(id.as_str());
        let checked = tokio::task::spawn_blocking(move || check(&dir, &found.bytes).map(|result| (dir, result))).await;
        let (dir, result) = match checked {
            Ok(Ok(result)) => result,
            Ok(Err(why)) => return Err(Refusal::Unavailable(why)),
            Err(error) => return Err(Refusal::Unavailable(error.to_string())),
        };
        report.files += result.good + result.problems.len() as u64;
        report.bytes += result.bytes;
        report.problems.extend(result.problems.into_iter().map(|problem| VerifyProblem {
            destination: found.destination.clone(),
            stream: found.stream.clone(),
            path: dir.join(&problem.name).display().to_string(),
            problem: problem.kind.to_string(),
        }));
    }
    report.ok = report.problems.is_empty();
    Ok(report)
}

fn check(dir: &std::path::Path, manifest: &[u8]) -> Result<saas_export_manifest::VerifyReport, String> {
    let manifest = Manifest::parse(manifest).map_err(|error| format!("failed to read the stored manifest: {error}"))?;
    verify_dir(dir, &manifest, |_| ()).map_err(|error| format!("failed to {}", Chain(&error)))
}
