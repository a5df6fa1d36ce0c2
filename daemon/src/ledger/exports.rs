//! What is kept beside tasks: paused exports and the answers to requests with an idempotency key.

use super::Ledger;
use super::audit::Entry;
use super::codec::{At, Word, all, one, run};
use super::error::LedgerError;
use super::rows::{Recent, TaskRow};
use super::tasks::{COLUMNS, held_reason, task_row};
use crate::model::task::TaskState;
use jiff::SignedDuration;
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Answers that are kept.
const MAX_ANSWERS: i64 = 10_000;
/// How long an answer is kept.
const ANSWER_AGE: SignedDuration = SignedDuration::from_hours(24);

/// The exports that are paused, by name.
pub(super) fn paused_exports(sql: &Connection) -> Result<Vec<String>, LedgerError> {
    all(sql, "SELECT export FROM paused_exports ORDER BY export", [], |row| row.get(0))
}

/// The newest task of an export, of those in a state where one is named.
fn newest(sql: &Connection, export: &str, of: Option<TaskState>) -> Result<Option<TaskRow>, LedgerError> {
    let state = of.map_or("", |_| "AND state = ?2");
    let text = format!("SELECT {COLUMNS} FROM tasks WHERE export = ?1 {state} ORDER BY seq DESC LIMIT 1");
    match of {
        Some(of) => one(sql, &text, (export, Word(of)), task_row),
        None => one(sql, &text, [export], task_row),
    }
}

impl Ledger {
    /// Pauses an export, or lets it go on: meanwhile its pending tasks wait, and say so. Saying the same twice changes
    /// nothing.
    pub async fn set_export_paused(&self, export: &str, paused: bool, actor: &str) -> Result<(), LedgerError> {
        let (export, actor) = (export.to_owned(), actor.to_owned());
        self.write(move |tx| {
            let changed = if paused {
                let text = "INSERT INTO paused_exports (export, actor, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
                run(tx, text, (&export, &actor, At(tx.at)))?
            } else {
                run(tx, "DELETE FROM paused_exports WHERE export = ?1", [&export])?
            };
            if changed == 0 {
                return Ok(());
            }
            let text =
                "UPDATE tasks SET waiting_reason = ?2, waiting_until = NULL WHERE export = ?1 AND state = 'pending'";
            run(tx, text, (&export, paused.then(|| held_reason(&export))))?;
            let action = if paused { "export_paused" } else { "export_resumed" };
            tx.audit(Entry { export: Some(&export), actor: &actor, action, ..Entry::default() })
        })
        .await
    }

    /// The exports that are paused, by name.
    pub async fn paused_exports(&self) -> Result<Vec<String>, LedgerError> {
        self.read(paused_exports).await
    }

    /// What was last done for each of these exports, in their order; one question, however many they are.
    pub async fn recent(&self, exports: Vec<String>) -> Result<Vec<Recent>, LedgerError> {
        self.read(move |sql| {
            let paused: BTreeSet<String> = paused_exports(sql)?.into_iter().collect();
            let recent = exports.iter().map(|export| {
                let last = newest(sql, export, None)?;
                let success = match &last {
                    Some(task) if task.state != TaskState::Succeeded => {
                        newest(sql, export, Some(TaskState::Succeeded))?
                    }
                    other => other.clone(),
                };
                Ok(Recent { paused: paused.contains(export), newest: last, success })
            });
            recent.collect()
        })
        .await
    }

    /// The answer that a request with this key got before. `fingerprint` is a digest of the request itself.
    ///
    /// # Errors
    /// `Refused` where the key belongs to another request.
    pub async fn idempotent(&self, key: &str, fingerprint: &str) -> Result<Option<String>, LedgerError> {
        let (key, fingerprint) = (key.to_owned(), fingerprint.to_owned());
        self.read(move |sql| {
            let text = "SELECT fingerprint, answer FROM answers WHERE key = ?1";
            match one(sql, text, [&key], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))? {
                Some((stored, answer)) if stored == fingerprint => Ok(Some(answer)),
                Some(_) => Err(LedgerError::Refused("use the idempotency key: it belongs to another request".into())),
                None => Ok(None),
            }
        })
        .await
    }

    /// Keeps the answer to a request with this key; the first one counts. The newest 10,000 of the last 24 hours are
    /// kept.
    pub async fn remember(&self, key: &str, fingerprint: &str, answer: &str) -> Result<(), LedgerError> {
        let (key, fingerprint, answer) = (key.to_owned(), fingerprint.to_owned(), answer.to_owned());
        self.write(move |tx| {
            let oldest = tx.at.checked_sub(ANSWER_AGE).unwrap_or(tx.at);
            run(tx, "DELETE FROM answers WHERE at < ?1", [At(oldest)])?;
            let text = "INSERT INTO answers (key, fingerprint, answer, at) VALUES (?1, ?2, ?3, ?4)
                        ON CONFLICT (key) DO NOTHING";
            run(tx, text, (&key, &fingerprint, &answer, At(tx.at)))?;
            let text = "DELETE FROM answers WHERE seq <= (SELECT max(seq) FROM answers) - ?1";
            run(tx, text, [MAX_ANSWERS])?;
            Ok(())
        })
        .await
    }
}
