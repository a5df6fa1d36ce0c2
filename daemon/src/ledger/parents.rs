//! What children need of the records of their parents: of streams of the task with each segment, of others as a whole.

use super::Ledger;
use super::codec::{Json, U64, one, run};
use super::error::LedgerError;
use super::tasks::get;
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::partitions::Partitions;
use crate::model::segment::SegmentId;
use rusqlite::Connection;
use serde_json::json;

/// Stores what a segment's records say, in the transaction that commits the segment.
pub(super) fn add(tx: &Tx<'_>, task: &TaskId, id: &SegmentId, values: &Partitions) -> Result<(), LedgerError> {
    let text =
        "INSERT INTO parent_values (task, stream, lane, n, revision, \"values\") VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    run(tx, text, (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision, Json(values)))?;
    Ok(())
}

fn begin(tx: &Tx<'_>, task: &TaskId, stream: &str) -> Result<(), LedgerError> {
    get(tx, task)?;
    run(tx, "DELETE FROM outside_values WHERE task = ?1 AND stream = ?2", (task.as_str(), stream))?;
    Ok(())
}

fn add_outside(
    tx: &Tx<'_>,
    task: &TaskId,
    stream: &str,
    (batch, values): (u32, &Partitions),
) -> Result<(), LedgerError> {
    let text = "INSERT INTO outside_values (task, stream, batch, \"values\") VALUES (?1, ?2, ?3, ?4)";
    run(tx, text, (task.as_str(), stream, batch, Json(values)))?;
    Ok(())
}

fn close(tx: &Tx<'_>, task: &TaskId, stream: &str, count: u32) -> Result<(), LedgerError> {
    let text = "INSERT INTO outside_parents (task, stream, count) VALUES (?1, ?2, ?3)";
    run(tx, text, (task.as_str(), stream, count))?;
    tx.audit_task(task, "parent_read", json!({ "stream": stream, "values": count }))
}

/// Shows stored values in order, one segment or batch at a time, until `show` says that it is enough.
fn each(
    sql: &Connection,
    (text, task, stream): (&str, &TaskId, &str),
    show: &mut dyn FnMut(&Partitions) -> bool,
) -> Result<(), LedgerError> {
    let mut statement = sql.prepare_cached(text)?;
    let mut rows = statement.query((task.as_str(), stream))?;
    while let Some(row) = rows.next()? {
        let Json(values) = row.get::<_, Json<Partitions>>(0)?;
        if !show(&values) {
            break;
        }
    }
    Ok(())
}

impl Ledger {
    /// Folds what the records of a parent say, in the order of its lanes and segments, superseded ones left out; of a parent
    /// that is no stream of the task, in the order in which it was read. `fold` says whether it wants more.
    pub async fn parent_values<T: Send + 'static>(
        &self,
        task: &TaskId,
        stream: &str,
        mut folded: T,
        mut fold: impl FnMut(&mut T, &Partitions) -> bool + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.read(move |sql| {
            let inside = "SELECT v.\"values\" FROM parent_values v JOIN segments g
                 ON g.task = v.task AND g.stream = v.stream AND g.lane = v.lane AND g.n = v.n AND g.revision = v.revision
                 WHERE v.task = ?1 AND v.stream = ?2 AND NOT g.superseded ORDER BY v.lane, v.n, v.revision";
            let outside = "SELECT \"values\" FROM outside_values WHERE task = ?1 AND stream = ?2 ORDER BY batch";
            for text in [inside, outside] {
                each(sql, (text, &task, &stream), &mut |values| fold(&mut folded, values))?;
            }
            Ok(folded)
        })
        .await
    }

    /// Whether a parent that is no stream of the task has been read to its end.
    pub async fn has_outside_parent(&self, task: &TaskId, stream: &str) -> Result<bool, LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        let text = "SELECT 1 FROM outside_parents WHERE task = ?1 AND stream = ?2";
        self.read(move |sql| Ok(one(sql, text, (task.as_str(), &stream), |_| Ok(()))?.is_some())).await
    }

    /// Forgets what an attempt to read a parent has left, before it is read (again).
    pub async fn begin_outside_parent(&self, task: &TaskId, stream: &str) -> Result<(), LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.write(move |tx| begin(tx, &task, &stream)).await
    }

    /// Stores a batch of the values of such a parent, numbered from 0.
    pub async fn add_outside_values(
        &self,
        task: &TaskId,
        stream: &str,
        batch: u32,
        values: Partitions,
    ) -> Result<(), LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.write(move |tx| add_outside(tx, &task, &stream, (batch, &values))).await
    }

    /// Notes that such a parent has been read to its end: `count` different values.
    pub async fn close_outside_parent(&self, task: &TaskId, stream: &str, count: u32) -> Result<(), LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.write(move |tx| close(tx, &task, &stream, count)).await
    }
}
