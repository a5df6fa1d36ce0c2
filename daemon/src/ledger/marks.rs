//! Marks: how a stream is begun, where its next task starts, and the boundary that the next task may be given once more.

use super::Ledger;
use super::audit::Entry;
use super::codec::{At, Json, all, json, one, run};
use super::error::LedgerError;
use super::input::{NewLink, StreamEnd};
use super::rows::{Begun, MarkRow, TaskRow};
use super::streams::check_fingerprint;
use super::tasks;
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::mark::Mark;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row};
use saas_export_manifest::Mode;
use serde_json::json;

fn mark_row(row: &Row<'_>) -> rusqlite::Result<MarkRow> {
    Ok(MarkRow {
        stream: row.get("stream")?,
        mark: json(row, "mark")?,
        fingerprint: row.get("fingerprint")?,
        task: TaskId::known(row.get::<_, String>("task")?),
    })
}

/// The mark of a stream.
pub(super) fn mark_of(sql: &Connection, export: &str, stream: &str) -> Result<Option<MarkRow>, LedgerError> {
    let text = "SELECT stream, mark, fingerprint, task FROM marks WHERE export = ?1 AND stream = ?2";
    one(sql, text, (export, stream), mark_row)
}

fn stored(tx: &Tx<'_>, task: &TaskId, stream: &str) -> Result<Option<Begun>, LedgerError> {
    let text = "SELECT mode, mark_before, mark_task FROM task_streams
                WHERE task = ?1 AND stream = ?2 AND mode IS NOT NULL";
    one(tx, text, (task.as_str(), stream), |row| {
        Ok(Begun {
            mode: Mode::from_word(&row.get::<_, String>("mode")?).ok_or(FromSqlError::InvalidType)?,
            mark: row.get::<_, Option<Json<Mark>>>("mark_before")?.map(|mark| mark.0),
            boundary: row.get::<_, Option<String>>("mark_task")?.map(TaskId::known),
        })
    })
}

fn begin(tx: &Tx<'_>, id: &TaskId, stream: &str, fingerprint: &str, follows: bool) -> Result<Begun, LedgerError> {
    check_fingerprint(tx, id, stream, fingerprint)?;
    if let Some(begun) = stored(tx, id, stream)? {
        return Ok(begun);
    }
    let task = tasks::get(tx, id)?;
    let mark = mark_of(tx, &task.export, stream)?;
    let full = Begun { mode: Mode::Full, mark: None, boundary: None };
    let begun = if follows && task.scope.back_fill() {
        if mark.is_none() {
            return Err(LedgerError::Refused(format!(
                "fill back stream {stream}: no task of the export {} has read it yet; run it without --from and --to first",
                task.export
            )));
        }
        Begun { mode: Mode::Incremental, ..full }
    } else {
        match mark.filter(|_| follows && task.chained && !task.scope.full) {
            Some(mark) if mark.fingerprint.as_deref().is_some_and(|known| known != fingerprint) => {
                return Err(LedgerError::MarkOfAnother { export: task.export, stream: stream.to_owned() });
            }
            Some(mark) => Begun { mode: Mode::Incremental, mark: Some(mark.mark), boundary: Some(mark.task) },
            None => full,
        }
    };
    let text = "UPDATE task_streams SET mode = ?3, mark_before = ?4, mark_task = ?5, follows = ?6
                WHERE task = ?1 AND stream = ?2";
    let boundary = begun.boundary.as_ref().map(TaskId::as_str);
    run(tx, text, (id.as_str(), stream, begun.mode.word(), begun.mark.as_ref().map(Json), boundary, follows))?;
    let from = begun.mark.as_ref().map(ToString::to_string);
    tx.audit_task(id, "stream_mode", json!({ "stream": stream, "mode": begun.mode.word(), "mark": from }))?;
    Ok(begun)
}

/// Gives a stream that was read to its end its place in a chain, and moves its mark.
pub(super) fn end(tx: &Tx<'_>, task: &TaskRow, end: &StreamEnd) -> Result<(), LedgerError> {
    let begun = stored(tx, &task.id, &end.stream)?.unwrap_or_default();
    let text = "SELECT 1 FROM task_streams WHERE task = ?1 AND stream = ?2 AND limited IS NOT NULL";
    // Behind the limit there is more, which a mark would hide for ever.
    let limited = one(tx, text, (task.id.as_str(), &end.stream), |_| Ok(()))?.is_some();
    let after = match &end.cursor_field {
        Some(_) if task.chained && !task.scope.back_fill() && !limited => advance(tx, task, end, &begun)?,
        _ => None,
    };
    let link = NewLink {
        mode: begun.mode,
        primary_key: end.primary_key.clone(),
        cursor_field: end.cursor_field.clone(),
        mark_before: begun.mark,
        mark_after: after,
    };
    super::manifests::link(tx, &task.id, &end.stream, &link)?;
    let text = "UPDATE task_streams SET shift_protection = ?3 WHERE task = ?1 AND stream = ?2";
    run(tx, text, (task.id.as_str(), &end.stream, end.shift_protection))?;
    Ok(())
}

/// Moves the mark to the largest cursor value read, and keeps the records at it.
fn advance(tx: &Tx<'_>, task: &TaskRow, end: &StreamEnd, begun: &Begun) -> Result<Option<Mark>, LedgerError> {
    let (id, stream) = (task.id.as_str(), end.stream.as_str());
    let text =
        "SELECT DISTINCT mark FROM segments WHERE task = ?1 AND stream = ?2 AND mark IS NOT NULL AND NOT superseded";
    let read: Vec<Mark> = all(tx, text, (id, stream), |row| json(row, "mark"))?;
    // A record that claims to be from the future must not hide those that are written until then.
    let read = read.into_iter().max().map(|mark| mark.at_most(task.created_at, end.unit));
    // The kinds differ only where an operator set the mark: what the source says now counts.
    let same_kind = |mark: &Mark| read.as_ref().is_none_or(|read| read.kind() == mark.kind());
    let Some(mark) = read.clone().max(begun.mark.clone().filter(same_kind)) else { return Ok(None) };
    let keep = mark.back(end.look_back, end.unit).sort_key();
    let text = "DELETE FROM boundary WHERE task = ?1 AND stream = ?2 AND (cursor < ?3 OR EXISTS (
                    SELECT 1 FROM segments g WHERE g.task = boundary.task AND g.stream = boundary.stream
                        AND g.lane = boundary.lane AND g.n = boundary.n AND g.revision = boundary.revision AND g.superseded))";
    run(tx, text, (id, stream, &keep))?;
    if let Some(before) = &begun.boundary {
        let text = "INSERT INTO boundary (task, stream, cursor, record)
                    SELECT ?1, stream, cursor, record FROM boundary WHERE task = ?2 AND stream = ?3 AND cursor >= ?4
                        AND record NOT IN (SELECT record FROM boundary WHERE task = ?1 AND stream = ?3)";
        run(tx, text, (id, before.as_str(), stream, &keep))?;
    }
    let text = "DELETE FROM boundary WHERE stream = ?1 AND task NOT IN (?2, ?3)
                    AND task IN (SELECT id FROM tasks WHERE export = ?4)";
    let before = begun.boundary.as_ref().map_or(id, TaskId::as_str);
    run(tx, text, (stream, id, before, &task.export))?;
    let text = "INSERT INTO marks (export, stream, mark, fingerprint, task, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                ON CONFLICT (export, stream) DO UPDATE SET mark = excluded.mark, fingerprint = excluded.fingerprint,
                    task = excluded.task, updated_at = excluded.updated_at";
    run(tx, text, (&task.export, stream, Json(&mark), &end.fingerprint, id, At(tx.at)))?;
    let text = "UPDATE task_streams SET mark_after = ?3 WHERE task = ?1 AND stream = ?2";
    run(tx, text, (id, stream, Json(&mark)))?;
    let (from, to) = (begun.mark.as_ref().map(ToString::to_string), mark.to_string());
    tx.audit_task(&task.id, "mark_moved", json!({ "stream": stream, "from": from, "to": to }))?;
    Ok(Some(mark))
}

/// Takes back what the end of a task's extraction did: its marks and its places in the chains.
pub(super) fn take_back(tx: &Tx<'_>, task: &TaskRow) -> Result<(), LedgerError> {
    let refused = |why: String| Err(LedgerError::Refused(format!("cancel the task {}: {why}", task.id)));
    let text = "SELECT destination FROM manifests WHERE task = ?1 AND published_at IS NOT NULL LIMIT 1";
    if let Some(at) = one(tx, text, [task.id.as_str()], |row| row.get::<_, String>(0))? {
        return refused(format!("it is already published at {at}"));
    }
    if let Some(later) = later_task(tx, task)? {
        return refused(format!("the task {later} goes on from where it ended"));
    }
    undo(tx, task)
}

/// Whether a task has moved a mark: it has extracted, or had before its extraction was opened again.
pub(super) fn moved(sql: &Connection, task: &TaskId) -> Result<bool, LedgerError> {
    let text = "SELECT 1 FROM task_streams WHERE task = ?1 AND mark_after IS NOT NULL LIMIT 1";
    Ok(one(sql, text, [task.as_str()], |_| Ok(()))?.is_some())
}

/// The same, where nobody asks whether it is published, or what came later: a mark that another task has moved since stays.
pub(super) fn undo(tx: &Tx<'_>, task: &TaskRow) -> Result<(), LedgerError> {
    let text = "SELECT stream, mark_before, mark_task, fingerprint FROM task_streams
                WHERE task = ?1 AND mark_after IS NOT NULL";
    type Before = (String, Option<String>, Option<String>, Option<String>);
    let moved: Vec<Before> =
        all(tx, text, [task.id.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    for (stream, mark, by, fingerprint) in moved {
        let key = (&task.export, &stream, task.id.as_str());
        if run(tx, "DELETE FROM marks WHERE export = ?1 AND stream = ?2 AND task = ?3", key)? == 0 {
            continue;
        }
        if let (Some(mark), Some(by)) = (&mark, &by) {
            let text = "INSERT INTO marks (export, stream, mark, fingerprint, task, updated_at)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            run(tx, text, (&task.export, &stream, mark, &fingerprint, by, At(tx.at)))?;
        }
        tx.audit_task(&task.id, "mark_moved_back", json!({ "stream": stream, "to": mark }))?;
    }
    for text in [
        "UPDATE task_streams SET mark_after = NULL WHERE task = ?1",
        "DELETE FROM chain_links WHERE task = ?1",
        "DELETE FROM manifests WHERE task = ?1",
        "UPDATE tasks SET extracted = 0 WHERE id = ?1",
    ] {
        run(tx, text, [task.id.as_str()])?;
    }
    Ok(())
}

/// A task of the same export that was created later and has already begun, if both belong to chains and this one reads
/// what is incremental: it would bring older records behind newer ones.
pub(super) fn later_task(sql: &Connection, task: &TaskRow) -> Result<Option<String>, LedgerError> {
    if !task.chained {
        return Ok(None);
    }
    let text = "SELECT t.id FROM tasks t JOIN tasks me ON me.id = ?1
                WHERE t.export = me.export AND t.seq > me.seq AND t.chained AND t.state <> 'cancelled'
                    AND EXISTS (SELECT 1 FROM task_streams s WHERE s.task = me.id AND s.follows)
                    AND EXISTS (SELECT 1 FROM task_streams s WHERE s.task = t.id AND s.mode IS NOT NULL)
                ORDER BY t.seq LIMIT 1";
    one(sql, text, [task.id.as_str()], |row| row.get(0))
}

fn set(tx: &Tx<'_>, export: &str, stream: &str, mark: &Mark, actor: &str) -> Result<(), LedgerError> {
    let refused = |why: &str| Err(LedgerError::Refused(format!("set the mark of stream {stream} of {export}: {why}")));
    let open = "SELECT 1 FROM tasks WHERE export = ?1 AND chained AND state IN ('pending', 'processing', 'paused')";
    if one(tx, open, [export], |_| Ok(()))?.is_some() {
        return refused("a task of the export is open; wait for its end, or cancel it");
    }
    let Some(before) = mark_of(tx, export, stream)? else {
        return refused("it has none yet; the first task that reads it to its end sets it");
    };
    if before.mark.kind() != mark.kind() {
        return refused("it is of another kind than the one that stands");
    }
    let text = "UPDATE marks SET mark = ?3, updated_at = ?4 WHERE export = ?1 AND stream = ?2";
    run(tx, text, (export, stream, Json(mark), At(tx.at)))?;
    let detail = json!({ "stream": stream, "from": before.mark.to_string(), "to": mark.to_string() });
    tx.audit(Entry {
        export: Some(export),
        actor,
        action: "mark_set",
        reason: "set by an operator",
        detail: Some(detail.to_string()),
        ..Entry::default()
    })
}

/// Forgets the mark of a stream, and with it the boundary.
pub(super) fn forget(tx: &Tx<'_>, export: &str, stream: &str) -> Result<(), LedgerError> {
    run(tx, "DELETE FROM marks WHERE export = ?1 AND stream = ?2", (export, stream))?;
    let text = "DELETE FROM boundary WHERE stream = ?2 AND task IN (SELECT id FROM tasks WHERE export = ?1)";
    run(tx, text, (export, stream))?;
    Ok(())
}

impl Ledger {
    /// Begins a stream of a task, or says how it was begun: in full, or from the mark of the task before. `follows`: the
    /// stream is configured as incremental.
    ///
    /// # Errors
    /// `FingerprintChanged` and `MarkOfAnother` where the stream is no longer what it was, `Refused` for a back-fill of
    /// a stream that was never read.
    pub async fn begin_stream(
        &self,
        task: &TaskId,
        stream: &str,
        fingerprint: &str,
        follows: bool,
    ) -> Result<Begun, LedgerError> {
        let (task, stream, fingerprint) = (task.clone(), stream.to_owned(), fingerprint.to_owned());
        self.write(move |tx| begin(tx, &task, &stream, &fingerprint, follows)).await
    }

    /// The newest records that a task has read of a stream: cursor value (as [`Mark::sort_key`]) and digests.
    pub async fn boundary(&self, task: &TaskId, stream: &str) -> Result<Vec<(Vec<u8>, [u8; 32])>, LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.read(move |sql| {
            let text = "SELECT cursor, record FROM boundary WHERE task = ?1 AND stream = ?2";
            all(sql, text, (task.as_str(), &stream), |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await
    }

    /// The marks of an export, by stream.
    pub async fn marks(&self, export: &str) -> Result<Vec<MarkRow>, LedgerError> {
        let export = export.to_owned();
        self.read(move |sql| {
            let text = "SELECT stream, mark, fingerprint, task FROM marks WHERE export = ?1 ORDER BY stream";
            all(sql, text, [&export], mark_row)
        })
        .await
    }

    /// The marks of all exports, each with the name of its export, by export and stream.
    pub async fn all_marks(&self) -> Result<Vec<(String, MarkRow)>, LedgerError> {
        let text = "SELECT stream, mark, fingerprint, task, export FROM marks ORDER BY export, stream";
        self.read(move |sql| all(sql, text, [], |row| Ok((row.get("export")?, mark_row(row)?)))).await
    }

    /// Sets marks by an operator's hand: all or none. Refused while a task that follows them is open.
    pub async fn set_marks(&self, export: &str, marks: Vec<(String, Mark)>, actor: &str) -> Result<(), LedgerError> {
        let (export, actor) = (export.to_owned(), actor.to_owned());
        self.write(move |tx| marks.iter().try_for_each(|(stream, mark)| set(tx, &export, stream, mark, &actor))).await
    }

    /// Forgets the marks of one stream of an export, or of all: the next task reads everything, as a new chain.
    pub async fn reset_marks(&self, export: &str, stream: Option<&str>, actor: &str) -> Result<(), LedgerError> {
        let (export, stream, actor) = (export.to_owned(), stream.map(str::to_owned), actor.to_owned());
        self.write(move |tx| {
            let open =
                "SELECT id FROM tasks WHERE export = ?1 AND chained AND state IN ('pending', 'processing', 'paused')";
            if let Some(open) = one(tx, open, [&export], |row| row.get::<_, String>(0))? {
                return Err(LedgerError::Refused(format!(
                    "reset the marks of {export}: its task {open} is open; wait for its end, or cancel it"
                )));
            }
            let text = "SELECT stream, mark, fingerprint, task FROM marks
                        WHERE export = ?1 AND (?2 IS NULL OR stream = ?2)";
            for row in all(tx, text, (&export, &stream), mark_row)? {
                forget(tx, &export, &row.stream)?;
                tx.audit(Entry {
                    export: Some(&export),
                    actor: &actor,
                    action: "mark_reset",
                    reason: "reset by an operator",
                    detail: Some(json!({ "stream": row.stream, "from": row.mark.to_string() }).to_string()),
                    ..Entry::default()
                })?;
            }
            Ok(())
        })
        .await
    }
}
