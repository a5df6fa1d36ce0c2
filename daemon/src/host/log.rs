//! Where log lines go: journald with native fields under systemd, readable lines on stderr otherwise.

use std::io::IsTerminal as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// Environment variable with a filter such as `debug` or `saas_export_daemon::queue=debug`.
pub const FILTER: &str = "SAAS_EXPORT_LOG";

/// Starts logging for the life of the process.
pub fn start() {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    if std::env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        tracing_subscriber::registry().with(journal.with_field_prefix(None).with_filter(filter)).init();
        return;
    }
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(color).with_target(false).compact();
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}
