//! Offsets: one document, read and written.

use crate::control::body;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::rows::TaskRow;
use crate::model::task::TaskState;
use saas_export_api::{ErrorCode, OffsetsDoc};

/// `GET /v1/tasks/{task}/offsets`.
pub async fn show(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let row = reads::task(&call.state, call.arg(0)).await?;
    Reply::sync(reads::offsets(&call.state, &row).await?)
}

/// `GET /v1/exports/{export}/offsets`: those of its newest open task.
pub async fn of_export(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let config = call.state.config();
    let (name, _) = reads::export(&config, call.arg(0))?;
    let open = reads::newest_open(&call.state, name).await?;
    let row = open.ok_or_else(|| {
        Failure::new(ErrorCode::NotFound, format!("export {name} has no open task"))
            .hint("the offsets of a task that has ended: ask for the task")
    })?;
    Reply::sync(reads::offsets(&call.state, &row).await?)
}
