//! Reads a stream again: from its start with a schema that has grown, or from the partition on whose pages have shifted.

use super::error::TransferError;
use super::lane::next_segment;
use super::{StreamPlan, TaskRun};
use crate::base::error::ErrorClass;
use crate::base::{crash, fsio};
use crate::host::messages::Message;
use crate::ledger::input::LaneBack;
use crate::ledger::rows::{LaneRow, SegmentRow};
use crate::model::schema::Schema;

/// How often a task reads a stream again for its schema; a source that shows something new each time must not keep it from
/// ever ending.
const MAX_RESTARTS: u32 = 5;

/// How often a task reads a partition again because its pages have shifted: a collection that never keeps still needs other
/// settings, and somebody has to be told.
pub const MAX_SHIFTS: u32 = 3;

/// How often all partitions of a stream together: each time the open segment is lost, and a task has to get on.
const MAX_STREAM_SHIFTS: u32 = 100;

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
    forget(task, name, &superseded, &lanes).await?;
    let note = format!("the stream was read again from its start with a schema of {} fields", schema.fields.len());
    tracing::info!(
        MESSAGE_ID = Message::SchemaChanged.id(), EXPORT_TASK = %id, EXPORT_NAME = %task.row.export, EXPORT_STREAM = %name,
        "{note}"
    );
    task.ledger.add_note(id, name, &note).await?;
    Ok(true)
}

/// Sends a lane back to the first segment that holds the partition whose pages have shifted, as `shifted` says; gives it back
/// where that was done often enough.
pub async fn shifted(task: &TaskRun, stream: &StreamPlan, shifted: TransferError) -> Result<(), TransferError> {
    let TransferError::Shifted { lane, partition, reason } = &shifted else { return Err(shifted) };
    let (id, name) = (&task.row.id, stream.name.as_str());
    let lanes: Vec<LaneRow> = task.ledger.lanes(id, name).await?.into_iter().filter(|row| row.lane == *lane).collect();
    crash::point("shift.before_commit");
    let note = format!("partition {partition} was read again from its start: {reason}");
    let back = LaneBack { lane: *lane, partition: *partition, note: note.clone() };
    let Some(superseded) = task.ledger.restart_partition(id, name, &back, (MAX_SHIFTS, MAX_STREAM_SHIFTS)).await?
    else {
        let rest = format!("sources.{}.rest.streams.{name}", task.export.source);
        let message = format!(
            "read stream {name}: {reason}; its partition {partition} was read again {MAX_SHIFTS} times, or its partitions \
             {MAX_STREAM_SHIFTS} times in all, and the pages shifted each time. Check that `{rest}.primary_key` tells records \
             apart; ask for an order that changes do not touch and in which new records come last (`{rest}.query`); cut the \
             stream into smaller partitions (`{rest}.partition`); use a cursor if the API has one; or take the pages as they \
             come (`{rest}.on_shift: keep`). `retry` goes on from here"
        );
        return Err(TransferError::Broken { message, class: ErrorClass::Data });
    };
    crash::point("shift.committed");
    forget(task, name, &superseded, &lanes).await?;
    tracing::warn!(
        MESSAGE_ID = Message::ShiftDetected.id(), EXPORT_TASK = %id, EXPORT_NAME = %task.row.export, EXPORT_STREAM = %name,
        "{note}"
    );
    Ok(())
}

/// Removes from the spool what no longer counts: segments, what they rejected, the journals of `lanes` as they stood before.
async fn forget(task: &TaskRun, name: &str, superseded: &[SegmentRow], lanes: &[LaneRow]) -> Result<(), TransferError> {
    // A delivery that is under way finds out that its segment no longer counts.
    for segment in superseded {
        let path = task.spool.segment(name, &segment.name);
        fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
        let rejected = task.spool.rejected(&segment.id);
        fsio::remove(&rejected).map_err(TransferError::spool("remove", &rejected))?;
    }
    for lane in lanes {
        let path = task.spool.journal(&next_segment(name, lane));
        fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
    }
    task.progress.reset(&task.ledger.streams(&task.row.id).await?);
    Ok(())
}
