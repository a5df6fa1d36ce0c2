//! `ledger` on the command line.

use super::examples;
use clap::{Args, Subcommand};
use std::ffi::OsString;

/// `ledger`.
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Go on from a snapshot, and first take in what was published since; the daemon must be stopped
    #[command(after_help = examples::LEDGER_RESTORE)]
    Restore(Offline),
    /// Make the ledger anew of the manifests at the destinations; the daemon must be stopped
    #[command(after_help = examples::LEDGER_REBUILD)]
    Rebuild(Offline),
}

/// What `saas-export-daemon` is told.
#[derive(Debug, Args)]
pub struct Offline {
    /// As for saas-export-daemon ledger restore | rebuild.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub args: Vec<OsString>,
}
