//! The head of the queue: the pending tasks that may start, in order, and when the next of them may.

use super::Ledger;
use super::codec::{At, all, one, time};
use super::error::LedgerError;
use super::rows::{QueueHead, QueuedTask};
use crate::base::ids::TaskId;
use jiff::Timestamp;
use rusqlite::Connection;

/// Pending, of one export where it is named, and held back by no operator. The unary plus keeps SQLite from walking
/// the index of the whole queue, closed tasks included.
const OPEN: &str = "FROM tasks t WHERE state = 'pending' AND (?1 IS NULL OR export = ?1)
     AND NOT EXISTS (SELECT 1 FROM paused_exports p WHERE p.export = t.export)
     AND NOT (chained AND EXISTS (SELECT 1 FROM tasks o WHERE o.export = t.export AND o.seq < t.seq AND o.chained
         AND NOT o.extracted AND o.started_at IS NOT NULL AND o.state IN ('pending', 'processing', 'paused')))";

fn head(sql: &Connection, export: Option<&str>, now: Timestamp, limit: u32) -> Result<QueueHead, LedgerError> {
    let text = format!(
        "SELECT id, export, chained, extracted {OPEN} AND (not_before IS NULL OR not_before <= ?2) ORDER BY +queue_pos, seq LIMIT ?3"
    );
    let due = all(sql, &text, (export, At(now), limit), |row| {
        Ok(QueuedTask {
            id: TaskId::known(row.get::<_, String>("id")?),
            export: row.get("export")?,
            chained: row.get("chained")?,
            extracted: row.get("extracted")?,
        })
    })?;
    let text = format!("SELECT min(not_before) AS next {OPEN} AND not_before > ?2");
    let next = one(sql, &text, (export, At(now)), |row| time(row, "next"))?.flatten();
    Ok(QueueHead { due, next })
}

impl Ledger {
    /// The first `limit` pending tasks in the order of the queue that nothing holds back, of one export or of all: their
    /// export is not paused, the time of their next attempt has come, and of tasks in one chain no earlier one that has begun
    /// is still to be extracted. Also when the next such time comes.
    pub async fn queue_head(&self, export: Option<&str>, now: Timestamp, limit: u32) -> Result<QueueHead, LedgerError> {
        let export = export.map(str::to_owned);
        self.read(move |sql| head(sql, export.as_deref(), now, limit)).await
    }
}
