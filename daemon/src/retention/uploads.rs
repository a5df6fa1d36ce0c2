//! Gives up uploads that nobody goes on with: a crash came between their begin and the note of it.

use crate::base::error::Chain;
use crate::config::settings::{Config, Destination};
use crate::destinations::Opener;
use crate::ledger::rows::TaskFilter;
use crate::ledger::{Ledger, LedgerError};
use std::collections::BTreeMap;

/// Tasks whose destinations are looked at, newest first.
const MOST: u32 = 500;

/// Asks every destination of the newest tasks to give up what is a day old and not in the ledger.
pub async fn sweep(ledger: &Ledger, opener: &Opener) -> Result<(), LedgerError> {
    let known = ledger.upload_ids().await?;
    for (name, settings) in places(ledger).await?.into_values() {
        let swept = match opener.open(&settings) {
            Ok(destination) => destination.sweep_uploads(&known).await,
            Err(error) => Err(error),
        };
        match swept {
            Ok(0) => {}
            Ok(swept) => tracing::info!("gave up {swept} uploads at {name} that were left open for more than a day"),
            Err(error) => {
                tracing::warn!("failed to give up old uploads at {name}, trying again later: {}", Chain(&error))
            }
        }
    }
    Ok(())
}

/// The destinations of the newest tasks, each once.
async fn places(ledger: &Ledger) -> Result<BTreeMap<String, (String, Destination)>, LedgerError> {
    let mut places = BTreeMap::new();
    for task in ledger.tasks(&TaskFilter { export: None, states: Vec::new(), limit: MOST }).await? {
        let config = serde_json::from_str(&task.config).ok().and_then(|value| Config::from_effective(&value).ok());
        for (name, place) in config.into_iter().flat_map(|config| config.destinations) {
            if place.local().is_none() {
                places.insert(serde_json::to_string(&place).unwrap_or_default(), (name.to_string(), place));
            }
        }
    }
    Ok(places)
}
