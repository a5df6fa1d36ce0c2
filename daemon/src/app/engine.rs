//! What the queue needs of the configuration: checks requests, builds runs, reloads.

mod build;

use super::notifications;
use super::params::{check_params, settle_params, with_defaults};
use super::protect;
use super::scope;
use super::windows;
use crate::auth::{Place, Registry};
use crate::base::ids::{Name, RequestKey};
use crate::base::{clock, fsio};
use crate::config::secrets::Secrets;
use crate::config::settings::{self, Config, Format};
use crate::config::{self, Problems};
use crate::destinations::Opener;
use crate::destinations::local::PRIVATE;
use crate::host::messages::Message;
use crate::ledger::Ledger;
use crate::ledger::input::NewTask;
use crate::ledger::rows::TaskRow;
use crate::model::notice::Rule;
use crate::model::task::Waiting;
use crate::net::limit::Limiter;
use crate::queue::dispatcher::{Engine, RunControl};
use crate::queue::handle::{Refusal, ReloadReport, Request, Scope};
use crate::seal;
use crate::sources::Source;
use crate::sources::rest::{RestError, RestSource, fingerprint};
use crate::transfer::cpu::Cpu;
use crate::transfer::room::Room;
use crate::transfer::spool::{self, Spool};
use crate::transfer::{self, Outcome, StreamPlan, TaskRun, fetch};
use build::{BuildError, Places};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

mod reload;

/// The longest that the end waits for a credential that is being renewed.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// The files that the configuration comes from.
#[derive(Clone, Debug)]
pub struct Files {
    /// config.yaml.
    pub config: PathBuf,
    /// auth.env, where it is named explicitly.
    pub auth_env: Option<PathBuf>,
}

/// The budgets of the sources that were asked since the start.
pub type Limiters = Arc<Mutex<BTreeMap<Name, Arc<Limiter>>>>;

/// The engine of the daemon.
pub struct AppEngine {
    files: Files,
    config: watch::Sender<Arc<Config>>,
    secrets: Mutex<Arc<Secrets>>,
    limiters: Limiters,
    credentials: Arc<Registry>,
    destinations: Arc<Opener>,
    state_key: Option<PathBuf>,
    ledger: Ledger,
    room: Arc<Room>,
    cpu: Cpu,
}

impl AppEngine {
    /// An engine over what has been loaded.
    pub fn new(files: Files, config: Config, secrets: Secrets, ledger: Ledger) -> Self {
        let cpu = Cpu::new(config.daemon.threads as usize);
        let handed_over = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let state_key = seal::handed_over(&config.daemon.state_dir, handed_over.as_deref(), &files.config);
        let credentials =
            Arc::new(Registry::new(Place { state_dir: config.daemon.state_dir.clone(), state_key: state_key.clone() }));
        let secrets = Arc::new(secrets);
        Self {
            files,
            room: Arc::new(Room::new(ledger.clone(), config.daemon.spool_quota.map(|quota| quota.0))),
            config: watch::Sender::new(Arc::new(config)),
            destinations: Arc::new(Opener::new(secrets.clone()).with_credentials(credentials.clone())),
            secrets: Mutex::new(secrets),
            limiters: Limiters::default(),
            credentials,
            state_key,
            ledger,
            cpu,
        }
    }

    /// What opens destinations.
    pub fn destinations(&self) -> Arc<Opener> {
        self.destinations.clone()
    }

    /// The room of all spools.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Threads that convert and encode.
    pub fn threads(&self) -> usize {
        self.cpu.threads()
    }

    /// The configuration in force, now and after every reload.
    pub fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// The files that the configuration comes from.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The budgets of the sources that were asked since the start.
    pub fn limiters(&self) -> Limiters {
        self.limiters.clone()
    }

    /// Waits until what sources are just given is kept, and ends their sessions. For the end of the process, after the tasks.
    pub async fn settle(&self) {
        if tokio::time::timeout(SETTLE_LIMIT, self.credentials.settle()).await.is_err() {
            tracing::warn!(
                MESSAGE_ID = Message::CredentialTrouble.id(),
                "a credential was still being renewed at the end"
            );
        }
    }

    /// The credentials that sources are given.
    pub fn credentials(&self) -> Arc<Registry> {
        self.credentials.clone()
    }

    /// The configuration in force, and the secrets that go with it.
    pub fn in_force(&self) -> (Arc<Config>, Arc<Secrets>) {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.config.borrow().clone(), secrets)
    }

    /// The source's budget, shared by all its tasks.
    pub fn limiter(&self, name: &Name, rate: &settings::Rate) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        limiters.entry(name.clone()).or_insert_with(|| Arc::new(Limiter::new(rate))).clone()
    }

    /// The state-key that was handed over, if it was.
    pub fn state_key(&self) -> Option<&Path> {
        self.state_key.as_deref()
    }

    /// A source as a task would use it, with the budget of requests that all of them share. Reads files.
    pub(super) fn source(
        &self,
        name: &Name,
        rest: &settings::Rest,
        params: BTreeMap<String, String>,
    ) -> Result<Source, RestError> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A running task keeps its configuration, but rates are the operator's to change at any time.
        let rate = match self.config.borrow().sources.get(name) {
            Some(settings::Source::Rest(now)) => now.rate.clone(),
            None => rest.rate.clone(),
        };
        let limiter = self.limiter(name, &rate);
        let source = RestSource::new(name.clone(), rest, &*secrets, limiter, &self.credentials)?;
        Ok(Source::Rest(Arc::new(source.for_task(params).on(self.cpu.pool()))))
    }
}

impl Engine for AppEngine {
    fn plan(&self, request: &Request) -> Result<NewTask, Refusal> {
        let config = self.config.borrow().clone();
        let Some((name, export)) = config.exports.get_key_value(request.export.as_str()) else {
            let names: Vec<_> = config.exports.keys().map(Name::as_str).collect();
            let names = names.join(", ");
            return Err(Refusal::NotFound(format!("there is no export {:?}; there are: {names}", request.export)));
        };
        check_params(&export.params, &request.params)?;
        notifications::check(&config, &request.notify)?;
        let mut effective = (*config).clone();
        if let Some(word) = request.format.as_deref().filter(|word| *word != export.format.word()) {
            let format = Format::from_word(word)
                .ok_or_else(|| Refusal::Invalid(format!("{word:?} is not a format: use {}", Format::WORDS)))?;
            if matches!(&export.format, Format::Parquet(parquet) if parquet.encryption.is_some()) {
                let why = "its files are encrypted by its own format, and would not be in another one";
                return Err(Refusal::Invalid(format!("export {name} cannot be run with --format {word}: {why}")));
            }
            if let Some(export) = effective.exports.get_mut(name) {
                export.format = format;
            }
        }
        let format = effective.exports.get(name).map_or("csv", |export| export.format.word());
        let (params, all) = settle_params(&export.params, &request.params);
        let streams = scope::streams(export, &config, &request.scope)?;
        let scope = match &request.scope {
            usual if *usual == Scope::default() => String::new(),
            other => serde_json::to_string(other).unwrap_or_default(),
        };
        Ok(NewTask {
            export: name.to_string(),
            key: RequestKey::new(name.as_str(), &all, format, &scope),
            chained: params.is_empty() && format == export.format.word(),
            scope: request.scope.clone(),
            params,
            format: format.to_owned(),
            streams: streams.iter().map(ToString::to_string).collect(),
            config: effective.effective_for(name.as_str()).unwrap_or_default().to_string(),
            notify: request.notify.clone(),
            actor: request.actor.0.clone(),
            at: clock::now(),
        })
    }

    fn run(self: Arc<Self>, row: TaskRow, control: RunControl) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            match self.clone().built(row, control).await {
                Ok(run) => windows::run(&self, run).await,
                Err(outcome) => outcome,
            }
        })
    }

    fn carry(self: Arc<Self>, row: TaskRow, control: RunControl) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            match self.built(row, control).await {
                Ok(run) => transfer::carry(Arc::new(run)).await,
                Err(outcome) => outcome,
            }
        })
    }

    fn attempts(&self, row: &TaskRow) -> u32 {
        let stored = serde_json::from_str(&row.config).ok();
        let config = stored.and_then(|stored| Config::from_effective(&stored).ok());
        // What cannot be read fails at the first attempt anyway, and says why.
        config.and_then(|config| config.exports.values().next().map(|export| export.attempts)).unwrap_or(1)
    }

    fn tell(&self, row: &TaskRow) -> Vec<Rule> {
        notifications::rules(&self.config.borrow(), row)
    }

    fn has_export(&self, name: &str) -> bool {
        self.config.borrow().exports.contains_key(name)
    }

    fn progress_every(&self) -> Duration {
        self.config.borrow().daemon.progress_every.0
    }

    fn parallel(&self) -> usize {
        self.config.borrow().daemon.parallel as usize
    }

    fn closed(&self, export: &str) -> Option<Waiting> {
        windows::closed(&self.config.borrow(), export)
    }

    fn reload(&self) -> BoxFuture<'_, Result<ReloadReport, Refusal>> {
        Box::pin(self.reload_now())
    }
}

impl AppEngine {
    /// Builds the run of a task from what it stored. Blocks.
    fn build(&self, row: TaskRow, control: RunControl) -> Result<TaskRun, BuildError> {
        let missing = |what: &str| BuildError::Stored(format!("it has no {what}"));
        let stored = serde_json::from_str(&row.config).map_err(|error| BuildError::Stored(error.to_string()))?;
        let config = Config::from_effective(&stored).map_err(|why| BuildError::Stored(why.to_string()))?;
        let (_, export) = config.exports.iter().next().ok_or_else(|| missing("export"))?;
        let settings::Source::Rest(rest) = config.sources.get(&export.source).ok_or_else(|| missing("source"))?;
        let params = with_defaults(&export.params, &row.params);
        let source = self.source(&export.source, rest, params)?;
        let wanted = |name: &Name| row.scope.streams.is_empty() || row.scope.streams.iter().any(|s| s == name.as_str());
        let streams = streams_of(export, &config).into_iter().filter(wanted).map(|name| {
            let settings = rest.streams.get(&name).ok_or_else(|| missing(&format!("stream {name}")))?.clone();
            let fingerprint = fingerprint(&settings);
            Ok(StreamPlan { name, settings, fingerprint })
        });
        let streams: Vec<_> = streams.collect::<Result<_, BuildError>>()?;
        let Places { destinations, places } = {
            // What is only delivered may take years: by then credentials have other names.
            let now = self.config.borrow();
            Places::open(&self.destinations, &config, export, row.extracted.then_some(&**now))?
        };
        let daemon = self.config.borrow().daemon.clone();
        let home = spool::home(&config, row.home.as_deref());
        let base = home.map_or(daemon.state_dir.clone(), |(_, local)| local.root.join(PRIVATE));
        let mode = home.map_or(0o640, |(_, local)| local.mode.0);
        let home = home.map(|(name, _)| name.clone());
        fsio::create_dir_durable(&base).map_err(|source| BuildError::Spool { path: base.clone(), source })?;
        let source_stats = source.stats();
        source_stats.belongs_to(export.source.as_str(), row.id.as_str(), &row.export);
        let protection = protect::of_task(self, export, streams.iter().map(|plan| &plan.settings))?;
        let spool = Spool::new(&base, &daemon.state_dir, &row.id, mode).protected(protection);
        Ok(TaskRun {
            export: export.clone(),
            streams,
            source,
            destinations,
            places,
            home,
            room: self.room.clone(),
            fetching: fetch::Locks::default(),
            ledger: self.ledger.clone(),
            spool,
            cpu: self.cpu.clone(),
            page_buffer: daemon.page_buffer.0,
            replay_limit: daemon.replay_limit.0,
            stop: control.stop,
            progress: {
                control.progress.attach(source_stats);
                control.progress
            },
            sealed: watch::Sender::new(0),
            extracted: control.extracted,
            row,
        })
    }
}

/// The export's streams, in order: those it names, or all of its source.
pub(super) fn streams_of(export: &settings::Export, config: &Config) -> Vec<Name> {
    match config.sources.get(&export.source) {
        Some(settings::Source::Rest(rest)) if export.streams.is_empty() => rest.streams.keys().cloned().collect(),
        _ => export.streams.clone(),
    }
}

/// Loads both files; the error holds every problem, a line each.
pub fn load(files: &Files) -> Result<(Config, Secrets), Vec<String>> {
    let lines = |problems: Problems| problems.list().iter().map(ToString::to_string).collect::<Vec<_>>();
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let secrets = Secrets::load(files.auth_env.as_deref(), credentials.as_deref());
    match (config::load(&files.config, secrets.as_ref().ok()), secrets) {
        (Ok(config), Ok(secrets)) => Ok((config, secrets)),
        (config, secrets) => Err([config.err(), secrets.err()].into_iter().flatten().flat_map(lines).collect()),
    }
}

#[cfg(test)]
mod tests;
