//! Paths of published data files.

use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::rows::{TaskFilter, TaskRow};
use saas_export_api::{FileEntry, Files};
use std::collections::BTreeSet;

/// How many tasks back published files are looked for.
const TASKS: u32 = 1000;

/// `GET /v1/tasks/{task}/files`.
pub async fn of_task(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let row = reads::task(&call.state, call.arg(0)).await?;
    let destinations = wire::places(&row)?.into_iter().map(|(name, _)| name).collect();
    let files = reads::published_files(&call.state, &row, |_, _| true).await?;
    Reply::sync(Files { export: row.export.clone(), destinations, files })
}

/// `GET /v1/exports/{export}/files?latest`: of every published task, or of what `latest.json` points at.
pub async fn of_export(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&["latest"])?;
    let latest = call.target.query.flag("latest")?;
    let config = call.state.config();
    let (name, export) = reads::export(&config, call.arg(0))?;
    let filter = TaskFilter { export: Some(name.to_string()), limit: TASKS, ..TaskFilter::default() };
    let rows = call.state.ledger.tasks(&filter).await.map_err(wire::ledger_error)?;
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let mut files: Vec<FileEntry> = Vec::new();
    for row in rows.iter().filter(|row| !latest || moves_latest(row)) {
        let wanted = |stream: &str, destination: &str| {
            let first = seen.insert((stream.to_owned(), destination.to_owned()));
            first || !latest
        };
        files.extend(reads::published_files(&call.state, row, wanted).await?);
    }
    let destinations = export.to.iter().map(ToString::to_string).collect();
    Reply::sync(Files { export: name.to_string(), destinations, files })
}

/// `latest.json` follows only tasks without parameters: the others are other data sets.
fn moves_latest(row: &TaskRow) -> bool {
    row.params.is_empty()
}
