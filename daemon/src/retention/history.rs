//! Has the ledger forget what is over for longer than `daemon.history`, a little at a time.

use super::unpublished;
use crate::base::clock;
use crate::base::error::Chain;
use crate::config::settings::{Config, Daemon};
use crate::host::messages::Message;
use crate::ledger::{Ledger, LedgerError};
use jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first look after a start.
const FIRST: Duration = Duration::from_secs(120);
/// How often is looked.
const EVERY: Duration = Duration::from_secs(3600);
/// Tasks that are looked at together.
const PAGE: u32 = 1000;
/// Tasks that are noted as forgotten in one transaction.
const BATCH: usize = 50;
/// Time between two transactions, so that who waits for the writer waits for one at most.
const PAUSE: Duration = Duration::from_millis(10);
const DAY: i64 = 24 * 3600;

/// Looks every hour, for as long as it is polled.
pub async fn run(ledger: Ledger, config: watch::Receiver<Arc<Config>>) {
    tokio::time::sleep(FIRST).await;
    loop {
        let daemon = config.borrow().daemon.clone();
        match sweep(&ledger, &daemon).await {
            Ok((0, 0)) => {}
            Ok((tasks, lines)) => tracing::info!(
                "removed {tasks} tasks and {lines} lines of the audit that are older than daemon.history"
            ),
            Err(error) => tracing::warn!(
                MESSAGE_ID = Message::HistoryTrouble.id(),
                "failed to remove old history from the ledger, trying again later: {}",
                Chain(&error)
            ),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Forgets what is due; how many tasks and lines of the audit.
async fn sweep(ledger: &Ledger, daemon: &Daemon) -> Result<(usize, i64), LedgerError> {
    // What an interrupted look has begun.
    finish(ledger).await?;
    let Some(before) = daemon.history.0.and_then(|history| cutoff(clock::now(), history)) else { return Ok((0, 0)) };
    let (mut after, mut forgotten) = (0, 0);
    loop {
        let page = ledger.forgettable(before, after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        let state_dir = daemon.state_dir.clone();
        let due = tokio::task::spawn_blocking(move || {
            let gone = |task: &_| !unpublished::left(task, Path::new(&state_dir));
            page.into_iter().filter(|(_, task)| gone(task)).map(|(_, task)| task.id).collect::<Vec<_>>()
        });
        for batch in due.await.map_err(|_| LedgerError::Closed)?.chunks(BATCH) {
            forgotten += ledger.forget(batch.to_vec(), before).await?;
            finish(ledger).await?;
        }
    }
    let lines = ledger.cut_audit(before).await?;
    finish(ledger).await?;
    Ok((forgotten, lines))
}

/// Removes everything that is noted as forgotten.
async fn finish(ledger: &Ledger) -> Result<(), LedgerError> {
    while !ledger.remove_forgotten().await? {
        tokio::time::sleep(PAUSE).await;
    }
    while !ledger.remove_cut().await? {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The start of the day, in UTC, on which history begins: what a day makes due goes together, in few lines of the audit.
fn cutoff(now: Timestamp, history: Duration) -> Option<Timestamp> {
    let oldest = now.checked_sub(history).ok()?.as_second();
    Timestamp::from_second(oldest - oldest.rem_euclid(DAY)).ok()
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
