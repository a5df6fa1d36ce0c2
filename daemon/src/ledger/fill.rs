//! Destinations that a task gets after its end, or that it goes on without: deliveries, stored configuration and audit in
//! one transaction.

use super::audit::Entry;
use super::codec::{At, U64, all, one, run};
use super::error::LedgerError;
use super::input::{AddDestination, DropDestination};
use super::rows::{FreedSegment, TaskRow};
use super::tasks;
use super::writer::Tx;
use super::{Ledger, streams};
use crate::base::ids::TaskId;
use crate::model::task::TaskState;
use rusqlite::Connection;
use serde_json::{Value, json};

/// A task's stored configuration, and the names in its export's `to`.
pub(super) struct Stored {
    config: Value,
    pub to: Vec<String>,
}

impl Stored {
    pub fn of(task: &TaskRow) -> Result<Self, LedgerError> {
        let config: Value = serde_json::from_str(&task.config).unwrap_or_default();
        let to = config.pointer(&format!("/exports/{}/to", task.export)).and_then(Value::as_array).cloned();
        let to =
            to.ok_or_else(|| LedgerError::Broken(format!("a destination of the task {}: it has none", task.id)))?;
        Ok(Self { config, to: to.iter().filter_map(Value::as_str).map(str::to_owned).collect() })
    }

    /// Gives a destination that is not known the settings that it has now.
    pub fn knows(&mut self, name: &str, settings: &Value) {
        if let Some(all) = self.config.get_mut("destinations").and_then(Value::as_object_mut) {
            all.entry(name).or_insert_with(|| settings.clone());
        }
    }

    /// Stores what was changed: the names, and the settings of one of them.
    pub fn store(mut self, tx: &Tx<'_>, task: &TaskRow, settings: Option<(&str, &Value)>) -> Result<(), LedgerError> {
        if let Some(to) = self.config.pointer_mut(&format!("/exports/{}/to", task.export)) {
            *to = json!(self.to);
        }
        let destinations = self.config.get_mut("destinations").and_then(Value::as_object_mut);
        if let (Some(all), Some((name, settings))) = (destinations, settings) {
            all.insert(name.to_owned(), settings.clone());
        }
        let text = "UPDATE tasks SET config = ?2 WHERE id = ?1";
        run(tx, text, (task.id.as_str(), self.config.to_string())).map(drop)
    }
}

/// Streams of a task whose manifest is, or is not, published at a destination.
fn published(sql: &Connection, task: &TaskId, destination: &str) -> Result<(u64, u64), LedgerError> {
    let text = "SELECT count(m.published_at) AS done, count(*) AS streams FROM task_streams s
         LEFT JOIN manifests m ON m.task = s.task AND m.stream = s.stream AND m.destination = ?2 AND m.pruned_at IS NULL
         WHERE s.task = ?1 AND s.error IS NULL";
    let counted = one(sql, text, (task.as_str(), destination), |row| {
        Ok((row.get::<_, U64>("done")?.0, row.get::<_, U64>("streams")?.0))
    })?;
    Ok(counted.unwrap_or_default())
}

/// Whether retention removes something of a task at a destination that is not gone yet.
fn is_going(sql: &Connection, task: &TaskId, destination: &str) -> Result<bool, LedgerError> {
    let text = "SELECT 1 FROM manifests
                WHERE task = ?1 AND destination = ?2 AND pruned_at IS NOT NULL AND gone_at IS NULL LIMIT 1";
    Ok(one(sql, text, (task.as_str(), destination), |_| Ok(()))?.is_some())
}

/// Forgets what retention has removed of a task at a destination, so that it can come back.
fn forget_pruned(tx: &Tx<'_>, task: &TaskId, destination: &str) -> Result<(), LedgerError> {
    let at = (task.as_str(), destination);
    let text = "DELETE FROM deliveries WHERE task = ?1 AND destination = ?2 AND stream IN (
                    SELECT stream FROM manifests WHERE task = ?1 AND destination = ?2 AND pruned_at IS NOT NULL)";
    run(tx, text, at)?;
    run(tx, "DELETE FROM manifests WHERE task = ?1 AND destination = ?2 AND pruned_at IS NOT NULL", at).map(drop)
}

fn is_filling(sql: &Connection, task: &TaskId, destination: &str) -> Result<bool, LedgerError> {
    let text = "SELECT 1 FROM back_fills WHERE task = ?1 AND destination = ?2";
    Ok(one(sql, text, (task.as_str(), destination), |_| Ok(()))?.is_some())
}

fn add(tx: &Tx<'_>, id: &TaskId, order: &AddDestination) -> Result<u64, LedgerError> {
    let task = tasks::get(tx, id)?;
    let name = order.name.as_str();
    let refused = |why: String| Err(LedgerError::Refused(format!("deliver the task {id} to {name}: {why}")));
    if task.state != TaskState::Succeeded {
        return refused(format!("it is {}, and only a task that has succeeded is delivered once more", task.state));
    }
    if is_filling(tx, id, name)? {
        return Ok(0);
    }
    let mut stored = Stored::of(&task)?;
    let (done, streams) = published(tx, id, name)?;
    if !order.moved && done == streams && streams > 0 && stored.to.contains(&order.name) {
        return refused("it has everything already".into());
    }
    if is_going(tx, id, name)? {
        return refused("retention is removing its files there; ask again when they are gone".into());
    }
    forget_pruned(tx, id, name)?;
    if order.moved {
        // The name means another place now: what the old one has says nothing about it.
        run(tx, "DELETE FROM deliveries WHERE task = ?1 AND destination = ?2", (id.as_str(), name))?;
        run(tx, "DELETE FROM manifests WHERE task = ?1 AND destination = ?2", (id.as_str(), name))?;
        run(tx, "DELETE FROM uploads WHERE task = ?1 AND destination = ?2", (id.as_str(), name))?;
    }
    let text = "INSERT OR IGNORE INTO deliveries (task, stream, lane, n, revision, destination)
         SELECT g.task, g.stream, g.lane, g.n, g.revision, ?2 FROM segments g
         JOIN task_streams s ON s.task = g.task AND s.stream = g.stream AND s.error IS NULL
         WHERE g.task = ?1 AND NOT g.superseded AND g.role <> 'part'";
    let added = run(tx, text, (id.as_str(), name))? as u64;
    if !stored.to.contains(&order.name) {
        stored.to.push(order.name.clone());
    }
    stored.store(tx, &task, Some((name, &order.settings)))?;
    let text = "INSERT INTO back_fills (task, destination, actor, started_at) VALUES (?1, ?2, ?3, ?4)";
    run(tx, text, (id.as_str(), name, &order.actor, At(tx.at)))?;
    tell(tx, &task, (&order.actor, "destination_added"), (name, added))?;
    Ok(added)
}

fn drop_one(tx: &Tx<'_>, id: &TaskId, order: &DropDestination) -> Result<Vec<FreedSegment>, LedgerError> {
    let task = tasks::get(tx, id)?;
    let name = order.name.as_str();
    let refused = |why: &str| Err(LedgerError::Refused(format!("let the task {id} go without {name}: {why}")));
    let mut stored = Stored::of(&task)?;
    if !stored.to.contains(&order.name) {
        return refused(&format!("it does not go there; it goes to {}", stored.to.join(", ")));
    }
    let (done, streams) = published(tx, id, name)?;
    if done == streams && streams > 0 {
        return refused("everything is published there already");
    }
    if stored.to.len() == 1 {
        return refused("it is the only destination; `exportctl cancel` ends the task");
    }
    let waiting = pending(tx, id, name)?;
    let text = "DELETE FROM deliveries WHERE task = ?1 AND destination = ?2 AND verified_at IS NULL";
    let dropped = run(tx, text, (id.as_str(), name))? as u64;
    // What it published stays known; the rest is composed again if it is ever filled back.
    let text = "DELETE FROM manifests WHERE task = ?1 AND destination = ?2 AND published_at IS NULL";
    run(tx, text, (id.as_str(), name))?;
    run(tx, "DELETE FROM back_fills WHERE task = ?1 AND destination = ?2", (id.as_str(), name))?;
    stored.to.retain(|kept| kept != name);
    stored.store(tx, &task, None)?;
    let note =
        format!("goes without {name} by order of {}; `exportctl deliver {id} --to {name}` fills it back", order.actor);
    let text = "SELECT stream FROM task_streams WHERE task = ?1 ORDER BY pos";
    for stream in all(tx, text, [id.as_str()], |row| row.get::<_, String>(0))? {
        streams::add_note(tx, id, &stream, &note)?;
    }
    tell(tx, &task, (&order.actor, "destination_dropped"), (name, dropped))?;
    let still: std::collections::BTreeSet<_> = undelivered_names(tx, id)?.into_iter().collect();
    Ok(waiting.into_iter().filter(|segment| !still.contains(segment)).collect())
}

fn tell(
    tx: &Tx<'_>,
    task: &TaskRow,
    (actor, action): (&str, &str),
    (name, files): (&str, u64),
) -> Result<(), LedgerError> {
    tx.audit(Entry {
        task: Some(&task.id),
        export: Some(&task.export),
        actor,
        action,
        reason: name,
        detail: Some(json!({ "destination": name, "deliveries": files }).to_string()),
        ..Entry::default()
    })
}

const NAMES: &str =
    "SELECT DISTINCT g.stream, g.name FROM deliveries d JOIN segments g USING (task, stream, lane, n, revision)
     WHERE d.task = ?1 AND d.verified_at IS NULL AND NOT g.superseded";

fn pending(sql: &Connection, task: &TaskId, destination: &str) -> Result<Vec<FreedSegment>, LedgerError> {
    all(sql, &format!("{NAMES} AND d.destination = ?2"), (task.as_str(), destination), |row| {
        Ok(FreedSegment { stream: row.get(0)?, name: row.get(1)? })
    })
}

fn undelivered_names(sql: &Connection, task: &TaskId) -> Result<Vec<FreedSegment>, LedgerError> {
    all(sql, NAMES, [task.as_str()], |row| Ok(FreedSegment { stream: row.get(0)?, name: row.get(1)? }))
}

fn filled(tx: &Tx<'_>, task: &TaskId, destination: &str) -> Result<(), LedgerError> {
    let text = "DELETE FROM back_fills WHERE task = ?1 AND destination = ?2";
    match run(tx, text, (task.as_str(), destination))? {
        0 => Ok(()),
        _ => tx.audit_task(task, "filled_back", json!({ "destination": destination })),
    }
}

fn to_carry(sql: &Connection) -> Result<Vec<TaskId>, LedgerError> {
    let text = "SELECT task FROM back_fills UNION
         SELECT t.id FROM tasks t WHERE t.state = 'paused'
             AND EXISTS (SELECT 1 FROM deliveries d WHERE d.task = t.id AND d.verified_at IS NULL)";
    all(sql, text, [], |row| row.get::<_, String>(0).map(TaskId::known))
}

impl Ledger {
    /// Gives a task that has succeeded one more destination: a delivery for each of its segments, the destination's settings
    /// in its stored configuration, and a back-fill that stays until everything is published there. The number of new
    /// deliveries; 0 where the same is already under way.
    ///
    /// # Errors
    /// `Refused` where the task has not succeeded, or the destination has everything.
    pub async fn add_destination(&self, task: &TaskId, order: AddDestination) -> Result<u64, LedgerError> {
        let task = task.clone();
        self.write(move |tx| add(tx, &task, &order)).await
    }

    /// Lets a task go without a destination: what was to go there is forgotten, and a note says so. The segments that nobody
    /// waits for any more; their files may leave the spool.
    ///
    /// # Errors
    /// `Refused` where the destination is the task's only one, none of its own, or has everything.
    pub async fn drop_destination(
        &self,
        task: &TaskId,
        order: DropDestination,
    ) -> Result<Vec<FreedSegment>, LedgerError> {
        let task = task.clone();
        self.write(move |tx| drop_one(tx, &task, &order)).await
    }

    /// The destinations of a task that are being filled back, in order of name.
    pub async fn back_fills(&self, task: &TaskId) -> Result<Vec<String>, LedgerError> {
        let task = task.clone();
        let text = "SELECT destination FROM back_fills WHERE task = ?1 ORDER BY destination";
        self.read(move |sql| all(sql, text, [task.as_str()], |row| row.get(0))).await
    }

    /// Notes that a back-fill is done. Saying it twice changes nothing.
    pub async fn filled_back(&self, task: &TaskId, destination: &str) -> Result<(), LedgerError> {
        let (task, destination) = (task.clone(), destination.to_owned());
        self.write(move |tx| filled(tx, &task, &destination)).await
    }

    /// The tasks whose deliveries go on although they do not run: paused ones, and those that are filled back.
    pub async fn to_carry(&self) -> Result<Vec<TaskId>, LedgerError> {
        self.read(to_carry).await
    }
}
