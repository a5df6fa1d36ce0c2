//! Prunes: asks the policy, notes what goes in the ledger, and lets it go, each destination on its own.

use super::error::PruneError;
use super::places::Places;
use super::policy::{self, Fate};
use super::remove;
use crate::base::clock;
use crate::base::crash;
use crate::base::error::Chain;
use crate::config::settings::{Config, KeepAt};
use crate::destinations::Opener;
use crate::host::messages::Message;
use crate::ledger::prunes::{Begun, ChainAt};
use crate::ledger::{Ledger, LedgerError};
use futures_util::future::join_all;
use saas_export_api as api;
use saas_export_api::{PruneReport, plural};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

/// Chains that one look removes from a destination; the rest is left for the next one, so that no look takes for ever.
const MOST: usize = 200;
/// After this many failures in a row a destination is left alone until the next look.
const FAILURES: u32 = 3;

/// Removes chains. One at a time looks, so that none counts on what another removes.
pub struct Pruner {
    ledger: Ledger,
    opener: Arc<Opener>,
    config: watch::Receiver<Arc<Config>>,
    state_dir: PathBuf,
    turn: Mutex<()>,
    /// Held from the question what is left of a task to the note that this is gone: one destination must see the other's.
    ending: Mutex<()>,
}

/// A chain that goes.
enum Work {
    /// Its removal was begun by an earlier look.
    Finish(Begun),
    /// The policy lets it go, for this reason.
    Begin(ChainAt, String),
}

/// What became of a piece of work.
enum Done {
    Gone,
    Stays(String),
}

impl Pruner {
    /// A pruner by the configuration in force; `state_dir` holds the rejected records of tasks.
    pub fn new(ledger: Ledger, opener: Arc<Opener>, config: watch::Receiver<Arc<Config>>) -> Self {
        let state_dir = config.borrow().daemon.state_dir.clone();
        Self { ledger, opener, config, state_dir, turn: Mutex::default(), ending: Mutex::default() }
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What opens destinations.
    pub(super) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    /// The state directory.
    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// What would become of the chains of one export, or of all. Asks the ledger alone.
    pub async fn plan(&self, export: Option<&str>) -> Result<PruneReport, LedgerError> {
        let mut chains: Vec<api::ChainFate> =
            self.unfinished(export).await?.iter().map(|begun| told(&begun.chain, api::Fate::Due, &begun.why)).collect();
        for (chain, fate) in self.judged(export).await? {
            chains.push(match fate {
                Fate::Keep(why) => told(&chain, api::Fate::Kept, &why),
                Fate::Go(why) => told(&chain, api::Fate::Due, &why),
            });
        }
        Ok(report(true, chains))
    }

    /// Removes what is due of one export, or of all, and what earlier looks began; `by` is who asked, nobody where it is
    /// empty. What stays is in the report, too.
    pub async fn prune(&self, export: Option<&str>, by: &str) -> Result<PruneReport, LedgerError> {
        let _turn = self.turn.lock().await;
        let mut chains = Vec::new();
        let mut work: BTreeMap<String, Vec<Work>> = BTreeMap::new();
        for begun in self.unfinished(export).await? {
            work.entry(begun.chain.destination.clone()).or_default().push(Work::Finish(begun));
        }
        for (chain, fate) in self.judged(export).await? {
            match fate {
                Fate::Keep(why) => chains.push(told(&chain, api::Fate::Kept, &why)),
                Fate::Go(why) => work.entry(chain.destination.clone()).or_default().push(Work::Begin(chain, why)),
            }
        }
        let done = join_all(work.into_iter().map(|(name, work)| self.at_destination(name, work, by))).await;
        chains.extend(done.into_iter().flatten());
        Ok(report(false, chains))
    }

    async fn unfinished(&self, export: Option<&str>) -> Result<Vec<Begun>, LedgerError> {
        let mut found = self.ledger.unfinished_prunes().await?;
        found.retain(|begun| export.is_none_or(|export| export == begun.chain.export));
        Ok(found)
    }

    /// The chains that are offered, and what the policy says of them. What the configuration does not mention any more stays.
    async fn judged(&self, export: Option<&str>) -> Result<Vec<(ChainAt, Fate)>, LedgerError> {
        let (config, now) = (self.config(), clock::now());
        let chains = self.ledger.chains_there(export).await?;
        let place = |chain: &ChainAt| (chain.export.clone(), chain.stream.clone(), chain.destination.clone());
        let mut judged = Vec::with_capacity(chains.len());
        for group in chains.chunk_by(|one, other| place(one) == place(other)) {
            let fates = match group.first().map(|chain| keep(&config, chain)) {
                Some(Ok(keep)) => policy::judge(group, keep, now),
                Some(Err(why)) => vec![Fate::Keep(why); group.len()],
                None => Vec::new(),
            };
            judged.extend(group.iter().cloned().zip(fates));
        }
        Ok(judged)
    }

    /// Does what is to be done at a destination, one chain after the other; one that does not answer is left for later.
    async fn at_destination(&self, name: String, work: Vec<Work>, by: &str) -> Vec<api::ChainFate> {
        let mut places = Places::new(&self.ledger, &self.opener, self.config());
        let (mut fates, mut failures, mut removed, mut last) = (Vec::new(), 0, 0, String::new());
        let mut withheld = false;
        for piece in work {
            let (chain, why) = match &piece {
                Work::Finish(begun) => (begun.chain.clone(), begun.why.clone()),
                Work::Begin(chain, why) => (chain.clone(), why.clone()),
            };
            if failures >= FAILURES || removed >= MOST {
                let why = if removed >= MOST { "there is more than one look removes" } else { last.as_str() };
                fates.push(told(&chain, api::Fate::Waits, why));
                continue;
            }
            fates.push(match self.carry_out(&mut places, piece, by).await {
                Ok(Done::Gone) => {
                    (failures, removed) = (0, removed + 1);
                    tracing::info!(
                        MESSAGE_ID = Message::RetentionRemoved.id(),
                        EXPORT_NAME = %chain.export, EXPORT_STREAM = %chain.stream, EXPORT_DESTINATION = %name,
                        "removed the chain {} of {}/{} from {name}, {} {}: {why}", chain.chain, chain.export,
                        chain.stream, chain.files(), plural(chain.files(), "file")
                    );
                    told(&chain, api::Fate::Pruned, &why)
                }
                Ok(Done::Stays(why)) => told(&chain, api::Fate::Kept, &why),
                Err(error) => {
                    let why = format!("failed to {}", Chain(&error));
                    // Of a place that is not opened nobody was asked: what lies elsewhere under the name goes on.
                    let asked = !matches!(error, PruneError::Withheld { .. });
                    if asked || !withheld {
                        tracing::warn!(
                            MESSAGE_ID = Message::RetentionTrouble.id(),
                            EXPORT_NAME = %chain.export, EXPORT_STREAM = %chain.stream, EXPORT_DESTINATION = %name,
                            "{why}; the chain {} is removed from {name} later", chain.chain
                        );
                    }
                    if asked {
                        failures += 1;
                        last.clone_from(&why);
                    }
                    withheld |= !asked;
                    told(&chain, api::Fate::Waits, &why)
                }
            });
        }
        fates
    }

    async fn carry_out(&self, places: &mut Places<'_>, piece: Work, by: &str) -> Result<Done, PruneError> {
        let begun = match piece {
            Work::Finish(begun) => begun,
            Work::Begin(chain, why) => {
                if remove::is_followed(places, &chain).await? {
                    return Ok(Done::Stays("latest.json still leads to it".into()));
                }
                if !self.ledger.begin_prune(&chain, by, &why).await? {
                    return Ok(Done::Stays("it has changed meanwhile".into()));
                }
                crash::point("prune.noted");
                Begun { chain, by: by.to_owned(), why }
            }
        };
        remove::objects(&self.ledger, places, &begun.chain).await?;
        let _ending = self.ending.lock().await;
        for task in self.ledger.last_of(&begun.chain).await? {
            remove::rejected_records(&self.state_dir, &task).await?;
        }
        crash::point("prune.removed");
        self.ledger.finish_prune(&begun).await?;
        crash::point("prune.committed");
        Ok(Done::Gone)
    }
}

/// What the configuration says of the place where a chain lies; or why it says nothing, so that it stays.
fn keep(config: &Config, chain: &ChainAt) -> Result<KeepAt, String> {
    let export = config.exports.get(chain.export.as_str()).ok_or("its export is not configured any more")?;
    if !export.to.iter().any(|name| name.as_str() == chain.destination) {
        return Err("its export does not deliver there any more".into());
    }
    Ok(export.keep.at(&chain.destination))
}

fn told(chain: &ChainAt, fate: api::Fate, why: &str) -> api::ChainFate {
    api::ChainFate {
        export: chain.export.clone(),
        stream: chain.stream.clone(),
        destination: chain.destination.clone(),
        chain: chain.chain.clone(),
        tasks: chain.links.iter().map(|link| link.task.to_string()).collect(),
        params: chain.params.clone(),
        published_at: chain.published_at().to_string(),
        files: chain.files(),
        bytes: chain.bytes(),
        fate,
        why: why.to_owned(),
    }
}

fn report(dry_run: bool, mut chains: Vec<api::ChainFate>) -> PruneReport {
    let key =
        |fate: &api::ChainFate| [&fate.export, &fate.stream, &fate.destination, &fate.chain].map(String::to_owned);
    chains.sort_by_cached_key(key);
    PruneReport { dry_run, chains }
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
