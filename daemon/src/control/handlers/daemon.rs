//! The daemon itself: version, status, configuration, reload.

use crate::base::clock;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::metrics::text;
use crate::model::task::TaskState;
use bytes::Bytes;
use saas_export_api::{CheckReport, Status, TaskCounts, Version};

/// The OpenAPI 3.1 document of this API, as it is checked in.
pub const OPENAPI: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/control.json"));

/// Open tasks that the status lists; beyond them it only counts.
const OPEN_SHOWN: usize = 100;

/// `GET /` and `GET /v1`.
pub async fn version(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    Reply::sync(Version {
        name: "saas-export-daemon".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        api: vec!["v1".into()],
        extensions: vec![],
        openapi: "/v1/openapi.json".into(),
    })
}

/// `GET /v1/openapi.json`.
pub async fn openapi(_call: Call) -> Result<Reply, Failure> {
    Ok(Reply::document(Bytes::from_static(OPENAPI.as_bytes())))
}

/// `GET /v1/metrics`.
pub async fn metrics(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    Ok(Reply::Text { kind: text::CONTENT_TYPE, body: call.state.hooks.metrics().await })
}

/// `GET /v1/status`.
pub async fn status(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let state = &call.state;
    let stale = async { state.hooks.stale().await.map_err(wire::ledger_error) };
    let (mut look, stale) = tokio::try_join!(reads::open_tasks(state, OPEN_SHOWN), stale)?;
    let live = state.queue.progress();
    let count =
        |wanted| u32::try_from(look.tasks.iter().filter(|(row, _)| row.state == wanted).count()).unwrap_or(u32::MAX);
    let tasks = TaskCounts {
        running: count(TaskState::Processing),
        paused: count(TaskState::Paused),
        queued: count(TaskState::Pending),
    };
    let sources = reads::sources(state, look.tasks.iter().map(|(row, _)| row));
    look.tasks.truncate(OPEN_SHOWN);
    Reply::sync(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: wire::time(state.started_at),
        uptime_seconds: clock::since(state.started).as_secs(),
        config: state.hooks.config_path().display().to_string(),
        tasks,
        ledger: reads::ledger_health(state),
        paused_exports: look.paused.clone(),
        notifications: reads::notifications(&look),
        open: reads::summaries(state, look, live),
        sources,
        stale,
        caller: wire::caller(&call.caller),
    })
}

/// `GET /v1/config/check`.
pub async fn check_config(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let problems = call.state.hooks.check_config().await;
    let config = call.state.hooks.config_path().display().to_string();
    Reply::sync(CheckReport { config, ok: problems.is_empty(), problems })
}

/// `GET /v1/reload`: what the POST would do.
pub async fn plan_reload(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let report = call.state.hooks.plan_reload().await.map_err(wire::refusal)?;
    Reply::sync(wire::reload_report(report))
}

/// `POST /v1/reload`.
pub async fn reload(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let report = call.state.queue.reload(call.caller.actor).await.map_err(wire::refusal)?;
    Reply::sync(wire::reload_report(report))
}
