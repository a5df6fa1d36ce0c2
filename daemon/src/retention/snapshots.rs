//! Takes snapshots of the ledger by itself, and lets old ones go.

use crate::base::clock;
use crate::base::error::Chain;
use crate::config::settings::{Config, Snapshots};
use crate::host::messages::Message;
use crate::ledger::{Ledger, LedgerError};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first look after a start: by then recovered tasks have had the disk for themselves.
const FIRST: Duration = Duration::from_secs(60);
/// How soon it is tried again where it did not work.
const AGAIN: Duration = Duration::from_secs(1800);
/// The longest time between two looks, so that a clock that was set is noticed.
const LOOK: Duration = Duration::from_secs(3600);

/// Looks whether one is due, for as long as it is polled.
pub async fn run(ledger: Ledger, mut config: watch::Receiver<Arc<Config>>) {
    let settings = config.borrow_and_update().daemon.snapshots;
    tokio::time::sleep(settings.every.0.map_or(FIRST, |every| every.min(FIRST))).await;
    loop {
        let settings = config.borrow_and_update().daemon.snapshots;
        let wait = look(&ledger, settings).await.unwrap_or_else(|error| {
            tracing::warn!(
                MESSAGE_ID = Message::SnapshotTrouble.id(),
                "failed to take a snapshot of the ledger, trying again later: {}",
                Chain(&error)
            );
            AGAIN
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = config.changed() => if changed.is_err() { return },
        }
    }
}

/// Takes a snapshot if one is due, then lets old ones go; how long to wait for the next look.
async fn look(ledger: &Ledger, settings: Snapshots) -> Result<Duration, LedgerError> {
    // First, so that what is too old does not keep a new one from its room.
    ledger.sweep_snapshots(settings.keep.0).await?;
    let Some(every) = settings.every.0 else { return Ok(LOOK) };
    let now = clock::now();
    let taken = ledger.snapshots().await?.into_iter().map(|snapshot| snapshot.taken_at);
    let wait = due(taken, every, now);
    if !wait.is_zero() {
        return Ok(wait.min(LOOK));
    }
    let taken = ledger.snapshot("").await?;
    tracing::info!(
        "took the snapshot {} of the ledger, {} bytes in {:.1} s",
        taken.snapshot.name,
        taken.snapshot.bytes,
        taken.took.as_secs_f64()
    );
    Ok(every.min(LOOK))
}

/// How long until the next one. One from the future is that of a clock that was wrong, and counts for nothing.
fn due(taken: impl IntoIterator<Item = Timestamp>, every: Duration, now: Timestamp) -> Duration {
    let ages = taken.into_iter().filter_map(|at| Duration::try_from(now.duration_since(at)).ok());
    ages.min().map_or(Duration::ZERO, |age| every.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::{Span, SpanOrNever};

    #[test]
    fn one_is_due_when_the_newest_is_old_enough() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (now, day) = (at("2026-11-21T02:00:00Z"), Duration::from_secs(86_400));
        assert_eq!(due(None, day, now), Duration::ZERO);
        assert_eq!(due([at("2026-11-20T02:00:00Z")], day, now), Duration::ZERO);
        assert_eq!(due([at("2036-11-20T03:00:00Z"), at("2026-11-20T03:00:00Z")], day, now), Duration::from_secs(3600));
        assert_eq!(due([at("2036-11-20T03:00:00Z")], day, now), Duration::ZERO);
    }

    #[tokio::test]
    async fn it_takes_what_is_due_and_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let every = |every| Snapshots { every: SpanOrNever(every), ..Snapshots::default() };
        let (never, daily) = (every(None), every(Some(Duration::from_secs(86_400))));
        assert_eq!(look(&ledger, never).await.unwrap(), LOOK);
        assert!(ledger.snapshots().await.unwrap().is_empty());
        look(&ledger, daily).await.unwrap();
        assert_eq!(look(&ledger, daily).await.unwrap(), LOOK);
        let taken = ledger.snapshots().await.unwrap();
        assert_eq!(taken.len(), 1);
        let old = taken[0].path.with_file_name("ledger-20200101T000000Z.db");
        std::fs::copy(&taken[0].path, &old).unwrap();
        look(&ledger, Snapshots { keep: Span(Duration::from_secs(3600)), ..never }).await.unwrap();
        assert!(!old.exists() && taken[0].path.exists(), "old ones go even where none is taken");
    }
}
