//! The command line of the daemon.

mod examples;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Exports every configured SaaS to files you own: exact, resumable, on one machine.
#[derive(Debug, Parser)]
#[command(version, about, after_help = examples::TOP)]
pub struct Cli {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/export/config.yaml")]
    pub config: PathBuf,
    /// The secrets (NAME=value lines); by default $CREDENTIALS_DIRECTORY/auth.env, then /etc/export/auth.env
    #[arg(long, global = true, value_name = "FILE")]
    pub auth_env: Option<PathBuf>,
    /// Check both files, print every mistake with its place, and exit
    #[arg(long)]
    pub check_config: bool,
    /// Print the JSON Schema of the configuration and exit
    #[arg(long)]
    pub config_schema: bool,
    /// Print the reference of the configuration (Markdown) and exit
    #[arg(long)]
    pub config_reference: bool,
    /// Print the systemd drop-in that lets the service write to the configured local directories, and exit
    #[arg(long)]
    pub print_drop_in: bool,
    /// Print the names of the crash points and exit (for the tests)
    #[arg(long, hide = true)]
    pub crash_points: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one export in the foreground, without a socket
    #[command(after_help = examples::ONCE)]
    Once(Once),
    /// Credentials that the daemon gets itself
    #[command(after_help = examples::AUTH)]
    Auth {
        #[command(subcommand)]
        command: AuthCommand,
    },
    /// Try the way of an export, or of all, without exporting: names, TLS, credentials, first pages, destinations
    #[command(after_help = examples::CHECK)]
    Check(Check),
    /// Write a source for config.yaml from an OpenAPI document
    #[command(after_help = examples::INIT)]
    Init(Init),
    /// Print the rejected records of a task as NDJSON, also where they are sealed
    #[command(after_help = examples::QUARANTINE)]
    Quarantine(Quarantine),
    /// The ledger as a file, where no daemon runs: look at it, put a snapshot into its place, make it anew of what is published
    #[command(after_help = examples::LEDGER)]
    Ledger {
        #[command(subcommand)]
        command: LedgerCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Look at the whole ledger, or at a copy of it; exit code 1 if something is wrong
    #[command(after_help = examples::LEDGER_CHECK)]
    Check(LedgerCheck),
    /// Go on from a snapshot, and first take in what was published since; the daemon must be stopped
    #[command(after_help = examples::RESTORE)]
    Restore(Restore),
    /// Make the ledger anew of the manifests at the destinations; the daemon must be stopped
    #[command(after_help = examples::REBUILD)]
    Rebuild(Rebuild),
}

/// The check of `exportctl ledger check`, where no daemon runs. Nothing is written, and a daemon may run meanwhile. Run it as root
/// or as the daemon's user.
#[derive(Debug, Args)]
pub struct LedgerCheck {
    /// The ledger or snapshot; the configured ledger without it
    pub file: Option<PathBuf>,
    /// The daemon's state directory, instead of the configured one
    #[arg(long, value_name = "PATH", conflicts_with = "file")]
    pub state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Get the first refresh token of a source: a person agrees in a browser
    #[command(after_help = examples::LOGIN)]
    Login(Login),
}

/// Puts a snapshot into the place of the ledger. What was published since is adopted, so that nothing is published twice; every
/// other task that was open is cancelled. The ledger that was there is kept as `ledger.db.before-TIME`.
#[derive(Debug, Args)]
pub struct Restore {
    /// Name of a snapshot in the directory snapshots/ of the state directory, or the path of one
    pub snapshot: PathBuf,
    #[command(flatten)]
    pub adopt: Adopt,
}

/// Makes a ledger of what every `latest.json` leads to: tasks, files, places in chains, marks. What no manifest holds is lost:
/// the audit, tasks that published nothing or had parameters, chains before the newest. The ledger that was there is kept as
/// `ledger.db.before-TIME`.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Only by what is at this destination; may be repeated
    #[arg(long, value_name = "DESTINATION")]
    pub from: Vec<String>,
    #[command(flatten)]
    pub adopt: Adopt,
}

/// How published tasks are taken in.
#[derive(Debug, Default, Args)]
pub struct Adopt {
    /// Go on without this destination, which cannot be read: what is published there alone may be published once more, and
    /// tasks that were open are cancelled without a look at it
    #[arg(long, value_name = "DESTINATION")]
    pub skip: Vec<String>,
    /// Take manifests that are not signed, or by another key, although there is a daemon.signing_key
    #[arg(long)]
    pub accept_unsigned: bool,
    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON with stable field names
    #[arg(long)]
    pub json: bool,
    /// The daemon's state directory, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,
}

/// Gets the first refresh token of a source that has `grant: { refresh_token: {} }`, and keeps it sealed in the state
/// directory. The daemon may run meanwhile. As root, what is written belongs to the owner of the state directory.
#[derive(Debug, Args)]
pub struct Login {
    /// Name of the source
    pub source: String,
    /// Port of 127.0.0.1 that the browser's answer comes to; 0 = a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port: u16,
    /// The state-key; by default the one of the state directory, else the one beside the configuration
    #[arg(long, value_name = "FILE")]
    pub state_key: Option<PathBuf>,
    /// Directory that the refresh token is kept in, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,
}

/// One export in the foreground, with the same engine, ledger and exit codes: for cron, containers and a first try.
#[derive(Debug, Args)]
pub struct Once {
    /// Name of the export
    pub export: String,
    /// A parameter of the run; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub params: Vec<(String, String)>,
    /// Only this stream; may be repeated
    #[arg(long = "stream", value_name = "NAME")]
    pub streams: Vec<String>,
    /// Read everything again, also of incremental streams
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub full: bool,
    /// Fill back: read incremental streams again from this cursor value on (inclusive)
    #[arg(long, value_name = "VALUE")]
    pub from: Option<String>,
    /// Fill back up to this cursor value (inclusive)
    #[arg(long, value_name = "VALUE")]
    pub to: Option<String>,
    /// Threads that convert and encode; 0 = one for each processor
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Target size of a file, e.g. 50MB
    #[arg(long, value_name = "SIZE")]
    pub chunk_size: Option<String>,
    /// Write below this directory instead of to the configured destinations
    #[arg(long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// parquet, avro, csv, ndjson or json
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Directory of the ledger, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,
}

/// The check of `exportctl check`, where no daemon runs. Run it as the daemon's user, or the destinations tell little.
#[derive(Debug, Args)]
pub struct Check {
    /// Name of the export; all of them without it
    pub export: Option<String>,
    /// A parameter of the export; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = key_value, requires = "export")]
    pub params: Vec<(String, String)>,
    /// Print JSON with stable field names
    #[arg(long)]
    pub json: bool,
}

/// The rejected records of a task, a line each: lane, segment, page, index, reason and record. Run it as root or as the daemon's
/// user; the daemon may run meanwhile.
#[derive(Debug, Args)]
pub struct Quarantine {
    /// Id of the task, or its unique start
    pub task: String,
    /// Only this stream
    pub stream: Option<String>,
    /// The state-key; by default the one of the state directory, else the one beside the configuration
    #[arg(long, value_name = "FILE")]
    pub state_key: Option<PathBuf>,
    /// The daemon's state directory, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,
}

/// A commented source from an OpenAPI 3.0 or 3.1 document, in YAML or JSON. What is guessed is marked with `# check:`.
#[derive(Debug, Args)]
pub struct Init {
    /// The document; `-` is stdin
    #[arg(long, value_name = "FILE|-")]
    pub openapi: PathBuf,
    /// Name of the source; made of the document's title by default
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Write to this file, which must not exist yet, instead of to stdout
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE, e.g. region=eu".into()),
    }
}

#[cfg(test)]
mod tests;
