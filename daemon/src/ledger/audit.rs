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

/// The first row that does not follow from the rows before it.
pub(super) fn broken(sql: &Connection) -> Result<Option<i64>, LedgerError> {
    let (mut seq, mut hash) = (0, String::new());
    loop {
        let rows = since(sql, seq, BATCH)?;
        if rows.is_empty() {
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
