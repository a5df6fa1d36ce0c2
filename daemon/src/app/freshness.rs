//! Whether the streams of exports with a `freshness` are as new as it wants, and a line in the log when that changes.

use super::engine::streams_of;
use crate::base::clock;
use crate::base::error::Chain;
use crate::config::settings::{Config, Export};
use crate::host::messages::Message;
use crate::ledger::facts::StreamFacts;
use crate::ledger::{Ledger, LedgerError};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(15);

/// A stream and how new it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Name of the export.
    pub export: String,
    /// Name of the stream.
    pub stream: String,
    /// When a task last exported it with success.
    pub last_success: Option<Timestamp>,
    /// The configured freshness.
    pub limit: Option<Duration>,
    /// The time since the last success; without one since the export's first task, or the daemon's start.
    pub age: Duration,
}

impl Freshness {
    /// Whether it is older than it may be.
    pub fn stale(&self) -> bool {
        self.limit.is_some_and(|limit| self.age > limit)
    }

    fn new((export, stream): (String, String), facts: &StreamFacts, limit: Option<Duration>, since: Timestamp) -> Self {
        let from = facts.last_success.or(facts.first_task).unwrap_or(since);
        let age = Duration::try_from(clock::now().duration_since(from)).unwrap_or_default();
        Self { export, stream, last_success: facts.last_success, limit, age }
    }
}

/// Every stream of every export, in order of name. `since` is the daemon's start.
pub async fn look(ledger: &Ledger, config: &Config, since: Timestamp) -> Result<Vec<Freshness>, LedgerError> {
    of(ledger, config, since, |_| true).await
}

/// The streams that are older than they may be, in order of name; the others are not even asked for.
pub async fn stale(ledger: &Ledger, config: &Config, since: Timestamp) -> Result<Vec<Freshness>, LedgerError> {
    let mut streams = of(ledger, config, since, |export| export.freshness.is_some()).await?;
    streams.retain(Freshness::stale);
    Ok(streams)
}

async fn of(
    ledger: &Ledger,
    config: &Config,
    since: Timestamp,
    asked: impl Fn(&Export) -> bool,
) -> Result<Vec<Freshness>, LedgerError> {
    let mut wanted = Vec::new();
    for (name, export) in config.exports.iter().filter(|(_, export)| asked(export)) {
        let limit = export.freshness.map(|limit| limit.0);
        wanted.extend(streams_of(export, config).iter().map(|stream| ((name.to_string(), stream.to_string()), limit)));
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<(String, String)> = wanted.iter().map(|(names, _)| names.clone()).collect();
    let facts = ledger.stream_facts(names).await?;
    let all = wanted.into_iter().zip(&facts);
    Ok(all.map(|((names, limit), facts)| Freshness::new(names, facts, limit, since)).collect())
}

/// Looks again and again, and says once when a stream has become stale, or fresh again. Runs until it is aborted.
pub async fn watch(ledger: Ledger, config: watch::Receiver<Arc<Config>>) {
    let (since, mut stale) = (clock::now(), BTreeSet::new());
    loop {
        let now = config.borrow().clone();
        if now.exports.values().any(|export| export.freshness.is_some()) {
            match look(&ledger, &now, since).await {
                Ok(streams) => tell(&streams, &mut stale),
                Err(error) => tracing::debug!("failed to look for stale streams: {}", Chain(&error)),
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn tell(streams: &[Freshness], stale: &mut BTreeSet<(String, String)>) {
    // One that is configured no more may come back.
    stale.retain(|(export, stream)| streams.iter().any(|seen| seen.export == *export && seen.stream == *stream));
    for seen in streams {
        let (export, stream) = (&seen.export, &seen.stream);
        let key = (export.clone(), stream.clone());
        match (seen.stale(), stale.contains(&key)) {
            (true, false) => {
                stale.insert(key);
                let last = seen.last_success.map_or("never".to_owned(), |at| format!("{at:.0}"));
                let limit = seen.limit.unwrap_or_default();
                tracing::warn!(
                    MESSAGE_ID = Message::StreamStale.id(), EXPORT_NAME = %export, EXPORT_STREAM = %stream,
                    "stream {export}/{stream} is stale: its last success was {last}, more than {} ago", span(limit)
                );
            }
            (false, true) => {
                stale.remove(&key);
                tracing::info!(
                    MESSAGE_ID = Message::StreamFresh.id(), EXPORT_NAME = %export, EXPORT_STREAM = %stream,
                    "stream {export}/{stream} is fresh again"
                );
            }
            _ => {}
        }
    }
}

fn span(limit: Duration) -> String {
    crate::config::units::Span(limit).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(limit: Option<u64>, age: u64) -> Freshness {
        let (export, stream) = ("shop".to_owned(), "orders".to_owned());
        let limit = limit.map(Duration::from_secs);
        Freshness { export, stream, last_success: None, limit, age: Duration::from_secs(age) }
    }

    #[test]
    fn stale_is_older_than_the_limit() {
        assert!(seen(Some(60), 61).stale() && !seen(Some(60), 60).stale() && !seen(None, 1_000_000).stale());
    }

    #[test]
    fn a_stream_that_never_succeeded_is_as_old_as_its_first_task() {
        let long_ago = clock::now() - Duration::from_secs(7200);
        let names = || ("shop".to_owned(), "orders".to_owned());
        let age = |facts: &StreamFacts| Freshness::new(names(), facts, None, clock::now()).age.as_secs();
        assert!(age(&StreamFacts { first_task: Some(long_ago), last_success: None }) >= 7200);
        assert!(age(&StreamFacts { first_task: Some(long_ago), last_success: Some(clock::now()) }) < 60);
        assert!(age(&StreamFacts::default()) < 60, "the daemon has just started");
    }

    #[test]
    fn changes_are_told_once() {
        let mut stale = BTreeSet::new();
        let steps = [(seen(Some(60), 61), 1), (seen(Some(60), 99), 1), (seen(Some(60), 1), 0), (seen(Some(60), 70), 1)];
        for (step, known) in steps {
            tell(&[step], &mut stale);
            assert_eq!(stale.len(), known);
        }
        tell(&[], &mut stale);
        assert!(stale.is_empty(), "it is configured no more");
    }
}
