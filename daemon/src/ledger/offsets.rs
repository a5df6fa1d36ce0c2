//! An operator's hand on the offsets: a lane goes back to the end of one of its segments, or to its start.

use super::Ledger;
use super::audit::Entry;
use super::codec::{U64, all, one, run};
use super::error::LedgerError;
use super::input::{LaneMove, OffsetTarget, SetOffsets};
use super::rows::{LaneMoved, LaneRow, SegmentRow, TaskRow};
use super::segments::{COLUMNS, lane, move_lane, segment_row};
use super::single;
use super::streams::lanes;
use super::tasks::{self, task_row};
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::offset::Offset;
use crate::model::task::TaskState;
use serde_json::json;

/// The task that is meant, if its offsets may be moved now.
fn movable(tx: &Tx<'_>, target: &OffsetTarget) -> Result<TaskRow, LedgerError> {
    let task = match target {
        OffsetTarget::Task(id) => tasks::get(tx, id)?,
        OffsetTarget::Export(export) => {
            let text = format!("SELECT {} FROM tasks WHERE export = ?1 ORDER BY seq DESC LIMIT 1", tasks::COLUMNS);
            one(tx, &text, [export], task_row)?
                .ok_or_else(|| LedgerError::Refused(format!("find a task of the export {export}: it has none")))?
        }
    };
    match task.state {
        TaskState::Paused | TaskState::Failed | TaskState::Cancelled => Ok(task),
        TaskState::Processing => Err(refuse(&task, "it is running; pause it first")),
        TaskState::Pending => Err(refuse(&task, "it is queued and may start at any moment; pause it first")),
        TaskState::Succeeded => Err(refuse(&task, "it has succeeded")),
    }
}

fn refuse(task: &TaskRow, why: &str) -> LedgerError {
    LedgerError::Refused(format!("move the offsets of the task {}: {why}", task.id))
}

/// Refuses a stream that is published, or about to be.
fn not_composed(tx: &Tx<'_>, task: &TaskRow, stream: &str) -> Result<(), LedgerError> {
    // Bytes of a manifest may already be on their way, and they are never composed twice.
    let text = "SELECT 1 FROM manifests WHERE task = ?1 AND stream = ?2 LIMIT 1";
    match one(tx, text, (task.id.as_str(), stream), |_| Ok(()))? {
        None => Ok(()),
        Some(()) => {
            let why = format!("the manifest of stream {stream} is already composed; run the export again instead");
            Err(refuse(task, &why))
        }
    }
}

/// The segments of a lane that count, in order.
pub(super) fn live(tx: &Tx<'_>, task: &TaskId, stream: &str, lane: u32) -> Result<Vec<SegmentRow>, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS} FROM segments g
         WHERE g.task = ?1 AND g.stream = ?2 AND g.lane = ?3 AND NOT g.superseded AND g.role <> 'single'
         ORDER BY g.n"
    );
    all(tx, &text, (task.as_str(), stream, lane), segment_row)
}

/// Moves a lane back to `to` and supersedes what lies behind it. The revision is raised, so that no name comes twice.
pub(super) fn back(
    tx: &Tx<'_>,
    task: &TaskId,
    stream: &str,
    before: &LaneRow,
    to: &Offset,
) -> Result<Vec<SegmentRow>, LedgerError> {
    let mut segments = live(tx, task, stream, before.lane)?;
    let keep = if to == &before.start {
        0
    } else {
        1 + segments.iter().position(|segment| &segment.last == to).ok_or_else(|| {
            LedgerError::Refused(format!(
                "move lane {} of stream {stream}: the offset is neither its start nor the end of one of its segments",
                before.lane
            ))
        })?
    };
    let next_n = keep.checked_sub(1).and_then(|last| segments.get(last)).map_or(0, |segment| segment.id.n + 1);
    let superseded = segments.split_off(keep);
    run(
        tx,
        "UPDATE segments SET superseded = 1
         WHERE task = ?1 AND stream = ?2 AND lane = ?3 AND n >= ?4 AND NOT superseded",
        (task.as_str(), stream, before.lane, U64(next_n)),
    )?;
    single::supersede(tx, task, stream)?;
    let after = LaneRow { revision: before.revision + 1, offset: to.clone(), next_n, done: false, ..before.clone() };
    move_lane(tx, task, stream, &after)?;
    let key = (task.as_str(), stream, before.lane, U64(next_n));
    run(tx, "DELETE FROM boundary WHERE task = ?1 AND stream = ?2 AND lane = ?3 AND n >= ?4", key)?;
    let key = (task.as_str(), stream, before.lane);
    run(tx, "UPDATE lanes SET tail = NULL WHERE task = ?1 AND stream = ?2 AND lane = ?3", key)?;
    Ok(superseded)
}

/// Brings the sums of a stream in line with the segments that still count and the tails of its lanes, and opens it again.
pub(super) fn reopen(tx: &Tx<'_>, task: &TaskId, stream: &str) -> Result<(), LedgerError> {
    run(
        tx,
        "UPDATE task_streams SET (read, written, rejected, duplicate, filtered, over_limit, rescued, pages,
                 source_bytes, bytes, segments) =
             (SELECT coalesce(sum(read), 0), coalesce(sum(written), 0), coalesce(sum(rejected), 0),
                 coalesce(sum(duplicate), 0), coalesce(sum(filtered), 0), coalesce(sum(over_limit), 0),
                 coalesce(sum(rescued), 0), coalesce(sum(pages), 0), coalesce(sum(source_bytes), 0),
                 coalesce(sum(bytes), 0), count(*)
              FROM segments g WHERE g.task = ?1 AND g.stream = ?2 AND NOT g.superseded AND g.role <> 'single'),
             extracted = 0, error = NULL
         WHERE task = ?1 AND stream = ?2",
        (task.as_str(), stream),
    )?;
    run(
        tx,
        "UPDATE task_streams SET (read, duplicate, filtered, over_limit, pages) =
             (SELECT task_streams.read + coalesce(sum(tail ->> 'read'), 0),
                 task_streams.duplicate + coalesce(sum(tail ->> 'duplicate'), 0),
                 task_streams.filtered + coalesce(sum(tail ->> 'filtered'), 0),
                 task_streams.over_limit + coalesce(sum(tail ->> 'over_limit'), 0),
                 task_streams.pages + coalesce(sum(tail ->> 'pages'), 0)
              FROM lanes l WHERE l.task = ?1 AND l.stream = ?2 AND l.tail IS NOT NULL)
         WHERE task = ?1 AND stream = ?2",
        (task.as_str(), stream),
    )?;
    run(tx, "UPDATE tasks SET extracted = 0 WHERE id = ?1", [task.as_str()])?;
    Ok(())
}

fn set(tx: &Tx<'_>, order: &SetOffsets) -> Result<Vec<LaneMoved>, LedgerError> {
    let task = movable(tx, &order.target)?;
    order.moves.iter().map(|to| set_lane(tx, &task, order, to)).collect()
}

fn set_lane(tx: &Tx<'_>, task: &TaskRow, order: &SetOffsets, to: &LaneMove) -> Result<LaneMoved, LedgerError> {
    let LaneMove { stream, lane: number, offset } = to;
    not_composed(tx, task, stream)?;
    let before = lane(tx, &task.id, stream, *number)?;
    if &before.offset == offset {
        return Ok(LaneMoved { stream: stream.clone(), lane: before, superseded: vec![] });
    }
    if single::of(tx, &task.id, stream)?.is_some() {
        let why =
            format!("the file of stream {stream} is put together, and its parts may be gone; reset the stream instead");
        return Err(refuse(task, &why));
    }
    let superseded = back(tx, &task.id, stream, &before, offset)?;
    reopen(tx, &task.id, stream)?;
    let detail = json!({ "stream": stream, "lane": number, "offset": offset, "superseded": superseded.len() });
    tx.audit(Entry {
        task: Some(&task.id),
        export: Some(&task.export),
        actor: &order.actor,
        action: "offset_set",
        reason: &order.reason,
        detail: Some(detail.to_string()),
        ..Entry::default()
    })?;
    let lane = lane(tx, &task.id, stream, *number)?;
    Ok(LaneMoved { stream: stream.clone(), lane, superseded })
}

fn reset(tx: &Tx<'_>, order: &ResetOffsets) -> Result<Vec<LaneMoved>, LedgerError> {
    let task = movable(tx, &order.target)?;
    let text = "SELECT stream FROM task_streams WHERE task = ?1 AND (?2 IS NULL OR stream = ?2) ORDER BY pos";
    let streams: Vec<String> = all(tx, text, (task.id.as_str(), &order.stream), |row| row.get(0))?;
    if let (Some(stream), true) = (&order.stream, streams.is_empty()) {
        return Err(LedgerError::NotThere { task: task.id, what: format!("stream {stream}") });
    }
    let mut moved = Vec::new();
    for stream in streams {
        moved.extend(reset_stream(tx, &task, order, &stream)?);
    }
    Ok(moved)
}

fn reset_stream(
    tx: &Tx<'_>,
    task: &TaskRow,
    order: &ResetOffsets,
    stream: &str,
) -> Result<Vec<LaneMoved>, LedgerError> {
    not_composed(tx, task, stream)?;
    let mut moved = Vec::new();
    for before in lanes(tx, &task.id, stream)? {
        let superseded = back(tx, &task.id, stream, &before, &before.start)?;
        let lane = lane(tx, &task.id, stream, before.lane)?;
        moved.push(LaneMoved { stream: stream.to_owned(), lane, superseded });
    }
    reopen(tx, &task.id, stream)?;
    let text = "UPDATE task_streams SET fingerprint = NULL WHERE task = ?1 AND stream = ?2";
    run(tx, text, (task.id.as_str(), stream))?;
    if matches!(order.target, OffsetTarget::Export(_)) {
        super::marks::forget(tx, &task.export, stream)?;
    }
    let superseded: usize = moved.iter().map(|lane| lane.superseded.len()).sum();
    tx.audit(Entry {
        task: Some(&task.id),
        export: Some(&task.export),
        actor: &order.actor,
        action: "offsets_reset",
        reason: &order.reason,
        detail: Some(json!({ "stream": stream, "superseded": superseded }).to_string()),
        ..Entry::default()
    })?;
    Ok(moved)
}

/// Sends a closed task back to its start, with names that no file of its has had.
pub(super) fn start_over(tx: &Tx<'_>, task: &TaskId, actor: &str, reason: &str) -> Result<(), LedgerError> {
    let target = OffsetTarget::Task(task.clone());
    reset(tx, &ResetOffsets { target, stream: None, actor: actor.to_owned(), reason: reason.to_owned() }).map(drop)
}

struct ResetOffsets {
    target: OffsetTarget,
    stream: Option<String>,
    actor: String,
    reason: String,
}

impl Ledger {
    /// Moves lanes back to their start or to the end of one of their segments; the segments behind are superseded.
    /// Moving a lane to where it stands changes nothing. One transaction: either all lanes move or none.
    ///
    /// # Errors
    /// `Refused` unless the task is paused, failed or cancelled, when a stream's manifest is composed, and for an offset
    /// that is no boundary.
    pub async fn set_offsets(&self, order: SetOffsets) -> Result<Vec<LaneMoved>, LedgerError> {
        self.write(move |tx| set(tx, &order)).await
    }

    /// Moves every lane of a stream, or of all streams, back to its start and forgets what the stream was, so that a
    /// changed one may begin. For an export its marks go too. Refused like [`Ledger::set_offsets`], as a whole.
    pub async fn reset_offsets(
        &self,
        target: OffsetTarget,
        stream: Option<&str>,
        actor: &str,
        reason: &str,
    ) -> Result<Vec<LaneMoved>, LedgerError> {
        let (stream, actor, reason) = (stream.map(str::to_owned), actor.to_owned(), reason.to_owned());
        let order = ResetOffsets { target, stream, actor, reason };
        self.write(move |tx| reset(tx, &order)).await
    }
}
