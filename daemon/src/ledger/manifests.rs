//! Manifests and chains: bytes that are composed once, and the order in which they become visible.

use super::Ledger;
use super::codec::{At, Json, U64, all, count, json, one, run, time};
use super::error::LedgerError;
use super::input::NewLink;
use super::rows::{ChainManifest, Composed, Link, ManifestRow};
use super::single;
use super::streams::ensure;
use super::tasks::{self, progressed};
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::mark::Mark;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row};
use saas_export_manifest::{ChainPosition, Digests, Mode};
use serde_json::json;

fn manifest_row(row: &Row<'_>) -> rusqlite::Result<ManifestRow> {
    Ok(ManifestRow {
        stream: row.get("stream")?,
        destination: row.get("destination")?,
        bytes: row.get("bytes")?,
        sha256: row.get("sha256")?,
        signature: row.get("signature")?,
        published_at: time(row, "published_at")?,
        pruned_at: time(row, "pruned_at")?,
    })
}

fn chain_position(row: &Row<'_>) -> rusqlite::Result<ChainPosition> {
    Ok(ChainPosition { id: row.get("chain")?, position: count(row, "position")? })
}

/// Gives a task's stream its place in a chain; the place that is stored already counts.
pub(super) fn link(tx: &Tx<'_>, task: &TaskId, stream: &str, new: &NewLink) -> Result<ChainPosition, LedgerError> {
    ensure(tx, task, stream)?;
    let text = "SELECT chain, position FROM chain_links WHERE task = ?1 AND stream = ?2";
    if let Some(stored) = one(tx, text, (task.as_str(), stream), chain_position)? {
        return Ok(stored);
    }
    let export = tasks::get(tx, task)?.export;
    let chain = match new.mode {
        Mode::Full => ChainPosition { id: task.as_str().to_owned(), position: 0 },
        Mode::Incremental => {
            // The newest chain is the one that the newest full task started.
            let text =
                "SELECT l.chain, max(l.position) + 1 AS position FROM chain_links l JOIN tasks t ON t.id = l.chain
                        WHERE l.export = ?1 AND l.stream = ?2 AND t.chained GROUP BY l.chain ORDER BY t.seq DESC LIMIT 1";
            one(tx, text, (&export, stream), chain_position)?.ok_or_else(|| {
                LedgerError::Refused(format!("go on with the chain of stream {stream}: no full task started one"))
            })?
        }
    };
    run(
        tx,
        "INSERT INTO chain_links (task, stream, export, chain, position, mode, primary_key, cursor_field, mark_before,
             mark_after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            task.as_str(),
            stream,
            &export,
            &chain.id,
            U64(chain.position),
            new.mode.word(),
            Json(&new.primary_key),
            &new.cursor_field,
            new.mark_before.as_ref().map(Json),
            new.mark_after.as_ref().map(Json),
        ),
    )?;
    tx.audit_task(task, "chained", json!({ "stream": stream, "chain": chain.id, "position": chain.position }))?;
    Ok(chain)
}

fn compose(
    tx: &Tx<'_>,
    task: &TaskId,
    stream: &str,
    destination: &str,
    composed: Composed,
) -> Result<Composed, LedgerError> {
    let key = (task.as_str(), stream, destination);
    let text = "SELECT bytes, signature FROM manifests WHERE task = ?1 AND stream = ?2 AND destination = ?3";
    let stored = |row: &Row<'_>| Ok(Composed { bytes: row.get(0)?, signature: row.get(1)? });
    if let Some(stored) = one(tx, text, key, stored)? {
        return Ok(stored);
    }
    let text = "SELECT extracted FROM task_streams WHERE task = ?1 AND stream = ?2";
    let extracted: bool = one(tx, text, (task.as_str(), stream), |row| row.get(0))?.unwrap_or(false);
    let text = "SELECT count(*) FROM segments g LEFT JOIN deliveries d
             ON d.task = g.task AND d.stream = g.stream AND d.lane = g.lane AND d.n = g.n AND d.revision = g.revision
                 AND d.destination = ?3
         WHERE g.task = ?1 AND g.stream = ?2 AND NOT g.superseded AND g.role <> 'part' AND d.verified_at IS NULL";
    let open: i64 = one(tx, text, key, |row| row.get(0))?.unwrap_or_default();
    if !extracted || open > 0 || single::missing(tx, task, stream)? {
        return Err(LedgerError::Broken(format!(
            "the manifest of stream {stream} at {destination}: not all of its segments are there"
        )));
    }
    // A destination that is filled back gets the bytes that the others have, whatever version composes them now.
    let text = "SELECT bytes, signature FROM manifests WHERE task = ?1 AND stream = ?2 AND destination <> ?3
         AND published_at IS NOT NULL ORDER BY composed_at LIMIT 1";
    let composed = one(tx, text, key, stored)?.unwrap_or(composed);
    let sha256 = Digests::of(&composed.bytes).sha256;
    run(
        tx,
        "INSERT INTO manifests (task, stream, destination, bytes, sha256, composed_at, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (task.as_str(), stream, destination, &composed.bytes, &sha256, At(tx.at), &composed.signature),
    )?;
    let detail = json!({ "stream": stream, "destination": destination, "sha256": sha256 });
    tx.audit_task(task, "manifest_composed", detail)?;
    Ok(composed)
}

fn published(tx: &Tx<'_>, task: &TaskId, stream: &str, destination: &str) -> Result<(), LedgerError> {
    let key = (task.as_str(), stream, destination);
    let text = "SELECT published_at IS NOT NULL FROM manifests WHERE task = ?1 AND stream = ?2 AND destination = ?3";
    let already: bool = one(tx, text, key, |row| row.get(0))?.ok_or_else(|| LedgerError::NotThere {
        task: task.clone(),
        what: format!("a manifest of stream {stream} for {destination}"),
    })?;
    if already {
        return Ok(());
    }
    let text = "UPDATE manifests SET published_at = ?4 WHERE task = ?1 AND stream = ?2 AND destination = ?3";
    run(tx, text, (task.as_str(), stream, destination, At(tx.at)))?;
    progressed(tx, task)?;
    tx.audit_task(task, "published", json!({ "stream": stream, "destination": destination }))
}

fn chain_of(
    sql: &Connection,
    task: &TaskId,
    stream: &str,
    destination: &str,
    beyond: bool,
) -> Result<Vec<ChainManifest>, LedgerError> {
    let text = "SELECT l.task, l.chain, l.position, l.mode, l.primary_key, l.cursor_field, m.sha256
         FROM chain_links me
         JOIN chain_links l ON l.chain = me.chain AND l.stream = me.stream AND (?4 OR l.position <= me.position)
         JOIN manifests m ON m.task = l.task AND m.stream = l.stream AND m.destination = ?3
         WHERE me.task = ?1 AND me.stream = ?2 AND (m.published_at IS NOT NULL OR l.task = me.task)
             AND m.pruned_at IS NULL
         ORDER BY l.position";
    all(sql, text, (task.as_str(), stream, destination, beyond), |row| {
        Ok(ChainManifest {
            task: TaskId::known(row.get::<_, String>("task")?),
            chain: chain_position(row)?,
            mode: Mode::from_word(&row.get::<_, String>("mode")?).ok_or(FromSqlError::InvalidType)?,
            primary_key: json(row, "primary_key")?,
            cursor_field: row.get("cursor_field")?,
            sha256: row.get("sha256")?,
        })
    })
}

fn place(sql: &Connection, task: &TaskId, stream: &str) -> Result<Option<Link>, LedgerError> {
    let text = "SELECT chain, position, mode, primary_key, cursor_field, mark_before, mark_after FROM chain_links
                WHERE task = ?1 AND stream = ?2";
    let mark = |row: &Row<'_>, column| row.get::<_, Option<Json<Mark>>>(column).map(|mark| mark.map(|mark| mark.0));
    one(sql, text, (task.as_str(), stream), |row| {
        Ok(Link {
            place: chain_position(row)?,
            as_new: NewLink {
                mode: Mode::from_word(&row.get::<_, String>("mode")?).ok_or(FromSqlError::InvalidType)?,
                primary_key: json(row, "primary_key")?,
                cursor_field: row.get("cursor_field")?,
                mark_before: mark(row, "mark_before")?,
                mark_after: mark(row, "mark_after")?,
            },
        })
    })
}

fn is_newer(sql: &Connection, stream: &str, task: &str, than: &TaskId) -> Result<bool, LedgerError> {
    // First the chain, then the place in it; a task that is in no chain (it was cancelled) is older than any other.
    let text = "SELECT (c.seq, it.position) > (d.seq, other.position)
                FROM chain_links it JOIN tasks c ON c.id = it.chain, chain_links other JOIN tasks d ON d.id = other.chain
                WHERE it.task = ?1 AND it.stream = ?3 AND other.task = ?2 AND other.stream = ?3";
    Ok(one(sql, text, (task, than.as_str(), stream), |row| row.get(0))?.unwrap_or(false))
}

fn awaited(sql: &Connection, task: &TaskId, destination: &str) -> Result<Option<TaskId>, LedgerError> {
    let text = "SELECT t.id FROM chain_links me
         JOIN chain_links l ON l.chain = me.chain AND l.stream = me.stream AND l.position < me.position
         JOIN tasks t ON t.id = l.task AND t.state NOT IN ('succeeded', 'failed', 'cancelled')
         LEFT JOIN manifests m ON m.task = l.task AND m.stream = l.stream AND m.destination = ?2
         WHERE me.task = ?1 AND m.published_at IS NULL ORDER BY t.seq LIMIT 1";
    one(sql, text, (task.as_str(), destination), |row| row.get::<_, String>(0).map(TaskId::known))
}

/// The manifests of a task, by stream and destination.
pub(super) fn of_task(sql: &Connection, task: &TaskId) -> Result<Vec<ManifestRow>, LedgerError> {
    let text = "SELECT stream, destination, bytes, sha256, signature, published_at, pruned_at FROM manifests
                WHERE task = ?1 ORDER BY stream, destination";
    all(sql, text, [task.as_str()], manifest_row)
}

impl Ledger {
    /// The place of a task's stream in its chain; there is one from the end of the task's extraction on.
    pub async fn link(&self, task: &TaskId, stream: &str) -> Result<Option<Link>, LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.read(move |sql| place(sql, &task, &stream)).await
    }

    /// The open task that must be published at a destination before this one, because it is earlier in a chain.
    pub async fn awaited(&self, task: &TaskId, destination: &str) -> Result<Option<TaskId>, LedgerError> {
        let (task, destination) = (task.clone(), destination.to_owned());
        self.read(move |sql| awaited(sql, &task, &destination)).await
    }

    /// The same without a signature.
    #[cfg(test)]
    pub async fn compose_manifest(
        &self,
        task: &TaskId,
        stream: &str,
        destination: &str,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, LedgerError> {
        let (task, stream, destination) = (task.clone(), stream.to_owned(), destination.to_owned());
        let composed = Composed { bytes, signature: None };
        Ok(self.write(move |tx| compose(tx, &task, &stream, &destination, composed)).await?.bytes)
    }

    /// Stores the bytes of a stream's manifest for a destination, and their signature, before they are sent. If some are
    /// stored already, those are returned and count. `Broken` unless the stream is extracted and all its segments are
    /// verified there.
    pub async fn compose_signed(
        &self,
        task: &TaskId,
        stream: &str,
        destination: &str,
        composed: Composed,
    ) -> Result<Composed, LedgerError> {
        let (task, stream, destination) = (task.clone(), stream.to_owned(), destination.to_owned());
        self.write(move |tx| compose(tx, &task, &stream, &destination, composed)).await
    }

    /// Notes that a composed manifest is published. Saying it twice changes nothing.
    pub async fn manifest_published(&self, task: &TaskId, stream: &str, destination: &str) -> Result<(), LedgerError> {
        let (task, stream, destination) = (task.clone(), stream.to_owned(), destination.to_owned());
        self.write(move |tx| published(tx, &task, &stream, &destination)).await
    }

    /// The manifests of a task, by stream and destination.
    pub async fn manifests(&self, task: &TaskId) -> Result<Vec<ManifestRow>, LedgerError> {
        let task = task.clone();
        self.read(move |sql| of_task(sql, &task)).await
    }

    /// The manifest of a stream at a destination, if it is composed.
    pub async fn manifest(
        &self,
        task: &TaskId,
        stream: &str,
        destination: &str,
    ) -> Result<Option<ManifestRow>, LedgerError> {
        let (task, stream, destination) = (task.clone(), stream.to_owned(), destination.to_owned());
        self.read(move |sql| {
            let text = "SELECT stream, destination, bytes, sha256, signature, published_at, pruned_at FROM manifests
                        WHERE task = ?1 AND stream = ?2 AND destination = ?3";
            one(sql, text, (task.as_str(), stream, destination), manifest_row)
        })
        .await
    }

    /// What `latest.json` lists at a destination when it is this task's turn: the chain of the task's stream up to the
    /// task itself, whose manifest is composed but may not be published yet.
    pub async fn chain(
        &self,
        task: &TaskId,
        stream: &str,
        destination: &str,
    ) -> Result<Vec<ChainManifest>, LedgerError> {
        let (task, stream, destination) = (task.clone(), stream.to_owned(), destination.to_owned());
        self.read(move |sql| chain_of(sql, &task, &stream, &destination, false)).await
    }

    /// The same with what follows the task in its chain and is published there already, because the task is filled back.
    pub async fn chain_beyond(
        &self,
        task: &TaskId,
        stream: &str,
        destination: &str,
    ) -> Result<Vec<ChainManifest>, LedgerError> {
        let (task, stream, destination) = (task.clone(), stream.to_owned(), destination.to_owned());
        self.read(move |sql| chain_of(sql, &task, &stream, &destination, true)).await
    }

    /// Whether the ledger has a task's stream behind another one's: in a newer chain, or later in the same one, whatever
    /// the clock said then.
    pub async fn is_newer(&self, stream: &str, task: &str, than: &TaskId) -> Result<bool, LedgerError> {
        let (stream, task, than) = (stream.to_owned(), task.to_owned(), than.clone());
        self.read(move |sql| is_newer(sql, &stream, &task, &than)).await
    }
}
