//! One file a stream: its parts go nowhere, it stands for them, and what is read again makes another one.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::ledger::input::{LaneMove, NewSingle, OffsetTarget, SetOffsets};
use crate::model::segment::Role;

/// A running task whose stream is read to its end in two parts.
async fn in_parts(ledger: &Ledger) -> TaskId {
    let task = running(ledger, "shop").await;
    read(ledger, &task, 0).await;
    task
}

/// Reads the stream to its end in two parts of a revision.
async fn read(ledger: &Ledger, task: &TaskId, revision: u32) {
    for n in 0..2 {
        let mut part = segment(n, n..n + 1);
        part.id.revision = revision;
        part.name = part.id.file_name("csv");
        ledger.advance(task, &part, Advance { role: Role::Part, ..Advance::default() }).await.unwrap();
    }
    let end = CheckpointDelta { from: after(2), to: Offset { cursor: PageCursor::End, ..after(2) } };
    ledger.finish_lane(task, STREAM, 0, tail(&end)).await.unwrap();
    ledger.stream_extracted(task, STREAM).await.unwrap();
    ledger.task_extracted(task, vec![stream_end(false)]).await.unwrap();
}

fn single(revision: u32) -> NewSingle {
    let id = SegmentId::single(STREAM, revision);
    let part = |n| SegmentId { stream: STREAM.into(), lane: 0, n, revision };
    NewSingle {
        name: id.single_name("csv"),
        id,
        bytes: 1900,
        sha256: "ab".repeat(32),
        crc32c: 7,
        plain: None,
        parts: vec![part(0), part(1)],
        destinations: vec!["lake".into(), "offsite".into()],
    }
}

#[tokio::test]
async fn the_file_stands_for_its_parts() {
    let (_dir, ledger) = fresh();
    let task = in_parts(&ledger).await;
    assert!(ledger.pending_deliveries(&task, "lake").await.unwrap().is_empty(), "parts go nowhere");
    assert_eq!(ledger.undelivered(&task).await.unwrap().len(), 2, "but they are needed");
    let error = ledger.compose_manifest(&task, STREAM, "lake", b"m".to_vec()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Bug, "{error}");

    ledger.add_single(&task, single(0)).await.unwrap();
    let rows = ledger.segments(&task, STREAM).await.unwrap();
    let roles: Vec<Role> = rows.iter().map(|row| row.role).collect();
    assert_eq!(roles, [Role::Part, Role::Part, Role::Single]);
    assert_eq!(rows.iter().filter(|row| row.listed()).count(), 1);
    assert_eq!(rows.iter().filter(|row| row.read()).count(), 2);
    let file = &rows[2];
    assert_eq!((file.name.as_str(), file.bytes, file.crc32c), ("orders.csv", 1900, 7));
    assert_eq!((file.counts.read, file.counts.written, file.counts.rejected, file.pages), (20, 18, 2, 2));
    assert_eq!((&file.first, &file.last), (&after(0), &after(2)));
    let sums = &ledger.streams(&task).await.unwrap()[0];
    assert_eq!((sums.bytes, sums.segments, sums.counts.written), (1900, 1, 18));

    assert_eq!(ledger.undelivered(&task).await.unwrap().len(), 3);
    assert!(!ledger.delivery_verified(&task, &file.id, "lake").await.unwrap());
    assert!(ledger.compose_manifest(&task, STREAM, "offsite", b"m".to_vec()).await.is_err());
    ledger.compose_manifest(&task, STREAM, "lake", b"m".to_vec()).await.unwrap();
    assert_eq!(ledger.undelivered(&task).await.unwrap().len(), 3, "the other destination has yet to verify it");
    assert!(ledger.delivery_verified(&task, &file.id, "offsite").await.unwrap());
    assert!(ledger.undelivered(&task).await.unwrap().is_empty());
    assert_eq!(number(&ledger, "SELECT sum(records) FROM v_segments WHERE destination = 'lake'"), 18);
    assert_eq!(number(&ledger, "SELECT count(*) FROM v_segments WHERE role = 'part' AND destination IS NULL"), 2);
}

#[tokio::test]
async fn only_the_parts_that_count_make_a_file_and_only_once() {
    let (_dir, ledger) = fresh();
    let task = in_parts(&ledger).await;
    let mut other = single(0);
    other.parts.reverse();
    for parts in [vec![], single(0).parts[..1].to_vec(), other.parts] {
        let error = ledger.add_single(&task, NewSingle { parts, ..single(0) }).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Bug, "{error}");
    }
    ledger.add_single(&task, single(0)).await.unwrap();
    assert!(ledger.add_single(&task, single(0)).await.unwrap_err().to_string().contains("already"));

    let open = running(&ledger, "other").await;
    ledger.advance(&open, &segment(0, 0..1), Advance { role: Role::Part, ..Advance::default() }).await.unwrap();
    let error = ledger.add_single(&open, single(0)).await.unwrap_err();
    assert!(error.to_string().contains("not at its end"), "{error}");
}

#[tokio::test]
async fn what_is_read_again_makes_another_file() {
    let (_dir, ledger) = fresh();
    let task = in_parts(&ledger).await;
    ledger.add_single(&task, single(0)).await.unwrap();
    event(&ledger, &task, TaskEvent::Pause).await;
    // Its parts may be gone, so that it cannot be made of some of them and others.
    let target = || OffsetTarget::Task(task.clone());
    let moves = vec![LaneMove { stream: STREAM.to_owned(), lane: 0, offset: after(1) }];
    let order = SetOffsets { target: target(), moves, actor: "uid 0 (root)".into(), reason: String::new() };
    let error = ledger.set_offsets(order).await.unwrap_err();
    assert!(error.to_string().contains("reset"), "{error}");

    let moved = ledger.reset_offsets(target(), None, "uid 0 (root)", "").await.unwrap();
    assert_eq!(moved[0].superseded.len(), 2);
    let rows = ledger.segments(&task, STREAM).await.unwrap();
    assert!(rows.iter().all(|row| row.superseded) && rows.len() == 3, "{rows:?}");
    assert!(ledger.undelivered(&task).await.unwrap().is_empty());
    assert!(ledger.pending_deliveries(&task, "lake").await.unwrap().is_empty());
    assert_eq!(ledger.streams(&task).await.unwrap()[0].bytes, 0);

    event(&ledger, &task, TaskEvent::Resume).await;
    event(&ledger, &task, TaskEvent::Start).await;
    read(&ledger, &task, 1).await;
    ledger.add_single(&task, single(1)).await.unwrap();
    let pending = ledger.pending_deliveries(&task, "lake").await.unwrap();
    assert_eq!(pending.iter().map(|row| row.segment.name.as_str()).collect::<Vec<_>>(), ["orders-r1.csv"]);
}
