//! `notifications` on the command line.

use super::examples;
use clap::{Args, Subcommand};

/// `notifications`: the list, unless something is to be done.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Notifications {
    /// What to do.
    #[command(subcommand)]
    pub act: Option<Notify>,
    /// What to list.
    #[command(flatten)]
    pub list: ListNotifications,
}

/// What to do with notifications.
#[derive(Debug, Subcommand)]
pub enum Notify {
    /// What was sent, waits or was given up, newest first
    #[command(after_help = examples::NOTIFICATIONS_LIST)]
    List(ListNotifications),
    /// Try one again now that waits or was given up
    #[command(after_help = examples::NOTIFICATIONS_RETRY)]
    Retry {
        /// Its id.
        id: String,
    },
    /// Send a message about nothing to a recipient, and say what became of it
    #[command(after_help = examples::NOTIFICATIONS_TEST)]
    Test {
        /// Name of the recipient in the configuration.
        recipient: String,
    },
}

/// What to list.
#[derive(Debug, Args)]
pub struct ListNotifications {
    /// Only to this recipient.
    #[arg(long)]
    pub recipient: Option<String>,
    /// Only in this state: waiting, sent or given_up.
    #[arg(long, value_parser = ["waiting", "sent", "given_up"], hide_possible_values = true)]
    pub state: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}
