//! The audit: append-only rows, each sealed by a hash over itself and the one before it.

use super::Ledger;
use super::codec::{At, Word, all, one, run};
use super::error::LedgerError;
use super::input::AuditEntry;
use super::rows::AuditRow;
use super::writer::Tx;
use crate::base::ids::{TaskId, hex};
use crate::model::task::TaskState;
use rusqlite::{Connection, Row};
use sha2::{Digest as _, Sha256};

/// Who acts where no actor is given.
const DAEMON: &str = "daemon";
/// Rows read at a time while the chain is verified.
const BATCH: u32 = 10_000;
/// The most rows that one question returns.
const MAX_ROWS: u32 = 10_000;

/// What is noted where the audit is cut.
pub(super) const CUT: &str = "audit_cut";

const COLUMNS: &str = "seq, at, task, export, actor, action, from_state, to_state, reason, detail, hash";

/// A row to append.
#[derive(Default)]
pub(super) struct Entry<'a> {
    pub task: Option<&'a TaskId>,
    pub export: Option<&'a str>,
    pub actor: &'a str,
    pub action: &'a str,
    pub from: Option<TaskState>,
    pub to: Option<TaskState>,
    pub reason: &'a str,
    pub detail: Option<String>,
}

/// The last row's seq and hash; 0 and nothing in an empty audit.
pub(super) fn tip(sql: &Connection) -> Result<(i64, String), LedgerError> {
    let row = one(sql, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [], |row| {
        Ok((row.get("seq")?, row.get("hash")?))
    })?;
    Ok(row.unwrap_or_default())
}

impl Tx<'_> {
    /// Appends a row in this transaction.
    pub fn audit(&self, entry: Entry<'_>) -> Result<(), LedgerError> {
        let (last, before) = tip(self)?;
        let mut row = AuditRow {
            seq: last + 1,
            at: self.at,
            task: entry.task.map(|id| id.as_str().to_owned()),
            export: entry.export.map(str::to_owned),
            actor: if entry.actor.is_empty() { DAEMON } else { entry.actor }.to_owned(),
            action: entry.action.to_owned(),
            from_state: entry.from,
            to_state: entry.to,
            reason: entry.reason.to_owned(),
            detail: entry.detail,
            hash: String::new(),
        };
        row.hash = chained(&before, &row);
        run(
            self,
            "INSERT INTO audit (seq, at, task, export, actor, action, from_state, to_state, reason, detail, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            (
                row.seq,
                At(row.at),
                &row.task,
                &row.export,
                &row.actor,
                &row.action,
                row.from_state.map(Word),
                row.to_state.map(Word),
                &row.reason,
                &row.detail,
                &row.hash,
            ),
        )?;
        self.audited.set(Some(row.seq));
        Ok(())
    }

    /// Appends a row about a task that the daemon itself acted on.
    pub fn audit_task(&self, task: &TaskId, action: &str, detail: serde_json::Value) -> Result<(), LedgerError> {
        self.audit(Entry { task: Some(task), action, detail: Some(detail.to_string()), ..Entry::default() })
    }
}

/// The hash of a row: SHA-256 over the hash before it and every field with its length, so that no two rows look alike.
fn chained(before: &str, row: &AuditRow) -> String {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(row.seq.to_le_bytes());
    hash.update(row.at.as_microsecond().to_le_bytes());
    let state = |state: Option<TaskState>| state.map(TaskState::word);
    let fields = [
        row.task.as_deref(),
        row.export.as_deref(),
        Some(row.actor.as_str()),
        Some(row.action.as_str()),
        state(row.from_state),
        state(row.to_state),
        Some(row.reason.as_str()),
        row.detail.as_deref(),
    ];
    for field in fields {
        // A missing field is no empty one.
        hash.update(field.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
        hash.update(field.unwrap_or_default());
    }
    hex(&hash.finalize())
}

fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let state = |column| row.get::<_, Option<Word>>(column).map(|word| word.map(|word| word.0));
    Ok(AuditRow {
        seq: row.get("seq")?,
        at: row.get::<_, At>("at")?.0,
        task: row.get("task")?,
        export: row.get("export")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        from_state: state("from_state")?,
        to_state: state("to_state")?,
        reason: row.get("reason")?,
        detail: row.get("detail")?,
        hash: row.get("hash")?,
    })
}

/// Rows after `seq`, in order.
fn since(sql: &Connection, seq: i64, limit: u32) -> Result<Vec<AuditRow>, LedgerError> {
    let text = format!("SELECT {COLUMNS} FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    all(sql, &text, (seq, limit.min(MAX_ROWS)), audit_row)
}

/// Where the audit begins.
#[derive(Default)]
pub(super) struct Anchor {
    /// The last row that was removed; 0 where none was.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
    /// The row that says so.
    pub noted: i64,
}

/// Where the audit begins; at its first row in a ledger that is too old to be cut.
pub(super) fn anchor(sql: &Connection) -> Result<Anchor, LedgerError> {
    let text = "SELECT 1 FROM sqlite_schema WHERE name = 'audit_anchor'";
    if one(sql, text, [], |_| Ok(()))?.is_none() {
        return Ok(Anchor::default());
    }
    let anchor = one(sql, "SELECT seq, hash, noted FROM audit_anchor", [], |row| {
        Ok(Anchor { seq: row.get("seq")?, hash: row.get("hash")?, noted: row.get("noted")? })
    })?;
    Ok(anchor.unwrap_or_default())
}

/// Whether the row that notes the beginning of the audit says what it is: it is covered by the hashes, the beginning itself is not.
fn vouched(sql: &Connection, anchor: &Anchor) -> Result<bool, LedgerError> {
    if anchor.seq == 0 {
        return Ok(anchor.hash.is_empty());
    }
    let text = "SELECT 1 FROM audit WHERE seq = ?1 AND seq > ?2 AND action = ?3
                    AND detail ->> 'seq' = ?2 AND detail ->> 'hash' = ?4";
    Ok(one(sql, text, (anchor.noted, anchor.seq, CUT, &anchor.hash), |_| Ok(()))?.is_some())
}

/// The first row that does not follow from the rows before it.
pub(super) fn broken(sql: &Connection) -> Result<Option<i64>, LedgerError> {
    let anchor = anchor(sql)?;
    if !vouched(sql, &anchor)? {
        return Ok(Some(anchor.seq + 1));
    }
    let (mut seq, mut hash) = (anchor.seq, anchor.hash);
    loop {
        let rows = since(sql, seq, BATCH)?;
        if rows.is_empty() {
            // What notes a cut is never cut itself, so that something always is behind one.
            return Ok(None);
        }
        for row in rows {
            if row.seq != seq + 1 || row.hash != chained(&hash, &row) {
                return Ok(Some(row.seq));
            }
            (seq, hash) = (row.seq, row.hash);
        }
    }
}

impl Ledger {
    /// Appends a line.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), LedgerError> {
        self.write(move |tx| {
            tx.audit(Entry {
                task: entry.task.as_ref(),
                export: entry.export.as_deref(),
                actor: &entry.actor,
                action: &entry.action,
                reason: &entry.reason,
                detail: entry.detail,
                ..Entry::default()
            })
        })
        .await
    }

    /// At most `limit` rows after `seq` (at most 10,000), oldest first.
    pub async fn audit_since(&self, seq: i64, limit: u32) -> Result<Vec<AuditRow>, LedgerError> {
        self.read(move |sql| since(sql, seq, limit)).await
    }

    /// Checks the chain of hashes; the seq of the first row that was changed, or that follows a removed one. (Rows cut
    /// off at the end leave no trace in here; compare [`Ledger::changes`] with what was seen before.)
    pub async fn verify_audit(&self) -> Result<Option<i64>, LedgerError> {
        self.read(broken).await
    }
}

/// Puts every row of the audit into another time, with the hashes that it would have then; the last one's seq.
#[cfg(test)]
pub(super) fn age(tx: &Tx<'_>, by: i64) -> Result<i64, LedgerError> {
    let trigger = "SELECT sql FROM sqlite_schema WHERE name = 'audit_is_not_changed'";
    let trigger: String = tx.query_row(trigger, [], |row| row.get(0))?;
    tx.execute_batch("DROP TRIGGER audit_is_not_changed")?;
    let mut before = anchor(tx)?;
    loop {
        let rows = since(tx, before.seq, BATCH)?;
        if rows.is_empty() {
            break;
        }
        for mut row in rows {
            let aged = row.at.as_microsecond() - by;
            row.at = jiff::Timestamp::from_microsecond(aged).unwrap_or(row.at);
            before = Anchor { seq: row.seq, hash: chained(&before.hash, &row), noted: 0 };
            run(tx, "UPDATE audit SET at = ?2, hash = ?3 WHERE seq = ?1", (row.seq, aged, &before.hash))?;
        }
    }
    tx.execute_batch(&trigger)?;
    Ok(before.seq)
}
