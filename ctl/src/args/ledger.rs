//! `ledger` on the command line.

use super::examples;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// `ledger`.
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Take a snapshot of the running ledger
    #[command(after_help = examples::LEDGER_BACKUP)]
    Backup(Backup),
    /// The snapshots that there are, newest first
    #[command(after_help = examples::LEDGER_SNAPSHOTS)]
    Snapshots,
    /// Look at the whole ledger, beside what the daemon does meanwhile; exit code 1 if something is wrong
    #[command(after_help = examples::LEDGER_CHECK)]
    Check,
    /// Go on from a snapshot, and first take in what was published since; the daemon must be stopped
    #[command(after_help = examples::LEDGER_RESTORE)]
    Restore(Offline),
    /// Make the ledger anew of the manifests at the destinations; the daemon must be stopped
    #[command(after_help = examples::LEDGER_REBUILD)]
    Rebuild(Offline),
}

/// `ledger backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// Also download it to this file, which must not exist yet.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What `saas-export-daemon` is told.
#[derive(Debug, Args)]
pub struct Offline {
    /// As for saas-export-daemon ledger restore | rebuild.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub args: Vec<OsString>,
}
