//! The daemon's entry: command line in, exit code out.

use clap::Parser as _;
use saas_export_daemon::app::cli::{AuthCommand, Cli, Command, LedgerCommand};
use saas_export_daemon::app::engine::{self, Files};
use saas_export_daemon::app::{self, EXIT_CONFIG, drop_in};
use saas_export_daemon::base::crash;
use saas_export_daemon::config;
use saas_export_daemon::host::memory;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Threads for files and name services beside the async ones; more work waits.
const BLOCKING_THREADS: usize = 64;
/// Threads that answer at the control socket, and do nothing else: what an export receives, and a file operation on a dead mount,
/// are not in the way of an answer.
const ANSWERING: usize = 2;
/// How long the end waits for file operations that are under way.
const LAST_FILES: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    memory::give_back();
    let cli = Cli::parse();
    let files = Files { config: cli.config.clone(), auth_env: cli.auth_env.clone() };
    if cli.crash_points {
        println!("{}", crash::POINTS.join("\n"));
        return ExitCode::SUCCESS;
    }
    if cli.config_schema {
        println!("{:#}", config::Config::schema());
        return ExitCode::SUCCESS;
    }
    if cli.config_reference {
        print!("{}", config::reference::markdown());
        return ExitCode::SUCCESS;
    }
    if cli.print_drop_in {
        return drop_in::run(&files);
    }
    if cli.check_config {
        return check_config(&files);
    }
    // These wait for sockets and clocks; whatever takes long has threads of its own, as many as there are processors. One more
    // than is needed is woken with each piece of an answer, finds nothing to do, and takes a converting thread's turn.
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2));
    let runtime = match runtime("export", workers) {
        Ok(runtime) => runtime,
        Err(error) => return no_threads(&error),
    };
    let code = match &cli.command {
        None => daemon(&cli, &runtime),
        Some(Command::Once(once)) => runtime.block_on(app::once::run(files, once)),
        Some(Command::Auth { command: AuthCommand::Login(login) }) => runtime.block_on(app::login::run(files, login)),
        Some(Command::Check(check)) => runtime.block_on(app::preflight::foreground::run(&files, check)),
        Some(Command::Init(init)) => app::init::run(init),
        Some(Command::Ledger { command: LedgerCommand::Check(wanted) }) => app::ledger::check(&files, wanted),
        Some(Command::Ledger { command: LedgerCommand::Restore(restore) }) => {
            runtime.block_on(app::adopt::restore(files, restore))
        }
        Some(Command::Ledger { command: LedgerCommand::Rebuild(rebuild) }) => {
            runtime.block_on(app::adopt::rebuild(files, rebuild))
        }
        Some(Command::Quarantine(wanted)) => app::quarantine::run(&files, wanted),
    };
    // A file operation that hangs on a dead mount must not hold up the end.
    runtime.shutdown_timeout(LAST_FILES);
    code
}

fn daemon(cli: &Cli, runtime: &Runtime) -> ExitCode {
    let answering = match self::runtime("answer", ANSWERING) {
        Ok(answering) => answering,
        Err(error) => return no_threads(&error),
    };
    let code = runtime.block_on(app::run(cli, answering.handle()));
    answering.shutdown_background();
    code
}

fn no_threads(error: &std::io::Error) -> ExitCode {
    eprintln!("saas-export-daemon: failed to start its threads: {error}");
    ExitCode::FAILURE
}

fn runtime(name: &str, workers: usize) -> std::io::Result<Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(workers).enable_all().max_blocking_threads(BLOCKING_THREADS).thread_name(name).build()
}

fn check_config(files: &Files) -> ExitCode {
    match engine::load(files) {
        Ok(_) => {
            println!("{}: ok", files.config.display());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            println!("{}", problems.join("\n"));
            ExitCode::from(EXIT_CONFIG)
        }
    }
}
