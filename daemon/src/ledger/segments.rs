//! Segments: the one transaction that moves a lane's offset, and the intents to cut.

use super::codec::{At, Json, U64, count, json, one, run};
use super::error::LedgerError;
use super::input::Newest;
use super::rows::{LaneRow, SegmentRow};
use super::streams::{LANE_COLUMNS, counts, lane_row};
use super::tasks::{must_run, progressed};
use super::writer::Tx;
use super::{Ledger, parents};
use crate::base::ids::TaskId;
use crate::model::offset::Offset;
use crate::model::partitions::Partitions;
use crate::model::schema::Schema;
use crate::model::segment::{CheckpointDelta, Counts, CutReason, Plain, Role, SealedSegment, SegmentId};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, named_params};
use serde_json::json;

/// The columns of a [`SegmentRow`], from a table called `g`.
pub(super) const COLUMNS: &str = "g.stream, g.lane, g.n, g.revision, g.name, g.bytes, g.sha256, g.crc32c, \
     g.plain_sha256, g.plain_bytes, g.read, \
     g.written, g.rejected, g.duplicate, g.filtered, g.over_limit, g.rescued, g.pages, g.source_bytes, g.first, \
     g.last, g.superseded, g.role, g.created_at";

pub(super) fn segment_row(row: &Row<'_>) -> rusqlite::Result<SegmentRow> {
    Ok(SegmentRow {
        id: SegmentId {
            stream: row.get("stream")?,
            lane: row.get("lane")?,
            n: count(row, "n")?,
            revision: row.get("revision")?,
        },
        name: row.get("name")?,
        bytes: count(row, "bytes")?,
        sha256: row.get("sha256")?,
        crc32c: row.get("crc32c")?,
        plain: plain(row)?,
        counts: counts(row)?,
        pages: count(row, "pages")?,
        source_bytes: count(row, "source_bytes")?,
        first: json(row, "first")?,
        last: json(row, "last")?,
        superseded: row.get("superseded")?,
        role: Role::from_word(&row.get::<_, String>("role")?).ok_or(FromSqlError::InvalidType)?,
        created_at: row.get::<_, At>("created_at")?.0,
    })
}

fn plain(row: &Row<'_>) -> rusqlite::Result<Option<Plain>> {
    let sha256: Option<String> = row.get("plain_sha256")?;
    sha256.map(|sha256| Ok(Plain { bytes: count(row, "plain_bytes")?, sha256 })).transpose()
}

/// The lane where it stands; an error where there is none.
pub(super) fn lane(sql: &Connection, task: &TaskId, stream: &str, lane: u32) -> Result<LaneRow, LedgerError> {
    let text = format!("SELECT {LANE_COLUMNS} FROM lanes WHERE task = ?1 AND stream = ?2 AND lane = ?3");
    one(sql, &text, (task.as_str(), stream, lane), lane_row)?
        .ok_or_else(|| LedgerError::NotThere { task: task.clone(), what: format!("lane {lane} of stream {stream}") })
}

/// What goes with a segment into the transaction that commits it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Advance<'a> {
    /// Whether the lane is at its end afterwards.
    pub lane_done: bool,
    /// What the task has seen beside the stream's schema so far, all of it; `None` leaves what is stored.
    pub observed: Option<&'a Schema>,
    /// Records of the whole stream, where the source says so.
    pub total: Option<u64>,
    /// The newest records of an incremental stream.
    pub newest: Option<&'a Newest>,
    /// Names of the destinations that the segment goes to; none for a part.
    pub destinations: &'a [String],
    /// What its file is to readers.
    pub role: Role,
    /// What children need of its records, where the stream has children in the task.
    pub values: Option<&'a Partitions>,
}

/// What `advance` records.
struct Step {
    task: TaskId,
    segment: SealedSegment,
    lane_done: bool,
    observed: Option<Schema>,
    total: Option<u64>,
    newest: Option<Newest>,
    destinations: Vec<String>,
    role: Role,
    values: Option<Partitions>,
}

/// The end of a lane without a segment: its last pages hold no record that would be written.
#[derive(Clone, Debug)]
pub struct Tail {
    /// From where to where it moves the lane.
    pub delta: CheckpointDelta,
    /// What became of its records.
    pub counts: Counts,
}

fn advance(tx: &Tx<'_>, step: &Step) -> Result<LaneRow, LedgerError> {
    let Step { task, segment, .. } = step;
    must_run(tx, task, "commit a segment")?;
    let before = lane(tx, task, &segment.id.stream, segment.id.lane)?;
    let offset = apply(task, &segment.id, &before, &segment.delta)?;
    adds_up(segment, &before).map_err(|what| LedgerError::Broken(format!("the segment {}: {what}", segment.name)))?;
    insert(tx, task, segment, step.role)?;
    if let Some(values) = &step.values {
        parents::add(tx, task, &segment.id, values)?;
    }
    send(tx, task, &segment.id, &step.destinations)?;
    let after = LaneRow { offset, next_n: before.next_n + 1, done: step.lane_done, ..before };
    move_lane(tx, task, &segment.id.stream, &after)?;
    if let Some(newest) = &step.newest {
        keep_newest(tx, task, &segment.id, newest)?;
    }
    add_to_stream(tx, step)?;
    progressed(tx, task)?;
    tx.audit_task(
        task,
        "segment_committed",
        json!({
            "stream": segment.id.stream, "lane": segment.id.lane, "n": segment.id.n, "name": segment.name,
            "records": segment.counts.written, "bytes": segment.bytes, "sha256": segment.sha256,
            "lane_done": step.lane_done,
        }),
    )?;
    Ok(after)
}

/// The lane's offset after the step; refused where it leaves a gap, overlaps, or the lane is at its end.
fn apply(task: &TaskId, id: &SegmentId, lane: &LaneRow, delta: &CheckpointDelta) -> Result<Offset, LedgerError> {
    let offset = delta.try_apply(&lane.offset).map_err(|source| LedgerError::NotContiguous {
        task: task.clone(),
        stream: id.stream.clone(),
        lane: id.lane,
        source: Box::new(source),
    })?;
    if lane.done {
        return Err(LedgerError::Refused(format!("move lane {} of stream {}: it is at its end", id.lane, id.stream)));
    }
    Ok(offset)
}

/// Whether a segment is what its lane expects and its numbers agree with one another.
fn adds_up(segment: &SealedSegment, lane: &LaneRow) -> Result<(), String> {
    let SealedSegment { id, counts, delta, .. } = segment;
    if (id.n, id.revision) != (lane.next_n, lane.revision) {
        return Err(format!("the lane expects number {} of revision {}", lane.next_n, lane.revision));
    }
    if !counts.balanced() {
        return Err(format!("{} records were read, but not all are accounted for", counts.read));
    }
    let steps = (delta.to.pages.checked_sub(delta.from.pages), delta.to.records.checked_sub(delta.from.records));
    if steps != (Some(segment.pages), Some(counts.read)) {
        return Err(format!("{} pages with {} records are not what the offset moves by", segment.pages, counts.read));
    }
    Ok(())
}

/// Begins the delivery of a segment's file to each destination.
pub(super) fn send(tx: &Tx<'_>, task: &TaskId, id: &SegmentId, destinations: &[String]) -> Result<(), LedgerError> {
    let text = "INSERT INTO deliveries (task, stream, lane, n, revision, destination) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for destination in destinations {
        run(tx, text, (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision, destination))?;
    }
    Ok(())
}

pub(super) fn insert(tx: &Tx<'_>, task: &TaskId, segment: &SealedSegment, role: Role) -> Result<(), LedgerError> {
    let SealedSegment { id, counts, .. } = segment;
    tx.prepare_cached(
        "INSERT INTO segments (task, stream, lane, n, revision, name, bytes, sha256, plain_sha256, plain_bytes, crc32c, read,
             written, rejected, duplicate, filtered, over_limit, rescued, pages, source_bytes, cut, first, last, role,
             created_at)
         VALUES (:task, :stream, :lane, :n, :revision, :name, :bytes, :sha256, :plain_sha256, :plain_bytes, :crc32c, :read,
             :written, :rejected, :duplicate, :filtered, :over_limit, :rescued, :pages, :source_bytes, :cut, :first, :last,
             :role, :at)",
    )?
    .execute(named_params! {
        ":task": task.as_str(), ":stream": id.stream, ":lane": id.lane, ":n": U64(id.n), ":revision": id.revision,
        ":name": segment.name, ":bytes": U64(segment.bytes), ":sha256": segment.sha256,
        ":plain_sha256": segment.plain.as_ref().map(|plain| &plain.sha256),
        ":plain_bytes": segment.plain.as_ref().map(|plain| U64(plain.bytes)), ":crc32c": segment.crc32c,
        ":read": U64(counts.read), ":written": U64(counts.written), ":rejected": U64(counts.rejected),
        ":duplicate": U64(counts.duplicate), ":filtered": U64(counts.filtered),
        ":over_limit": U64(counts.over_limit), ":rescued": U64(counts.rescued), ":pages": U64(segment.pages),
        ":source_bytes": U64(segment.source_bytes), ":cut": cut_word(segment.cut), ":first": Json(&segment.delta.from),
        ":last": Json(&segment.delta.to), ":role": role.word(), ":at": At(tx.at),
    })?;
    Ok(())
}

/// Stores how far the segment's records reach, and the newest of them; older ones of its lane need not be kept any more.
fn keep_newest(tx: &Tx<'_>, task: &TaskId, id: &SegmentId, newest: &Newest) -> Result<(), LedgerError> {
    let text =
        "UPDATE segments SET mark = ?6 WHERE task = ?1 AND stream = ?2 AND lane = ?3 AND n = ?4 AND revision = ?5";
    run(tx, text, (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision, Json(&newest.mark)))?;
    let text = "DELETE FROM boundary WHERE task = ?1 AND stream = ?2 AND cursor < ?4 AND lane = ?3";
    run(tx, text, (task.as_str(), &id.stream, id.lane, &newest.keep_from))?;
    let text =
        "INSERT INTO boundary (task, stream, lane, n, revision, cursor, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    for (cursor, record) in &newest.records {
        run(tx, text, (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision, cursor, record))?;
    }
    let text = "SELECT count(*) FROM boundary WHERE task = ?1 AND stream = ?2 AND cursor >= ?3";
    let kept: i64 = one(tx, text, (task.as_str(), &id.stream, &newest.keep_from), |row| row.get(0))?.unwrap_or(0);
    if kept > i64::from(newest.most) {
        return Err(LedgerError::Boundary { stream: id.stream.clone(), most: newest.most });
    }
    Ok(())
}

fn cut_word(cut: CutReason) -> &'static str {
    match cut {
        CutReason::Size => "size",
        CutReason::End => "end",
        CutReason::Limit => "limit",
    }
}

/// Stores where a lane stands.
pub(super) fn move_lane(tx: &Tx<'_>, task: &TaskId, stream: &str, lane: &LaneRow) -> Result<(), LedgerError> {
    run(
        tx,
        "UPDATE lanes SET revision = ?4, \"offset\" = ?5, next_n = ?6, done = ?7
         WHERE task = ?1 AND stream = ?2 AND lane = ?3",
        (task.as_str(), stream, lane.lane, lane.revision, Json(&lane.offset), U64(lane.next_n), lane.done),
    )?;
    Ok(())
}

fn add_to_stream(tx: &Tx<'_>, step: &Step) -> Result<(), LedgerError> {
    let SealedSegment { id, counts, .. } = &step.segment;
    tx.prepare_cached(
        "UPDATE task_streams SET read = read + :read, written = written + :written, rejected = rejected + :rejected,
             duplicate = duplicate + :duplicate, filtered = filtered + :filtered,
             over_limit = over_limit + :over_limit, rescued = rescued + :rescued, pages = pages + :pages,
             source_bytes = source_bytes + :source_bytes, bytes = bytes + :bytes, segments = segments + 1,
             observed = coalesce(:observed, observed), total = coalesce(:total, total)
         WHERE task = :task AND stream = :stream",
    )?
    .execute(named_params! {
        ":read": U64(counts.read), ":written": U64(counts.written), ":rejected": U64(counts.rejected),
        ":duplicate": U64(counts.duplicate), ":filtered": U64(counts.filtered),
        ":over_limit": U64(counts.over_limit), ":rescued": U64(counts.rescued), ":pages": U64(step.segment.pages),
        ":source_bytes": U64(step.segment.source_bytes), ":bytes": U64(step.segment.bytes),
        ":observed": step.observed.as_ref().map(Json), ":total": step.total.map(U64),
        ":task": step.task.as_str(), ":stream": id.stream,
    })?;
    Ok(())
}

fn finish_lane(tx: &Tx<'_>, task: &TaskId, id: &SegmentId, tail: &Tail) -> Result<LaneRow, LedgerError> {
    let Tail { delta, counts } = tail;
    must_run(tx, task, "end a lane")?;
    let before = lane(tx, task, &id.stream, id.lane)?;
    let offset = apply(task, id, &before, delta)?;
    let read = delta.to.records.checked_sub(delta.from.records);
    if read != Some(counts.read) || !counts.balanced() || counts.written + counts.rejected > 0 {
        return Err(LedgerError::Broken(format!(
            "the end of lane {}: its tail holds records, but no segment",
            id.lane
        )));
    }
    let text = "UPDATE task_streams SET read = read + ?3, duplicate = duplicate + ?4, filtered = filtered + ?5,
                    over_limit = over_limit + ?6, pages = pages + ?7 WHERE task = ?1 AND stream = ?2";
    let pages = U64(delta.to.pages.saturating_sub(delta.from.pages));
    let [read, duplicate, filtered, over] =
        [counts.read, counts.duplicate, counts.filtered, counts.over_limit].map(U64);
    run(tx, text, (task.as_str(), &id.stream, read, duplicate, filtered, over, pages))?;
    let after = LaneRow { offset, done: true, ..before };
    move_lane(tx, task, &id.stream, &after)?;
    let tail = json!({
        "read": counts.read, "duplicate": counts.duplicate, "filtered": counts.filtered, "over_limit": counts.over_limit,
        "pages": delta.to.pages.saturating_sub(delta.from.pages),
    });
    let text = "UPDATE lanes SET tail = ?4 WHERE task = ?1 AND stream = ?2 AND lane = ?3";
    run(tx, text, (task.as_str(), &id.stream, id.lane, tail.to_string()))?;
    progressed(tx, task)?;
    tx.audit_task(task, "lane_done", json!({ "stream": id.stream, "lane": id.lane }))?;
    Ok(after)
}

impl Ledger {
    /// The one thing that moves an offset forward over records. In one transaction: the segment's row, the lane's
    /// offset, a pending delivery per destination, the values for children, the sums of the stream, the audit. Earlier attempts no longer count
    /// against the task.
    ///
    /// # Errors
    /// `NotContiguous` unless the segment starts where the lane stands (so the same segment is never committed twice),
    /// `Refused` where the lane is at its end or the task does not run, `Broken` where the numbers do not add up.
    pub async fn advance(
        &self,
        task: &TaskId,
        segment: &SealedSegment,
        step: Advance<'_>,
    ) -> Result<LaneRow, LedgerError> {
        let step = Step {
            task: task.clone(),
            segment: segment.clone(),
            lane_done: step.lane_done,
            observed: step.observed.cloned(),
            total: step.total,
            newest: step.newest.cloned(),
            destinations: step.destinations.to_vec(),
            role: step.role,
            values: step.values.cloned(),
        };
        self.write(move |tx| advance(tx, &step)).await
    }

    /// Ends a lane whose tail holds no record that would be written: its offset moves, no segment is made. Refused like
    /// [`Ledger::advance`].
    pub async fn finish_lane(
        &self,
        task: &TaskId,
        stream: &str,
        lane: u32,
        tail: Tail,
    ) -> Result<LaneRow, LedgerError> {
        let task = task.clone();
        let id = SegmentId { stream: stream.to_owned(), lane, n: 0, revision: 0 };
        self.write(move |tx| finish_lane(tx, &task, &id, &tail)).await
    }
}
