//! What the control API needs of the configuration: verification of published files, and a check of the files as they are.

use super::engine::{self, AppEngine, Files};
use super::preflight::{Params, Preflight};
use super::verify::verify;
use crate::base::ids::TaskId;
use crate::control::ControlHooks;
use crate::ledger::Ledger;
use crate::queue::handle::Refusal;
use futures_util::future::BoxFuture;
use saas_export_api as api;
use saas_export_api::VerifyReport;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Verifications at the same time; more wait. Each reads files for minutes, on threads and a disk that tasks need, too.
const VERIFYING: usize = 2;

/// Checks at the same time; more wait. Each asks every source that it is about.
const CHECKING: usize = 1;

/// The hooks of the daemon.
pub struct Hooks {
    engine: Arc<AppEngine>,
    files: Files,
    ledger: Ledger,
    verifying: Arc<Semaphore>,
    checking: Arc<Semaphore>,
}

/// The hooks over an engine and its ledger.
pub fn hooks(engine: &Arc<AppEngine>, ledger: &Ledger) -> Arc<dyn ControlHooks> {
    let (verifying, checking) = (Arc::new(Semaphore::new(VERIFYING)), Arc::new(Semaphore::new(CHECKING)));
    let (engine, files) = (engine.clone(), engine.files().clone());
    Arc::new(Hooks { engine, files, ledger: ledger.clone(), verifying, checking })
}

impl ControlHooks for Hooks {
    fn verify(&self, task: TaskId, destination: Option<String>) -> BoxFuture<'static, Result<VerifyReport, Refusal>> {
        let (ledger, verifying) = (self.ledger.clone(), self.verifying.clone());
        Box::pin(async move {
            let _permit = verifying.acquire().await;
            verify(&ledger, &task, destination.as_deref()).await
        })
    }

    fn preflight(&self, export: Option<String>, params: Params) -> BoxFuture<'static, Result<api::Preflight, Refusal>> {
        let (checking, preflight) = (self.checking.clone(), Preflight::of(&self.engine, &self.ledger));
        Box::pin(async move {
            let _permit = checking.acquire().await;
            preflight.run(export.as_deref(), &params).await
        })
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
