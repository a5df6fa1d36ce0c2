//! `schema`: the dry run, and what changed between two tasks.

use super::examples;
use clap::{Args, Subcommand};

/// `schema`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Schema {
    /// Compare instead.
    #[command(subcommand)]
    pub diff: Option<Compare>,
    /// Name of the export.
    #[arg(required = true)]
    pub export: Option<String>,
    /// Only this stream.
    #[arg(long)]
    pub stream: Option<String>,
    /// Show the columns of another file format.
    #[arg(long)]
    pub format: Option<String>,
    /// A parameter of the export.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = super::param)]
    pub params: Vec<(String, String)>,
}

/// `schema diff`.
#[derive(Debug, Subcommand)]
pub enum Compare {
    /// What changed between two tasks: fields added, removed, widened
    #[command(after_help = examples::SCHEMA_DIFF)]
    Diff {
        /// The older task (id or its unique start); or an export, whose last two tasks are compared.
        #[arg(value_name = "TASK|EXPORT")]
        older: String,
        /// The newer task.
        #[arg(value_name = "TASK")]
        newer: Option<String>,
    },
}
