//! Deliveries: which segment still has to go where.

use super::Ledger;
use super::codec::{At, U64, all, one, run};
use super::error::LedgerError;
use super::rows::{DeliveryRow, SegmentRow};
use super::segments::{COLUMNS, segment_row};
use super::streams::short;
use super::tasks::progressed;
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::segment::SegmentId;
use rusqlite::Connection;
use serde_json::json;

/// Joins deliveries `d` to their segments `g`.
const JOINED: &str = "FROM deliveries d JOIN segments g USING (task, stream, lane, n, revision)";

fn pending(sql: &Connection, task: &TaskId, destination: &str, limit: u32) -> Result<Vec<DeliveryRow>, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS}, d.attempts, d.error {JOINED}
         WHERE d.task = ?1 AND d.destination = ?2 AND d.verified_at IS NULL AND NOT g.superseded
         ORDER BY d.stream, d.lane, d.n LIMIT ?3"
    );
    all(sql, &text, (task.as_str(), destination, limit), |row| {
        Ok(DeliveryRow {
            segment: segment_row(row)?,
            destination: destination.to_owned(),
            verified: false,
            attempts: row.get("attempts")?,
            error: row.get("error")?,
        })
    })
}

fn undelivered(sql: &Connection, task: &TaskId) -> Result<Vec<SegmentRow>, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS} FROM segments g
         WHERE g.task = ?1 AND NOT g.superseded AND (EXISTS (
             SELECT 1 FROM deliveries d WHERE d.task = g.task AND d.stream = g.stream AND d.lane = g.lane AND d.n = g.n
                 AND d.revision = g.revision AND d.verified_at IS NULL)
             OR g.role = 'part' AND NOT EXISTS (
             SELECT 1 FROM segments s WHERE s.task = g.task AND s.stream = g.stream AND s.role = 'single'
                 AND NOT s.superseded AND NOT EXISTS (
                     SELECT 1 FROM deliveries d WHERE d.task = s.task AND d.stream = s.stream AND d.lane = s.lane
                         AND d.n = s.n AND d.revision = s.revision AND d.verified_at IS NULL)))
         ORDER BY g.stream, g.lane, g.n"
    );
    all(sql, &text, [task.as_str()], segment_row)
}

fn failed(tx: &Tx<'_>, task: &TaskId, id: &SegmentId, destination: &str, error: &str) -> Result<(), LedgerError> {
    let changed = run(
        tx,
        "UPDATE deliveries SET attempts = attempts + 1, error = ?7
         WHERE task = ?1 AND stream = ?2 AND lane = ?3 AND n = ?4 AND revision = ?5 AND destination = ?6
             AND verified_at IS NULL",
        (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision, destination, error),
    )?;
    if changed == 0 {
        return Err(missing(task, id, destination));
    }
    tx.audit_task(task, "delivery_failed", describe(id, destination, Some(error)))
}

fn verified(tx: &Tx<'_>, task: &TaskId, id: &SegmentId, destination: &str) -> Result<bool, LedgerError> {
    let key = (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision, destination);
    // Of a segment that no longer counts nothing is said: it may have gone before it was there.
    let text = "SELECT d.verified_at IS NOT NULL OR g.superseded
         FROM deliveries d JOIN segments g USING (task, stream, lane, n, revision)
         WHERE d.task = ?1 AND d.stream = ?2 AND d.lane = ?3 AND d.n = ?4 AND d.revision = ?5 AND d.destination = ?6";
    let already: bool = one(tx, text, key, |row| row.get(0))?.ok_or_else(|| missing(task, id, destination))?;
    if !already {
        run(
            tx,
            "UPDATE deliveries SET attempts = attempts + 1, error = NULL, verified_at = ?7
             WHERE task = ?1 AND stream = ?2 AND lane = ?3 AND n = ?4 AND revision = ?5 AND destination = ?6",
            (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision, destination, At(tx.at)),
        )?;
        progressed(tx, task)?;
        tx.audit_task(task, "delivered", describe(id, destination, None))?;
    }
    let text = "SELECT count(*) = 0 FROM deliveries
         WHERE task = ?1 AND stream = ?2 AND lane = ?3 AND n = ?4 AND revision = ?5 AND verified_at IS NULL";
    Ok(one(tx, text, (task.as_str(), &id.stream, id.lane, U64(id.n), id.revision), |row| row.get(0))?.unwrap_or(false))
}

fn describe(id: &SegmentId, destination: &str, error: Option<&str>) -> serde_json::Value {
    json!({ "stream": id.stream, "lane": id.lane, "n": id.n, "revision": id.revision, "destination": destination,
            "error": error })
}

fn missing(task: &TaskId, id: &SegmentId, destination: &str) -> LedgerError {
    let what =
        format!("an open delivery of segment {} of lane {} of stream {} to {destination}", id.n, id.lane, id.stream);
    LedgerError::NotThere { task: task.clone(), what }
}

impl Ledger {
    /// Counts a failed try and keeps its error (without data).
    pub async fn delivery_failed(
        &self,
        task: &TaskId,
        id: &SegmentId,
        destination: &str,
        error: &str,
    ) -> Result<(), LedgerError> {
        let (task, id, destination, error) = (task.clone(), id.clone(), destination.to_owned(), short(error));
        self.write(move |tx| failed(tx, &task, &id, &destination, &error)).await
    }

    /// Notes that a segment is verified at a destination. True once it is verified at every destination: then its file
    /// may leave the spool. Saying it twice changes nothing.
    pub async fn delivery_verified(
        &self,
        task: &TaskId,
        id: &SegmentId,
        destination: &str,
    ) -> Result<bool, LedgerError> {
        let (task, id, destination) = (task.clone(), id.clone(), destination.to_owned());
        self.write(move |tx| verified(tx, &task, &id, &destination)).await
    }

    /// What is not yet verified at a destination, in the order of the data.
    pub async fn pending_deliveries(&self, task: &TaskId, destination: &str) -> Result<Vec<DeliveryRow>, LedgerError> {
        self.next_deliveries(task, destination, u32::MAX).await
    }

    /// The first `limit` of those.
    pub async fn next_deliveries(
        &self,
        task: &TaskId,
        destination: &str,
        limit: u32,
    ) -> Result<Vec<DeliveryRow>, LedgerError> {
        let (task, destination) = (task.clone(), destination.to_owned());
        self.read(move |sql| pending(sql, &task, &destination, limit)).await
    }

    /// The segments that some destination still waits for, and the parts of a single file until it is everywhere: their
    /// files stay in the spool, every other one may go.
    pub async fn undelivered(&self, task: &TaskId) -> Result<Vec<SegmentRow>, LedgerError> {
        let task = task.clone();
        self.read(move |sql| undelivered(sql, &task)).await
    }
}
