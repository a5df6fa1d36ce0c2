//! How a task stands at its destinations, for the wire.

use super::time;
use crate::ledger::rows::{DeliverySum, TaskRow};
use crate::model::progress::AtDestination;
use saas_export_api as api;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where a task reads and writes, as it stored it when it was created.
pub fn stored(row: &TaskRow) -> StoredExport {
    let stored = serde_json::from_str::<Stored>(&row.config).ok();
    stored.and_then(|mut stored| stored.exports.remove(&row.export)).unwrap_or_default()
}

/// The rest of the configuration is skipped, which is faster than to read it: every look at a task that runs does this.
#[derive(Deserialize)]
struct Stored {
    exports: BTreeMap<String, StoredExport>,
}

/// What a task's own configuration says of where it reads and writes; empty where that is not known.
#[derive(Default, Deserialize)]
pub struct StoredExport {
    /// Name of the source.
    pub source: Option<String>,
    /// Names of the destinations.
    #[serde(default)]
    pub to: Vec<String>,
}

/// A destination of a task: what the ledger has, and what its deliveries say now.
pub fn task_destination(name: &str, sum: Option<&DeliverySum>, live: Option<&AtDestination>) -> api::TaskDestination {
    let sum = sum.cloned().unwrap_or_default();
    let live = live.cloned().unwrap_or_default();
    api::TaskDestination {
        name: name.to_owned(),
        files: sum.files,
        delivered: sum.delivered,
        bytes: sum.bytes,
        delivered_bytes: sum.delivered_bytes,
        sent_bytes: live.sent,
        published: sum.published,
        filling: sum.filling,
        // What failed last and has not worked since, also of the daemon before.
        error: live.error.or(sum.error),
        next_try: live.next_try.map(time),
    }
}
