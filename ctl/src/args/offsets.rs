//! `offsets`: where tasks stand, and the marks of exports.

use super::examples;
use clap::Subcommand;
use std::path::PathBuf;

/// `offsets`.
#[derive(Debug, Subcommand)]
pub enum Offsets {
    /// Print the offsets of a task, or the marks of an export with the offsets of its newest open task; what is printed
    /// is what `set` takes
    #[command(after_help = examples::OFFSETS_SHOW)]
    Show {
        /// A task (id or its unique start) or an export.
        #[arg(value_name = "TASK|EXPORT")]
        target: String,
    },
    /// Set the offsets of a paused, failed or cancelled task, or the marks of an export without an open task
    #[command(after_help = examples::OFFSETS_SET)]
    Set {
        /// A task (id or its unique start) or an export.
        #[arg(value_name = "TASK|EXPORT")]
        target: String,
        /// The document that `show` printed, edited; `-` is stdin.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Read a task's streams, or one of them, again from the start; of an export: forget its marks, so that its next task
    /// reads everything
    #[command(after_help = examples::OFFSETS_RESET)]
    Reset {
        /// A task (id or its unique start) or an export.
        #[arg(value_name = "TASK|EXPORT")]
        target: String,
        /// Only this stream.
        #[arg(long)]
        stream: Option<String>,
        /// Really: what was fetched is fetched again.
        #[arg(long)]
        yes: bool,
    },
}
