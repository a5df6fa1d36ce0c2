//! Tells systemd that the daemon is alive, but only while its dispatcher and its ledger have answered lately.

use crate::config::settings::Config;
use crate::host::messages::Message;
use crate::host::notify;
use crate::ledger::Ledger;
use crate::ledger::rows::TaskFilter;
use crate::model::task::TaskState;
use crate::schedule;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How old the dispatcher's last turn and the ledger's last answer may be.
const LATELY: Duration = Duration::from_secs(20);
/// How often the status line is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Runs until it is aborted. `refused` tells whether the last reload by a signal was refused.
pub async fn run(status: Status, dispatcher_silent: impl Fn() -> Duration, refused: watch::Receiver<bool>) {
    let every = notify::watchdog_interval().unwrap_or(STATUS_EVERY).min(STATUS_EVERY);
    let mut said = String::new();
    loop {
        tokio::time::sleep(every).await;
        let ledger_answers =
            tokio::time::timeout(LATELY, status.ledger.heartbeat()).await.is_ok_and(|answer| answer.is_ok());
        if dispatcher_silent() <= LATELY && ledger_answers {
            notify::watchdog();
        } else {
            tracing::error!(
                MESSAGE_ID = Message::SystemTrouble.id(),
                "the dispatcher or the ledger does not answer; the watchdog is not fed"
            );
        }
        let refused = *refused.borrow();
        let text = status.text(refused).await;
        if text != said {
            notify::status(&text);
            said = text;
        }
    }
}

/// What the sentence for `systemctl status` is made of.
#[derive(Clone)]
pub struct Status {
    /// The ledger.
    pub ledger: Ledger,
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
}

impl Status {
    /// A sentence for `systemctl status`. A refused reload stays in it until one succeeds.
    pub async fn text(&self, refused: bool) -> String {
        let count = async |state| {
            let filter = TaskFilter { states: vec![state], limit: 1000, ..TaskFilter::default() };
            self.ledger.tasks(&filter).await.map_or(0, |rows| rows.len())
        };
        let running = count(TaskState::Processing).await;
        let paused = count(TaskState::Paused).await;
        let config = self.config.borrow().clone();
        let next =
            schedule::next(&self.ledger, &config).await.map(|next| format!("; next: {next}")).unwrap_or_default();
        let note = if refused { "; the last reload was refused, the configuration before it is in force" } else { "" };
        format!("{running} running, {paused} paused, {} queued{next}{note}", count(TaskState::Pending).await)
    }
}
