//! Retention: what would go, and letting it go now.

use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::input::AuditEntry;
use saas_export_api::{ErrorCode, Fate, PruneReport, plural};

/// `GET /v1/prune` and `GET /v1/exports/{export}/prune`: what would become of each chain.
pub async fn plan(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let export = export(&call)?;
    Reply::sync(call.state.hooks.prune(export, None).await.map_err(wire::refusal)?)
}

/// `POST /v1/prune` and `POST /v1/exports/{export}/prune`: removes what is due, however long that takes. Where the caller goes
/// away the rest follows by itself.
pub async fn prune(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let export = export(&call)?;
    let actor = call.caller.actor.0.clone();
    let report = tokio::select! {
        report = call.state.hooks.prune(export.clone(), Some(actor.clone())) => report.map_err(wire::refusal)?,
        () = call.stop.cancelled() => {
            return Err(Failure::new(ErrorCode::Unavailable, "the daemon is going down; what was begun goes on when it is back"));
        }
    };
    let entry =
        AuditEntry { task: None, export, actor, action: "prune".into(), reason: summary(&report), detail: None };
    call.state.ledger.audit(entry).await.map_err(wire::ledger_error)?;
    Reply::sync(report)
}

/// The export of the path, if it names one.
fn export(call: &Call) -> Result<Option<String>, Failure> {
    let name = call.args.first();
    name.map(|name| reads::export(&call.state.config(), name).map(|(name, _)| name.to_string())).transpose()
}

fn summary(report: &PruneReport) -> String {
    let count = |fate| report.chains.iter().filter(|chain| chain.fate == fate).count();
    let (pruned, waits) = (count(Fate::Pruned), count(Fate::Waits));
    let mut text = format!("{pruned} {} removed", plural(pruned as u64, "chain"));
    if waits > 0 {
        text.push_str(&format!(", {waits} to be tried again"));
    }
    text
}
