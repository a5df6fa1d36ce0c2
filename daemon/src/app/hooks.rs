//! What the control API needs of the configuration: verification of published files, and a check of the files as they are.

use super::engine::{self, AppEngine, Files, Limiters};
use super::fill;
use super::freshness::Freshness;
use super::metrics::Collector;
use super::notifications;
use super::preflight::{Params, Preflight};
use super::schema::dry_run;
use super::signed;
use super::verify::{Ask, verify};
use crate::base::error::Chain;
use crate::base::ids::{Name, TaskId};
use crate::control::{Content, ControlHooks, ObjectAt, SchemaAsk};
use crate::destinations::DestinationError;
use crate::ledger::input::AddDestination;
use crate::ledger::rows::{FreedSegment, TaskRow};
use crate::ledger::{Ledger, LedgerError};
use crate::net::limit::Standing;
use crate::notify::Notifier;
use crate::queue::handle::{Refusal, ReloadReport};
use crate::retention::Pruner;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use saas_export_api as api;
use saas_export_api::{PruneReport, SchemaReport, StaleStream, VerifyReport};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Verifications at the same time; more wait. Each reads files for minutes, on threads and a disk that tasks need, too.
const VERIFYING: usize = 2;

/// Dry runs at the same time; more wait. Each holds a page of a source in memory.
const LOOKING: usize = 2;
/// Downloads at the same time; more wait, for a while. Each holds a piece of a file, and a connection of a destination.
const DOWNLOADS: usize = 8;
/// How long a download waits for its turn.
const DOWNLOAD_WAIT: Duration = Duration::from_secs(30);
/// The longest that a destination may take to begin with an object.
const OPEN_LIMIT: Duration = Duration::from_secs(120);
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
    downloads: Arc<Semaphore>,
    pruner: Arc<Pruner>,
    notifier: Arc<Notifier>,
    collector: Arc<Collector>,
}

/// The hooks over an engine and its ledger.
pub fn hooks(
    engine: &Arc<AppEngine>,
    ledger: &Ledger,
    pruner: &Arc<Pruner>,
    collector: &Arc<Collector>,
) -> Arc<dyn ControlHooks> {
    Arc::new(Hooks {
        files: engine.files().clone(),
        ledger: ledger.clone(),
        limiters: engine.limiters(),
        verifying: Arc::new(Semaphore::new(VERIFYING)),
        engine: engine.clone(),
        looking: Arc::new(Semaphore::new(LOOKING)),
        checking: Arc::new(Semaphore::new(CHECKING)),
        downloads: Arc::new(Semaphore::new(DOWNLOADS)),
        pruner: pruner.clone(),
        notifier: notifications::notifier(engine, ledger),
        collector: collector.clone(),
    })
}

impl ControlHooks for Hooks {
    fn verify(
        &self,
        task: TaskId,
        destination: Option<String>,
        deep: bool,
    ) -> BoxFuture<'static, Result<VerifyReport, Refusal>> {
        let (ledger, verifying, engine) = (self.ledger.clone(), self.verifying.clone(), self.engine.clone());
        Box::pin(async move {
            let _permit = verifying.acquire().await;
            let only = destination.as_deref();
            let mut report = verify(&ledger, &engine.destinations(), &task, Ask { only, deep }).await?;
            signed::verify(&engine, &ledger, &task, only, &mut report).await?;
            Ok(report)
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

    fn prune(&self, export: Option<String>, by: Option<String>) -> BoxFuture<'static, Result<PruneReport, Refusal>> {
        let pruner = self.pruner.clone();
        Box::pin(async move {
            let report = match by {
                None => pruner.plan(export.as_deref()).await,
                Some(by) => pruner.prune(export.as_deref(), &by).await,
            };
            report.map_err(|error| Refusal::Unavailable(format!("failed to {}", Chain(&error))))
        })
    }

    fn read_object(&self, object: ObjectAt) -> BoxFuture<'static, Result<Option<Content>, Refusal>> {
        let (opener, downloads) = (self.engine.destinations(), self.downloads.clone());
        Box::pin(async move {
            let turn = tokio::time::timeout(DOWNLOAD_WAIT, downloads.acquire_owned()).await;
            let Ok(Ok(turn)) = turn else {
                return Err(Refusal::Unavailable(format!("{DOWNLOADS} downloads are under way; try again later")));
            };
            let destination = opener.open(&object.settings).map_err(|error| unreadable(&error))?;
            let begun = tokio::time::timeout(OPEN_LIMIT, destination.read(&object.key)).await;
            let content = begun.map_err(|_| silent(&object))?.map_err(|error| unreadable(&error))?;
            // The turn is over when the last piece is read, or nobody wants it.
            Ok(content.map(|content| held(content, turn)))
        })
    }

    fn link(&self, object: ObjectAt, expires: Duration) -> BoxFuture<'static, Result<Option<String>, Refusal>> {
        let opener = self.engine.destinations();
        Box::pin(async move {
            let destination = opener.open(&object.settings).map_err(|error| unreadable(&error))?;
            let link = tokio::time::timeout(OPEN_LIMIT, destination.link(&object.key, expires)).await;
            link.map_err(|_| silent(&object))?.map_err(|error| unreadable(&error))
        })
    }

    fn notify_test(&self, recipient: String) -> BoxFuture<'static, Result<String, Refusal>> {
        let (engine, notifier) = (self.engine.clone(), self.notifier.clone());
        Box::pin(async move {
            match notifier.test(&recipient).await {
                Some(Ok(done)) => Ok(done),
                Some(Err(why)) => Err(Refusal::Conflict(format!("failed to tell {recipient}: {why}"))),
                None => Err(Refusal::NotFound(notifications::unknown(&engine.config().borrow(), &recipient))),
            }
        })
    }

    fn plan_reload(&self) -> BoxFuture<'static, Result<ReloadReport, Refusal>> {
        Box::pin(self.engine.clone().plan_reload())
    }

    fn metrics(&self) -> BoxFuture<'static, Bytes> {
        let collector = self.collector.clone();
        Box::pin(async move { collector.text().await })
    }

    fn stale(&self) -> BoxFuture<'static, Result<Vec<StaleStream>, LedgerError>> {
        let collector = self.collector.clone();
        Box::pin(async move { Ok(collector.stale().await?.into_iter().map(stale).collect()) })
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

/// The content, with the turn of its download.
fn held(content: Content, turn: OwnedSemaphorePermit) -> Content {
    stream::unfold((content, turn), |(mut content, turn)| async { Some((content.next().await?, (content, turn))) })
        .boxed()
}

fn stale(stream: Freshness) -> StaleStream {
    StaleStream {
        last_success: stream.last_success.map(|at| at.to_string()),
        seconds: stream.age.as_secs(),
        freshness: stream.limit.unwrap_or_default().as_secs(),
        export: stream.export,
        stream: stream.stream,
    }
}

fn unreadable(error: &DestinationError) -> Refusal {
    Refusal::Unavailable(format!("failed to {}", Chain(error)))
}

fn silent(object: &ObjectAt) -> Refusal {
    let location = object.settings.location(&object.key);
    Refusal::Unavailable(format!("failed to read {location}: no answer within {} s", OPEN_LIMIT.as_secs()))
}
