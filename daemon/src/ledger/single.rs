//! The one file of a stream (`layout: single`): a row beside those of its parts, which alone is delivered and published.

use super::Ledger;
use super::codec::{U64, all, one, run};
use super::error::LedgerError;
use super::input::NewSingle;
use super::rows::SegmentRow;
use super::segments::{COLUMNS, insert, segment_row, send};
use super::tasks::{must_run, progressed};
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::segment::{CheckpointDelta, Counts, CutReason, Role, SealedSegment, SegmentId};
use rusqlite::Connection;
use serde_json::json;

/// The file that counts.
pub(super) fn of(sql: &Connection, task: &TaskId, stream: &str) -> Result<Option<SegmentRow>, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS} FROM segments g
         WHERE g.task = ?1 AND g.stream = ?2 AND g.role = 'single' AND NOT g.superseded"
    );
    one(sql, &text, (task.as_str(), stream), segment_row)
}

/// The parts that count, in the order of the data.
fn parts(sql: &Connection, task: &TaskId, stream: &str) -> Result<Vec<SegmentRow>, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS} FROM segments g
         WHERE g.task = ?1 AND g.stream = ?2 AND g.role = 'part' AND NOT g.superseded ORDER BY g.lane, g.n"
    );
    all(sql, &text, (task.as_str(), stream), segment_row)
}

/// Whether there are parts that no file was made of.
pub(super) fn missing(sql: &Connection, task: &TaskId, stream: &str) -> Result<bool, LedgerError> {
    Ok(of(sql, task, stream)?.is_none() && !parts(sql, task, stream)?.is_empty())
}

/// The file no longer counts, because its stream is read again.
pub(super) fn supersede(tx: &Tx<'_>, task: &TaskId, stream: &str) -> Result<(), LedgerError> {
    let text =
        "UPDATE segments SET superseded = 1 WHERE task = ?1 AND stream = ?2 AND role = 'single' AND NOT superseded";
    run(tx, text, (task.as_str(), stream))?;
    Ok(())
}

fn add(tx: &Tx<'_>, task: &TaskId, new: &NewSingle) -> Result<(), LedgerError> {
    let stream = new.id.stream.as_str();
    let broken = |why: &str| Err(LedgerError::Broken(format!("the file {}: {why}", new.name)));
    must_run(tx, task, "put a stream's file together")?;
    let text = "SELECT extracted FROM task_streams WHERE task = ?1 AND stream = ?2";
    if !one(tx, text, (task.as_str(), stream), |row| row.get(0))?.unwrap_or(false) {
        return broken("its stream is not at its end");
    }
    if of(tx, task, stream)?.is_some() {
        return broken("its stream has a file already");
    }
    let parts = parts(tx, task, stream)?;
    let ids: Vec<&SegmentId> = parts.iter().map(|part| &part.id).collect();
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return broken("it has no parts") };
    if ids != new.parts.iter().collect::<Vec<_>>() {
        return broken("the parts of its stream are not those that it was made of");
    }
    let mut counts = Counts::default();
    for part in &parts {
        counts.add(&part.counts);
    }
    let segment = SealedSegment {
        id: new.id.clone(),
        name: new.name.clone(),
        bytes: new.bytes,
        sha256: new.sha256.clone(),
        crc32c: new.crc32c,
        plain: new.plain.clone(),
        counts,
        pages: parts.iter().map(|part| part.pages).sum(),
        source_bytes: parts.iter().map(|part| part.source_bytes).sum(),
        cut: CutReason::End,
        delta: CheckpointDelta { from: first.first.clone(), to: last.last.clone() },
    };
    insert(tx, task, &segment, Role::Single)?;
    send(tx, task, &segment.id, &new.destinations)?;
    let text = "UPDATE task_streams SET bytes = ?3, segments = 1 WHERE task = ?1 AND stream = ?2";
    run(tx, text, (task.as_str(), stream, U64(new.bytes)))?;
    progressed(tx, task)?;
    let detail = json!({
        "stream": stream, "name": new.name, "parts": parts.len(), "records": counts.written, "bytes": new.bytes,
        "sha256": new.sha256,
    });
    tx.audit_task(task, "file_assembled", detail)
}

impl Ledger {
    /// Records the one file of an extracted stream and begins its deliveries; one transaction. From then on it stands for
    /// its parts: in manifests, in the stream's figures, at destinations.
    ///
    /// # Errors
    /// `Broken` where the parts of the stream are not exactly those that it was made of, or there is such a file already;
    /// `Refused` where the task does not run.
    pub async fn add_single(&self, task: &TaskId, new: NewSingle) -> Result<(), LedgerError> {
        let task = task.clone();
        self.write(move |tx| add(tx, &task, &new)).await
    }
}
