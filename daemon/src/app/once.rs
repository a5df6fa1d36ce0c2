//! One export in the foreground: the same engine, queue and ledger, no socket.

use super::cli::Once;
use super::engine::{AppEngine, Files, load};
use super::{bad_config, open_ledger};
use crate::base::clock;
use crate::base::ids::{Name, TaskId};
use crate::config::settings::{Config, Destination, LocalDestination};
use crate::config::units::{Mode, Size};
use crate::host::log;
use crate::ledger::Ledger;
use crate::model::progress::Progress;
use crate::model::task::TaskState;
use crate::queue::dispatcher::Dispatcher;
use crate::queue::handle::{Actor, QueueHandle, Refusal, Request};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Name of the destination that `--output` makes.
const OUTPUT: &str = "output";
/// How often the bar moves.
const REFRESH: Duration = Duration::from_millis(250);
/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Runs the export to its end.
pub async fn run(files: Files, once: &Once) -> ExitCode {
    log::start();
    let (config, secrets) = match load(&files) {
        Ok(loaded) => loaded,
        Err(problems) => return bad_config(&problems),
    };
    let config = match adapt(config, once) {
        Ok(config) => config,
        Err(message) => {
            eprintln!("saas-export-daemon: {message}");
            return ExitCode::from(2);
        }
    };
    let ledger = match open_ledger(&config).await {
        Ok(ledger) => ledger,
        Err(code) => return code,
    };
    let engine = Arc::new(AppEngine::new(files, config, secrets, ledger.clone()));
    let (queue, inbox) = QueueHandle::new();
    let dispatcher = tokio::spawn(Dispatcher::new(engine, ledger.clone()).only(&once.export).run(inbox));
    let code = follow(&queue, &ledger, once).await;
    queue.drain().await;
    let _ = dispatcher.await;
    super::close(&ledger).await;
    code
}

/// The configuration with what the command line says instead.
fn adapt(mut config: Config, once: &Once) -> Result<Config, String> {
    if let Some(threads) = once.threads {
        config.daemon.threads = threads;
    }
    if let Some(dir) = &once.state_dir {
        config.daemon.state_dir.clone_from(dir);
    }
    let size = once.chunk_size.clone().map(Size::try_from).transpose()?;
    let output = Name::new(OUTPUT).map_err(|error| error.to_string())?;
    let Some(export) = config.exports.get_mut(once.export.as_str()) else { return Ok(config) };
    if let Some(size) = size {
        export.chunk_size = size;
    }
    if let Some(path) = &once.output {
        let root = std::path::absolute(path).map_err(|error| format!("failed to use {}: {error}", path.display()))?;
        export.to = vec![output.clone()];
        config.destinations.insert(output, Destination::Local(LocalDestination { root, mode: Mode(0o640) }));
    }
    Ok(config)
}

async fn follow(queue: &QueueHandle, ledger: &Ledger, once: &Once) -> ExitCode {
    let request = Request {
        export: once.export.clone(),
        params: once.params.iter().cloned().collect(),
        format: once.format.clone(),
        actor: Actor("once".into()),
    };
    let submitted = match queue.submit(request).await {
        Ok(submitted) => submitted,
        Err(refused) => {
            eprintln!("saas-export-daemon: {refused}");
            return ExitCode::from(if matches!(refused, Refusal::NotFound(_)) { 4 } else { 2 });
        }
    };
    if !submitted.created {
        eprintln!("task {} goes on where it stopped", submitted.task);
    }
    let mut bar = Bar::new();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {
                bar.end();
                eprintln!("stopped; the same command goes on from here");
                return ExitCode::FAILURE;
            }
            () = tokio::time::sleep(REFRESH) => {}
        }
        if let Some(progress) = queue.progress().await.get(submitted.task.as_str()) {
            bar.show(progress);
        }
        if let Some(code) = ended(ledger, &submitted.task, &bar).await {
            return code;
        }
    }
}

async fn ended(ledger: &Ledger, task: &TaskId, bar: &Bar) -> Option<ExitCode> {
    let row = ledger.task(task).await.ok()??;
    let code = match row.state {
        TaskState::Succeeded => ExitCode::SUCCESS,
        TaskState::Failed => ExitCode::FAILURE,
        TaskState::Cancelled => ExitCode::from(8),
        _ => return None,
    };
    bar.end();
    for stream in ledger.streams(task).await.ok()? {
        eprintln!(
            "{}: {} records in {} files, {}",
            stream.stream,
            HumanCount(stream.counts.written),
            stream.segments,
            HumanBytes(stream.bytes)
        );
    }
    eprintln!("task {task} {}: {}", row.state, row.reason);
    Some(code)
}

/// A bar on a terminal, a line now and then elsewhere.
struct Bar {
    bar: Option<ProgressBar>,
    said: std::time::Instant,
}

impl Bar {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, said: clock::monotonic() }
    }

    fn show(&mut self, progress: &Progress) {
        let mut text = format!(
            "{} records, {} read, {} written, {:.0} records/s",
            HumanCount(progress.records),
            HumanBytes(progress.source_bytes),
            HumanBytes(progress.bytes),
            progress.rate
        );
        if let Some(total) = progress.total.filter(|total| *total > 0) {
            text = format!("{:.0} % {text}", progress.records as f64 * 100.0 / total as f64);
        }
        if let Some(waiting) = &progress.waiting {
            text = format!("waiting: {}", waiting.reason);
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None if clock::since(self.said) >= LINE_EVERY => {
                self.said = clock::monotonic();
                eprintln!("{text}");
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
