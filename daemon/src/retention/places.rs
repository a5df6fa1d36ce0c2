//! Opens the destinations of tasks that ended long ago: where their objects lie, with the secrets of now.

use super::error::PruneError;
use crate::base::ids::TaskId;
use crate::config::settings::{Config, reached};
use crate::destinations::{Destination, Opener};
use crate::ledger::Ledger;
use std::sync::Arc;

/// Opens destinations of tasks. Tasks of one configuration follow one another, so that the last one is kept.
pub struct Places<'a> {
    ledger: &'a Ledger,
    opener: &'a Opener,
    now: Arc<Config>,
    last: Option<(String, Config)>,
}

impl<'a> Places<'a> {
    /// None is opened yet; `now` is the configuration in force.
    pub fn new(ledger: &'a Ledger, opener: &'a Opener, now: Arc<Config>) -> Self {
        Self { ledger, opener, now, last: None }
    }

    /// A destination of a task.
    pub async fn open(&mut self, task: &TaskId, name: &str) -> Result<Arc<dyn Destination>, PruneError> {
        let broken = |why: String| PruneError::Stored { task: task.clone(), why };
        let row = self.ledger.task(task).await?.ok_or_else(|| broken("there is no such task".into()))?;
        let known = self.last.take().filter(|(text, _)| *text == row.config);
        let config = match known {
            Some((_, config)) => config,
            None => {
                let stored = serde_json::from_str(&row.config).map_err(|error| broken(error.to_string()))?;
                Config::from_effective(&stored).map_err(|problems| broken(problems.to_string()))?
            }
        };
        let stored = config.destinations.get(name).ok_or_else(|| broken(format!("it has no destination {name}")))?;
        let opened = self.opener.open(reached(stored, self.now.destinations.get(name)));
        self.last = Some((row.config, config));
        Ok(opened?)
    }
}
