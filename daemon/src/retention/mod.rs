//! Removes what nobody follows any more: whole chains beyond what an export keeps, and what was never published.
//!
//! ```text
//! policy (pure): which chains go ─▶ prune: note it ─▶ manifests ─▶ files ─▶ note that they are gone
//! unpublished: files of tasks that ended long ago without success
//! snapshots, history: copies of the ledger, and what it forgets
//! ```

pub mod error;
mod history;
pub mod places;
pub mod policy;
pub mod prune;
mod remove;
mod snapshots;
mod unpublished;
mod uploads;

pub use prune::Pruner;

use crate::base::clock;
use crate::base::error::Chain;
use crate::config::settings::Config;
use crate::host::messages::Message;
use crate::ledger::{Ledger, LedgerError};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(3600);
/// How soon is looked again where a destination did not let something go, or more was due than one look removes.
const SOON: Duration = Duration::from_secs(300);
/// How often stores are asked for uploads that nobody goes on with.
const UPLOADS_EVERY: Duration = Duration::from_secs(24 * 3600);
/// What is published within this time after a change of the ledger is looked at together.
const GATHER: Duration = Duration::from_secs(1);

/// Takes care of the ledger itself, for as long as it is polled: snapshots of it, and what it forgets.
pub async fn tend(ledger: Ledger, config: watch::Receiver<Arc<Config>>) {
    tokio::join!(snapshots::run(ledger.clone(), config.clone()), history::run(ledger, config));
}

/// Looks now, after each publication and every hour, for as long as it is polled.
pub async fn run(pruner: Arc<Pruner>) {
    let ledger = pruner.ledger().clone();
    let mut changes = ledger.changes();
    let mut asked = None;
    loop {
        let seen = publication(&ledger).await;
        if asked.is_none_or(|at| clock::since(at) >= UPLOADS_EVERY) {
            asked = Some(clock::monotonic());
            if let Err(error) = uploads::sweep(&pruner).await {
                tracing::warn!(
                    MESSAGE_ID = Message::RetentionTrouble.id(),
                    "failed to look for uploads to give up: {}",
                    Chain(&error)
                );
            }
        }
        let left = look(&pruner).await;
        let wait = tokio::time::sleep(if left { SOON } else { EVERY });
        tokio::select! {
            () = wait => {}
            () = published(&ledger, &mut changes, seen) => {}
        }
    }
}

/// Whether something is left that is due.
async fn look(pruner: &Pruner) -> bool {
    let unsettled = unpublished::sweep(pruner).await.unwrap_or_else(|error| {
        tracing::warn!(
            MESSAGE_ID = Message::RetentionTrouble.id(),
            "failed to look for files to sweep: {}",
            Chain(&error)
        );
        true
    });
    match pruner.prune(None, "").await {
        Ok(report) => unsettled || report.chains.iter().any(|chain| chain.fate == saas_export_api::Fate::Waits),
        Err(error) => {
            tracing::warn!(
                MESSAGE_ID = Message::RetentionTrouble.id(),
                "failed to look for chains to prune: {}",
                Chain(&error)
            );
            true
        }
    }
}

/// Comes back when something was published after what was `seen`.
async fn published(ledger: &Ledger, changes: &mut watch::Receiver<i64>, seen: Option<Timestamp>) {
    loop {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        tokio::time::sleep(GATHER).await;
        changes.mark_unchanged();
        if publication(ledger).await != seen {
            return;
        }
    }
}

/// When something was last published; a ledger that does not answer is told at the next look.
async fn publication(ledger: &Ledger) -> Option<Timestamp> {
    let answer: Result<_, LedgerError> = ledger.last_publication().await;
    answer.ok().flatten()
}
