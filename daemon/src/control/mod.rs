//! The control API: HTTP/1.1 and JSON over a Unix socket, one table of routes, one place that says who may do what.
//!
//! ```text
//! server (accept, limits) ─▶ service (checks) ─▶ routes (table) ─▶ handlers ─▶ queue, ledger
//!                               access, repeat                        wire ─▶ JSON
//! ```

pub mod access;
mod body;
mod handlers;
mod patience;
mod reads;
mod repeat;
pub mod reply;
pub mod routes;
pub mod server;
pub mod service;
mod target;
mod wire;

#[cfg(test)]
mod tests;

pub use server::serve;

use crate::base::clock;
use crate::base::ids::{Name, TaskId};
use crate::config::settings::{self, Config};
use crate::destinations;
use crate::ledger::input::AddDestination;
use crate::ledger::rows::{FreedSegment, TaskRow};
use crate::ledger::{Ledger, LedgerError};
use crate::net::limit::Standing;
use crate::queue::handle::{QueueHandle, Refusal, ReloadReport};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use saas_export_api::{Preflight, PruneReport, SchemaReport, StaleStream, VerifyReport};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What handlers speak to.
pub struct ControlState {
    /// The dispatcher.
    pub queue: QueueHandle,
    /// The ledger.
    pub ledger: Ledger,
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// What the layers above provide.
    pub hooks: Arc<dyn ControlHooks>,
    under_way: repeat::UnderWay,
    last_manifest: handlers::downloads::LastManifest,
    started_at: Timestamp,
    started: Instant,
}

/// What is asked of a dry run of schemas.
#[derive(Clone, Debug)]
pub struct SchemaAsk {
    /// Name of the export.
    pub export: String,
    /// Only this stream.
    pub stream: Option<String>,
    /// Another format than the configured one.
    pub format: Option<String>,
    /// Parameters.
    pub params: BTreeMap<String, String>,
}

/// The content of an object, piece by piece.
pub type Content = destinations::Content;

/// An object at a destination.
#[derive(Clone, Debug)]
pub struct ObjectAt {
    /// The destination.
    pub settings: settings::Destination,
    /// Its key there.
    pub key: String,
}

/// What the control API needs of the layers above it.
pub trait ControlHooks: Send + Sync {
    /// Compares a task's published files, at one destination or at all, with the ledger; `deep` reads every byte.
    fn verify(
        &self,
        task: TaskId,
        destination: Option<String>,
        deep: bool,
    ) -> BoxFuture<'static, Result<VerifyReport, Refusal>>;

    /// What a destination of the configuration needs to be filled back from a task; refused where that cannot be.
    fn back_fill(
        &self,
        task: TaskRow,
        destination: String,
        actor: String,
    ) -> BoxFuture<'static, Result<AddDestination, Refusal>>;

    /// Removes files that no destination waits for any more from the spool of a task.
    fn free(&self, task: TaskRow, segments: Vec<FreedSegment>) -> BoxFuture<'static, Result<(), Refusal>>;

    /// Fetches a page of each stream of an export and says what a task would make of it; stores nothing.
    fn schema(&self, ask: SchemaAsk) -> BoxFuture<'static, Result<SchemaReport, Refusal>>;

    /// Tries one export, or all of them, without exporting anything; `params` are those of that one.
    fn preflight(
        &self,
        export: Option<String>,
        params: BTreeMap<String, String>,
    ) -> BoxFuture<'static, Result<Preflight, Refusal>>;

    /// What retention would remove of one export, or of all; removes it where somebody asks for that by name.
    fn prune(&self, export: Option<String>, by: Option<String>) -> BoxFuture<'static, Result<PruneReport, Refusal>>;

    /// Reads an object; `None` if it is not there. Only so many are read at a time, until they are read or dropped.
    fn read_object(&self, object: ObjectAt) -> BoxFuture<'static, Result<Option<Content>, Refusal>>;

    /// A link by which anybody can read an object for `expires`; `None` where the destination has no such thing.
    fn link(&self, object: ObjectAt, expires: Duration) -> BoxFuture<'static, Result<Option<String>, Refusal>>;

    /// Sends a message about nothing to a configured recipient of notifications; what was done.
    fn notify_test(&self, recipient: String) -> BoxFuture<'static, Result<String, Refusal>>;

    /// What a reload would change; nothing changes.
    fn plan_reload(&self) -> BoxFuture<'static, Result<ReloadReport, Refusal>>;

    /// The metrics of now, as OpenMetrics text.
    fn metrics(&self) -> BoxFuture<'static, Bytes>;

    /// The streams that are older than their export's `freshness`.
    fn stale(&self) -> BoxFuture<'static, Result<Vec<StaleStream>, LedgerError>>;

    /// The mistakes in the configuration files as they are now, a line each.
    fn check_config(&self) -> BoxFuture<'static, Vec<String>>;

    /// Path of the configuration file.
    fn config_path(&self) -> PathBuf;

    /// The budgets of the sources that were asked since the start, by name.
    fn budgets(&self) -> BTreeMap<Name, Standing>;
}

impl ControlState {
    /// The state of a daemon that starts now.
    pub fn new(
        queue: QueueHandle,
        ledger: Ledger,
        config: watch::Receiver<Arc<Config>>,
        hooks: Arc<dyn ControlHooks>,
    ) -> Self {
        Self {
            queue,
            ledger,
            config,
            hooks,
            under_way: repeat::UnderWay::default(),
            last_manifest: handlers::downloads::LastManifest::default(),
            started_at: clock::now(),
            started: clock::monotonic(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }
}
