//! Reading: a few connections of their own, on the thread that asks, each question in one snapshot.

use super::codec::{Json, all, one};
use super::error::LedgerError;
use super::rows::{Detail, Figures, FoundTask, LaneRow, LastSchema, Look, SegmentRow, StreamRow, TaskFilter, TaskRow};
use super::segments::{COLUMNS as SEGMENT_COLUMNS, segment_row};
use super::streams::{self, newest_schema, stream_row};
use super::tasks::{self, COLUMNS, task_row};
use super::{Ledger, exports, manifests, open, outbox, spooled};
use crate::base::blocking;
use crate::base::clock;
use crate::base::ids::TaskId;
use crate::model::schema::Schema;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Questions answered at the same time; more wait.
const READERS: usize = 4;
/// The most tasks that one question returns.
const MAX_TASKS: u32 = 10_000;
/// Ids named when a prefix is ambiguous.
const MAX_CANDIDATES: u32 = 10;
/// Tasks whose sightings beside the schema are looked at.
const OBSERVED_TASKS: u32 = 16;

/// Idle connections, and the right to use one.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::new(Vec::new()), permits: Arc::new(Semaphore::new(READERS)) }
    }

    /// Asks a question in one snapshot.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| LedgerError::Closed)?;
        let readers = self.clone();
        let answer = move || {
            let _permit = permit;
            readers.ask(work).map_err(|error| error.located(&readers.path))
        };
        if blocking::takes_over() {
            // On this very thread, whose other work a second one takes over: where every processor is busy, to wait for another
            // thread takes ten times as long as most answers do, and once more on the way back.
            let answer = AssertUnwindSafe(answer);
            let answer = tokio::task::block_in_place(|| catch_unwind(answer));
            return answer.unwrap_or(Err(LedgerError::Closed));
        }
        tokio::task::spawn_blocking(answer).await.map_err(|_| LedgerError::Closed)?
    }

    fn ask<T>(&self, work: impl FnOnce(&Connection) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let sql = idle.map_or_else(|| open::reader(&self.path), Ok)?;
        let snapshot = sql.unchecked_transaction()?;
        let answer = work(&snapshot)?;
        snapshot.finish()?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sql);
        Ok(answer)
    }

    /// Whether the ledger is being closed.
    pub fn closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Waits for the questions under way and closes the connections.
    pub async fn close(&self) {
        let _all = self.permits.acquire_many(READERS as u32).await;
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Tasks, newest first. Each state is one walk along its index, so that rare states are found fast among many tasks.
fn tasks_by(sql: &Connection, filter: &TaskFilter) -> Result<Vec<TaskRow>, LedgerError> {
    let limit = filter.limit.min(MAX_TASKS);
    let states: Vec<Option<_>> =
        if filter.states.is_empty() { vec![None] } else { filter.states.iter().copied().map(Some).collect() };
    let mut found: Vec<(i64, TaskRow)> = Vec::new();
    for state in states {
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        if let Some(export) = &filter.export {
            conditions.push("export = ?");
            values.push(Value::from(export.clone()));
        }
        if let Some(state) = state {
            conditions.push("state = ?");
            values.push(Value::from(state.word().to_owned()));
        }
        let filtered =
            if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        let text = format!("SELECT {COLUMNS}, seq FROM tasks {filtered} ORDER BY seq DESC LIMIT ?");
        values.push(Value::from(i64::from(limit)));
        found.extend(all(sql, &text, params_from_iter(values), |row| Ok((row.get("seq")?, task_row(row)?)))?);
    }
    found.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    found.dedup_by_key(|(seq, _)| *seq);
    found.truncate(limit as usize);
    Ok(found.into_iter().map(|(_, task)| task).collect())
}

/// How far a task is; with what is at its destinations, if that is wanted.
fn figures(sql: &Connection, task: &TaskId, sums: bool) -> Result<Figures, LedgerError> {
    let sums = if sums { spooled::sums(sql, task)? } else { Vec::new() };
    Ok(Figures { sums, read: streams::sums(sql, task)? })
}

fn streams_of(sql: &Connection, task: &TaskId) -> Result<Vec<StreamRow>, LedgerError> {
    all(sql, "SELECT * FROM task_streams WHERE task = ?1 ORDER BY pos", [task.as_str()], stream_row)
}

fn published_tasks(sql: &Connection, export: &str, limit: u32) -> Result<Vec<TaskRow>, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS} FROM tasks t WHERE export = ?1
             AND EXISTS (SELECT 1 FROM manifests m WHERE m.task = t.id AND m.published_at IS NOT NULL AND m.pruned_at IS NULL)
         ORDER BY seq DESC LIMIT ?2"
    );
    all(sql, &text, (export, limit), task_row)
}

fn newest_whole(sql: &Connection, export: &str) -> Result<Option<TaskRow>, LedgerError> {
    let text = format!(
        "SELECT {COLUMNS} FROM tasks t WHERE export = ?1
             AND EXISTS (SELECT 1 FROM manifests d
                 WHERE d.task = t.id AND d.published_at IS NOT NULL AND d.pruned_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM task_streams s WHERE s.task = t.id AND s.error IS NULL
                     AND NOT EXISTS (SELECT 1 FROM manifests m
                         WHERE m.task = t.id AND m.stream = s.stream AND m.destination = d.destination
                         AND m.published_at IS NOT NULL AND m.pruned_at IS NULL)))
         ORDER BY seq DESC LIMIT 1"
    );
    one(sql, &text, [export], task_row)
}

fn find(sql: &Connection, prefix: &str) -> Result<FoundTask, LedgerError> {
    if let Some(task) = tasks::find(sql, &TaskId::known(prefix))? {
        return Ok(FoundTask::One(Box::new(task)));
    }
    if prefix.is_empty() {
        return Ok(FoundTask::None);
    }
    // A range rather than a pattern: the prefix may hold wildcards.
    let text = format!("SELECT {COLUMNS} FROM tasks WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");
    let end = format!("{prefix}{}", char::MAX);
    let mut found = all(sql, &text, (prefix, end, MAX_CANDIDATES), task_row)?;
    Ok(match found.len() {
        0 => FoundTask::None,
        1 => found.pop().map_or(FoundTask::None, |task| FoundTask::One(Box::new(task))),
        _ => FoundTask::Many(found.into_iter().map(|task| task.id).collect()),
    })
}

fn last_schema(sql: &Connection, export: &str, stream: &str) -> Result<Option<LastSchema>, LedgerError> {
    let Some((schema, version)) = newest_schema(sql, export, stream)? else { return Ok(None) };
    let text = "SELECT s.observed FROM tasks t JOIN task_streams s ON s.task = t.id AND s.stream = ?2
         WHERE t.export = ?1 AND s.observed IS NOT NULL ORDER BY t.seq DESC LIMIT ?3";
    let mut observed =
        all(sql, text, (export, stream, OBSERVED_TASKS), |row| row.get::<_, Json<Schema>>(0).map(|schema| schema.0))?;
    observed.reverse();
    Ok(Some(LastSchema { schema, version, observed }))
}

impl Ledger {
    /// The task of an id.
    pub async fn task(&self, id: &TaskId) -> Result<Option<TaskRow>, LedgerError> {
        let id = id.clone();
        self.read(move |sql| tasks::find(sql, &id)).await
    }

    /// The task whose id is, or uniquely starts with, a text.
    pub async fn find_task(&self, text: &str) -> Result<FoundTask, LedgerError> {
        let text = text.to_owned();
        self.read(move |sql| find(sql, &text)).await
    }

    /// Tasks by filter, newest first, at most 10,000.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRow>, LedgerError> {
        let filter = filter.clone();
        self.read(move |sql| tasks_by(sql, &filter)).await
    }

    /// The tasks of an export that have published something that is still there, newest first.
    pub async fn published_tasks(&self, export: &str, limit: u32) -> Result<Vec<TaskRow>, LedgerError> {
        let export = export.to_owned();
        self.read(move |sql| published_tasks(sql, &export, limit)).await
    }

    /// The newest task of an export of which all is published at one destination at least, and still there; streams that ended
    /// with an error aside.
    pub async fn newest_whole(&self, export: &str) -> Result<Option<TaskRow>, LedgerError> {
        let export = export.to_owned();
        self.read(move |sql| newest_whole(sql, &export)).await
    }

    /// Tasks, newest first unless `order` has them otherwise, and what a person wants to see of the first `shown`.
    pub async fn look(
        &self,
        filter: &TaskFilter,
        order: impl FnOnce(&mut Vec<TaskRow>) + Send + 'static,
        shown: usize,
    ) -> Result<Look, LedgerError> {
        let (filter, now) = (filter.clone(), clock::now());
        self.read(move |sql| {
            let mut rows = tasks_by(sql, &filter)?;
            order(&mut rows);
            let tasks = rows.into_iter().enumerate().map(|(n, row)| {
                let figures = if n < shown { figures(sql, &row.id, !row.state.closed())? } else { Figures::default() };
                Ok((row, figures))
            });
            let tasks = tasks.collect::<Result<_, LedgerError>>()?;
            let (late, given_up) = outbox::notice_trouble(sql, now)?;
            Ok(Look { tasks, paused: exports::paused_exports(sql)?, late, given_up })
        })
        .await
    }

    /// A task from close by.
    pub async fn detail(&self, task: &TaskId) -> Result<Detail, LedgerError> {
        let task = task.clone();
        self.read(move |sql| {
            let (sums, streams) = (spooled::sums(sql, &task)?, streams_of(sql, &task)?);
            let (manifests, paused) = (manifests::of_task(sql, &task)?, exports::paused_exports(sql)?);
            Ok(Detail { sums, streams, manifests, paused })
        })
        .await
    }

    /// The streams of a task, in order.
    pub async fn streams(&self, task: &TaskId) -> Result<Vec<StreamRow>, LedgerError> {
        let task = task.clone();
        self.read(move |sql| streams_of(sql, &task)).await
    }

    /// The lanes of a stream, in order.
    pub async fn lanes(&self, task: &TaskId, stream: &str) -> Result<Vec<LaneRow>, LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.read(move |sql| streams::lanes(sql, &task, &stream)).await
    }

    /// The segments of a stream by lane, position and revision, superseded ones included.
    pub async fn segments(&self, task: &TaskId, stream: &str) -> Result<Vec<SegmentRow>, LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.read(move |sql| {
            let text = format!(
                "SELECT {SEGMENT_COLUMNS} FROM segments g WHERE g.task = ?1 AND g.stream = ?2
                 ORDER BY g.lane, g.n, g.revision"
            );
            all(sql, &text, (task.as_str(), &stream), segment_row)
        })
        .await
    }

    /// What is known of a stream's schema from earlier tasks of the export; `None` where none fixed one.
    pub async fn last_schema(&self, export: &str, stream: &str) -> Result<Option<LastSchema>, LedgerError> {
        let (export, stream) = (export.to_owned(), stream.to_owned());
        self.read(move |sql| last_schema(sql, &export, &stream)).await
    }
}
