//! Time windows of exports: none starts outside of them, and one that reads when they close is put away until they open.

use super::engine::AppEngine;
use crate::base::clock;
use crate::config::settings::Config;
use crate::model::task::Waiting;
use crate::queue::dispatcher::Engine as _;
use crate::transfer::{self, Outcome, TaskRun};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How often a run looks at the clock. Short, because a pause has no more time either.
const LOOK: Duration = Duration::from_secs(1);

/// Why an export may not read its source now, by the configuration in force.
pub fn closed(config: &Config, export: &str) -> Option<Waiting> {
    config.exports.get(export)?.closed(clock::now())
}

/// Runs a task until its windows close. What is left to deliver then goes on: the windows are for the source.
pub async fn run(engine: &AppEngine, run: TaskRun) -> Outcome {
    let (stop, ledger, row) = (run.stop.clone(), run.ledger.clone(), run.row.clone());
    let mut extracted = row.extracted;
    if let Some(waiting) = engine.closed(&row.export).filter(|_| !extracted) {
        return Outcome::Closed(waiting);
    }
    let mut work = pin!(transfer::run(Arc::new(run)));
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(LOOK), if !extracted => {}
        }
        let Some(waiting) = engine.closed(&row.export) else { continue };
        extracted = ledger.task(&row.id).await.ok().flatten().is_some_and(|row| row.extracted);
        if extracted {
            continue;
        }
        stop.cancel();
        return match work.await {
            Outcome::Stopped => Outcome::Closed(waiting),
            other => other,
        };
    }
}
