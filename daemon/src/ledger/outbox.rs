//! The outbox: what the ends of tasks are news of to whom, until it is sent or given up.

use super::Ledger;
use super::audit::Entry;
use super::codec::{At, Json, Word, all, count, json, one, run, time};
use super::error::LedgerError;
use super::rows::{NoticeRow, NoticeState, TaskRow};
use super::streams::{short, stream_row};
use super::writer::Tx;
use crate::base::ids::{TaskId, hex};
use crate::model::notice::{Before, Event, Facts, MAX_STREAMS, Rule, StreamFacts, events_of, told};
use crate::model::task::TaskState;
use jiff::{SignedDuration, Timestamp};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Messages to one recipient that may wait; beyond that the oldest is given up: the newest news are worth most.
const MAX_WAITING: i64 = if cfg!(test) { 20 } else { 1000 };
/// Settled messages that are remembered.
const REMEMBERED: i64 = 2000;
/// How long a message that was given up is trouble.
const LATELY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The most rows that one question returns.
const MAX_ROWS: u32 = 1000;
/// Hex digits of a message's id: enough that no two are alike.
const ID_DIGITS: usize = 32;

const COLUMNS: &str = "seq, id, task, export, recipient, event, facts, state, created_at, since, attempts, next_at, settled_at, \
     done, error";

/// What became of an attempt to send a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The other side has taken it; the text says what it did not take.
    Sent(Option<String>),
    /// It is tried again at this time, because of this.
    Later(Timestamp, String),
    /// It is not tried again, because of this.
    GivenUp(String),
}

/// Which messages to list.
#[derive(Clone, Debug, Default)]
pub struct NoticeFilter {
    /// Only to this recipient.
    pub recipient: Option<String>,
    /// Only in this state.
    pub state: Option<NoticeState>,
    /// At most this many.
    pub limit: u32,
}

/// What waits to be sent.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// The oldest message of each recipient whose time has come.
    pub now: Vec<NoticeRow>,
    /// When the time of the next one comes.
    pub next: Option<Timestamp>,
}

fn notice_row(row: &Row<'_>) -> rusqlite::Result<NoticeRow> {
    let word: String = row.get("state")?;
    Ok(NoticeRow {
        seq: row.get("seq")?,
        id: row.get("id")?,
        task: TaskId::known(row.get::<_, String>("task")?),
        export: row.get("export")?,
        recipient: row.get("recipient")?,
        event: row.get("event")?,
        facts: json(row, "facts")?,
        state: NoticeState::from_word(&word).ok_or(FromSqlError::InvalidType)?,
        created_at: row.get::<_, At>("created_at")?.0,
        since: row.get::<_, At>("since")?.0,
        attempts: row.get("attempts")?,
        next_at: row.get::<_, At>("next_at")?.0,
        settled_at: time(row, "settled_at")?,
        done: json(row, "done")?,
        error: row.get("error")?,
    })
}

/// Adds recipients that the end of a task is told to, whatever the rules of its export say.
pub(super) fn name_recipients(tx: &Tx<'_>, task: &TaskId, recipients: &[String]) -> Result<(), LedgerError> {
    if recipients.is_empty() {
        return Ok(());
    }
    run(tx, "DELETE FROM task_notify WHERE task NOT IN (SELECT id FROM tasks)", [])?;
    for recipient in recipients {
        let text = "INSERT OR IGNORE INTO task_notify (task, recipient) VALUES (?1, ?2)";
        run(tx, text, (task.as_str(), recipient))?;
    }
    Ok(())
}

/// A task has ended: its messages are written by the same transaction, so that a crash neither loses nor doubles them.
pub(super) fn task_ended(tx: &Tx<'_>, task: &TaskRow, rules: &[Rule]) -> Result<(), LedgerError> {
    if !matches!(task.state, TaskState::Succeeded | TaskState::Failed) {
        return Ok(());
    }
    let text = "SELECT task, state, ended_at FROM last_ends WHERE export = ?1";
    let before = one(tx, text, [&task.export], |row| {
        Ok(Before {
            task: row.get("task")?,
            state: row.get::<_, Word>("state")?.0,
            ended_at: row.get::<_, At>("ended_at")?.0,
        })
    })?;
    let text = "INSERT INTO last_ends (export, task, state, ended_at) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (export) DO UPDATE SET task = ?2, state = ?3, ended_at = ?4";
    run(tx, text, (&task.export, task.id.as_str(), Word(task.state), At(tx.at)))?;
    let text = "SELECT recipient FROM task_notify WHERE task = ?1 ORDER BY recipient";
    let named: Vec<String> = all(tx, text, [task.id.as_str()], |row| row.get(0))?;
    let events = events_of(before.as_ref().map(|before| before.state), task.state);
    let told = told(rules, &named, events);
    let (false, Some(event)) = (told.is_empty(), events.first()) else { return Ok(()) };
    let facts = facts(tx, task, before)?;
    for recipient in told {
        put(tx, task, recipient, (*event, &facts))?;
    }
    let text = "DELETE FROM outbox WHERE state <> 'waiting' AND seq <= (SELECT max(seq) FROM outbox) - ?1";
    run(tx, text, [REMEMBERED])?;
    Ok(())
}

fn facts(sql: &Tx<'_>, task: &TaskRow, before: Option<Before>) -> Result<Facts, LedgerError> {
    let text = "SELECT * FROM task_streams WHERE task = ?1 ORDER BY pos";
    let mut total = StreamFacts::default();
    let mut streams = all(sql, text, [task.id.as_str()], stream_row)?
        .into_iter()
        .map(|row| {
            total.counts.add(&row.counts);
            total.bytes += row.bytes;
            total.files += row.segments;
            StreamFacts {
                name: row.stream,
                counts: row.counts,
                bytes: row.bytes,
                files: row.segments,
                error: row.error,
            }
        })
        .collect::<Vec<_>>();
    streams.truncate(MAX_STREAMS);
    Ok(Facts {
        task: task.id.to_string(),
        export: task.export.clone(),
        params: task.params.iter().cloned().collect(),
        format: task.format.clone(),
        state: task.state,
        reason: short(&task.reason),
        error_class: task.error_class.clone(),
        attempt: task.attempt,
        actor: task.actor.clone(),
        created_at: task.created_at,
        started_at: task.started_at,
        ended_at: sql.at,
        streams,
        total,
        before,
    })
}

/// Deterministic, so that a ledger that was restored gives a message of another end another id.
fn id_of(task: &TaskId, at: Timestamp, recipient: &str) -> String {
    let text = format!("{task}\0{}\0{recipient}", at.as_microsecond());
    let digest = hex(&Sha256::digest(text));
    format!("msg_{}", digest.get(..ID_DIGITS).unwrap_or(&digest))
}

fn put(tx: &Tx<'_>, task: &TaskRow, recipient: &str, (event, facts): (Event, &Facts)) -> Result<(), LedgerError> {
    let text = "SELECT count(*) FROM outbox WHERE recipient = ?1 AND state = 'waiting'";
    if one(tx, text, [recipient], |row| row.get::<_, i64>(0))?.unwrap_or_default() >= MAX_WAITING {
        let text = "SELECT id FROM outbox WHERE recipient = ?1 AND state = 'waiting' ORDER BY seq LIMIT 1";
        if let Some(oldest) = one(tx, text, [recipient], |row| row.get::<_, String>(0))? {
            let why = format!("more than {MAX_WAITING} messages wait for {recipient}, and this was the oldest");
            attempted(tx, &oldest, &Attempt::GivenUp(why))?;
        }
    }
    run(
        tx,
        "INSERT OR IGNORE INTO outbox (id, task, export, recipient, event, facts, created_at, since, next_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7)",
        (
            id_of(&task.id, tx.at, recipient),
            task.id.as_str(),
            &task.export,
            recipient,
            event.word(),
            Json(facts),
            At(tx.at),
        ),
    )?;
    Ok(())
}

fn find(sql: &Connection, id: &str) -> Result<Option<NoticeRow>, LedgerError> {
    one(sql, &format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1"), [id], notice_row)
}

fn attempted(tx: &Tx<'_>, id: &str, attempt: &Attempt) -> Result<(), LedgerError> {
    let Some(row) = find(tx, id)?.filter(|row| row.state == NoticeState::Waiting) else { return Ok(()) };
    let (state, next, settled, error) = match attempt {
        Attempt::Sent(error) => (NoticeState::Sent, row.next_at, Some(tx.at), error.clone()),
        Attempt::Later(at, error) => (NoticeState::Waiting, *at, None, Some(error.clone())),
        Attempt::GivenUp(error) => (NoticeState::GivenUp, row.next_at, Some(tx.at), Some(error.clone())),
    };
    run(
        tx,
        "UPDATE outbox SET state = ?2, next_at = ?3, settled_at = ?4, error = ?5, attempts = attempts + 1 WHERE id = ?1",
        (id, state.word(), At(next), settled.map(At), error.as_deref().map(short)),
    )?;
    let action = match state {
        NoticeState::Waiting => return Ok(()),
        NoticeState::Sent => "notified",
        NoticeState::GivenUp => "notification_given_up",
    };
    let detail = serde_json::json!({ "id": row.id, "recipient": row.recipient, "event": row.event });
    tx.audit(Entry {
        task: Some(&row.task),
        export: Some(&row.export),
        action,
        reason: error.as_deref().unwrap_or_default(),
        detail: Some(detail.to_string()),
        ..Entry::default()
    })
}

fn give_up_waiting(tx: &Tx<'_>, why: &str) -> Result<Vec<NoticeRow>, LedgerError> {
    let text = format!("SELECT {COLUMNS} FROM outbox WHERE state = 'waiting' ORDER BY seq");
    let waiting = all(tx, &text, [], notice_row)?;
    for row in &waiting {
        attempted(tx, &row.id, &Attempt::GivenUp(why.to_owned()))?;
    }
    Ok(waiting)
}

fn due(sql: &Connection, now: Timestamp, busy: &[String]) -> Result<Due, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS} FROM outbox WHERE state = 'waiting'
         AND seq IN (SELECT min(seq) FROM outbox WHERE state = 'waiting' GROUP BY recipient) ORDER BY seq"
    );
    let mut due = Due::default();
    for row in all(sql, &text, [], notice_row)? {
        if busy.contains(&row.recipient) {
            continue;
        }
        if row.next_at <= now {
            due.now.push(row);
        } else {
            due.next = Some(due.next.map_or(row.next_at, |next| next.min(row.next_at)));
        }
    }
    Ok(due)
}

fn notices(sql: &Connection, filter: &NoticeFilter) -> Result<Vec<NoticeRow>, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS} FROM outbox WHERE (?1 IS NULL OR recipient = ?1) AND (?2 IS NULL OR state = ?2)
         ORDER BY seq DESC LIMIT ?3"
    );
    let state = filter.state.map(NoticeState::word);
    all(sql, &text, (&filter.recipient, state, filter.limit.min(MAX_ROWS)), notice_row)
}

/// Notifications that are late, and those that were given up lately.
pub(super) fn notice_trouble(sql: &Connection, now: Timestamp) -> Result<(u64, u64), LedgerError> {
    let lately = now.checked_sub(LATELY).unwrap_or(now);
    let text = "SELECT coalesce(sum(state = 'waiting' AND attempts > 0), 0) AS late,
                coalesce(sum(state = 'given_up' AND settled_at > ?1), 0) AS lost FROM outbox";
    let both = one(sql, text, [At(lately)], |row| Ok((count(row, "late")?, count(row, "lost")?)));
    both.map(Option::unwrap_or_default)
}

impl Ledger {
    /// The oldest waiting message of each recipient but the `busy` ones: those of one recipient go out one after the other.
    pub async fn notices_due(&self, now: Timestamp, busy: Vec<String>) -> Result<Due, LedgerError> {
        self.read(move |sql| due(sql, now, &busy)).await
    }

    /// Records what became of an attempt to send a message. About a message that does not wait any more it changes nothing.
    pub async fn notice_attempted(&self, id: &str, attempt: Attempt) -> Result<(), LedgerError> {
        let id = id.to_owned();
        self.write(move |tx| attempted(tx, &id, &attempt)).await
    }

    /// Records that one address of a message is settled: accepted, or refused for a reason.
    pub async fn notice_address(&self, id: &str, address: &str, refused: Option<String>) -> Result<(), LedgerError> {
        let (id, address) = (id.to_owned(), address.to_owned());
        self.write(move |tx| {
            let Some(mut row) = find(tx, &id)? else { return Ok(()) };
            row.done.insert(address, refused.as_deref().map(short));
            run(tx, "UPDATE outbox SET done = ?2 WHERE id = ?1", (&id, Json(&row.done))).map(drop)
        })
        .await
    }

    /// Has a message that waits or was given up tried again now, as if it were new. Its row afterwards; none if there is no
    /// such message, `false` if it was sent.
    pub async fn retry_notice(&self, id: &str, actor: &str) -> Result<Option<(NoticeRow, bool)>, LedgerError> {
        let (id, actor) = (id.to_owned(), actor.to_owned());
        self.write(move |tx| {
            let Some(row) = find(tx, &id)? else { return Ok(None) };
            if row.state == NoticeState::Sent {
                return Ok(Some((row, false)));
            }
            // An address that refused may take it by now.
            let done: BTreeMap<_, _> = row.done.iter().filter(|(_, refused)| refused.is_none()).collect();
            let text = "UPDATE outbox SET state = 'waiting', since = ?2, next_at = ?2, attempts = 0, settled_at = NULL,
                        done = ?3 WHERE id = ?1";
            run(tx, text, (&id, At(tx.at), Json(&done)))?;
            tx.audit(Entry {
                task: Some(&row.task),
                export: Some(&row.export),
                actor: &actor,
                action: "notification_retried",
                detail: Some(serde_json::json!({ "id": row.id, "recipient": row.recipient }).to_string()),
                ..Entry::default()
            })?;
            Ok(find(tx, &id)?.map(|row| (row, true)))
        })
        .await
    }

    /// Gives up every message that waits, for one reason; an operator may have each tried again. Those that waited, oldest first.
    pub async fn give_up_notices(&self, why: &str) -> Result<Vec<NoticeRow>, LedgerError> {
        let why = why.to_owned();
        self.write(move |tx| give_up_waiting(tx, &why)).await
    }

    /// Messages, newest first.
    pub async fn notices(&self, filter: &NoticeFilter) -> Result<Vec<NoticeRow>, LedgerError> {
        let filter = filter.clone();
        self.read(move |sql| notices(sql, &filter)).await
    }

    /// How many messages wait that could not be sent so far, and how many were given up in the seven days before `now`.
    pub async fn notice_trouble(&self, now: Timestamp) -> Result<(u64, u64), LedgerError> {
        self.read(move |sql| notice_trouble(sql, now)).await
    }
}
