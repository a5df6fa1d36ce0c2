//! Spools that no task of the new ledger will ever empty: they are named, and left to an operator, who may want the old one back.

use super::error::AdoptError;
use crate::base::ids::TaskId;
use crate::config::settings::Config;
use crate::destinations::local::PRIVATE;
use crate::ledger::Ledger;
use crate::model::task::TaskState;
use crate::transfer::spool::Spool;
use std::fs;
use std::path::PathBuf;

/// The directories of tasks that are not known, or that have nothing to deliver any more.
pub async fn left(config: &Config, ledger: &Ledger) -> Result<Vec<PathBuf>, AdoptError> {
    let state_dir = &config.daemon.state_dir;
    let locals = config.destinations.values().filter_map(|place| place.local());
    let bases = locals.map(|local| local.root.join(PRIVATE)).chain([state_dir.clone()]);
    let mut left = Vec::new();
    for base in bases {
        let probe = Spool::new(&base, state_dir, &TaskId::known("0"), 0o640);
        let Some(spools) = probe.dir().parent() else { continue };
        // What cannot be listed is nothing that must be told.
        for entry in fs::read_dir(spools).into_iter().flatten().flatten() {
            let id = TaskId::known(entry.file_name().to_string_lossy());
            if !TaskId::looks_like_one(id.as_str()) {
                continue;
            }
            let over = match ledger.task(&id).await? {
                None => true,
                Some(row) => row.state == TaskState::Succeeded && ledger.back_fills(&id).await?.is_empty(),
            };
            if over {
                left.push(entry.path());
            }
        }
    }
    left.sort();
    Ok(left)
}
