//! `logs`: what can be asked of the journal.

use clap::Args;

/// `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// A task (id or its unique start) or an export; without it, the whole daemon.
    #[arg(value_name = "TASK|EXPORT")]
    pub target: Option<String>,
    /// Go on with new lines as they come.
    #[arg(long, short)]
    pub follow: bool,
    /// Only so many of the newest lines; 100 without a target.
    #[arg(long, short = 'n', value_name = "N")]
    pub lines: Option<u32>,
    /// Only from this time on: 2026-11-21 02:45, yesterday, -2h (see systemd.time(7)).
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only this priority and worse: err, warning, info, debug.
    #[arg(long, short, value_name = "PRIORITY", value_parser = ["err", "warning", "info", "debug"])]
    pub priority: Option<String>,
    /// Explain each kind of message: cause and remedy.
    #[arg(long, short = 'x', conflicts_with = "json")]
    pub explain: bool,
}
