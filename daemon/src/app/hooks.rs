//! What the control API needs of the configuration: verification of published files, and a check of the files as they are.

use super::engine::{self, AppEngine, Files, Limiters};
use super::fill;
use super::preflight::{Params, Preflight};
use super::schema::dry_run;
use super::verify::{Ask, verify};
use crate::base::ids::{Name, TaskId};
use crate::control::{ControlHooks, SchemaAsk};
use crate::ledger::Ledger;
use crate::ledger::input::AddDestination;
use crate::ledger::rows::{FreedSegment, TaskRow};
use crate::net::limit::Standing;
use crate::queue::handle::Refusal;
use futures_util::future::BoxFuture;
use saas_export_api as api;
use saas_export_api::{SchemaReport, VerifyReport};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use tokio::sync::Semaphore;

/// Verifications at the same time; more wait. Each reads files for minutes, on threads and a disk that tasks need, too.
const VERIFYING: usize = 2;

/// Dry runs at the same time; more wait. Each holds a page of a source in memory.
const LOOKING: usize = 2;
/// Checks at the same time; more wait. Each asks every source that it is about.
const CHECKING: usize = 1;

/// The hooks of the daemon.
pub struct Hooks {
    files: Files,
    ledger: Ledger,
    limiters: Limiters,
    verifying: Arc<Semaphore>,
    engine: Arc<AppEngine>,
    looking: Arc<Semaphore>,
    checking: Arc<Semaphore>,
}

/// The hooks over an engine and its ledger.
pub fn hooks(engine: &Arc<AppEngine>, ledger: &Ledger) -> Arc<dyn ControlHooks> {
    Arc::new(Hooks {
        files: engine.files().clone(),
        ledger: ledger.clone(),
        limiters: engine.limiters(),
        verifying: Arc::new(Semaphore::new(VERIFYING)),
        engine: engine.clone(),
        looking: Arc::new(Semaphore::new(LOOKING)),
        checking: Arc::new(Semaphore::new(CHECKING)),
    })
}

impl ControlHooks for Hooks {
    fn verify(
        &self,
        task: TaskId,
        destination: Option<String>,
        deep: bool,
    ) -> BoxFuture<'static, Result<VerifyReport, Refusal>> {
        let (ledger, verifying, opener) = (self.ledger.clone(), self.verifying.clone(), self.engine.destinations());
        Box::pin(async move {
            let _permit = verifying.acquire().await;
            verify(&ledger, &opener, &task, Ask { only: destination.as_deref(), deep }).await
        })
    }

    fn back_fill(
        &self,
        task: TaskRow,
        destination: String,
        actor: String,
    ) -> BoxFuture<'static, Result<AddDestination, Refusal>> {
        let (engine, ledger) = (self.engine.clone(), self.ledger.clone());
        Box::pin(async move { fill::back_fill(&engine, &ledger, &task, (&destination, actor)).await })
    }

    fn free(&self, task: TaskRow, segments: Vec<FreedSegment>) -> BoxFuture<'static, Result<(), Refusal>> {
        let engine = self.engine.clone();
        Box::pin(async move {
            let free = move || fill::free(&engine, &task, &segments);
            tokio::task::spawn_blocking(free).await.unwrap_or_else(|error| Err(Refusal::Unavailable(error.to_string())))
        })
    }

    fn schema(&self, ask: SchemaAsk) -> BoxFuture<'static, Result<SchemaReport, Refusal>> {
        let (engine, ledger, looking) = (self.engine.clone(), self.ledger.clone(), self.looking.clone());
        Box::pin(async move {
            let _permit = looking.acquire().await;
            dry_run(engine, &ledger, ask).await
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

    fn budgets(&self) -> BTreeMap<Name, Standing> {
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        limiters.iter().map(|(name, limiter)| (name.clone(), limiter.standing())).collect()
    }
}
