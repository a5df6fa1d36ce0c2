//! Where a restore looks: at what the configuration has, and at what the ledger knows besides, with the settings of then.

use crate::app::engine::streams_of;
use crate::base::ids::TaskId;
use crate::config::settings::Config;
use crate::ledger::rows::TaskRow;
use crate::ledger::{Ledger, LedgerError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A stream at a destination: export, stream, destination.
pub type Spot = (String, String, String);

/// The places to look at.
#[derive(Default)]
pub struct Spots {
    all: BTreeMap<Spot, Option<Arc<Then>>>,
}

/// The configuration that a task has stored.
pub struct Then {
    /// Its own words.
    pub text: Value,
    /// What they mean.
    pub config: Config,
}

impl Then {
    /// Of a task; `None` where this version does not understand it.
    pub fn of(row: &TaskRow) -> Option<Arc<Self>> {
        let text: Value = serde_json::from_str(&row.config).ok()?;
        let config = Config::from_effective(&text).ok()?;
        Some(Arc::new(Self { text, config }))
    }
}

impl Spots {
    /// Everything that the configuration has, that open tasks go to, and where the ledger has a chain begun (`starts`).
    pub async fn find(
        config: &Config,
        (ledger, open): (&Ledger, &[TaskRow]),
        starts: &BTreeMap<Spot, TaskId>,
    ) -> Result<Self, LedgerError> {
        let mut all: BTreeMap<Spot, Option<Arc<Then>>> = BTreeMap::new();
        for (export, settings) in &config.exports {
            for name in &settings.to {
                let spots = streams_of(settings, config).into_iter().map(|stream| spot(export, &stream, name));
                all.extend(spots.map(|spot| (spot, None)));
            }
        }
        for row in open {
            let Some(then) = Then::of(row) else { continue };
            let to = then.config.exports.values().flat_map(|export| &export.to).collect::<BTreeSet<_>>();
            for stream in ledger.streams(&row.id).await? {
                for name in &to {
                    all.entry(spot(&row.export, &stream.stream, name)).or_insert_with(|| Some(then.clone()));
                }
            }
        }
        for (spot, task) in starts.iter().filter(|(spot, _)| !all.contains_key(*spot)).collect::<Vec<_>>() {
            let then = ledger.task(task).await?.as_ref().and_then(Then::of);
            if let Some(then) = then {
                all.insert(spot.clone(), Some(then));
            }
        }
        Ok(Self { all })
    }

    /// Each, with the configuration of then where that of now does not have it.
    pub fn iter(&self) -> impl Iterator<Item = (&Spot, Option<&Then>)> {
        self.all.iter().map(|(spot, then)| (spot, then.as_deref()))
    }

    /// What an export was that the configuration does not have any more.
    pub fn then(&self, export: &str) -> Option<&Then> {
        self.iter().find_map(|((of, _, _), then)| then.filter(|_| of == export))
    }

    /// A task's configuration with the settings of destinations that its export does not go to any more.
    pub fn with_destinations(&self, config: &str, (export, names): (&str, &[&str])) -> String {
        let Ok(mut config) = serde_json::from_str::<Value>(config) else { return config.to_owned() };
        let Some(all) = config.get_mut("destinations").and_then(Value::as_object_mut) else {
            return config.to_string();
        };
        for ((_, _, name), then) in
            self.iter().filter(|((of, _, name), _)| of == export && names.contains(&name.as_str()))
        {
            let stored = then.and_then(|then| then.text.pointer(&format!("/destinations/{name}")));
            if let Some(stored) = stored.filter(|_| !all.contains_key(name)) {
                all.insert(name.clone(), stored.clone());
            }
        }
        config.to_string()
    }
}

fn spot(export: impl ToString, stream: impl ToString, destination: impl ToString) -> Spot {
    (export.to_string(), stream.to_string(), destination.to_string())
}
