//! What runs and how far it is, for whoever asks: nobody waits for a dispatcher that waits for its ledger.

use crate::base::ids::TaskId;
use crate::model::progress::Progress;
use crate::model::task::Waiting;
use crate::transfer::progress::Counters;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The tasks that the dispatcher had under way at its last turn.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Vec<Shown>>>);

/// A task that runs, or whose deliveries are carried on with.
pub(super) struct Shown {
    pub(super) id: TaskId,
    pub(super) counters: Arc<Counters>,
    /// What its run waits for.
    pub(super) waiting: Option<Waiting>,
    pub(super) carried: bool,
}

impl Shown {
    /// Its figures at this moment.
    pub(super) fn read(&self) -> Progress {
        let live = self.counters.read();
        Progress { waiting: self.waiting.clone().or(live.waiting), carried: self.carried, ..live }
    }
}

impl Live {
    /// These are under way, and no others; of two of the same id the last one counts.
    pub(super) fn show(&self, shown: impl Iterator<Item = Shown>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clear();
        all.extend(shown);
    }

    /// Their live figures, by task id.
    pub fn progress(&self) -> BTreeMap<String, Progress> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|shown| (shown.id.to_string(), shown.read())).collect()
    }
}
