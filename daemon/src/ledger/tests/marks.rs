//! Marks: they move with the end of an extraction and with nothing else, and the boundary goes with them.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::ledger::input::OffsetTarget;
use saas_export_manifest::Mode;

async fn begun(ledger: &Ledger, new: NewTask) -> (TaskId, Result<rows::Begun, LedgerError>) {
    let (task, _) = ledger.create_task(new).await.unwrap();
    event(ledger, &task, TaskEvent::Start).await;
    let begun = ledger.begin_stream(&task, STREAM, "fingerprint", true).await;
    (task, begun)
}

async fn mark(ledger: &Ledger) -> Option<CursorValue> {
    ledger.marks("shop").await.unwrap().pop().map(|row| row.mark)
}

#[tokio::test]
async fn a_mark_moves_when_everything_is_read() {
    let (_dir, ledger) = fresh();
    let first = extract(&ledger, chained_task("shop"), true).await;
    assert_eq!(mark(&ledger).await, Some(day(2)));
    event(&ledger, &first, TaskEvent::Succeed).await;
    let ledger = reopened(ledger).await;
    let (next, begun) = begun(&ledger, chained_task("shop")).await;
    let begun = begun.unwrap();
    assert_eq!((begun.mode, &begun.mark, &begun.boundary), (Mode::Incremental, &Some(day(2)), &Some(first.clone())));
    let again = ledger.begin_stream(&next, STREAM, "fingerprint", true).await.unwrap();
    assert_eq!(again, begun, "a stream is begun once");
    let boundary = ledger.boundary(&first, STREAM).await.unwrap();
    assert_eq!(boundary, newest(2).records, "only what is as new as the mark");
    assert_eq!(mark(&ledger).await, Some(day(2)));
}

#[tokio::test]
async fn what_is_no_plain_task_reads_everything_or_a_stretch() {
    let (_dir, ledger) = fresh();
    let first = extract(&ledger, chained_task("shop"), true).await;
    event(&ledger, &first, TaskEvent::Succeed).await;
    let key = |n: &str| RequestKey(n.repeat(64));
    let full = NewTask { scope: Scope { full: true, ..Scope::default() }, key: key("a"), ..chained_task("shop") };
    assert_eq!(begun(&ledger, full).await.1.unwrap(), rows::Begun::default());
    assert_eq!(begun(&ledger, new_task("shop", "eu")).await.1.unwrap(), rows::Begun::default());
    let stretch = Scope { from: Some("2024-01-01".into()), ..Scope::default() };
    let back = NewTask { scope: stretch.clone(), key: key("b"), ..chained_task("shop") };
    let begun_back = begun(&ledger, back).await.1.unwrap();
    assert_eq!((begun_back.mode, begun_back.mark), (Mode::Incremental, None));
    let never = NewTask { scope: stretch, key: key("c"), ..chained_task("crm") };
    assert_eq!(begun(&ledger, never).await.1.unwrap_err().class(), ErrorClass::Conflict);
}

#[tokio::test]
async fn a_back_fill_moves_no_mark_and_has_its_place_in_the_chain() {
    let (_dir, ledger) = fresh();
    let first = extract(&ledger, chained_task("shop"), true).await;
    event(&ledger, &first, TaskEvent::Succeed).await;
    ledger.set_marks("shop", vec![(STREAM.into(), day(1))], "anna").await.unwrap();
    let scope = Scope { from: Some("2024-01-01".into()), ..Scope::default() };
    let back = NewTask { scope, key: RequestKey("b".repeat(64)), ..chained_task("shop") };
    let back = extract(&ledger, back, true).await;
    assert_eq!(mark(&ledger).await, Some(day(1)));
    let link = ledger.link(&back, STREAM).await.unwrap().unwrap();
    assert_eq!((link.place.id.as_str(), link.place.position), (first.as_str(), 1));
    assert_eq!(link.as_new.mark_after, None);
}

#[tokio::test]
async fn a_changed_stream_does_not_go_on_from_a_mark() {
    let (_dir, ledger) = fresh();
    let first = extract(&ledger, chained_task("shop"), true).await;
    event(&ledger, &first, TaskEvent::Succeed).await;
    let (task, _) = ledger.create_task(chained_task("shop")).await.unwrap();
    event(&ledger, &task, TaskEvent::Start).await;
    let error = ledger.begin_stream(&task, STREAM, "another", true).await.unwrap_err();
    assert!(matches!(error, LedgerError::MarkOfAnother { .. }), "{error}");
    assert!(error.to_string().contains("exportctl run shop --full"), "{error}");
}

#[tokio::test]
async fn a_cancelled_task_takes_its_mark_back() {
    let (_dir, ledger) = fresh();
    let first = extract(&ledger, chained_task("shop"), true).await;
    event(&ledger, &first, TaskEvent::Cancel).await;
    assert_eq!(mark(&ledger).await, None);
    assert!(ledger.link(&first, STREAM).await.unwrap().is_none());
    event(&ledger, &first, TaskEvent::Retry).await;
    event(&ledger, &first, TaskEvent::Start).await;
    ledger.task_extracted(&first, vec![stream_end(true)]).await.unwrap();
    assert_eq!(mark(&ledger).await, Some(day(2)), "a retry takes it up again");
    event(&ledger, &first, TaskEvent::Succeed).await;

    ledger.set_marks("shop", vec![(STREAM.into(), day(1))], "anna").await.unwrap();
    let second = extract(&ledger, chained_task("shop"), true).await;
    assert_eq!(mark(&ledger).await, Some(day(2)));
    let key = RequestKey("f".repeat(64));
    let (third, begun) = begun(&ledger, NewTask { key, ..chained_task("shop") }).await;
    begun.unwrap();
    let refused = ledger.task_event(&second, TaskEvent::Cancel, Change::default()).await.unwrap_err();
    assert!(refused.to_string().contains(third.as_str()), "{refused}");
    event(&ledger, &third, TaskEvent::Cancel).await;
    event(&ledger, &second, TaskEvent::Cancel).await;
    assert_eq!(mark(&ledger).await, Some(day(1)), "back to where it stood before");
    assert_eq!(ledger.boundary(&first, STREAM).await.unwrap().len(), 2, "with the boundary of then");
}

/// Its extraction is opened again, but the mark stands where its first end has put it.
#[tokio::test]
async fn a_task_that_was_sent_back_and_cancelled_takes_its_mark_back() {
    let (_dir, ledger) = fresh();
    let first = extract(&ledger, chained_task("shop"), true).await;
    event(&ledger, &first, TaskEvent::Pause).await;
    ledger.reset_offsets(OffsetTarget::Task(first.clone()), None, "anna", "").await.unwrap();
    event(&ledger, &first, TaskEvent::Cancel).await;
    assert_eq!(mark(&ledger).await, None, "what it had read is nowhere");
}

#[tokio::test]
async fn what_is_published_is_not_cancelled() {
    let (_dir, ledger) = fresh();
    let task = extract(&ledger, chained_task("shop"), true).await;
    for n in 0..2 {
        ledger.delivery_verified(&task, &segment(n, n..n + 1).id, "lake").await.unwrap();
    }
    ledger.compose_manifest(&task, STREAM, "lake", b"m".to_vec()).await.unwrap();
    ledger.manifest_published(&task, STREAM, "lake").await.unwrap();
    let refused = ledger.task_event(&task, TaskEvent::Cancel, Change::default()).await.unwrap_err();
    assert!(refused.to_string().contains("published at lake"), "{refused}");
    assert_eq!(mark(&ledger).await, Some(day(2)));
}

#[tokio::test]
async fn a_failed_task_is_not_tried_again_behind_a_later_one() {
    let (_dir, ledger) = fresh();
    let (first, _) = begun(&ledger, chained_task("shop")).await;
    event(&ledger, &first, TaskEvent::Fail).await;
    let (second, _) = begun(&ledger, chained_task("shop")).await;
    event(&ledger, &second, TaskEvent::Fail).await;
    let refused = ledger.task_event(&first, TaskEvent::Retry, Change::default()).await.unwrap_err();
    assert!(refused.to_string().contains(second.as_str()), "{refused}");
    event(&ledger, &second, TaskEvent::Retry).await;
}

#[tokio::test]
async fn the_boundary_is_bounded_and_handed_down() {
    let (_dir, ledger) = fresh();
    let first = extract(&ledger, chained_task("shop"), true).await;
    event(&ledger, &first, TaskEvent::Succeed).await;
    // The second task reads the same two records again, and one more that is as new.
    let (second, _) = begun(&ledger, chained_task("shop")).await;
    ledger.open_lanes(&second, STREAM, &[Offset::start(0)]).await.unwrap();
    let mut again = newest(2);
    again.records.push((day(2).sort_key(), [99; 32]));
    let step = Advance { newest: Some(&again), lane_done: true, ..Advance::default() };
    ledger.advance(&second, &segment(0, 0..1), step).await.unwrap();
    ledger.stream_extracted(&second, STREAM).await.unwrap();
    ledger.task_extracted(&second, vec![stream_end(true)]).await.unwrap();
    assert_eq!(ledger.boundary(&second, STREAM).await.unwrap().len(), 3, "none of them twice");
    event(&ledger, &second, TaskEvent::Succeed).await;

    let (third, _) = begun(&ledger, chained_task("shop")).await;
    ledger.open_lanes(&third, STREAM, &[Offset::start(0)]).await.unwrap();
    again.records.push((day(2).sort_key(), [98; 32]));
    let step = Advance { newest: Some(&again), ..Advance::default() };
    let error = ledger.advance(&third, &segment(0, 0..1), step).await.unwrap_err();
    assert!(matches!(error, LedgerError::Boundary { most: 3, .. }), "{error}");
    assert_eq!(number(&ledger, "SELECT count(*) FROM boundary"), 5, "those of the last two tasks");
}

#[tokio::test]
async fn marks_are_set_and_reset_while_nothing_is_open() {
    let (_dir, ledger) = fresh();
    let set = async |to| ledger.set_marks("shop", vec![(STREAM.to_owned(), to)], "anna").await;
    assert!(set(day(1)).await.unwrap_err().to_string().contains("none yet"));
    let first = extract(&ledger, chained_task("shop"), true).await;
    assert!(set(day(1)).await.unwrap_err().to_string().contains("open"));
    event(&ledger, &first, TaskEvent::Succeed).await;
    assert!(set(CursorValue::parse("7")).await.unwrap_err().to_string().contains("another kind"));
    set(day(1)).await.unwrap();
    assert_eq!(mark(&ledger).await, Some(day(1)));
    ledger.reset_marks("shop", None, "anna").await.unwrap();
    assert_eq!((mark(&ledger).await, number(&ledger, "SELECT count(*) FROM boundary")), (None, 0));
    assert_eq!(begun(&ledger, chained_task("shop")).await.1.unwrap().mode, Mode::Full);
    let audit = ledger.audit_since(0, 1000).await.unwrap();
    let of_anna: Vec<_> = audit.iter().filter(|row| row.actor == "anna").map(|row| row.action.as_str()).collect();
    assert_eq!(of_anna, ["mark_set", "mark_reset"]);
}
