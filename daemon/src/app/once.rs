//! One export in the foreground: the same engine, queue and ledger, no socket.

mod adapt;
mod bar;

use super::cli::Once;
use super::engine::{AppEngine, Files, load};
use super::{DRAIN_LIMIT, EXIT_CONFLICT, Stop, bad_config, open_ledger};
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::config::settings::{Config, Export};
use crate::host::log;
use crate::host::messages::Message;
use crate::ledger::Ledger;
use crate::ledger::rows::{TaskFilter, TaskRow};
use crate::model::task::TaskState;
use crate::queue::dispatcher::{Dispatcher, Engine as _};
use crate::queue::handle::{Actor, QueueHandle, Refusal, Request, Scope};
use bar::Bar;
use indicatif::{HumanBytes, HumanCount};
use saas_export_api::plural;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How often the bar moves.
const REFRESH: Duration = Duration::from_millis(250);
/// The command line is wrong.
const EXIT_USAGE: u8 = 2;
/// There is no such export.
const EXIT_NOT_FOUND: u8 = 4;
/// The task was cancelled.
const EXIT_CANCELLED: u8 = 8;
/// Open tasks of an export that are looked through.
const OPEN_MOST: u32 = 10_000;

/// Runs the export to its end.
pub async fn run(files: Files, once: &Once) -> ExitCode {
    log::start(log::FOREGROUND);
    let (config, secrets) = match load(&files) {
        Ok(loaded) => loaded,
        Err(problems) => return bad_config(&problems),
    };
    let config = match adapt::adapt(config, once) {
        Ok(config) => config,
        Err(lines) => return Told::new(EXIT_USAGE, lines.join("\n")).tell(),
    };
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => return super::fail("listen for signals", &error),
    };
    let ledger = match open_ledger(&config).await {
        Ok(ledger) => ledger,
        Err(code) => return code,
    };
    let engine = Arc::new(AppEngine::new(files, config, secrets, ledger.clone()));
    let code = match prepare(&engine, &ledger, once).await {
        Ok(request) => {
            let code = export(engine.clone(), &ledger, request, stop).await;
            engine.settle().await;
            code
        }
        Err(told) => told.tell(),
    };
    super::close(&ledger).await;
    code
}

/// A refusal: what is said, and the exit code.
struct Told {
    code: u8,
    message: String,
}

impl Told {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn tell(&self) -> ExitCode {
        for line in self.message.lines() {
            eprintln!("saas-export-daemon: {line}");
        }
        ExitCode::from(self.code)
    }
}

impl From<Refusal> for Told {
    fn from(refused: Refusal) -> Self {
        let code = match refused {
            Refusal::NotFound(_) => EXIT_NOT_FOUND,
            Refusal::Conflict(_) => EXIT_CONFLICT,
            Refusal::Invalid(_) => EXIT_USAGE,
            Refusal::Unavailable(_) => 1,
        };
        Self::new(code, refused.to_string())
    }
}

/// Checks everything that can be known before something starts.
async fn prepare(engine: &AppEngine, ledger: &Ledger, once: &Once) -> Result<Request, Told> {
    let mut params = BTreeMap::new();
    for (name, value) in &once.params {
        if params.insert(name.clone(), value.clone()).is_some() {
            return Err(Told::new(EXIT_USAGE, format!("parameter {name:?} is given twice")));
        }
    }
    let scope = Scope { full: once.full, from: once.from.clone(), to: once.to.clone(), streams: once.streams.clone() };
    let request = Request {
        export: once.export.clone(),
        params,
        format: once.format.clone(),
        scope,
        notify: Vec::new(),
        actor: Actor("once".into()),
    };
    let new = engine.plan(&request)?;
    let failed = |error| Told::new(1, format!("failed to {}", Chain(&error)));
    let resume = format!("start the daemon and run: exportctl resume {}", once.export);
    if ledger.paused_exports().await.map_err(failed)?.contains(&once.export) {
        return Err(Told::new(EXIT_CONFLICT, format!("export {} is paused by an operator; {resume}", once.export)));
    }
    if let Some(waiting) = engine.closed(&once.export) {
        let until = waiting.until.map(|until| format!(", again from {until:.0} on")).unwrap_or_default();
        return Err(Told::new(EXIT_CONFLICT, format!("export {}: {}{until}", once.export, waiting.reason)));
    }
    let states = vec![TaskState::Pending, TaskState::Processing, TaskState::Paused];
    let filter = TaskFilter { export: Some(once.export.clone()), states, limit: OPEN_MOST };
    let open = ledger.tasks(&filter).await.map_err(failed)?;
    let Some(open) = open.into_iter().find(|row| row.key == new.key) else { return Ok(request) };
    if open.state == TaskState::Paused {
        let message = format!("task {} of the same request is paused by an operator; {resume}", open.id);
        return Err(Told::new(EXIT_CONFLICT, message));
    }
    goes_on(&open, &new.config, once)?;
    Ok(request)
}

/// Says where an open task goes on writing. It keeps the settings that it began with, so others are refused.
fn goes_on(open: &TaskRow, new: &str, once: &Once) -> Result<(), Told> {
    let (Some((old, place)), Some((new, wanted))) = (settings(&open.config), settings(new)) else { return Ok(()) };
    let asked = [
        ("--output", once.output.is_some() && place != wanted),
        ("--chunk-size", once.chunk_size.is_some() && old.chunk_size != new.chunk_size),
    ];
    let other: Vec<&str> = asked.iter().filter(|(_, other)| *other).map(|(option, _)| *option).collect();
    let size = old.chunk_size;
    if other.is_empty() {
        eprintln!("task {} goes on where it stopped: files of {size} in {place}", open.id);
        return Ok(());
    }
    let message = format!(
        "task {} of the same request is open, and keeps to its end what it began with: files of {size} in {place}; \
         finish it first, by the same command without {}",
        open.id,
        other.join(" and ")
    );
    Err(Told::new(EXIT_CONFLICT, message))
}

/// The export of a task's stored configuration, and the directories that it writes to.
fn settings(stored: &str) -> Option<(Export, String)> {
    let config = Config::from_effective(&serde_json::from_str(stored).ok()?).ok()?;
    let export = config.exports.into_values().next()?;
    let roots = export.to.iter().filter_map(|name| config.destinations.get(name));
    let roots: Vec<String> = roots.map(|place| place.location("")).collect();
    Some((export, roots.join(" and ")))
}

/// Runs the task to its end, or until a signal asks to stop; then it is put away at a page boundary.
async fn export(engine: Arc<AppEngine>, ledger: &Ledger, request: Request, mut stop: Stop) -> ExitCode {
    let (queue, inbox) = QueueHandle::new();
    let dispatcher = tokio::spawn(Dispatcher::new(engine, ledger.clone()).only(&request.export).run(inbox));
    let (code, stopped) = tokio::select! {
        code = follow(&queue, ledger, request) => (code, false),
        code = stop.asked() => (ExitCode::from(code), true),
    };
    if stopped {
        eprintln!("stopping; the same command goes on from here (a second signal ends at once)");
    }
    tokio::select! {
        drained = tokio::time::timeout(DRAIN_LIMIT, queue.drain()) => match drained {
            Ok(()) => drop(dispatcher.await),
            Err(_) => tracing::warn!(MESSAGE_ID = Message::TaskRecovered.id(), "the task did not stop in time; the next run recovers it"),
        },
        // At once: nothing is lost, the next run recovers the task.
        code = stop.asked() => std::process::exit(code.into()),
    }
    code
}

async fn follow(queue: &QueueHandle, ledger: &Ledger, request: Request) -> ExitCode {
    let submitted = match queue.submit(request).await {
        Ok(submitted) => submitted,
        Err(refused) => return Told::from(refused).tell(),
    };
    let mut bar = Bar::new();
    loop {
        tokio::time::sleep(REFRESH).await;
        if let Some(progress) = queue.progress().get(submitted.task.as_str()) {
            bar.show(progress);
        }
        let Ok(Some(row)) = ledger.task(&submitted.task).await else { continue };
        let code = match row.state {
            TaskState::Pending | TaskState::Processing => continue,
            TaskState::Succeeded => ExitCode::SUCCESS,
            TaskState::Failed => ExitCode::FAILURE,
            TaskState::Cancelled => ExitCode::from(EXIT_CANCELLED),
            TaskState::Paused => ExitCode::from(EXIT_CONFLICT),
        };
        drop(bar);
        tell_end(ledger, &row.id).await;
        // Why it failed is in the log already, which goes to the same place.
        if row.state != TaskState::Failed {
            eprintln!("task {} is {}: {}", row.id, row.state, row.reason);
        }
        return code;
    }
}

/// What the task has read and written, a line for each stream.
async fn tell_end(ledger: &Ledger, task: &TaskId) {
    for stream in ledger.streams(task).await.unwrap_or_default() {
        eprintln!(
            "{}: {} {} in {} {}, {}",
            stream.stream,
            HumanCount(stream.counts.written),
            plural(stream.counts.written, "record"),
            stream.segments,
            plural(stream.segments, "file"),
            HumanBytes(stream.bytes)
        );
    }
}
