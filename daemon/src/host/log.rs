//! Where log lines go: journald with native fields under systemd, readable lines on stderr otherwise.

use super::error_log;
use super::lines::Lines;
use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// Environment variable with a filter such as `debug` or `saas_export_daemon::queue=debug`.
pub const FILTER: &str = "SAAS_EXPORT_LOG";

/// The filter of the service.
pub const USUAL: &str = "info";

/// The filter of a run in the foreground, which says by itself what a person wants to know.
pub const FOREGROUND: &str = "warn";

/// Starts logging for the life of the process; `default` is the filter where the environment has none.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(default));
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let collected = is_stream(&stream, std::io::stderr());
    if collected && let Ok(journal) = tracing_journald::layer() {
        tracing_subscriber::registry().with(native(journal).with_filter(filter)).with(error_log::layer()).init();
        return;
    }
    let terminal = std::io::stderr().is_terminal();
    let color = terminal && std::env::var_os("NO_COLOR").is_none();
    // What a service says is collected by something that knows priorities; a person in front of a pipe wants none.
    let form = Lines { priority: !terminal && default == USUAL, time: !collected };
    let lines = fmt::layer().event_format(form).with_writer(std::io::stderr).with_ansi(color);
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(error_log::layer()).init();
}

/// The journal's own fields: names as they are written (`EXPORT_TASK`), and the priorities that syslog has for the levels.
fn native(journal: tracing_journald::Layer) -> tracing_journald::Layer {
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
        ..PriorityMappings::new()
    };
    journal.with_field_prefix(None).with_priority_mappings(priorities)
}

/// Whether `JOURNAL_STREAM`, which is `device:inode` (systemd.exec(5)), is this file. The variable is inherited by whatever
/// a service starts, also where its stderr leads elsewhere.
fn is_stream(journal: &str, file: impl AsFd) -> bool {
    let copy: Option<OwnedFd> = file.as_fd().try_clone_to_owned().ok();
    let meta = copy.and_then(|fd| File::from(fd).metadata().ok());
    meta.is_some_and(|meta| journal == format!("{}:{}", meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_stream_counts() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let copy = File::from(OwnedFd::from(here.try_clone().unwrap()));
        let meta = copy.metadata().unwrap();
        let name = format!("{}:{}", meta.dev(), meta.ino());
        assert!(is_stream(&name, &here));
        assert!(!is_stream(&name, &there));
        assert!(!is_stream("", &here) && !is_stream("8:1", &here));
    }
}
