//! Schemas: the dry run of an export, and what differs between two tasks.

use crate::control::ControlState;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::rows::{StreamRow, TaskFilter, TaskRow};
use saas_export_api::{ErrorCode, SchemaDiff};

/// How many tasks back one with a schema is looked for.
const TASKS: u32 = 100;

/// `GET /v1/exports/{export}/schema?stream=&format=&param.NAME=`: takes as long as the source, at most a minute.
pub async fn dry_run(call: Call) -> Result<Reply, Failure> {
    let query = &call.target.query;
    query.only(&["stream", "format", "param."])?;
    let config = call.state.config();
    let (name, _) = reads::export(&config, call.arg(0))?;
    let text = |name| query.get(name).map(str::to_owned);
    let ask = crate::control::SchemaAsk {
        export: name.to_string(),
        stream: text("stream"),
        format: text("format"),
        params: query.under("param."),
    };
    Reply::sync(call.state.hooks.schema(ask).await.map_err(wire::refusal)?)
}

/// `GET /v1/exports/{export}/schema/diff`: its last two tasks that have schemas.
pub async fn of_export(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let name = call.arg(0);
    reads::known_export(&call.state, name).await?;
    let filter = TaskFilter { export: Some(name.to_owned()), states: Vec::new(), limit: TASKS };
    let mut found = Vec::new();
    for row in call.state.ledger.tasks(&filter).await.map_err(wire::ledger_error)? {
        let streams = streams(&call.state, &row).await?;
        if streams.iter().any(|stream| stream.schema.is_some()) {
            found.push((row, streams));
        }
        if found.len() == 2 {
            break;
        }
    }
    match (found.pop(), found.pop()) {
        (Some(older), Some(newer)) => Reply::sync(diff(&older, &newer)),
        _ => Err(Failure::new(ErrorCode::NotFound, format!("export {name} has not two tasks with schemas yet"))
            .hint(format!("exportctl schema {name} shows what a task would find now"))),
    }
}

/// `GET /v1/tasks/{task}/schema/diff/{other}`: `other` counts as the newer one.
pub async fn of_tasks(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let older = reads::task(&call.state, call.arg(0)).await?;
    let newer = reads::task(&call.state, call.arg(1)).await?;
    if older.export != newer.export {
        let message = format!("{} is of export {}, {} of {}", older.id, older.export, newer.id, newer.export);
        return Err(Failure::invalid(message));
    }
    let (of_older, of_newer) = (streams(&call.state, &older).await?, streams(&call.state, &newer).await?);
    Reply::sync(diff(&(older, of_older), &(newer, of_newer)))
}

async fn streams(state: &ControlState, row: &TaskRow) -> Result<Vec<StreamRow>, Failure> {
    state.ledger.streams(&row.id).await.map_err(wire::ledger_error)
}

type WithStreams = (TaskRow, Vec<StreamRow>);

fn diff((older, of_older): &WithStreams, (newer, of_newer): &WithStreams) -> SchemaDiff {
    let known = |rows: &[StreamRow], name: &str| rows.iter().find(|row| row.stream == name).cloned();
    let more = of_older.iter().filter(|row| known(of_newer, &row.stream).is_none());
    let names = of_newer.iter().chain(more).map(|row| row.stream.as_str());
    SchemaDiff {
        export: newer.export.clone(),
        older: older.id.to_string(),
        newer: newer.id.to_string(),
        streams: names
            .map(|name| wire::stream_diff(name, known(of_older, name).as_ref(), known(of_newer, name).as_ref()))
            .collect(),
    }
}
