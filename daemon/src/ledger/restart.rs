//! What a task reads again by itself: a stream whose schema has to grow, a partition whose pages have shifted.

use super::Ledger;
use super::codec::{U64, one, run};
use super::error::LedgerError;
use super::input::LaneBack;
use super::offsets::{back, live, reopen};
use super::rows::{LaneRow, SegmentRow};
use super::segments::lane;
use super::streams::{lanes, store_schema};
use super::tasks::must_run;
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::offset::Offset;
use crate::model::schema::Schema;
use crate::model::segment::SegmentId;
use serde_json::json;

/// The audit's word for a stream that is read again.
const ACTION: &str = "stream_restarted";
/// The audit's word for a partition that is read again.
const SHIFTED: &str = "pages_shifted";

fn restarts(tx: &Tx<'_>, task: &TaskId, stream: &str) -> Result<u32, LedgerError> {
    let text = "SELECT count(*) FROM audit WHERE task = ?1 AND action = ?2 AND json_extract(detail, '$.stream') = ?3";
    Ok(one(tx, text, (task.as_str(), ACTION, stream), |row| row.get(0))?.unwrap_or(0))
}

fn restart(
    tx: &Tx<'_>,
    (task, stream): (&TaskId, &str),
    schema: &Schema,
    most: u32,
) -> Result<Option<Vec<SegmentRow>>, LedgerError> {
    must_run(tx, task, "read a stream again")?;
    let before = restarts(tx, task, stream)?;
    if before >= most {
        return Ok(None);
    }
    let mut superseded = Vec::new();
    for lane in lanes(tx, task, stream)? {
        superseded.extend(back(tx, task, stream, &lane, &lane.start)?);
    }
    reopen(tx, task, stream)?;
    run(
        tx,
        "UPDATE task_streams SET schema = NULL, observed = NULL WHERE task = ?1 AND stream = ?2",
        (task.as_str(), stream),
    )?;
    let (_, version) = store_schema(tx, task, stream, schema)?;
    let detail = json!({
        "stream": stream, "schema_version": version, "superseded": superseded.len(), "restarts": before + 1,
    });
    tx.audit_task(task, ACTION, detail)?;
    Ok(Some(superseded))
}

/// How often a partition, and the stream, went back since an operator last had a hand in it.
fn shifts(tx: &Tx<'_>, task: &TaskId, stream: &str, partition: u32) -> Result<(u32, u32), LedgerError> {
    let text = "SELECT coalesce(sum(json_extract(detail, '$.partition') = ?4), 0), count(*) FROM audit
                WHERE task = ?1 AND action = ?2 AND json_extract(detail, '$.stream') = ?3 AND seq > coalesce(
                    (SELECT max(seq) FROM audit WHERE task = ?1 AND action IN ('retry', 'offset_set', 'offsets_reset')), 0)";
    let counts = one(tx, text, (task.as_str(), SHIFTED, stream, partition), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(counts.unwrap_or_default())
}

/// Where the lane goes back to: the first segment whose records reach into the partition; what lies in front of it stays. An
/// incremental stream's lane goes to its start: of the records at its boundary only those of the newest segment are kept.
fn place_before(
    tx: &Tx<'_>,
    (task, stream): (&TaskId, &str),
    row: &LaneRow,
    partition: u32,
) -> Result<Offset, LedgerError> {
    let text = "SELECT follows FROM task_streams WHERE task = ?1 AND stream = ?2";
    if one(tx, text, (task.as_str(), stream), |row| row.get(0))?.unwrap_or(false) {
        return Ok(row.start.clone());
    }
    let reaches =
        |last: &Offset| last.partition > partition || (last.partition == partition && last.partition_records > 0);
    let segments = live(tx, task, stream, row.lane)?;
    let kept = segments.iter().take_while(|segment| !reaches(&segment.last)).last();
    Ok(kept.map_or(&row.start, |segment| &segment.last).clone())
}

fn restart_partition(
    tx: &Tx<'_>,
    (task, stream): (&TaskId, &str),
    order: &LaneBack,
    (most, most_of_stream): (u32, u32),
) -> Result<Option<Vec<SegmentRow>>, LedgerError> {
    must_run(tx, task, "read a partition again")?;
    let (before, all) = shifts(tx, task, stream, order.partition)?;
    if before >= most || all >= most_of_stream {
        return Ok(None);
    }
    let row = lane(tx, task, stream, order.lane)?;
    let to = place_before(tx, (task, stream), &row, order.partition)?;
    let superseded = back(tx, task, stream, &row, &to)?;
    reopen(tx, task, stream)?;
    super::streams::add_note(tx, task, stream, &order.note)?;
    let detail = json!({
        "stream": stream, "lane": order.lane, "partition": order.partition, "superseded": superseded.len(),
        "revision": row.revision + 1, "restarts": before + 1,
    });
    tx.audit_task(task, SHIFTED, detail)?;
    Ok(Some(superseded))
}

impl Ledger {
    /// Sends a lane of a running task back to the start of the first segment that holds records of a partition, under a new
    /// revision; what it had committed from there on is superseded, and the task's report says why. One transaction. `None`,
    /// and nothing is changed, where that was done too often since an operator had a hand in it: `most` says how often for
    /// a partition and for a stream.
    ///
    /// # Errors
    /// `Refused` where the task does not run.
    pub async fn restart_partition(
        &self,
        task: &TaskId,
        stream: &str,
        back: &LaneBack,
        most: (u32, u32),
    ) -> Result<Option<Vec<SegmentRow>>, LedgerError> {
        let (task, stream, back) = (task.clone(), stream.to_owned(), back.clone());
        self.write(move |tx| restart_partition(tx, (&task, &stream), &back, most)).await
    }

    /// Sends every lane of a stream of a running task back to its start, under a new revision, with `schema` as the task's
    /// schema from now on; what it had committed is superseded. One transaction. `None`, and nothing is changed, where the
    /// task has read the stream again `most` times already.
    ///
    /// # Errors
    /// `Refused` where the task does not run.
    pub async fn restart_stream(
        &self,
        task: &TaskId,
        stream: &str,
        schema: &Schema,
        most: u32,
    ) -> Result<Option<Vec<SegmentRow>>, LedgerError> {
        let (task, stream, schema) = (task.clone(), stream.to_owned(), schema.clone());
        self.write(move |tx| restart(tx, (&task, &stream), &schema, most)).await
    }

    /// Whether a segment no longer counts, because its lane went back behind it.
    pub async fn is_superseded(&self, task: &TaskId, id: &SegmentId) -> Result<bool, LedgerError> {
        let (task, id) = (task.clone(), id.clone());
        self.read(move |sql| {
            let text = "SELECT superseded FROM segments
                 WHERE task = ?1 AND stream = ?2 AND lane = ?3 AND n = ?4 AND revision = ?5";
            let key = (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision);
            Ok(one(sql, text, key, |row| row.get(0))?.unwrap_or(false))
        })
        .await
    }
}
