//! Tasks: how they are created, how events change them, why they wait.

use super::Ledger;
use super::audit::Entry;
use super::codec::{At, Cells, Json, U64, Word, one, run};
use super::error::LedgerError;
use super::input::{Change, NewTask};
use super::marks;
use super::outbox;
use super::rows::TaskRow;
use super::writer::Tx;
use super::{history, sweeps};
use crate::base::ids::{RequestKey, TaskId};
use crate::model::task::{TaskEvent, TaskState, Waiting};
use jiff::SignedDuration;
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;

/// Seconds that a task's id may be moved on because the second is taken; each closed task of one key takes one.
const MAX_ID_SHIFT: i64 = 3600;

/// The columns of a [`TaskRow`].
pub(super) const COLUMNS: &str = "id, export, key, params, scope, chained, format, state, reason, error_class, waiting_reason, \
     waiting_until, attempt, queue_pos, config, actor, created_at, started_at, ended_at, not_before, extracted, home";

/// Reads a row that begins with [`COLUMNS`]. By their places: to look for 22 names in each row took a sixth of the time of a list.
pub(super) fn task_row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let mut cells = Cells::of(row);
    Ok(TaskRow {
        id: TaskId::known(cells.next::<String>()?),
        export: cells.next()?,
        key: RequestKey(cells.next()?),
        params: cells.next::<Json<BTreeMap<String, String>>>()?.0.into_iter().collect(),
        scope: cells.next::<Json<_>>()?.0,
        chained: cells.next()?,
        format: cells.next()?,
        state: cells.next::<Word>()?.0,
        reason: cells.next()?,
        error_class: cells.next()?,
        waiting: {
            let (reason, until) = (cells.next::<Option<String>>()?, cells.time()?);
            reason.map(|reason| Waiting { reason, until })
        },
        attempt: cells.next()?,
        queue_pos: cells.next()?,
        config: cells.next()?,
        actor: cells.next()?,
        created_at: cells.next::<At>()?.0,
        started_at: cells.time()?,
        ended_at: cells.time()?,
        not_before: cells.time()?,
        extracted: cells.next()?,
        home: cells.next()?,
    })
}

/// The task of an id, if there is one.
pub(super) fn find(sql: &Connection, id: &TaskId) -> Result<Option<TaskRow>, LedgerError> {
    one(sql, &format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1"), [id.as_str()], task_row)
}

/// The task of an id; an error where there is none.
pub(super) fn get(sql: &Connection, id: &TaskId) -> Result<TaskRow, LedgerError> {
    find(sql, id)?.ok_or_else(|| LedgerError::NoSuchTask(id.clone()))
}

/// Refuses a change to a task that no longer runs.
pub(super) fn must_run(sql: &Connection, id: &TaskId, what: &str) -> Result<(), LedgerError> {
    let state = one(sql, "SELECT state FROM tasks WHERE id = ?1", [id.as_str()], |row| row.get::<_, Word>(0))?
        .ok_or_else(|| LedgerError::NoSuchTask(id.clone()))?
        .0;
    // A pause is stored at once and carried out at the next page boundary, where a segment may still be on its way.
    match state {
        TaskState::Processing | TaskState::Paused => Ok(()),
        state => Err(LedgerError::Refused(format!("{what} of the task {id}: it is {state}"))),
    }
}

/// Notes that the current attempt made progress: earlier ones no longer count against the task.
pub(super) fn progressed(tx: &Tx<'_>, id: &TaskId) -> Result<(), LedgerError> {
    run(tx, "UPDATE tasks SET attempt = 0 WHERE id = ?1 AND attempt <> 0", [id.as_str()])?;
    Ok(())
}

fn open_task(sql: &Connection, key: &RequestKey) -> Result<Option<TaskId>, LedgerError> {
    let text = "SELECT id FROM tasks WHERE key = ?1 AND state IN ('pending', 'processing', 'paused')";
    one(sql, text, [&key.0], |row| row.get::<_, String>(0).map(TaskId::known))
}

fn free_id(sql: &Connection, new: &NewTask) -> Result<TaskId, LedgerError> {
    for shift in 0..MAX_ID_SHIFT {
        let at = new.at.checked_add(SignedDuration::from_secs(shift)).unwrap_or(new.at);
        let id = TaskId::new(at, &new.key);
        if one(sql, "SELECT 1 FROM tasks WHERE id = ?1", [id.as_str()], |_| Ok(()))?.is_none() {
            return Ok(id);
        }
    }
    Err(LedgerError::Refused(format!("find an id for a task of {}: the next hour's are taken", new.export)))
}

/// Creates a task, or finds the open one of its key.
pub(super) fn create(tx: &Tx<'_>, new: &NewTask) -> Result<(TaskId, bool), LedgerError> {
    if let Some(open) = open_task(tx, &new.key)? {
        outbox::name_recipients(tx, &open, &new.notify)?;
        return Ok((open, false));
    }
    let id = free_id(tx, new)?;
    let params: BTreeMap<_, _> = new.params.iter().cloned().collect();
    run(
        tx,
        "INSERT INTO tasks (id, export, key, state, queue_pos, created_at, format, actor, params, config,
             waiting_reason, scope, chained)
         VALUES (?1, ?2, ?3, ?4, (SELECT coalesce(max(queue_pos), 0) + 1 FROM tasks), ?5, ?6, ?7, ?8, ?9, ?10, ?11,
             ?12)",
        (
            id.as_str(),
            &new.export,
            &new.key.0,
            Word(TaskState::Pending),
            At(new.at),
            &new.format,
            &new.actor,
            Json(&params),
            &new.config,
            held(tx, &new.export)?.map(|waiting| waiting.reason),
            Json(&new.scope),
            new.chained,
        ),
    )?;
    for (pos, stream) in new.streams.iter().enumerate() {
        let text = "INSERT INTO task_streams (task, stream, pos) VALUES (?1, ?2, ?3)";
        run(tx, text, (id.as_str(), stream, U64(pos as u64)))?;
    }
    outbox::name_recipients(tx, &id, &new.notify)?;
    tx.audit(Entry {
        task: Some(&id),
        export: Some(&new.export),
        actor: &new.actor,
        action: "created",
        to: Some(TaskState::Pending),
        reason: &format!("requested by {}", new.actor),
        detail: Some(serde_json::json!({ "params": params, "format": new.format, "scope": new.scope }).to_string()),
        ..Entry::default()
    })?;
    Ok((id, true))
}

/// Carries out an event: the new row is stored and returned.
pub(super) fn apply(tx: &Tx<'_>, id: &TaskId, event: TaskEvent, change: &Change) -> Result<TaskRow, LedgerError> {
    let before = get(tx, id)?;
    let state = before.state.next(event).map_err(|source| LedgerError::Illegal { task: id.clone(), source })?;
    let extracted = match event {
        TaskEvent::Retry => prepare_retry(tx, &before)?,
        TaskEvent::Cancel if before.extracted || marks::moved(tx, id)? => {
            marks::take_back(tx, &before)?;
            false
        }
        _ => before.extracted,
    };
    let waiting = if state == TaskState::Pending { held(tx, &before.export)? } else { None };
    let after = TaskRow {
        state,
        reason: change.reason.clone(),
        error_class: change.error_class.map(|class| class.word().to_owned()),
        waiting,
        attempt: change.attempt.unwrap_or_else(|| before.state.attempts_after(before.attempt, event)),
        queue_pos: place_after(tx, &before, event, change)?,
        started_at: if event == TaskEvent::Start { before.started_at.or(Some(tx.at)) } else { before.started_at },
        ended_at: state.closed().then_some(tx.at),
        not_before: change.not_before,
        extracted,
        ..before.clone()
    };
    store(tx, &after)?;
    tx.audit(Entry {
        task: Some(id),
        export: Some(&before.export),
        actor: &change.actor,
        action: event.word(),
        from: Some(before.state),
        to: Some(state),
        reason: &change.reason,
        detail: change.detail.clone(),
    })?;
    outbox::task_ended(tx, &after, &change.tell)?;
    Ok(after)
}

fn store(tx: &Tx<'_>, task: &TaskRow) -> Result<(), LedgerError> {
    let instance = (task.state == TaskState::Processing).then_some(tx.instance);
    run(
        tx,
        "UPDATE tasks SET state = ?2, reason = ?3, error_class = ?4, attempt = ?5, queue_pos = ?6, started_at = ?7,
             ended_at = ?8, not_before = ?9, instance = ?10, extracted = ?11, waiting_reason = ?12, waiting_until = NULL
         WHERE id = ?1",
        (
            task.id.as_str(),
            Word(task.state),
            &task.reason,
            &task.error_class,
            task.attempt,
            task.queue_pos,
            task.started_at.map(At),
            task.ended_at.map(At),
            task.not_before.map(At),
            instance,
            task.extracted,
            task.waiting.as_ref().map(|waiting| &waiting.reason),
        ),
    )?;
    Ok(())
}

fn place_after(tx: &Tx<'_>, before: &TaskRow, event: TaskEvent, change: &Change) -> Result<i64, LedgerError> {
    let text = if change.queue_head || event == TaskEvent::Resume {
        "SELECT coalesce(min(queue_pos), 1) - 1 FROM tasks"
    } else if event == TaskEvent::Retry {
        "SELECT coalesce(max(queue_pos), 0) + 1 FROM tasks"
    } else {
        return Ok(before.queue_pos);
    };
    Ok(one(tx, text, [], |row| row.get(0))?.unwrap_or(before.queue_pos))
}

/// A new life for a closed task: its streams and deliveries may fail again. Says whether only delivery is left; a stream
/// that was given up is extracted once more.
fn prepare_retry(tx: &Tx<'_>, task: &TaskRow) -> Result<bool, LedgerError> {
    if let Some(open) = open_task(tx, &task.key)? {
        return Err(LedgerError::Refused(format!(
            "retry the task {}: the task {open} of the same request is still open",
            task.id
        )));
    }
    if let Some(later) = marks::later_task(tx, task)? {
        return Err(LedgerError::Refused(format!(
            "retry the task {}: the later task {later} has read the same streams; run the export again instead",
            task.id
        )));
    }
    run(tx, "UPDATE task_streams SET error = NULL WHERE task = ?1 AND error IS NOT NULL", [task.id.as_str()])?;
    let text = "UPDATE deliveries SET attempts = 0 WHERE task = ?1 AND verified_at IS NULL AND attempts <> 0";
    run(tx, text, [task.id.as_str()])?;
    let text = "SELECT 1 FROM task_streams WHERE task = ?1 AND NOT extracted LIMIT 1";
    let open = one(tx, text, [task.id.as_str()], |_| Ok(()))?.is_some();
    Ok(task.extracted && !open)
}

/// Refuses to go on with a task that ended before the ledger was restored: what it did behind the snapshot is not known, and its
/// names may be taken.
fn not_restored(sql: &Connection, task: &TaskId) -> Result<(), LedgerError> {
    let text = "SELECT 1 FROM audit WHERE action = 'ledger_restored' AND seq > coalesce(
                    (SELECT max(seq) FROM audit WHERE task = ?1 AND to_state IN ('failed', 'cancelled')), 0) LIMIT 1";
    match one(sql, text, [task.as_str()], |_| Ok(()))? {
        None => Ok(()),
        Some(()) => Err(LedgerError::Refused(format!(
            "retry the task {task}: the ledger was restored since it ended, and what the task has delivered behind the snapshot is \
             not known; run its export again"
        ))),
    }
}

/// Why a pending task of this export does not start, if an operator paused the export.
fn held(sql: &Connection, export: &str) -> Result<Option<Waiting>, LedgerError> {
    let paused = one(sql, "SELECT 1 FROM paused_exports WHERE export = ?1", [export], |_| Ok(()))?;
    Ok(paused.map(|()| Waiting { reason: held_reason(export), until: None }))
}

/// What the pending tasks of a paused export wait for.
pub(super) fn held_reason(export: &str) -> String {
    format!("export {export} is paused: exportctl resume {export}")
}

fn wait(tx: &Tx<'_>, id: &TaskId, waiting: Option<&Waiting>) -> Result<(), LedgerError> {
    let task = get(tx, id)?;
    let may_wait = matches!(task.state, TaskState::Pending | TaskState::Processing);
    let same = match (&task.waiting, waiting) {
        (Some(before), Some(now)) => before.same_kind(now),
        (before, now) => before.is_none() && now.is_none(),
    };
    if !may_wait || same {
        return Ok(());
    }
    let reason = waiting.map(|waiting| waiting.reason.as_str());
    let until = waiting.and_then(|waiting| waiting.until).map(At);
    let text = "UPDATE tasks SET waiting_reason = ?2, waiting_until = ?3 WHERE id = ?1";
    run(tx, text, (id.as_str(), reason, until))?;
    tx.audit(Entry {
        task: Some(id),
        export: Some(&task.export),
        action: if waiting.is_some() { "waiting" } else { "waiting_ended" },
        reason: reason.unwrap_or_default(),
        ..Entry::default()
    })
}

impl Ledger {
    /// Creates a task at the end of the queue, or finds the open one with the same key (then `false`). An id that the
    /// same second has seen already moves on to the next second.
    pub async fn create_task(&self, new: NewTask) -> Result<(TaskId, bool), LedgerError> {
        self.write(move |tx| create(tx, &new)).await
    }

    /// Carries out an event and returns the task as it is afterwards.
    ///
    /// * `Start` counts an attempt and ties the task to this start of the daemon.
    /// * `Pause` of a running task takes its attempt back; `Resume` goes to the head of the queue.
    /// * `Retry` goes to the end of the queue with no attempt made and no stream failed; refused while an equal request
    ///   is open, while files of the task are removed, and once the ledger was restored.
    /// * `TryAgain` and `Recover` keep the place in the queue.
    /// * Who becomes pending while the export is paused waits for that.
    ///
    /// # Errors
    /// `Illegal` where [`TaskState::next`] refuses; nothing has changed then.
    pub async fn task_event(&self, id: &TaskId, event: TaskEvent, change: Change) -> Result<TaskRow, LedgerError> {
        let (id, claims) = (id.clone(), self.shared.claims.clone());
        self.write(move |tx| {
            if event == TaskEvent::Retry {
                sweeps::unclaimed(&claims, &id)?;
                history::remembered(tx, &id)?;
                not_restored(tx, &id)?;
            }
            apply(tx, &id, event, &change)
        })
        .await
    }

    /// Says why a pending or running task does not move, or that it moves again. Saying the same twice (be it with other
    /// figures), or anything about another task, changes nothing.
    pub async fn set_waiting(&self, id: &TaskId, waiting: Option<Waiting>) -> Result<(), LedgerError> {
        let id = id.clone();
        self.write(move |tx| wait(tx, &id, waiting.as_ref())).await
    }
}
