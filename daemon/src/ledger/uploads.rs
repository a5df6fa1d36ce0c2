//! Uploads that were begun: their ids and the parts that arrived.

use super::Ledger;
use super::codec::{At, U64, all, count, one, run};
use super::error::LedgerError;
use super::rows::UploadRow;
use crate::base::ids::TaskId;
use crate::model::upload::{Part, Upload};
use jiff::Timestamp;
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Whether somebody goes on with an upload `u`: an open delivery of a segment that counts (a retry and a back-fill send it, until
/// a sweep supersedes it), or a task that is open or filled back there, for what is no segment.
const AWAITED: &str = "EXISTS (
        SELECT 1 FROM deliveries d JOIN segments g USING (task, stream, lane, n, revision) JOIN tasks t ON t.id = d.task
        WHERE d.task = u.task AND d.destination = u.destination AND d.verified_at IS NULL AND NOT g.superseded
            AND u.key = t.export || '/' || g.stream || '/' || t.id || '/' || g.name)
    OR NOT EXISTS (
        SELECT 1 FROM segments g JOIN tasks t ON t.id = g.task
        WHERE g.task = u.task AND u.key = t.export || '/' || g.stream || '/' || t.id || '/' || g.name)
    AND (EXISTS (SELECT 1 FROM tasks t WHERE t.id = u.task AND t.state IN ('pending', 'processing', 'paused'))
        OR EXISTS (SELECT 1 FROM back_fills b WHERE b.task = u.task AND b.destination = u.destination))";

fn upload(sql: &Connection, task: &TaskId, destination: &str, key: &str) -> Result<Option<Upload>, LedgerError> {
    let at = (task.as_str(), destination, key);
    let text = "SELECT id, part_size FROM uploads WHERE task = ?1 AND destination = ?2 AND key = ?3";
    let found = one(sql, text, at, |row| Ok((row.get::<_, String>("id")?, count(row, "part_size")?)))?;
    let Some((id, part_size)) = found else { return Ok(None) };
    let text = "SELECT number, bytes, checksum, etag FROM upload_parts
                WHERE task = ?1 AND destination = ?2 AND key = ?3 ORDER BY number";
    let parts = all(sql, text, at, |row| {
        Ok(Part {
            number: row.get("number")?,
            bytes: count(row, "bytes")?,
            checksum: row.get("checksum")?,
            etag: row.get("etag")?,
        })
    })?;
    Ok(Some(Upload { id, part_size, parts }))
}

impl Ledger {
    /// The upload of an object that was begun, if there is one.
    pub async fn upload(&self, task: &TaskId, destination: &str, key: &str) -> Result<Option<Upload>, LedgerError> {
        let (task, destination, key) = (task.clone(), destination.to_owned(), key.to_owned());
        self.read(move |sql| upload(sql, &task, &destination, &key)).await
    }

    /// Every upload of a task that was begun and neither completed nor given up.
    pub async fn uploads(&self, task: &TaskId) -> Result<Vec<UploadRow>, LedgerError> {
        let task = task.clone();
        let text = "SELECT destination, key, id FROM uploads WHERE task = ?1 ORDER BY destination, key";
        self.read(move |sql| {
            all(sql, text, [task.as_str()], |row| {
                Ok(UploadRow { destination: row.get("destination")?, key: row.get("key")?, id: row.get("id")? })
            })
        })
        .await
    }

    /// The ids of the uploads that somebody goes on with.
    pub async fn upload_ids(&self) -> Result<BTreeSet<String>, LedgerError> {
        let text = format!("SELECT u.id FROM uploads u WHERE {AWAITED}");
        self.read(move |sql| Ok(all(sql, &text, [], |row| row.get("id"))?.into_iter().collect())).await
    }

    /// The uploads that were begun before a time and that nobody goes on with: of a segment that no longer counts, is there, or
    /// goes elsewhere, and of other objects of an ended task.
    pub async fn abandoned_uploads(&self, before: Timestamp) -> Result<Vec<(TaskId, UploadRow)>, LedgerError> {
        let text = format!(
            "SELECT u.task, u.destination, u.key, u.id FROM uploads u
             WHERE u.started_at < ?1 AND NOT ({AWAITED}) ORDER BY u.destination, u.task, u.key"
        );
        self.read(move |sql| {
            all(sql, &text, [At(before)], |row| {
                let upload =
                    UploadRow { destination: row.get("destination")?, key: row.get("key")?, id: row.get("id")? };
                Ok((TaskId::known(row.get::<_, String>("task")?), upload))
            })
        })
        .await
    }

    /// Notes that an upload of an object was begun; whatever was noted of another one is forgotten.
    pub async fn begin_upload(&self, task: &TaskId, upload: UploadRow, part_size: u64) -> Result<(), LedgerError> {
        let task = task.clone();
        self.write(move |tx| {
            let at = (task.as_str(), &upload.destination, &upload.key);
            run(tx, "DELETE FROM uploads WHERE task = ?1 AND destination = ?2 AND key = ?3", at)?;
            let text = "INSERT INTO uploads (task, destination, key, id, part_size, started_at)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            run(tx, text, (at.0, at.1, at.2, &upload.id, U64(part_size), At(tx.at))).map(drop)
        })
        .await
    }

    /// Notes a part that arrived.
    pub async fn add_part(&self, task: &TaskId, destination: &str, key: &str, part: Part) -> Result<(), LedgerError> {
        let (task, destination, key) = (task.clone(), destination.to_owned(), key.to_owned());
        self.write(move |tx| {
            let text = "INSERT OR REPLACE INTO upload_parts (task, destination, key, number, bytes, checksum, etag)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let bytes = U64(part.bytes);
            run(tx, text, (task.as_str(), destination, key, part.number, bytes, part.checksum, part.etag)).map(drop)
        })
        .await
    }

    /// Forgets an upload: it is completed, or was given up.
    pub async fn forget_upload(&self, task: &TaskId, destination: &str, key: &str) -> Result<(), LedgerError> {
        let (task, destination, key) = (task.clone(), destination.to_owned(), key.to_owned());
        self.write(move |tx| {
            let text = "DELETE FROM uploads WHERE task = ?1 AND destination = ?2 AND key = ?3";
            run(tx, text, (task.as_str(), destination, key)).map(drop)
        })
        .await
    }
}
