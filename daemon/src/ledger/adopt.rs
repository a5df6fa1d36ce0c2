//! Adoption: tasks that their manifests prove to be published are taken into a ledger that does not know so, one transaction each.

mod stream;

use super::Ledger;
use super::audit::Entry;
use super::codec::{At, Json, Word, all, one, run};
use super::error::LedgerError;
use super::fill::Stored;
use super::input::{Change, NewTask};
use super::rows::{Composed, TaskRow};
use super::tasks::{self, COLUMNS, apply, task_row};
use super::writer::Tx;
use super::{marks, offsets};
use crate::base::ids::TaskId;
use crate::model::scope::Scope;
use crate::model::task::{TaskEvent, TaskState};
use jiff::Timestamp;
use rusqlite::Connection;
use saas_export_manifest::Manifest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A task that is published.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// Its id.
    pub id: TaskId,
    /// What a request for its export makes now; `at` is when the task was created.
    pub new: NewTask,
    /// Its streams that are published, with what the ledger may lack of them.
    pub streams: Vec<AdoptedStream>,
    /// Why it is known to be published, for a person.
    pub reason: String,
}

/// A stream of a task that is published.
#[derive(Clone, Debug)]
pub struct AdoptedStream {
    /// Its manifest.
    pub manifest: Manifest,
    /// Where it is published, and as which bytes.
    pub places: Vec<(String, Composed)>,
}

/// How the open tasks of a ledger that stands for an earlier time are cancelled.
#[derive(Clone, Debug, Default)]
pub struct CancelOpen {
    /// Those that are adopted instead.
    pub keep: BTreeSet<TaskId>,
    /// Manifests that were written and never published: they go, with the files that they list.
    pub left: Vec<LeftBehind>,
    /// Destinations that nobody has looked at. Nothing is removed there: it may be published.
    pub unseen: BTreeSet<String>,
    /// Why, and who said so.
    pub change: Change,
}

/// A manifest that a task has written, and that was not published.
#[derive(Clone, Debug)]
pub struct LeftBehind {
    /// Name of the destination where it lies.
    pub destination: String,
    /// What it says.
    pub manifest: Manifest,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

/// A manifest that the ledger knows to have been published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownManifest {
    /// Its task.
    pub task: TaskId,
    /// Name of the export.
    pub export: String,
    /// Name of the stream.
    pub stream: String,
    /// Name of the destination.
    pub destination: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Whether it starts a chain that readers are led to, and retention has not taken it since.
    pub starts: bool,
}

fn refused(id: &TaskId, why: &str) -> LedgerError {
    LedgerError::Refused(format!("adopt the task {id}: {why}"))
}

fn adopt(tx: &Tx<'_>, order: &Adoption) -> Result<Option<TaskState>, LedgerError> {
    let id = &order.id;
    let before = tasks::find(tx, id)?;
    match &before {
        None => insert(tx, order)?,
        Some(row) if row.export != order.new.export => {
            return Err(refused(id, &format!("the ledger has it as one of the export {}", row.export)));
        }
        Some(_) => {}
    }
    let state = before.as_ref().map(|row| row.state);
    for adopted in &order.streams {
        stream::adopt(tx, order, adopted)?;
    }
    match before.filter(|row| row.state == TaskState::Succeeded) {
        // It may be filled back to one more: that goes on.
        Some(row) => goes_to(tx, &row, (&order.new.config, true))?,
        None => end(tx, order)?,
    }
    run(
        tx,
        "DELETE FROM back_fills WHERE task = ?1 AND destination IN (SELECT destination FROM manifests m
             WHERE m.task = ?1 AND m.published_at IS NOT NULL GROUP BY destination
             HAVING count(*) = (SELECT count(*) FROM task_streams s WHERE s.task = ?1 AND s.error IS NULL))",
        [id.as_str()],
    )?;
    let places: BTreeMap<&str, Vec<&str>> = order
        .streams
        .iter()
        .map(|found| {
            (found.manifest.stream.as_str(), found.places.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>())
        })
        .collect();
    tx.audit(Entry {
        task: Some(id),
        export: Some(&order.new.export),
        actor: &order.new.actor,
        action: "adopted",
        from: state,
        to: Some(TaskState::Succeeded),
        reason: &order.reason,
        detail: Some(json!({ "published": places }).to_string()),
    })?;
    Ok(state)
}

fn insert(tx: &Tx<'_>, order: &Adoption) -> Result<(), LedgerError> {
    let NewTask { export, key, format, config, actor, .. } = &order.new;
    let params: BTreeMap<_, _> = order.new.params.iter().cloned().collect();
    run(
        tx,
        "INSERT INTO tasks (id, export, key, state, queue_pos, extracted, created_at, format, actor, params, config, scope,
             chained)
         VALUES (?1, ?2, ?3, ?4, (SELECT coalesce(max(queue_pos), 0) + 1 FROM tasks), 1, ?5, ?6, ?7, ?8, ?9, ?10, 1)",
        (
            order.id.as_str(),
            export,
            &key.0,
            Word(TaskState::Succeeded),
            At(order.new.at),
            format,
            actor,
            Json(&params),
            config,
            Json(&order.new.scope),
        ),
    )
    .map(drop)
}

/// Ends a task that did not know of its success. What it still meant to do is forgotten: only what is published is known to be
/// as the ledger says.
fn end(tx: &Tx<'_>, order: &Adoption) -> Result<(), LedgerError> {
    let id = order.id.as_str();
    let row = tasks::get(tx, &order.id)?;
    stream::forget_unpublished(tx, &row, &order.reason)?;
    for text in [
        "DELETE FROM deliveries WHERE task = ?1 AND verified_at IS NULL",
        "DELETE FROM manifests WHERE task = ?1 AND published_at IS NULL",
        "DELETE FROM back_fills WHERE task = ?1",
    ] {
        run(tx, text, [id])?;
    }
    // When it really ended no manifest says: it is not told to be newer than it is.
    let text = "UPDATE tasks SET state = ?2, reason = ?3, ended_at = ?4, error_class = NULL, waiting_reason = NULL,
                    waiting_until = NULL, not_before = NULL, instance = NULL, extracted = 1, attempt = 0 WHERE id = ?1";
    run(tx, text, (id, Word(TaskState::Succeeded), &order.reason, At(row.created_at)))?;
    goes_to(tx, &row, (&order.new.config, false))?;
    let text = "INSERT INTO last_ends (export, task, state, ended_at) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (export) DO UPDATE SET task = excluded.task, state = excluded.state, ended_at = excluded.ended_at
                WHERE excluded.ended_at >= last_ends.ended_at";
    run(tx, text, (&row.export, id, Word(TaskState::Succeeded), At(row.created_at)))?;
    slot(tx, order, &row)
}

/// Has the stored configuration name the destinations where the task is published, and no others unless they are to stay.
fn goes_to(tx: &Tx<'_>, row: &TaskRow, (now, stay): (&str, bool)) -> Result<(), LedgerError> {
    let text =
        "SELECT DISTINCT destination FROM manifests WHERE task = ?1 AND published_at IS NOT NULL ORDER BY destination";
    let names: Vec<String> = all(tx, text, [row.id.as_str()], |row| row.get(0))?;
    let mut stored = Stored::of(row)?;
    stored.to.retain(|name| stay || names.contains(name));
    let now: Value = serde_json::from_str(now).unwrap_or_default();
    for name in names.into_iter().filter(|name| !stored.to.contains(name)).collect::<Vec<_>>() {
        if let Some(settings) = now.pointer(&format!("/destinations/{name}")) {
            stored.knows(&name, settings);
        }
        stored.to.push(name);
    }
    stored.store(tx, row, None)
}

/// Moves the schedule behind a task that has read everything: the slot that it ran for is not run once more.
fn slot(tx: &Tx<'_>, order: &Adoption, row: &TaskRow) -> Result<(), LedgerError> {
    let usual = row.chained && row.scope == Scope::default() && !order.new.streams.is_empty();
    let text = "SELECT DISTINCT stream FROM manifests WHERE task = ?1 AND published_at IS NOT NULL";
    let published: Vec<String> = all(tx, text, [order.id.as_str()], |row| row.get(0))?;
    if !usual || !order.new.streams.iter().all(|stream| published.contains(stream)) {
        return Ok(());
    }
    let text = "UPDATE schedules SET slot = ?2, decided_at = ?3, outcome = 'run', task = ?4
                WHERE export = ?1 AND coalesce(slot, since) < ?2";
    run(tx, text, (&order.new.export, At(row.created_at), At(tx.at), order.id.as_str())).map(drop)
}

/// Cancels every open task but some, the newest first, and sends it back to its start: what it has in the spool and at
/// destinations need not be what the ledger says.
fn cancel_open(tx: &Tx<'_>, order: &CancelOpen) -> Result<Vec<TaskRow>, LedgerError> {
    let text =
        format!("SELECT {COLUMNS} FROM tasks WHERE state IN ('pending', 'processing', 'paused') ORDER BY seq DESC");
    let mut cancelled = Vec::new();
    for row in all(tx, &text, [], task_row)?.into_iter().filter(|row| !order.keep.contains(&row.id)) {
        // Also where its extraction was opened again: its mark stayed where its end had put it.
        marks::undo(tx, &row)?;
        cancelled.push(apply(tx, &row.id, TaskEvent::Cancel, &order.change)?);
        // A stream of a task that goes on after its end may have composed its manifest.
        run(tx, "DELETE FROM manifests WHERE task = ?1", [row.id.as_str()])?;
        offsets::start_over(tx, &row.id, &order.change.actor, &order.change.reason)?;
        if !order.unseen.is_empty() {
            let mut stored = Stored::of(&row)?;
            stored.to.retain(|name| !order.unseen.contains(name));
            stored.store(tx, &row, None)?;
        }
    }
    for left in &order.left {
        stream::leave(tx, left)?;
    }
    Ok(cancelled)
}

fn known(sql: &Connection) -> Result<Vec<KnownManifest>, LedgerError> {
    let text = "SELECT m.task, t.export, m.stream, m.destination, m.sha256,
             t.chained AND m.pruned_at IS NULL AND coalesce(l.position = 0, 0) AS starts
         FROM manifests m JOIN tasks t ON t.id = m.task LEFT JOIN chain_links l ON l.task = m.task AND l.stream = m.stream
         WHERE m.published_at IS NOT NULL";
    all(sql, text, [], |row| {
        Ok(KnownManifest {
            task: TaskId::known(row.get::<_, String>("task")?),
            export: row.get("export")?,
            stream: row.get("stream")?,
            destination: row.get("destination")?,
            sha256: row.get("sha256")?,
            starts: row.get("starts")?,
        })
    })
}

impl Ledger {
    /// Takes a published task in, or completes what is known of it: rows of its segments, deliveries and manifests, its place in
    /// its chains, and, where it is the newest, the marks. Tasks are to be given in the order of their chains. The state that it
    /// had here; `None` where it was not known.
    ///
    /// # Errors
    /// `Refused` where the ledger holds something else to be true of the task, or has another one in its place.
    pub async fn adopt(&self, order: Adoption) -> Result<Option<TaskState>, LedgerError> {
        self.write(move |tx| adopt(tx, &order)).await
    }

    /// Cancels the open tasks of a ledger that stands for an earlier time, but for those that are adopted. They afterwards,
    /// newest first.
    pub async fn cancel_open(&self, order: CancelOpen) -> Result<Vec<TaskRow>, LedgerError> {
        self.write(move |tx| cancel_open(tx, &order)).await
    }

    /// Every manifest that was published, also those that retention has removed since.
    pub async fn known_manifests(&self) -> Result<Vec<KnownManifest>, LedgerError> {
        self.read(known).await
    }

    /// Whether another task than this one has the place in a chain, or the chain is not known.
    pub async fn place_taken(&self, manifest: &Manifest) -> Result<bool, LedgerError> {
        let manifest = manifest.clone();
        self.read(move |sql| {
            let begun =
                manifest.chain.position == 0 || tasks::find(sql, &TaskId::known(manifest.chain.id.clone()))?.is_some();
            Ok(!begun || stream::holder(sql, &manifest)?.is_some_and(|task| task != manifest.task))
        })
        .await
    }

    /// When the ledger was last written to; `None` where it never was.
    pub async fn last_written(&self) -> Result<Option<Timestamp>, LedgerError> {
        let text = "SELECT at FROM audit ORDER BY seq DESC LIMIT 1";
        self.read(move |sql| one(sql, text, [], |row| row.get::<_, At>("at").map(|at| at.0))).await
    }
}
