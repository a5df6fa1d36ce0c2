//! Streams of a task: schema, lanes, and how each stream's extraction ends.

use super::Ledger;
use super::codec::{At, Json, U64, all, count, json, one, run};
use super::error::LedgerError;
use super::input::StreamEnd;
use super::marks;
use super::rows::{LaneRow, StreamRow, Sums};
use super::tasks::{get, must_run};
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::offset::Offset;
use crate::model::schema::Schema;
use crate::model::segment::Counts;
use rusqlite::{Connection, Row};
use saas_export_manifest::Mode;
use serde_json::json;

/// Remarks kept per stream; later ones are dropped, because the report is for a person.
const MAX_NOTES: usize = 100;
/// Characters kept of a remark or an error.
const MAX_TEXT: usize = 1000;

pub(super) const LANE_COLUMNS: &str = "lane, revision, start, \"offset\", next_n, done";

pub(super) fn lane_row(row: &Row<'_>) -> rusqlite::Result<LaneRow> {
    Ok(LaneRow {
        lane: row.get("lane")?,
        revision: row.get("revision")?,
        start: json(row, "start")?,
        offset: json(row, "offset")?,
        next_n: count(row, "next_n")?,
        done: row.get("done")?,
    })
}

/// The seven counts of a row.
pub(super) fn counts(row: &Row<'_>) -> rusqlite::Result<Counts> {
    Ok(Counts {
        read: count(row, "read")?,
        written: count(row, "written")?,
        rejected: count(row, "rejected")?,
        duplicate: count(row, "duplicate")?,
        filtered: count(row, "filtered")?,
        over_limit: count(row, "over_limit")?,
        rescued: count(row, "rescued")?,
    })
}

pub(super) fn stream_row(row: &Row<'_>) -> rusqlite::Result<StreamRow> {
    let schema = |column| row.get::<_, Option<Json<Schema>>>(column).map(|schema| schema.map(|schema| schema.0));
    Ok(StreamRow {
        stream: row.get("stream")?,
        fingerprint: row.get("fingerprint")?,
        mode: row.get::<_, Option<String>>("mode")?.and_then(|word| Mode::from_word(&word)),
        schema: schema("schema")?,
        schema_version: row.get("schema_version")?,
        observed: schema("observed")?,
        counts: counts(row)?,
        pages: count(row, "pages")?,
        source_bytes: count(row, "source_bytes")?,
        bytes: count(row, "bytes")?,
        segments: count(row, "segments")?,
        total: row.get::<_, Option<U64>>("total")?.map(|total| total.0),
        extracted: row.get("extracted")?,
        limited: row.get("limited")?,
        shift_protection: row.get("shift_protection")?,
        error: row.get("error")?,
        notes: json(row, "notes")?,
    })
}

/// What was read of a task. Without the schemas, which take longer to read than everything else of a list of tasks.
pub(super) fn sums(sql: &Connection, task: &TaskId) -> Result<Sums, LedgerError> {
    let text = "SELECT read, source_bytes, bytes, pages, total FROM task_streams WHERE task = ?1";
    let of = |row: &Row<'_>| {
        let count = |column: usize| row.get::<_, U64>(column).map(|count| count.0);
        let total = row.get::<_, Option<U64>>(4)?.map(|total| total.0);
        Ok(Sums { records: count(0)?, source_bytes: count(1)?, bytes: count(2)?, pages: count(3)?, total })
    };
    Ok(Sums::over(all(sql, text, [task.as_str()], of)?))
}

/// The lanes of a stream, in order.
pub(super) fn lanes(sql: &Connection, task: &TaskId, stream: &str) -> Result<Vec<LaneRow>, LedgerError> {
    let text = format!("SELECT {LANE_COLUMNS} FROM lanes WHERE task = ?1 AND stream = ?2 ORDER BY lane");
    all(sql, &text, (task.as_str(), stream), lane_row)
}

/// Makes sure that the task knows the stream.
pub(super) fn ensure(tx: &Tx<'_>, task: &TaskId, stream: &str) -> Result<(), LedgerError> {
    let known = "SELECT 1 FROM task_streams WHERE task = ?1 AND stream = ?2";
    if one(tx, known, (task.as_str(), stream), |_| Ok(()))?.is_some() {
        return Ok(());
    }
    get(tx, task)?;
    let text = "INSERT INTO task_streams (task, stream, pos)
                VALUES (?1, ?2, (SELECT coalesce(max(pos), -1) + 1 FROM task_streams WHERE task = ?1))";
    run(tx, text, (task.as_str(), stream))?;
    Ok(())
}

pub(super) fn store_schema(
    tx: &Tx<'_>,
    task: &TaskId,
    stream: &str,
    new: &Schema,
) -> Result<(Schema, u32), LedgerError> {
    ensure(tx, task, stream)?;
    let text = "SELECT schema, schema_version FROM task_streams WHERE task = ?1 AND stream = ?2 AND schema IS NOT NULL";
    let stored = one(tx, text, (task.as_str(), stream), |row| Ok((json(row, "schema")?, row.get(1)?)))?;
    if let Some(stored) = stored {
        return Ok(stored);
    }
    let export = get(tx, task)?.export;
    let version = match newest_schema(tx, &export, stream)? {
        Some((schema, version)) if &schema == new => version,
        older => {
            let version = older.map_or(1, |(_, version)| version + 1);
            let text = "INSERT INTO schemas (export, stream, version, schema, task, created_at)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            run(tx, text, (&export, stream, version, Json(new), task.as_str(), At(tx.at)))?;
            version
        }
    };
    let text = "UPDATE task_streams SET schema = ?3, schema_version = ?4 WHERE task = ?1 AND stream = ?2";
    run(tx, text, (task.as_str(), stream, Json(new), version))?;
    tx.audit_task(task, "schema_stored", json!({ "stream": stream, "version": version }))?;
    Ok((new.clone(), version))
}

/// The newest version of a stream's schema.
pub(super) fn newest_schema(
    sql: &Connection,
    export: &str,
    stream: &str,
) -> Result<Option<(Schema, u32)>, LedgerError> {
    let text = "SELECT schema, version FROM schemas WHERE export = ?1 AND stream = ?2 ORDER BY version DESC LIMIT 1";
    one(sql, text, (export, stream), |row| Ok((json(row, "schema")?, row.get(1)?)))
}

fn open_lanes(tx: &Tx<'_>, task: &TaskId, stream: &str, starts: &[Offset]) -> Result<Vec<LaneRow>, LedgerError> {
    ensure(tx, task, stream)?;
    let stored = lanes(tx, task, stream)?;
    if !stored.is_empty() {
        return Ok(stored);
    }
    for (lane, start) in starts.iter().enumerate() {
        let text = "INSERT INTO lanes (task, stream, lane, start, \"offset\") VALUES (?1, ?2, ?3, ?4, ?4)";
        run(tx, text, (task.as_str(), stream, U64(lane as u64), Json(start)))?;
    }
    tx.audit_task(task, "lanes_opened", json!({ "stream": stream, "lanes": starts.len() }))?;
    lanes(tx, task, stream)
}

/// Stores what the stream is (a digest of path, paginator, key and cursor field) when it is begun, and afterwards refuses
/// to go on with another one until its offsets are reset.
pub(super) fn check_fingerprint(
    tx: &Tx<'_>,
    task: &TaskId,
    stream: &str,
    fingerprint: &str,
) -> Result<(), LedgerError> {
    ensure(tx, task, stream)?;
    let text = "SELECT fingerprint FROM task_streams WHERE task = ?1 AND stream = ?2";
    let stored: Option<String> = one(tx, text, (task.as_str(), stream), |row| row.get(0))?.flatten();
    match stored {
        Some(stored) if stored == fingerprint => Ok(()),
        Some(_) => Err(LedgerError::FingerprintChanged { task: task.clone(), stream: stream.to_owned() }),
        None => {
            let text = "UPDATE task_streams SET fingerprint = ?3 WHERE task = ?1 AND stream = ?2";
            run(tx, text, (task.as_str(), stream, fingerprint))?;
            tx.audit_task(task, "stream_begun", json!({ "stream": stream, "fingerprint": fingerprint }))
        }
    }
}

fn stream_extracted(tx: &Tx<'_>, task: &TaskId, stream: &str) -> Result<(), LedgerError> {
    must_run(tx, task, "end the extraction")?;
    let lanes = lanes(tx, task, stream)?;
    if lanes.is_empty() || lanes.iter().any(|lane| !lane.done) {
        return Err(LedgerError::Broken(format!("the end of stream {stream}: not every lane of it is at its end")));
    }
    let text = "UPDATE task_streams SET extracted = 1 WHERE task = ?1 AND stream = ?2 AND extracted = 0";
    if run(tx, text, (task.as_str(), stream))? > 0 {
        tx.audit_task(task, "stream_extracted", json!({ "stream": stream }))?;
    }
    Ok(())
}

fn task_extracted(tx: &Tx<'_>, task: &TaskId, ends: &[StreamEnd]) -> Result<(), LedgerError> {
    must_run(tx, task, "end the extraction")?;
    let text = "SELECT count(*), coalesce(sum(extracted = 0 AND error IS NULL), 0) FROM task_streams WHERE task = ?1";
    let (streams, open): (i64, i64) =
        one(tx, text, [task.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?.unwrap_or_default();
    if streams == 0 || open > 0 {
        return Err(LedgerError::Broken(format!("the end of the task {task}: not every stream of it is at its end")));
    }
    if run(tx, "UPDATE tasks SET extracted = 1 WHERE id = ?1 AND extracted = 0", [task.as_str()])? > 0 {
        let row = get(tx, task)?;
        let text = "SELECT stream FROM task_streams WHERE task = ?1 AND extracted AND error IS NULL ORDER BY pos";
        for stream in all(tx, text, [task.as_str()], |row| row.get::<_, String>(0))? {
            let end = ends.iter().find(|end| end.stream == stream).cloned();
            marks::end(tx, &row, &end.unwrap_or(StreamEnd { stream, ..StreamEnd::default() }))?;
        }
        tx.audit_task(task, "task_extracted", json!({ "streams": streams }))?;
    }
    Ok(())
}

fn stream_limited(tx: &Tx<'_>, task: &TaskId, stream: &str, limit: &str, note: &str) -> Result<(), LedgerError> {
    ensure(tx, task, stream)?;
    let text = "UPDATE task_streams SET limited = ?3 WHERE task = ?1 AND stream = ?2";
    run(tx, text, (task.as_str(), stream, limit))?;
    add_note(tx, task, stream, note)
}

pub(super) fn add_note(tx: &Tx<'_>, task: &TaskId, stream: &str, note: &str) -> Result<(), LedgerError> {
    ensure(tx, task, stream)?;
    let text = "SELECT notes FROM task_streams WHERE task = ?1 AND stream = ?2";
    let mut notes: Vec<String> = one(tx, text, (task.as_str(), stream), |row| json(row, "notes"))?.unwrap_or_default();
    let note = short(note);
    if notes.len() >= MAX_NOTES || notes.contains(&note) {
        return Ok(());
    }
    notes.push(note.clone());
    let text = "UPDATE task_streams SET notes = ?3 WHERE task = ?1 AND stream = ?2";
    run(tx, text, (task.as_str(), stream, Json(&notes)))?;
    tx.audit_task(task, "note", json!({ "stream": stream, "note": note }))
}

/// A text cut to what a report needs.
pub(super) fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

impl Ledger {
    /// Records that a limit of the export ends the stream where it stands, with a remark for the report. To be called before
    /// the segment that ends there is committed.
    pub async fn stream_limited(
        &self,
        task: &TaskId,
        stream: &str,
        limit: &'static str,
        note: &str,
    ) -> Result<(), LedgerError> {
        let (task, stream, note) = (task.clone(), stream.to_owned(), note.to_owned());
        self.write(move |tx| stream_limited(tx, &task, &stream, limit, &note)).await
    }

    /// Fixes the schema of a stream for this task and returns it with its version. If one is fixed already, that one is
    /// returned and counts. Equal to the newest version of (export, stream), it keeps that version's number.
    pub async fn store_schema(
        &self,
        task: &TaskId,
        stream: &str,
        schema: &Schema,
    ) -> Result<(Schema, u32), LedgerError> {
        let (task, stream, new) = (task.clone(), stream.to_owned(), schema.clone());
        self.write(move |tx| store_schema(tx, &task, &stream, &new)).await
    }

    /// Opens a lane at each of `starts`; lanes that are open already are returned where they stand, and count.
    pub async fn open_lanes(
        &self,
        task: &TaskId,
        stream: &str,
        starts: &[Offset],
    ) -> Result<Vec<LaneRow>, LedgerError> {
        let (task, stream, starts) = (task.clone(), stream.to_owned(), starts.to_vec());
        self.write(move |tx| open_lanes(tx, &task, &stream, &starts)).await
    }

    /// Notes that every lane of a stream is at its end.
    pub async fn stream_extracted(&self, task: &TaskId, stream: &str) -> Result<(), LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.write(move |tx| stream_extracted(tx, &task, &stream)).await
    }

    /// Notes that every stream of a task is at its end or failed: only delivery is left. In the same transaction each
    /// whole stream takes its place in a chain, and its mark moves.
    pub async fn task_extracted(&self, task: &TaskId, ends: Vec<StreamEnd>) -> Result<(), LedgerError> {
        let task = task.clone();
        self.write(move |tx| task_extracted(tx, &task, &ends)).await
    }

    /// Notes the error that ended a stream, without data.
    pub async fn stream_failed(&self, task: &TaskId, stream: &str, error: &str) -> Result<(), LedgerError> {
        let (task, stream, error) = (task.clone(), stream.to_owned(), short(error));
        self.write(move |tx| {
            ensure(tx, &task, &stream)?;
            let text = "UPDATE task_streams SET error = ?3 WHERE task = ?1 AND stream = ?2";
            run(tx, text, (task.as_str(), &stream, &error))?;
            tx.audit_task(&task, "stream_failed", json!({ "stream": stream, "error": error }))
        })
        .await
    }

    /// Adds a remark for the report, once; at most 100 per stream.
    pub async fn add_note(&self, task: &TaskId, stream: &str, note: &str) -> Result<(), LedgerError> {
        let (task, stream, note) = (task.clone(), stream.to_owned(), note.to_owned());
        self.write(move |tx| add_note(tx, &task, &stream, &note)).await
    }
}
