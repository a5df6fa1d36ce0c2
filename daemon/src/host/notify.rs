//! Everything said to systemd: readiness, status, reload, watchdog. Without `NOTIFY_SOCKET` it says nothing.

use super::messages::Message;
use sd_notify::NotifyState;
use std::time::Duration;

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(MESSAGE_ID = Message::SystemTrouble.id(), "failed to notify systemd: {error}");
    }
}

/// The daemon answers: ledger open, recovery done, socket bound.
pub fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A sentence for `systemctl status`.
pub fn status(status: &str) {
    say(&[NotifyState::Status(status)]);
}

/// A reload begins. The time goes into the same message: without it systemd ends the service.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(time) => say(&[NotifyState::Reloading, time]),
        Err(error) => {
            tracing::warn!(MESSAGE_ID = Message::SystemTrouble.id(), "failed to read the monotonic clock: {error}")
        }
    }
}

/// The daemon ends.
pub fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("stopping: tasks are put away at a page boundary")]);
}

/// Start or stop takes longer: the time-out begins anew with this length.
pub fn extend_timeout(by: Duration) {
    say(&[NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))]);
}

/// The longest that a start may take: recovery, and steps of the ledger's format.
const START_LIMIT: Duration = Duration::from_secs(3600);
/// How often a start that takes long is prolonged, and by how much beyond that.
const START_STEP: Duration = Duration::from_secs(10);

/// Does a part of the start, and has systemd wait for it as long as it takes, up to [`START_LIMIT`]. The part may block.
pub async fn starting<T>(doing: &'static str, part: impl Future<Output = T>) -> T {
    status(doing);
    extend_timeout(START_STEP * 3);
    let prolong = tokio::spawn(async {
        for _ in 0..START_LIMIT.as_secs() / START_STEP.as_secs() {
            tokio::time::sleep(START_STEP).await;
            extend_timeout(START_STEP * 3);
        }
    });
    let done = part.await;
    prolong.abort();
    done
}

/// How often systemd wants to hear from the watchdog, if it does: half of its limit.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// The dispatcher and the ledger are alive.
pub fn watchdog() {
    say(&[NotifyState::Watchdog]);
}

/// The descriptors that systemd passed (LISTEN_FDS); none outside socket activation.
pub fn passed_fds() -> std::io::Result<Vec<std::os::fd::RawFd>> {
    Ok(sd_notify::listen_fds()?.collect())
}
