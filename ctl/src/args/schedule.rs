//! `schedule`: when exports run by themselves.

use clap::Args;

/// `schedule`.
#[derive(Debug, Args)]
pub struct Schedule {
    /// Name of the export; all of them without it.
    pub export: Option<String>,
    /// Next times of each, a line for each of them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub next: u8,
}
