//! The configured exports, and running them.

use crate::base::ids::Name;
use crate::config::settings;
use crate::control::ControlState;
use crate::control::body;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::queue::handle::{Act, Request, Scope, Target};
use saas_export_api::{Acted, ErrorCode, Export, Submit, Submitted};
use std::collections::BTreeMap;

/// `GET /v1/exports`.
pub async fn list(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let config = call.state.config();
    Reply::sync(describe(&call.state, config.exports.iter().collect(), &config).await?)
}

/// `GET /v1/exports/{export}`.
pub async fn show(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let config = call.state.config();
    let known = reads::export(&config, call.arg(0))?;
    Reply::sync(describe(&call.state, vec![known], &config).await?.pop())
}

async fn describe(
    state: &ControlState,
    exports: Vec<(&Name, &settings::Export)>,
    config: &settings::Config,
) -> Result<Vec<Export>, Failure> {
    let names = exports.iter().map(|(name, _)| name.to_string()).collect();
    let recent = state.ledger.recent(names).await.map_err(wire::ledger_error)?;
    let described = exports.into_iter().zip(recent).map(|((name, export), recent)| Export {
        name: name.to_string(),
        source: export.source.to_string(),
        streams: wire::streams_of(export, config),
        to: export.to.iter().map(Name::to_string).collect(),
        format: export.format.word().into(),
        params: export.params.iter().map(|(name, param)| (name.to_string(), wire::param(param))).collect(),
        paused: recent.paused,
        last_task: recent.newest.as_ref().map(wire::task_ref),
        last_success: recent.success.as_ref().map(wire::task_ref),
    });
    Ok(described.collect())
}

/// `POST /v1/exports/{export}/run`. The queue checks parameters and format against the export.
pub async fn run(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let config = call.state.config();
    let (name, _) = reads::export(&config, call.arg(0))?;
    let submit = if call.body.is_empty() { Submit::default() } else { body::decode(&call.body)? };
    let request = Request {
        export: name.to_string(),
        params: submit.params,
        format: submit.format,
        scope: Scope { full: submit.full, from: submit.from, to: submit.to, streams: submit.streams },
        notify: submit.notify,
        actor: call.caller.actor.clone(),
    };
    let submitted = call.state.queue.submit(request).await.map_err(wire::refusal)?;
    let task = submitted.task.to_string();
    Reply::started(wire::task_path(&submitted.task), Submitted { task, created: submitted.created })
}

/// `POST /v1/exports/{export}/{pause|resume|cancel}`.
pub async fn act(call: Call, act: Act) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let config = call.state.config();
    let (name, _) = reads::export(&config, call.arg(0))?;
    let target = Target::Export(name.clone());
    let tasks = call.state.queue.act(act, target, call.caller.actor).await.map_err(wire::refusal)?;
    Reply::sync(Acted { tasks: tasks.iter().map(ToString::to_string).collect() })
}

/// `GET /v1/check`: tries every export. It asks sources and writes to destinations, but changes nothing that stays.
pub async fn check_all(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    preflight(&call, None, BTreeMap::new()).await
}

/// `GET /v1/exports/{export}/check?param.NAME=`: tries one export, with these parameters.
pub async fn check(call: Call) -> Result<Reply, Failure> {
    let config = call.state.config();
    let (name, _) = reads::export(&config, call.arg(0))?;
    let params = call.target.query.all_below("param.")?;
    preflight(&call, Some(name.to_string()), params).await
}

async fn preflight(call: &Call, export: Option<String>, params: BTreeMap<String, String>) -> Result<Reply, Failure> {
    tokio::select! {
        report = call.state.hooks.preflight(export, params) => Reply::sync(report.map_err(wire::refusal)?),
        () = call.stop.cancelled() => Err(Failure::new(ErrorCode::Unavailable, "the daemon is going down")),
    }
}
