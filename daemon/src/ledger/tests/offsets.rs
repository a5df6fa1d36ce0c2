//! Offsets by hand: back to a boundary, never elsewhere, and never under a running task.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::ledger::input::{LaneMove, OffsetTarget, SetOffsets};

async fn set(ledger: &Ledger, task: &TaskId, offset: Offset) -> Result<rows::LaneMoved, LedgerError> {
    let target = OffsetTarget::Task(task.clone());
    let moves = vec![LaneMove { stream: STREAM.to_owned(), lane: 0, offset }];
    let (actor, reason) = ("uid 0 (root)".to_owned(), "wrong data".to_owned());
    Ok(ledger.set_offsets(SetOffsets { target, moves, actor, reason }).await?.remove(0))
}

/// A paused task with the segments 0..2, 2..4, 4..5 and, at its end, an empty page.
async fn paused(ledger: &Ledger) -> TaskId {
    let task = running(ledger, "shop").await;
    for (n, pages) in [0..2, 2..4, 4..5].into_iter().enumerate() {
        commit(ledger, &task, &segment(n as u64, pages)).await.unwrap();
    }
    let end = CheckpointDelta { from: after(5), to: Offset { cursor: PageCursor::End, pages: 6, ..after(5) } };
    ledger.finish_lane(&task, STREAM, 0, tail(&end)).await.unwrap();
    ledger.stream_extracted(&task, STREAM).await.unwrap();
    ledger.task_extracted(&task, vec![]).await.unwrap();
    event(ledger, &task, TaskEvent::Pause).await;
    task
}

#[tokio::test]
async fn back_to_the_end_of_a_segment() {
    let (_dir, ledger) = fresh();
    let task = paused(&ledger).await;
    ledger.delivery_verified(&task, &segment(0, 0..2).id, "lake").await.unwrap();
    let moved = set(&ledger, &task, after(2)).await.unwrap();
    let names: Vec<_> = moved.superseded.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["part-0-000001.csv", "part-0-000002.csv"]);
    assert_eq!((moved.lane.next_n, moved.lane.revision, moved.lane.done), (1, 1, false));
    assert_eq!(ledger.lanes(&task, STREAM).await.unwrap(), [moved.lane]);
    let sums = &ledger.streams(&task).await.unwrap()[0];
    assert_eq!((sums.segments, sums.pages, sums.counts.read, sums.bytes, sums.extracted), (1, 2, 20, 1000, false));
    assert!(!ledger.task(&task).await.unwrap().unwrap().extracted);
    assert_eq!(ledger.pending_deliveries(&task, "lake").await.unwrap().len(), 0);
    assert_eq!(ledger.pending_deliveries(&task, "offsite").await.unwrap().len(), 1);
    assert_eq!(ledger.undelivered(&task).await.unwrap().len(), 1);

    // The lane goes on under new names, and can go back once more.
    event(&ledger, &task, TaskEvent::Resume).await;
    event(&ledger, &task, TaskEvent::Start).await;
    let old = commit(&ledger, &task, &segment(1, 2..3)).await.unwrap_err();
    assert_eq!(old.class(), ErrorClass::Bug, "{old}");
    let mut next = segment(1, 2..3);
    next.id.revision = 1;
    next.name = next.id.file_name("csv");
    commit(&ledger, &task, &next).await.unwrap();
    event(&ledger, &task, TaskEvent::Pause).await;
    let moved = set(&ledger, &task, after(2)).await.unwrap();
    assert_eq!((moved.superseded.len(), moved.lane.revision), (1, 2));
    assert_eq!(moved.superseded[0].id.revision, 1);
    let all = ledger.segments(&task, STREAM).await.unwrap();
    assert_eq!(all.iter().filter(|row| !row.superseded).count(), 1);
    assert_eq!(all.len(), 4, "nothing is forgotten");
}

#[tokio::test]
async fn only_boundaries_are_taken() {
    let (_dir, ledger) = fresh();
    let task = paused(&ledger).await;
    let lane = ledger.lanes(&task, STREAM).await.unwrap().remove(0);
    for bad in [after(1), after(3), after(9), Offset { records: 1, ..after(2) }, Offset::start(1)] {
        let error = set(&ledger, &task, bad.clone()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Conflict, "{bad:?}: {error}");
    }
    let same = set(&ledger, &task, lane.offset.clone()).await.unwrap();
    assert_eq!((same.superseded.len(), &same.lane), (0, &lane));
    let reopened = set(&ledger, &task, after(5)).await.unwrap();
    assert_eq!((reopened.superseded.len(), reopened.lane.next_n, reopened.lane.done), (0, 3, false));
    let start = set(&ledger, &task, after(0)).await.unwrap();
    assert_eq!((start.superseded.len(), start.lane.next_n), (3, 0));
}

#[tokio::test]
async fn reset_starts_the_stream_again() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    ledger.begin_stream(&task, STREAM, "one", false).await.unwrap();
    commit(&ledger, &task, &segment(0, 0..2)).await.unwrap();
    event(&ledger, &task, TaskEvent::Fail).await;
    let target = OffsetTarget::Export("shop".into());
    let moved = ledger.reset_offsets(target, Some(STREAM), "uid 0 (root)", "path changed").await.unwrap();
    assert_eq!((moved.len(), moved[0].superseded.len()), (1, 1));
    assert_eq!(moved[0].lane.offset, Offset::start(0));
    assert_eq!(ledger.streams(&task).await.unwrap()[0].counts, Counts::default());
    ledger.begin_stream(&task, STREAM, "two", false).await.unwrap();
    let audit = audit_of(&ledger, &task).await;
    let reset = audit.iter().find(|row| row.action == "offsets_reset").unwrap();
    assert_eq!((reset.actor.as_str(), reset.reason.as_str()), ("uid 0 (root)", "path changed"));

    let target = OffsetTarget::Task(task.clone());
    assert!(matches!(ledger.reset_offsets(target, Some("users"), "", "").await, Err(LedgerError::NotThere { .. })));
    let none = ledger.reset_offsets(OffsetTarget::Export("crm".into()), None, "", "").await.unwrap_err();
    assert_eq!(none.class(), ErrorClass::Conflict);
}

#[tokio::test]
async fn never_under_a_running_or_finished_task_or_a_composed_manifest() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    commit(&ledger, &task, &segment(0, 0..2)).await.unwrap();
    assert!(set(&ledger, &task, after(0)).await.unwrap_err().to_string().contains("pause it first"));
    event(&ledger, &task, TaskEvent::TryAgain).await;
    assert!(set(&ledger, &task, after(0)).await.unwrap_err().to_string().contains("may start at any moment"));
    event(&ledger, &task, TaskEvent::Cancel).await;
    assert_eq!(set(&ledger, &task, after(0)).await.unwrap().superseded.len(), 1, "a cancelled task may be moved");

    let task = paused(&ledger).await;
    for (n, pages) in [0..2, 2..4, 4..5].into_iter().enumerate() {
        ledger.delivery_verified(&task, &segment(n as u64, pages).id, "lake").await.unwrap();
    }
    ledger.compose_manifest(&task, STREAM, "lake", b"m".to_vec()).await.unwrap();
    assert!(set(&ledger, &task, after(0)).await.unwrap_err().to_string().contains("already composed"));
    assert_eq!(ledger.segments(&task, STREAM).await.unwrap().iter().filter(|row| row.superseded).count(), 0);
}

#[tokio::test]
async fn all_lanes_move_or_none() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    commit(&ledger, &task, &segment(0, 0..2)).await.unwrap();
    event(&ledger, &task, TaskEvent::Pause).await;
    let before = ledger.lanes(&task, STREAM).await.unwrap();
    let to = |lane, offset| LaneMove { stream: STREAM.to_owned(), lane, offset };
    let order = SetOffsets {
        target: OffsetTarget::Task(task.clone()),
        moves: vec![to(0, after(0)), to(7, after(0))],
        actor: "uid 0 (root)".into(),
        reason: "wrong data".into(),
    };
    assert!(matches!(ledger.set_offsets(order).await, Err(LedgerError::NotThere { .. })));
    assert_eq!(ledger.lanes(&task, STREAM).await.unwrap(), before, "the first lane stands where it stood");
    assert_eq!(ledger.segments(&task, STREAM).await.unwrap().iter().filter(|row| row.superseded).count(), 0);
    assert_eq!(ledger.reset_offsets(OffsetTarget::Task(task.clone()), None, "", "").await.unwrap().len(), 1);
}
