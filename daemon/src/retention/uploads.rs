//! Gives up uploads that nobody goes on with: their segment no longer counts or goes elsewhere, or a crash came between their
//! begin and the note of it.

use super::error::PruneError;
use super::places::{self, Places};
use super::prune::Pruner;
use super::remove;
use crate::base::clock;
use crate::base::error::Chain;
use crate::config::settings::{Config, Destination, reached};
use crate::host::messages::Message;
use crate::ledger::rows::TaskFilter;
use crate::ledger::{Ledger, LedgerError};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// Tasks whose destinations are looked at, newest first.
const MOST: u32 = 500;
/// Age before which an upload is left alone: whoever sends it may not know yet that nobody waits for it.
const STALE: SignedDuration = SignedDuration::from_hours(24);

/// Gives up the uploads of the ledger that nobody goes on with, then asks every destination of the newest tasks to give up what
/// is a day old and not in the ledger.
pub async fn sweep(pruner: &Pruner) -> Result<(), LedgerError> {
    abandoned(pruner).await?;
    let known = pruner.ledger().upload_ids().await?;
    for (name, settings) in places(pruner.ledger(), &pruner.config()).await?.into_values() {
        let swept = match pruner.opener().open(&settings) {
            Ok(destination) => destination.sweep_uploads(&known).await,
            Err(error) => Err(error),
        };
        match swept {
            Ok(0) => {}
            Ok(swept) => tracing::info!(
                MESSAGE_ID = Message::RetentionRemoved.id(), EXPORT_DESTINATION = %name,
                "gave up {swept} uploads at {name} that were left open for more than a day"
            ),
            Err(error) => {
                tracing::warn!(
                    MESSAGE_ID = Message::RetentionTrouble.id(), EXPORT_DESTINATION = %name,
                    "failed to give up old uploads at {name}, trying again later: {}", Chain(&error)
                )
            }
        }
    }
    Ok(())
}

/// Gives up what the ledger knows and nobody waits for. A destination that fails is left alone until the next look.
async fn abandoned(pruner: &Pruner) -> Result<(), LedgerError> {
    let ledger = pruner.ledger();
    let before = clock::now().checked_sub(STALE).unwrap_or_default();
    let mut places = Places::new(ledger, pruner.opener(), pruner.config());
    let mut failed = BTreeSet::new();
    for (task, upload) in ledger.abandoned_uploads(before).await? {
        if failed.contains(&upload.destination) {
            continue;
        }
        let given_up: Result<(), PruneError> = async {
            let destination = places.open(&task, &upload.destination).await?;
            remove::within(destination.abort(&upload.key, &upload.id), || destination.location(&upload.key)).await?;
            Ok(ledger.gave_up(&task, &upload).await?)
        }
        .await;
        if let Err(error) = given_up {
            let name = &upload.destination;
            tracing::warn!(
                MESSAGE_ID = Message::RetentionTrouble.id(), EXPORT_TASK = %task, EXPORT_DESTINATION = %name,
                "failed to give up an upload of task {task} at {name}, trying again later: {}", Chain(&error)
            );
            failed.insert(upload.destination);
        }
    }
    Ok(())
}

/// The destinations of the newest tasks, each once, with the settings by which they may be reached.
async fn places(ledger: &Ledger, now: &Config) -> Result<BTreeMap<String, (String, Destination)>, LedgerError> {
    let mut places = BTreeMap::new();
    let mut withheld = BTreeSet::new();
    for task in ledger.tasks(&TaskFilter { export: None, states: Vec::new(), limit: MOST }).await? {
        let config = serde_json::from_str(&task.config).ok().and_then(|value| Config::from_effective(&value).ok());
        for (name, stored) in config.into_iter().flat_map(|config| config.destinations) {
            if stored.local().is_some() {
                continue;
            }
            let key = serde_json::to_string(reached(&stored, now.destinations.get(&name))).unwrap_or_default();
            match places::settings(name.as_str(), &stored, now) {
                Ok(settings) => {
                    places.entry(key).or_insert_with(|| (name.to_string(), settings.clone()));
                }
                Err(error) if withheld.insert(key) => {
                    tracing::warn!(
                        MESSAGE_ID = Message::RetentionTrouble.id(), EXPORT_DESTINATION = %name,
                        "failed to look for old uploads at {name}, trying again later: {}", Chain(&error)
                    );
                }
                Err(_) => {}
            }
        }
    }
    Ok(places)
}
