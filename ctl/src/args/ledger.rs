//! `ledger` on the command line.

use super::examples;
use clap::{Args, Subcommand};
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
}

/// `ledger backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// Also download it to this file, which must not exist yet.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
