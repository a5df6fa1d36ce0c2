//! The command line: what can be said to exportctl.

mod examples;
mod files;
pub mod groups;
mod ledger;
mod logs;
#[cfg(test)]
mod manual;
mod notifications;
mod offsets;
mod schedule;
mod schema;

pub use files::{Files, Get, Prune, Url, Verify};
pub use ledger::{Backup, Ledger};
pub use logs::Logs;
pub use notifications::{ListNotifications, Notifications, Notify};
pub use offsets::Offsets;
pub use schedule::Schedule;
pub use schema::{Compare, Schema};

use crate::completions::Kind;
use crate::exit;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use saas_export_api::{DEFAULT_SOCKET, TaskState};
use std::path::PathBuf;
use std::time::Duration;

/// Drives saas-export-daemon over its control socket.
#[derive(Debug, Parser)]
#[command(version, about, after_help = format!("{}\n{}", examples::TOP, exit::help()), max_term_width = 110)]
pub struct Cli {
    /// Control socket of the daemon.
    #[arg(long, global = true, env = "SAAS_EXPORT_SOCKET", default_value = DEFAULT_SOCKET, value_name = "PATH")]
    pub socket: PathBuf,
    /// Print JSON with stable field names.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no messages, only data and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The command line of this process, read; ends the process where it asks for help or is wrong.
pub fn read() -> Cli {
    let matches = definition().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The definition of the command line, its help by purpose.
pub fn definition() -> clap::Command {
    groups::grouped(Cli::command())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// How the daemon and its open tasks are
    #[command(after_help = examples::STATUS)]
    Status,
    /// The configured exports and how they last went
    #[command(after_help = examples::EXPORTS)]
    Exports,
    /// When exports run by themselves, and how that last went
    #[command(after_help = examples::SCHEDULE)]
    Schedule(Schedule),
    /// Run an export now
    #[command(after_help = examples::RUN)]
    Run(Run),
    /// The tasks, newest first
    #[command(after_help = examples::TASKS)]
    Tasks(Tasks),
    /// Everything about a task, or about the newest published one of an export
    #[command(after_help = examples::SHOW)]
    Show(Show),
    /// Live progress of a task to its end, or of all tasks until none runs
    #[command(after_help = examples::WATCH)]
    Watch(Watch),
    /// Lines of the journal about a task, an export or the daemon (runs journalctl)
    #[command(after_help = examples::LOGS)]
    Logs(Logs),
    /// Metrics of the daemon in the format of OpenMetrics, as Prometheus reads it
    #[command(after_help = examples::METRICS)]
    Metrics,
    /// Stop a task, an export with its schedule, or everything; keeps what was fetched
    #[command(after_help = examples::PAUSE)]
    Pause(Act),
    /// Go on with what was paused, at the head of the queue
    #[command(after_help = examples::RESUME)]
    Resume(Act),
    /// End without publishing
    #[command(after_help = examples::CANCEL)]
    Cancel(Cancel),
    /// Run a failed or cancelled task again, from where it stands
    #[command(after_help = examples::RETRY)]
    Retry(TaskArg),
    /// Deliver a task that has succeeded to one more destination, or let a task go on without one
    #[command(after_help = examples::DELIVER)]
    Deliver(Deliver),
    /// Compare published files with the ledger or with their manifest; exit code 9 if they differ
    #[command(after_help = examples::VERIFY)]
    Verify(Verify),
    /// Paths of published data files
    #[command(after_help = examples::FILES)]
    Files(Files),
    /// Print a link by which anybody can read a published file for a while
    #[command(after_help = examples::URL)]
    Url(Url),
    /// Download published files through the daemon; exit code 9 if one is not what its manifest says
    #[command(after_help = examples::GET)]
    Get(Get),
    /// Remove the chains that an export does not keep any more (keep: in its configuration)
    #[command(after_help = examples::PRUNE)]
    Prune(Prune),
    /// Try the way of an export, or of all: names, connections, TLS, credentials, first pages, destinations
    #[command(after_help = examples::CHECK)]
    Check(Check),
    /// Where the lanes of a task stand in the source, and the marks of an export
    #[command(subcommand, after_help = examples::OFFSETS)]
    Offsets(Offsets),
    /// What a task would make of an export's streams, by one page of each; or what changed between two tasks
    #[command(after_help = examples::SCHEMA)]
    Schema(Schema),
    /// Who was told how tasks ended: what was sent, waits or was given up
    #[command(after_help = examples::NOTIFICATIONS)]
    Notifications(Notifications),
    /// The ledger: snapshots, a check, and how it is brought back from one or from what is published
    #[command(subcommand, after_help = examples::LEDGER)]
    Ledger(Ledger),
    /// The daemon's configuration
    #[command(subcommand, after_help = examples::CONFIG)]
    Config(Config),
    /// Read the configuration again; open tasks keep theirs
    #[command(after_help = examples::RELOAD)]
    Reload(Reload),
    /// Versions of exportctl and of the daemon
    #[command(after_help = examples::VERSION)]
    Version,
    /// Print a completion script
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Names for completion scripts
    #[command(hide = true)]
    Names {
        /// Which.
        kind: Kind,
    },
    /// Send a request as it is, and print the answer as it comes
    #[command(after_help = examples::QUERY)]
    Query(Query),
    /// Wait until the daemon answers
    #[command(after_help = examples::WAITREADY)]
    Waitready {
        /// How long at most, e.g. 30s or 2m.
        #[arg(long, default_value = "60s", value_parser = span, value_name = "TIME")]
        timeout: Duration,
    },
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Name of the export.
    pub export: String,
    /// A parameter that the export declares; repeat for more.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    pub params: Vec<(String, String)>,
    /// Format of the files: parquet, avro, csv, ndjson or json.
    #[arg(long)]
    pub format: Option<String>,
    /// Only this stream; repeat for more.
    #[arg(long = "stream", value_name = "NAME")]
    pub streams: Vec<String>,
    /// Read everything again, also of incremental streams, as the start of a new chain.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub full: bool,
    /// Fill back: read incremental streams again from this cursor value on (inclusive); no mark moves.
    #[arg(long, value_name = "VALUE")]
    pub from: Option<String>,
    /// Fill back up to this cursor value (inclusive).
    #[arg(long, value_name = "VALUE")]
    pub to: Option<String>,
    /// Tell this recipient of the configuration how the task ends, whatever the export's rules say; repeat for more.
    #[arg(long, value_name = "RECIPIENT")]
    pub notify: Vec<String>,
    /// Wait for the end and exit with its outcome.
    #[arg(long, short)]
    pub wait: bool,
    /// The longest to wait, e.g. 90s or 2h; then exit code 6, and the task goes on.
    #[arg(long, requires = "wait", value_parser = span, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// Ctrl-C while waiting cancels the task.
    #[arg(long, requires = "wait")]
    pub cancel_on_interrupt: bool,
}

/// `tasks`.
#[derive(Debug, Args)]
pub struct Tasks {
    /// Only of this export.
    #[arg(long)]
    pub export: Option<String>,
    /// Only in these states, separated by commas: pending, processing, paused, succeeded, failed, cancelled.
    #[arg(long, value_delimiter = ',', value_parser = state)]
    pub state: Vec<TaskState>,
    /// At most this many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// A task (id or its unique start), or an export: its newest task that is published whole.
    #[arg(value_name = "TASK|EXPORT")]
    pub task: String,
}

/// A task.
#[derive(Debug, Args)]
pub struct TaskArg {
    /// Id of the task, or its unique start.
    pub task: String,
}

/// `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Id of the task, or its unique start; without it, all open tasks.
    pub task: Option<String>,
    /// Ctrl-C cancels the task.
    #[arg(long, requires = "task")]
    pub cancel_on_interrupt: bool,
}

/// `pause` and `resume`.
#[derive(Debug, Args)]
pub struct Act {
    /// A task (id or its unique start) or an export.
    #[arg(value_name = "TASK|EXPORT", required_unless_present = "all", conflicts_with = "all")]
    pub target: Option<String>,
    /// Everything.
    #[arg(long)]
    pub all: bool,
}

/// `cancel`.
#[derive(Debug, Args)]
pub struct Cancel {
    /// What.
    #[command(flatten)]
    pub act: Act,
    /// Do not ask; needed with --all.
    #[arg(long)]
    pub yes: bool,
}

/// `deliver`.
#[derive(Debug, Args)]
pub struct Deliver {
    /// Id of the task, or its unique start.
    pub task: String,
    /// Fill this destination back.
    #[arg(long, value_name = "DESTINATION", required_unless_present = "drop", conflicts_with = "drop")]
    pub to: Option<String>,
    /// Go on without this destination.
    #[arg(long, value_name = "DESTINATION")]
    pub drop: Option<String>,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Name of the export; all of them without it.
    pub export: Option<String>,
    /// A parameter that the export declares; repeat for more.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param, requires = "export")]
    pub params: Vec<(String, String)>,
}

/// `config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check the configuration file as it is now, without using it; exit code 1 if it has mistakes
    #[command(after_help = examples::CONFIG_CHECK)]
    Check,
}

/// `reload`.
#[derive(Debug, Args)]
pub struct Reload {
    /// Wait until it is done, for ExecReload=; it always is.
    #[arg(long)]
    pub wait: bool,
    /// Only show what would change; needs no more than the group of the operators.
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
}

/// `query`.
#[derive(Debug, Args)]
pub struct Query {
    /// GET, POST, PUT or DELETE.
    pub method: String,
    /// Path and query, e.g. /v1/status.
    pub path: String,
    /// The body: JSON, `@FILE`, or `-` for stdin.
    #[arg(long, short)]
    pub data: Option<String>,
}

/// Reads `NAME=VALUE`.
fn param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE, e.g. region=eu".into()),
    }
}

/// Reads a state.
fn state(text: &str) -> Result<TaskState, String> {
    let states = TaskState::ALL;
    states.into_iter().find(|state| state.word() == text.to_lowercase()).ok_or_else(|| {
        let words: Vec<&str> = states.iter().map(|state| state.word()).collect();
        format!("states are {}", words.join(", "))
    })
}

/// Reads a duration with a unit.
fn span(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    parsed.and_then(|span| Duration::try_from(span).ok()).ok_or_else(|| "write e.g. 90s, 5m or 2h".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("exportctl").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound_and_its_help_complete() {
        let mut command = definition();
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        for word in
            ["Examples:", "Exit codes:", "files are not what the ledger says", "SAAS_EXPORT_SOCKET", "waitready"]
        {
            assert!(help.contains(word), "{word} is not in\n{help}");
        }
    }

    #[test]
    fn what_is_understood() {
        for line in [
            "status --json",
            "--socket /tmp/s exports",
            "run shop --param a=b=c --param d= --format csv --wait --timeout 5m --cancel-on-interrupt",
            "tasks --state failed,Paused --limit 3 --export e",
            "pause --all",
            "cancel shop",
            "cancel --all --yes",
            "files shop --latest --long",
            "url 2026 orders/part-0-000000.csv --expires 7d --destination lake",
            "get shop -o dir",
            "get shop a b/c --output dir --destination lake",
            "schedule --json",
            "schedule shop --next 5",
            "logs",
            "logs 20261121T0245 -f -n 50 -x",
            "logs shop --since -2h --priority warning --json",
            "metrics",
            "prune --dry-run --json",
            "notifications --state given_up",
            "notifications list --recipient ops --limit 5",
            "notifications retry msg_1",
            "notifications test ops-mail",
            "run shop --notify ops-mail --notify hook",
            "prune shop --yes",
            "verify 2026 --destination lake",
            "verify 2026 --deep",
            "deliver 2026 --to offsite",
            "deliver 2026 --drop offsite",
            "verify --dir /srv/exports/shop/orders",
            "verify --path /srv/exports/shop/orders --public-key k.pem",
            "offsets set 2026 -",
            "offsets reset 2026 --stream orders --yes",
            "config check",
            "ledger backup",
            "ledger backup -o /mnt/backup/ledger.db --json",
            "ledger snapshots",
            "ledger check",
            "ledger restore ledger-20261121T024501Z.db --dry-run",
            "ledger rebuild --from lake --json",
            "check",
            "check crm --param region=eu --json",
            "reload --wait",
            "reload --dry-run --json",
            "completions fish",
            "query POST /v1/pause -d {}",
            "waitready --timeout 2s",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_refused() {
        for line in [
            "",
            "run",
            "run shop --param region",
            "run shop --param =eu",
            "run shop --timeout 5m",
            "run shop --wait --timeout 5",
            "run shop --wait --timeout -5s",
            "tasks --state gone",
            "tasks --limit 0",
            "pause",
            "pause shop --all",
            "watch --cancel-on-interrupt",
            "deliver 2026",
            "deliver --to offsite",
            "deliver 2026 --to offsite --drop offsite",
            "verify",
            "files shop --long --json",
            "url 2026",
            "url 2026 f --expires 8d",
            "get 2026",
            "prune --dry-run --yes",
            "notifications --state lost",
            "notifications retry",
            "run shop --notify",
            "verify 2026 --dir /srv",
            "verify 2026 --public-key k.pem",
            "verify --dir /srv --destination lake",
            "offsets",
            "schedule --next 0",
            "ledger",
            "ledger backup file",
            "check --param region=eu",
            "reload --wait --dry-run",
            "completions csh-but-not-really",
        ] {
            assert_eq!(parse(line).err().map(|error| error.exit_code()), Some(2), "{line}");
        }
    }
}
