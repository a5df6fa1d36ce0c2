//! History: which tasks nothing needs any more, and how they and old lines of the audit leave the ledger without holding it up.

use super::Ledger;
use super::audit::{self, Entry};
use super::codec::{At, all, one, run};
use super::error::LedgerError;
use super::rows::TaskRow;
use super::tasks::{COLUMNS, task_row};
use super::writer::Tx;
use crate::base::ids::TaskId;
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::json;

/// Rows of tasks that one transaction removes, in a dozen tables: some milliseconds of the writer.
const ROWS: usize = 200;
/// Lines of the audit that one transaction removes.
const LINES: usize = 500;

/// Chains `(chain, stream)` of which something is still needed: it is published somewhere, an open task goes on with it, a mark
/// was set in it, or the next incremental task will go on with it, because no newer one was begun.
const ALIVE: &str = "alive (chain, stream) AS MATERIALIZED (
    SELECT l.chain, l.stream FROM manifests m CROSS JOIN chain_links l ON l.task = m.task AND l.stream = m.stream
        WHERE m.published_at IS NOT NULL AND m.gone_at IS NULL
    UNION SELECT l.chain, l.stream FROM tasks o CROSS JOIN chain_links l ON l.task = o.id
        WHERE o.state IN ('pending', 'processing', 'paused')
    UNION SELECT l.chain, l.stream FROM marks k CROSS JOIN chain_links l ON l.task = k.task AND l.stream = k.stream
    UNION SELECT chain, stream FROM (
        SELECT l.chain, l.stream, max(c.seq) FROM chain_links l JOIN tasks c ON c.id = l.chain
        WHERE l.position = 0 AND c.chained GROUP BY l.export, l.stream))";

/// What a task `t` must be for itself: over since before ?1, with nothing anywhere, nothing under way, and no mark.
const OVER: &str = "t.state IN ('succeeded', 'failed', 'cancelled') AND t.ended_at < ?1 AND t.forgotten_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.task = t.id AND m.gone_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.task = t.id)
    AND NOT EXISTS (SELECT 1 FROM back_fills b WHERE b.task = t.id)
    AND NOT EXISTS (SELECT 1 FROM marks k WHERE k.task = t.id)
    AND NOT EXISTS (SELECT 1 FROM task_streams s JOIN tasks o ON o.id = s.task
        WHERE s.mark_task = t.id AND o.state <> 'succeeded')";

/// What else keeps a task: a chain that is needed; that it is the newest one to say how a stream did; and manifests of a cancelled
/// one that may still lie at destinations.
const KEPT: &str = "EXISTS (SELECT 1 FROM chain_links l JOIN alive a ON a.chain = l.chain AND a.stream = l.stream WHERE l.task = t.id)
    OR (t.state <> 'cancelled' AND EXISTS (SELECT 1 FROM task_streams s WHERE s.task = t.id AND NOT EXISTS (
        SELECT 1 FROM tasks n JOIN task_streams ns ON ns.task = n.id AND ns.stream = s.stream
        WHERE n.export = t.export AND n.state = t.state AND n.seq > t.seq
            AND (ns.error IS NULL OR s.error IS NOT NULL))))
    OR (t.state = 'cancelled' AND EXISTS (SELECT 1 FROM audit a WHERE a.task = t.id AND a.action = 'manifest_composed'
        AND a.seq > coalesce((SELECT max(w.seq) FROM audit w WHERE w.task = t.id AND w.action = 'manifests_withdrawn'), 0)))";

/// The tables that hold rows of a task, with their keys, in the order in which nothing names what is gone. The task itself is last.
const TABLES: [(&str, &str); 17] = [
    ("deliveries", "task, stream, lane, n, revision, destination"),
    ("parent_values", "task, stream, lane, n, revision"),
    ("boundary", "rowid"),
    ("segments", "task, stream, lane, n, revision"),
    ("cuts", "task, stream, lane, n, revision"),
    ("lanes", "task, stream, lane"),
    ("partition_lists", "task, stream"),
    ("partitions", "task, stream, idx"),
    ("chain_links", "task, stream"),
    ("manifests", "task, stream, destination"),
    ("outside_values", "task, stream, batch"),
    ("outside_parents", "task, stream"),
    ("upload_parts", "task, destination, key, number"),
    ("uploads", "task, destination, key"),
    ("back_fills", "task, destination"),
    ("task_streams", "task, stream"),
    ("task_notify", "task, recipient"),
];

fn forgettable(sql: &Connection, before: Timestamp, after: i64, most: u32) -> Result<Vec<(i64, TaskRow)>, LedgerError> {
    let text = format!(
        "WITH {ALIVE} SELECT {COLUMNS}, t.seq FROM tasks t WHERE t.seq > ?2 AND {OVER} AND NOT ({KEPT}) ORDER BY t.seq LIMIT ?3"
    );
    all(sql, &text, (At(before), after, most), |row| Ok((row.get("seq")?, task_row(row)?)))
}

/// Notes that tasks are being forgotten, if they still are as they were looked at; how many are.
fn forget(tx: &Tx<'_>, tasks: &[TaskId], before: Timestamp) -> Result<usize, LedgerError> {
    let text = format!("UPDATE tasks AS t SET forgotten_at = ?2 WHERE t.id = ?3 AND {OVER}");
    let mut forgotten = Vec::new();
    for task in tasks {
        if run(tx, &text, (At(before), At(tx.at), task.as_str()))? > 0 {
            forgotten.push(task);
        }
    }
    let (Some(first), Some(last)) = (forgotten.first(), forgotten.last()) else { return Ok(0) };
    let count = forgotten.len();
    let detail = json!({ "tasks": count, "first": first.as_str(), "last": last.as_str() });
    let reason = format!("{count} that ended before {before:.0} and of which nothing is published");
    let entry =
        Entry { action: "tasks_forgotten", reason: &reason, detail: Some(detail.to_string()), ..Entry::default() };
    tx.audit(entry)?;
    Ok(count)
}

/// Removes rows of forgotten tasks, and then the tasks; how many rows, which are fewer than a batch once nothing is left.
fn remove(tx: &Tx<'_>) -> Result<usize, LedgerError> {
    let text = "SELECT id FROM tasks WHERE forgotten_at IS NOT NULL ORDER BY seq LIMIT ?1";
    let tasks = all(tx, text, [ROWS as i64], |row| row.get::<_, String>(0))?;
    let mut left = ROWS;
    for task in &tasks {
        for (table, key) in TABLES {
            let text = format!(
                "DELETE FROM {table} WHERE task = ?1 AND ({key}) IN (SELECT {key} FROM {table} WHERE task = ?1 LIMIT ?2)"
            );
            left -= run(tx, &text, (task, left as i64))?;
            if left == 0 {
                return Ok(ROWS);
            }
        }
        left -= run(tx, "DELETE FROM tasks WHERE id = ?1", [task])?;
        if left == 0 {
            break;
        }
    }
    Ok(ROWS - left)
}

/// The last line of the audit that may go: older than `before`, like all in front of it, and none that says what a task without success
/// has left at destinations. With its hash.
fn last_to_cut(sql: &Connection, before: Timestamp) -> Result<Option<(i64, String)>, LedgerError> {
    let anchor = audit::anchor(sql)?.seq;
    let text = "SELECT min(seq) FROM (
            SELECT min(seq) AS seq FROM (SELECT seq FROM audit WHERE seq > ?1 AND at >= ?2 ORDER BY seq LIMIT 1)
            UNION ALL SELECT max(seq) FROM audit
            UNION ALL SELECT min(a.seq) FROM tasks t JOIN audit a ON a.task = t.id
                WHERE t.state <> 'succeeded' AND t.forgotten_at IS NULL AND a.action = 'manifest_composed'
                    AND a.seq > coalesce((SELECT max(w.seq) FROM audit w
                        WHERE w.task = t.id AND w.action = 'manifests_withdrawn'), 0))
        WHERE seq IS NOT NULL";
    let Some(stays) = one(sql, text, (anchor, At(before)), |row| row.get::<_, Option<i64>>(0))?.flatten() else {
        return Ok(None);
    };
    let text = "SELECT seq, hash FROM audit WHERE seq = ?1 - 1 AND seq > ?2";
    one(sql, text, (stays, anchor), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Lets the audit begin behind a row, and says so in it.
fn cut(tx: &Tx<'_>, seq: i64, hash: &str, before: Timestamp) -> Result<i64, LedgerError> {
    let removed = seq - audit::anchor(tx)?.seq;
    let noted = audit::tip(tx)?.0 + 1;
    run(tx, "UPDATE audit_anchor SET seq = ?1, hash = ?2, noted = ?3", (seq, hash, noted))?;
    let reason = format!("{removed} lines from before {before:.0}");
    let detail = json!({ "rows": removed, "seq": seq, "hash": hash });
    let entry = Entry { action: audit::CUT, reason: &reason, detail: Some(detail.to_string()), ..Entry::default() };
    tx.audit(entry)?;
    Ok(removed)
}

/// Refuses to go on with a task that is being forgotten.
pub(super) fn remembered(sql: &Connection, task: &TaskId) -> Result<(), LedgerError> {
    let text = "SELECT 1 FROM tasks WHERE id = ?1 AND forgotten_at IS NOT NULL";
    match one(sql, text, [task.as_str()], |_| Ok(()))? {
        None => Ok(()),
        Some(()) => Err(LedgerError::Refused(format!(
            "retry the task {task}: it ended longer ago than daemon.history, and is being forgotten; run its export again"
        ))),
    }
}

impl Ledger {
    /// Tasks behind `after` that ended before a time, of which nothing is published and which nothing else in the ledger needs:
    /// in the order of their creation, with their places in it.
    pub async fn forgettable(
        &self,
        before: Timestamp,
        after: i64,
        most: u32,
    ) -> Result<Vec<(i64, TaskRow)>, LedgerError> {
        self.read(move |sql| forgettable(sql, before, after, most)).await
    }

    /// Notes that such tasks are forgotten, but for those that are needed by now; how many are. From then on they cannot be
    /// retried, and [`Ledger::remove_forgotten`] removes them.
    pub async fn forget(&self, tasks: Vec<TaskId>, before: Timestamp) -> Result<usize, LedgerError> {
        self.write(move |tx| forget(tx, &tasks, before)).await
    }

    /// Removes some rows of forgotten tasks; whether that was all.
    pub async fn remove_forgotten(&self) -> Result<bool, LedgerError> {
        self.write(|tx| Ok(remove(tx)? < ROWS)).await
    }

    /// Lets the audit begin at the first line from after a time; how many lines are to be removed by
    /// [`Ledger::remove_cut`]. The chain of hashes goes on from the last of them.
    pub async fn cut_audit(&self, before: Timestamp) -> Result<i64, LedgerError> {
        let Some((seq, hash)) = self.read(move |sql| last_to_cut(sql, before)).await? else { return Ok(0) };
        self.write(move |tx| cut(tx, seq, &hash, before)).await
    }

    /// Removes some lines in front of the beginning of the audit; whether that was all.
    pub async fn remove_cut(&self) -> Result<bool, LedgerError> {
        let text = "DELETE FROM audit WHERE seq IN (
                        SELECT seq FROM audit WHERE seq <= (SELECT seq FROM audit_anchor) ORDER BY seq LIMIT ?1)";
        self.write(move |tx| Ok(run(tx, text, [LINES as i64])? < LINES)).await
    }
}
