//! Tasks: lists, details, waiting, and what an operator does to them.

use crate::base::ids::TaskId;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::input::AuditEntry;
use crate::ledger::rows::TaskFilter;
use crate::queue::handle::{Act, Target};
use saas_export_api::{Acted, ErrorCode, plural};
use std::time::Duration;

/// Tasks that a list has unless it is asked for more.
const LIST_DEFAULT: u32 = 50;

/// The longest list.
const LIST_MOST: u32 = 1000;

/// Seconds that a wait takes unless it is told otherwise.
const WAIT_DEFAULT: u64 = 30;

/// The longest wait, in seconds; who waits longer asks again.
const WAIT_MOST: u64 = 3600;

/// `GET /v1/tasks?export=&state=&limit=`.
pub async fn list(call: Call) -> Result<Reply, Failure> {
    let query = &call.target.query;
    query.only(&["export", "state", "limit"])?;
    let filter = TaskFilter {
        export: query.get("export").map(str::to_owned),
        states: wire::states(query.get("state").unwrap_or_default())?,
        limit: query.number("limit", LIST_DEFAULT, LIST_MOST)?,
    };
    let look = call.state.ledger.look(&filter, |_| {}, usize::MAX).await.map_err(wire::ledger_error)?;
    let live = call.state.queue.progress();
    if let Some(export) = query.get("export").filter(|_| look.tasks.is_empty()) {
        reads::known_export(&call.state, export).await?;
    }
    Reply::sync(reads::summaries(&call.state, look, live))
}

/// `GET /v1/tasks/{task}`.
pub async fn show(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let row = reads::task_or_export(&call.state, call.arg(0)).await?;
    Reply::sync(reads::detail(&call.state, row).await?)
}

/// `GET /v1/tasks/{task}/wait?timeout=`: answers when the task has ended or the time is over, with the task as it is.
pub async fn wait(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&["timeout"])?;
    let timeout = call.target.query.number("timeout", WAIT_DEFAULT, WAIT_MOST)?;
    let over = tokio::time::sleep(Duration::from_secs(timeout));
    tokio::pin!(over);
    let mut changes = call.state.ledger.changes();
    let mut row = reads::task(&call.state, call.arg(0)).await?;
    while !row.state.closed() {
        tokio::select! {
            () = &mut over => break,
            () = call.stop.cancelled() => return Err(going_down()),
            changed = changes.changed() => changed.map_err(|_| going_down())?,
        }
        row = reads::task(&call.state, row.id.as_str()).await?;
    }
    Reply::sync(reads::detail(&call.state, row).await?)
}

fn going_down() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the daemon is going down; its tasks go on when it is back")
}

/// `POST /v1/tasks/{task}/{pause|resume|cancel|retry}`.
pub async fn act(call: Call, act: Act) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let task = reads::task(&call.state, call.arg(0)).await?.id;
    let tasks =
        call.state.queue.act(act, Target::Task(task.clone()), call.caller.actor).await.map_err(wire::refusal)?;
    let acted = acted(&tasks);
    match act {
        Act::Retry => Reply::started(wire::task_path(&task), acted),
        Act::Pause | Act::Resume | Act::Cancel => Reply::sync(acted),
    }
}

/// `POST /v1/{pause|resume|cancel}`: everything.
pub async fn act_on_all(call: Call, act: Act) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let tasks = call.state.queue.act(act, Target::All, call.caller.actor).await.map_err(wire::refusal)?;
    Reply::sync(acted(&tasks))
}

fn acted(tasks: &[TaskId]) -> Acted {
    Acted { tasks: tasks.iter().map(ToString::to_string).collect() }
}

/// `POST /v1/tasks/{task}/verify?destination=&deep`: compares every published file, however long that takes.
pub async fn verify(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&["destination", "deep"])?;
    let deep = call.target.query.flag("deep")?;
    let row = reads::task_or_export(&call.state, call.arg(0)).await?;
    let destination = call.target.query.get("destination").map(str::to_owned);
    let report = tokio::select! {
        report = call.state.hooks.verify(row.id.clone(), destination, deep) => report.map_err(wire::refusal)?,
        () = call.stop.cancelled() => return Err(going_down()),
    };
    let files = format!("{} {}", report.files, plural(report.files, "file"));
    let found = match report.problems.len() {
        0 => format!("{files} as the ledger says"),
        1 => format!("1 of {files} is not what the ledger says"),
        wrong => format!("{wrong} of {files} are not what the ledger says"),
    };
    let entry = AuditEntry {
        task: Some(row.id),
        export: Some(row.export),
        actor: call.caller.actor.0,
        action: "verify".into(),
        reason: found,
        detail: None,
    };
    call.state.ledger.audit(entry).await.map_err(wire::ledger_error)?;
    Reply::sync(report)
}
