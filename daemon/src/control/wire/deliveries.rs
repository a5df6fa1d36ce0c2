//! How a task stands at its destinations, for the wire.

use super::time;
use crate::ledger::rows::{DeliverySum, TaskRow};
use crate::model::progress::AtDestination;
use saas_export_api as api;
use serde_json::Value;

/// Names of the destinations of a task, in the order of its export, as it stored them; empty where that cannot be read.
pub fn destinations(row: &TaskRow) -> Vec<String> {
    let config: Value = serde_json::from_str(&row.config).unwrap_or_default();
    let to = config.pointer(&format!("/exports/{}/to", row.export)).and_then(Value::as_array);
    to.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
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
