//! Wiring: what is built in which order, and how it ends again.

pub mod adopt;
pub mod cli;
pub mod drop_in;
pub mod engine;
mod fill;
mod freshness;
pub mod hooks;
pub mod init;
pub mod ledger;
pub mod login;
mod metrics;
pub mod notifications;
pub mod once;
mod params;
pub mod preflight;
pub mod protect;
pub mod quarantine;
mod schema;
mod scope;
mod signed;
mod verify;
pub mod watchdog;
pub mod windows;

use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::config::settings::Config;
use crate::control::{self, ControlState};
use crate::host::messages::Message;
use crate::host::socket::ControlSocket;
use crate::host::{fold, log, notify, socket};
use crate::ledger::{Ledger, LedgerError};
use crate::queue::dispatcher::Dispatcher;
use crate::queue::handle::{Actor, QueueHandle, Refusal};
use crate::retention::{self, Pruner};
use crate::schedule;
use cli::Cli;
use engine::{AppEngine, Files};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchdog::Status;

/// The configuration is wrong (sysexits EX_CONFIG); systemd does not restart after it.
pub const EXIT_CONFIG: u8 = 78;
/// The state directory belongs to another daemon.
pub const EXIT_CONFLICT: u8 = 7;
/// How often it is looked whether repeated warnings are due.
const REPETITIONS_EVERY: Duration = Duration::from_secs(5);
/// Draining takes at most this long before the process ends anyway; recovery then finds what it needs.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// What may come after draining: the last answers, and the ledger's log moved into its file.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// The daemon: config → ledger → recover → socket → READY → select → drain.
///
/// The control socket is served by the threads of `answering`.
pub async fn run(cli: &Cli, answering: &Handle) -> ExitCode {
    log::start(log::USUAL);
    let files = Files { config: cli.config.clone(), auth_env: cli.auth_env.clone() };
    let (config, secrets) = match engine::load(&files) {
        Ok(loaded) => loaded,
        Err(problems) => return bad_config(&problems),
    };
    let ledger = match notify::starting("opening the ledger", open_ledger(&config)).await {
        Ok(ledger) => ledger,
        Err(code) => return code,
    };
    let socket = match listen(&config, answering).await {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let engine = Arc::new(AppEngine::new(files, config, secrets, ledger.clone()));
    let (queue, inbox) = QueueHandle::new();
    let dispatcher = Dispatcher::new(engine.clone(), ledger.clone());
    let alive = dispatcher.heartbeat();
    let stop = CancellationToken::new();
    let pruner = Arc::new(Pruner::new(ledger.clone(), engine.destinations(), engine.config()));
    let notifier = notifications::notifier(&engine, &ledger);
    let collector = Arc::new(metrics::Collector::new(engine.clone(), ledger.clone()));
    let hooks = hooks::hooks(&engine, &ledger, &pruner, &collector);
    let state = ControlState::new(queue.clone(), ledger.clone(), engine.config(), hooks);
    let stopped = stop.clone();
    let control = answering.spawn(async move { control::serve(&socket.listener, Arc::new(state), stopped).await });
    let mut dispatcher = tokio::spawn(dispatcher.run(inbox));
    let refused = watch::Sender::new(false);
    let status = Status { ledger: ledger.clone(), config: engine.config() };
    let watchdog = tokio::spawn(watchdog::run(status.clone(), alive, refused.subscribe()));
    let scheduler = tokio::spawn(schedule::run(queue.clone(), ledger.clone(), engine.config()));
    let sweeper = tokio::spawn(retention::run(pruner));
    let notifying = tokio::spawn(crate::notify::run(notifier, stop.clone()));
    let listening = tokio::spawn(metrics::listen(engine.config(), collector, stop.clone()));
    let watched = [
        tokio::spawn(freshness::watch(ledger.clone(), engine.config())),
        tokio::spawn(repetitions()),
        tokio::spawn(retention::tend(ledger.clone(), engine.config())),
    ];
    // Before READY: who sees it may send the next signal at once.
    let (mut asked, mut hangup) = match (Stop::listen(), signal(SignalKind::hangup())) {
        (Ok(asked), Ok(hangup)) => (asked, hangup),
        (Err(error), _) | (_, Err(error)) => return fail("listen for signals", &error),
    };
    notify::ready(&status.text(false).await);
    tracing::info!(MESSAGE_ID = Message::Ready.id(), "saas-export-daemon {} is ready", env!("CARGO_PKG_VERSION"));

    let reload = async || {
        notify::reloading();
        refused.send_replace(reload(&queue).await.is_err());
        let refused = *refused.borrow();
        notify::ready(&status.text(refused).await);
    };
    let ended = serve_signals((&mut asked, &mut hangup), &mut dispatcher, reload).await;
    notify::stopping();
    tracing::info!(MESSAGE_ID = Message::Stopping.id(), "saas-export-daemon stops");
    notify::extend_timeout(DRAIN_LIMIT + CLOSE_LIMIT);
    scheduler.abort();
    drain(&queue).await;
    stop.cancel();
    [watchdog, sweeper, listening].iter().chain(&watched).for_each(JoinHandle::abort);
    fold::flush(true);
    let _ = (control.await, notifying.await);
    engine.settle().await;
    close(&ledger).await;
    tracing::info!(MESSAGE_ID = Message::Stopping.id(), "saas-export-daemon has stopped");
    ended
}

/// Opens the control socket among the threads that are to serve it: it belongs to them from then on.
async fn listen(config: &Config, answering: &Handle) -> Result<ControlSocket, ExitCode> {
    let path = config.daemon.socket.clone();
    match answering.spawn(async move { socket::listen(&path).await }).await {
        Ok(opened) => opened.map_err(|error| fail("open the control socket", &error)),
        Err(error) => Err(fail("open the control socket", &error)),
    }
}

/// Has the tasks stop where they can go on.
async fn drain(queue: &QueueHandle) {
    if tokio::time::timeout(DRAIN_LIMIT, queue.drain()).await.is_err() {
        tracing::warn!(
            MESSAGE_ID = Message::SystemTrouble.id(),
            "tasks did not stop in time; they are recovered at the next start"
        );
    }
}

/// The signals that ask to end.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Takes them over; from now on they end nothing by themselves.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one; the exit code that a shell gives to it.
    pub async fn asked(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => 143,
            _ = self.interrupt.recv() => 130,
        }
    }
}

/// Serves signals until one asks to end; a dispatcher that ends by itself is a bug, and systemd starts anew.
async fn serve_signals(
    (stop, hangup): (&mut Stop, &mut Signal),
    dispatcher: &mut tokio::task::JoinHandle<()>,
    reload: impl AsyncFn(),
) -> ExitCode {
    loop {
        tokio::select! {
            _ = &mut *dispatcher => {
                tracing::error!(MESSAGE_ID = Message::Bug.id(), "the dispatcher has ended by a bug");
                return ExitCode::FAILURE;
            }
            _ = stop.asked() => return ExitCode::SUCCESS,
            _ = hangup.recv() => reload().await,
        }
    }
}

async fn reload(queue: &QueueHandle) -> Result<(), Refusal> {
    queue.reload(Actor("SIGHUP".into())).await.map(drop)
}

/// Tells now and then how often warnings have repeated. Runs until it is aborted.
async fn repetitions() {
    loop {
        tokio::time::sleep(REPETITIONS_EVERY).await;
        fold::flush(false);
    }
}

/// Opens the ledger and takes over what a dead daemon left.
pub async fn open_ledger(config: &Config) -> Result<Ledger, ExitCode> {
    let opened = Ledger::open(&config.daemon.state_dir).map_err(|error| ledger_failed(&error))?;
    let recovered = opened.recover().await.map_err(|error| ledger_failed(&error))?;
    for row in recovered {
        tracing::warn!(
            MESSAGE_ID = Message::TaskRecovered.id(), EXPORT_TASK = %row.id, EXPORT_NAME = %row.export,
            EXPORT_STATE = row.state.word(), "task {} recovered: {}", row.id, row.reason
        );
    }
    Ok(opened)
}

/// Closes the ledger, so that the next start finds it without a log to replay.
pub async fn close(ledger: &Ledger) {
    if let Err(error) = ledger.close().await {
        tracing::warn!(MESSAGE_ID = Message::LedgerTrouble.id(), "failed to close the ledger: {}", Chain(&error));
    }
}

fn ledger_failed(error: &LedgerError) -> ExitCode {
    fail("open the ledger", error);
    if error.class() == ErrorClass::Conflict { ExitCode::from(EXIT_CONFLICT) } else { ExitCode::FAILURE }
}

fn fail(what: &str, error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!(MESSAGE_ID = Message::NotStarted.id(), "failed to {what}: {}", Chain(error));
    ExitCode::FAILURE
}

/// Tells every problem of the configuration.
pub fn bad_config(problems: &[String]) -> ExitCode {
    for problem in problems {
        tracing::error!(MESSAGE_ID = Message::NotStarted.id(), "{problem}");
    }
    ExitCode::from(EXIT_CONFIG)
}
