//! The ledger against real files: every promise it makes, and every way in which it must refuse.

mod adopt;
mod audit;
mod check;
mod delivery;
mod extraction;
mod facts;
mod fill;
mod history;
mod marks;
mod offsets;
mod opening;
mod outbox;
mod queue;
mod replay;
mod schedules;
mod simulation;
mod single;
mod snapshot;
mod speed;
mod tasks;
mod upgrade;

use super::input::{Change, NewTask, Newest, StreamEnd};
use super::*;
use crate::base::ids::{RequestKey, TaskId};
use crate::model::mark::CursorValue;
use crate::model::offset::{Offset, PageCursor};
use crate::model::scope::Scope;
use crate::model::segment::{CheckpointDelta, Counts, CutReason, SealedSegment, SegmentId};
use crate::model::task::TaskEvent;
use tempfile::TempDir;

/// The stream of most tests.
const STREAM: &str = "orders";

fn fresh() -> (TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("state")).unwrap();
    (dir, ledger)
}

/// What a daemon does that was killed: nothing is said, the ledger is opened again.
async fn reopened(ledger: Ledger) -> Ledger {
    let state_dir = ledger.path().parent().unwrap().to_owned();
    ledger.close().await.unwrap();
    Ledger::open(&state_dir).unwrap()
}

fn new_task(export: &str, region: &str) -> NewTask {
    let params = vec![("region".to_owned(), region.to_owned())];
    NewTask {
        export: export.into(),
        key: RequestKey::new(export, &params, "csv", ""),
        params,
        scope: Scope::default(),
        chained: false,
        format: "csv".into(),
        config: "{}".into(),
        streams: vec![STREAM.into()],
        notify: vec![],
        actor: "uid 1000 (anna)".into(),
        at: clock::now(),
    }
}

/// The end of a lane whose last pages hold no records.
fn tail(delta: &CheckpointDelta) -> Tail {
    Tail { delta: delta.clone(), counts: Counts::default() }
}

/// A request without parameters.
fn chained_task(export: &str) -> NewTask {
    NewTask { params: vec![], key: RequestKey::new(export, &[], "csv", ""), chained: true, ..new_task(export, "eu") }
}

/// Creates a task, and reads its stream to the end: two segments, whose newest records are of days 1 and 2.
async fn extract(ledger: &Ledger, new: NewTask, follows: bool) -> TaskId {
    let (task, created) = ledger.create_task(new).await.unwrap();
    assert!(created);
    event(ledger, &task, TaskEvent::Start).await;
    ledger.begin_stream(&task, STREAM, "fingerprint", follows).await.unwrap();
    ledger.open_lanes(&task, STREAM, &[Offset::start(0)]).await.unwrap();
    for n in 0..2 {
        let newest = Some(newest(n + 1)).filter(|_| follows);
        let destinations = ["lake".to_owned(), "offsite".to_owned()];
        let step = Advance { newest: newest.as_ref(), destinations: &destinations, ..Advance::default() };
        ledger.advance(&task, &segment(n, n..n + 1), step).await.unwrap();
    }
    let end = CheckpointDelta { from: after(2), to: Offset { cursor: PageCursor::End, ..after(2) } };
    ledger.finish_lane(&task, STREAM, 0, tail(&end)).await.unwrap();
    ledger.stream_extracted(&task, STREAM).await.unwrap();
    ledger.task_extracted(&task, vec![stream_end(follows)]).await.unwrap();
    task
}

fn stream_end(follows: bool) -> StreamEnd {
    StreamEnd {
        stream: STREAM.into(),
        fingerprint: "fingerprint".into(),
        primary_key: vec!["id".into()],
        cursor_field: follows.then(|| "updated_at".into()),
        ..StreamEnd::default()
    }
}

/// The instant at which a day of 2024 begins.
fn day(day: u64) -> CursorValue {
    CursorValue::parse(&format!("2024-01-{day:02}"))
}

/// Two records of a day.
fn newest(n: u64) -> Newest {
    let record = |k: u8| (day(n).sort_key(), [k + 10 * n as u8; 32]);
    Newest { mark: day(n), records: vec![record(1), record(2)], keep_from: day(n).sort_key(), most: 3 }
}

/// The audit rows about a task, oldest first.
async fn audit_of(ledger: &Ledger, task: &TaskId) -> Vec<rows::AuditRow> {
    let mut all = ledger.audit_since(0, 10_000).await.unwrap();
    all.retain(|row| row.task.as_deref() == Some(task.as_str()));
    all
}

/// What may start now, in order.
async fn due(ledger: &Ledger) -> Vec<TaskId> {
    let head = ledger.queue_head(None, clock::now(), 10_000).await.unwrap();
    head.due.into_iter().map(|task| task.id).collect()
}

async fn event(ledger: &Ledger, task: &TaskId, event: TaskEvent) -> rows::TaskRow {
    ledger.task_event(task, event, Change::default()).await.unwrap()
}

/// A task that is Processing, with one open lane.
async fn running(ledger: &Ledger, export: &str) -> TaskId {
    let (task, created) = ledger.create_task(new_task(export, "eu")).await.unwrap();
    assert!(created);
    event(ledger, &task, TaskEvent::Start).await;
    ledger.open_lanes(&task, STREAM, &[Offset::start(0)]).await.unwrap();
    task
}

/// The offset `pages` pages of ten records after the start.
fn after(pages: u64) -> Offset {
    let cursor = if pages == 0 { PageCursor::Start } else { PageCursor::Page(pages) };
    Offset { cursor, pages, records: pages * 10, partition_records: pages * 10, ..Offset::start(0) }
}

/// Segment `n` of lane 0, from one page to another.
fn segment(n: u64, pages: std::ops::Range<u64>) -> SealedSegment {
    let id = SegmentId { stream: STREAM.into(), lane: 0, n, revision: 0 };
    let records = (pages.end - pages.start) * 10;
    SealedSegment {
        name: id.file_name("csv"),
        id,
        bytes: 1000 + n,
        sha256: format!("{n:064x}"),
        crc32c: 0xffff_fff0 - n as u32,
        plain: None,
        counts: Counts { read: records, written: records - 1, rejected: 1, rescued: 2, ..Counts::default() },
        pages: pages.end - pages.start,
        source_bytes: records * 100,
        cut: CutReason::Size,
        delta: CheckpointDelta { from: after(pages.start), to: after(pages.end) },
    }
}

/// Commits a segment for two destinations.
async fn commit(ledger: &Ledger, task: &TaskId, segment: &SealedSegment) -> Result<rows::LaneRow, LedgerError> {
    let destinations = ["lake".to_owned(), "offsite".to_owned()];
    ledger.advance(task, segment, Advance { destinations: &destinations, ..Advance::default() }).await
}

impl Ledger {
    /// Gives a stream of a task's export the mark 7, as if the task had moved it there.
    pub(crate) async fn give_mark(&self, stream: &str, task: &TaskId) {
        let row = self.task(task).await.unwrap().unwrap();
        let text = "INSERT INTO marks (export, stream, mark, task, updated_at) VALUES (?1, ?2, ?3, ?4, 0)";
        let mark = r#"{"kind":"number","value":"7"}"#;
        let sql = Connection::open(self.path()).unwrap();
        sql.execute(text, (&row.export, stream, mark, task.as_str())).unwrap();
    }

    /// Makes everything older than it is: tasks that have ended, and the audit with its hashes. The last line of the audit.
    pub(crate) async fn age(&self, by: std::time::Duration) -> i64 {
        let by = by.as_micros() as i64;
        self.write(move |tx| {
            tx.execute("UPDATE tasks SET ended_at = ended_at - ?1 WHERE ended_at IS NOT NULL", [by])?;
            crate::ledger::audit::age(tx, by)
        })
        .await
        .unwrap()
    }

    /// Makes every write fail, as on a disk that takes no more, or lets them through again.
    pub(crate) async fn jam(&self, jammed: bool) {
        let job = Job::run(move |writer| writer.sql.pragma_update(None, "query_only", jammed).unwrap());
        self.shared.jobs.send(job).await.ok().unwrap();
        self.heartbeat().await.unwrap();
    }
}

/// A number from the database, asked on a connection of its own.
fn number(ledger: &Ledger, query: &str) -> i64 {
    Connection::open(ledger.path()).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}
