//! A stream that its own task reads again from the start, because its schema has to grow.

use super::Ledger;
use super::codec::{U64, one, run};
use super::error::LedgerError;
use super::offsets::{back, reopen};
use super::rows::SegmentRow;
use super::streams::{lanes, store_schema};
use super::tasks::must_run;
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::schema::Schema;
use crate::model::segment::SegmentId;
use serde_json::json;

/// The audit's word for it.
const ACTION: &str = "stream_restarted";

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

impl Ledger {
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
