//! Reads a stream again from its start, with a schema that has grown.

use super::error::TransferError;
use super::lane::next_segment;
use super::{StreamPlan, TaskRun};
use crate::base::{crash, fsio};
use crate::model::schema::Schema;

/// How often a task reads a stream again for its schema; a source that shows something new each time must not keep it from
/// ever ending.
const MAX_RESTARTS: u32 = 5;

/// Sends the stream back to its start with `schema`. False where that was done often enough: then the stream goes on from
/// where it stands, and what does not fit is rescued.
pub async fn restart(task: &TaskRun, stream: &StreamPlan, schema: &Schema) -> Result<bool, TransferError> {
    let (id, name) = (&task.row.id, stream.name.as_str());
    let lanes = task.ledger.lanes(id, name).await?;
    crash::point("restart.before_commit");
    let Some(superseded) = task.ledger.restart_stream(id, name, schema, MAX_RESTARTS).await? else {
        let note = format!("the schema grew {MAX_RESTARTS} times; what it still does not hold went to `_rescued`");
        task.ledger.add_note(id, name, &note).await?;
        return Ok(false);
    };
    crash::point("restart.committed");
    // A delivery that is under way finds out that its segment no longer counts.
    for segment in &superseded {
        let path = task.spool.segment(name, &segment.name);
        fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
        let rejected = task.spool.quarantine().join(name).join(segment.id.file_name("ndjson"));
        fsio::remove(&rejected).map_err(TransferError::spool("remove", &rejected))?;
    }
    for lane in &lanes {
        let path = task.spool.journal(&next_segment(name, lane));
        fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
    }
    task.progress.reset(&task.ledger.streams(id).await?);
    let note = format!("the stream was read again from its start with a schema of {} fields", schema.fields.len());
    tracing::info!(EXPORT_TASK = %id, EXPORT_STREAM = %name, "{note}");
    task.ledger.add_note(id, name, &note).await?;
    Ok(true)
}
