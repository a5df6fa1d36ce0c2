//! Facts for monitoring: what is open, how the newest tasks ended, when streams were last exported with success.

use super::*;
use crate::ledger::facts::{LastEnd, OpenFacts, StreamFacts};
use crate::model::task::Waiting;

async fn facts(ledger: &Ledger, stream: &str) -> StreamFacts {
    ledger.stream_facts(vec![("shop".into(), stream.into())]).await.unwrap().remove(0)
}

async fn last(ledger: &Ledger) -> Option<LastEnd> {
    ledger.last_ends(vec!["shop".into(), "other".into()]).await.unwrap().pop().map(|(_, end)| end)
}

async fn succeed(ledger: &Ledger, task: &TaskId) {
    for destination in ["lake", "offsite"] {
        for n in 0..2 {
            ledger.delivery_verified(task, &segment(n, n..n + 1).id, destination).await.unwrap();
        }
        ledger.compose_manifest(task, STREAM, destination, task.as_str().into()).await.unwrap();
        ledger.manifest_published(task, STREAM, destination).await.unwrap();
    }
    event(ledger, task, TaskEvent::Succeed).await;
}

#[tokio::test]
async fn open_tasks_and_what_destinations_wait_for() {
    let (_dir, ledger) = fresh();
    assert_eq!(ledger.open_facts().await.unwrap(), OpenFacts::default());
    let task = extract(&ledger, new_task("shop", "eu"), false).await;
    let queued = ledger.create_task(new_task("crm", "eu")).await.unwrap().0;
    let open = ledger.open_facts().await.unwrap();
    assert_eq!((open.processing, open.paused, open.pending), (1, 0, 1));
    assert_eq!(open.oldest, Some(ledger.task(&queued).await.unwrap().unwrap().created_at));
    let bytes: u64 = (0..2).map(|n| segment(n, n..n + 1).bytes).sum();
    assert_eq!(open.pending_at, [("lake".to_owned(), 2, bytes), ("offsite".to_owned(), 2, bytes)]);
    assert!(open.waiting.is_empty());
    let waiting = Waiting { reason: "disk full".into(), until: None };
    ledger.set_waiting(&task, Some(waiting)).await.unwrap();
    ledger.delivery_verified(&task, &segment(0, 0..1).id, "lake").await.unwrap();
    let open = ledger.open_facts().await.unwrap();
    assert_eq!(open.waiting, [("shop".to_owned(), 1)]);
    assert_eq!(open.pending_at[0], ("lake".to_owned(), 1, segment(1, 1..2).bytes));
    // What is over waits for nobody.
    event(&ledger, &task, TaskEvent::Fail).await;
    assert!(ledger.open_facts().await.unwrap().pending_at.is_empty());
}

#[tokio::test]
async fn the_newest_end_counts_and_a_success_is_not_forgotten() {
    let (_dir, ledger) = fresh();
    assert_eq!((last(&ledger).await, facts(&ledger, STREAM).await), (None, StreamFacts::default()));
    let first = extract(&ledger, new_task("shop", "eu"), false).await;
    let created = ledger.task(&first).await.unwrap().unwrap().created_at;
    assert_eq!(facts(&ledger, STREAM).await, StreamFacts { last_success: None, first_task: Some(created) });
    succeed(&ledger, &first).await;
    let ended = ledger.task(&first).await.unwrap().unwrap().ended_at;
    assert!(ended.is_some());
    assert_eq!(last(&ledger).await, Some(LastEnd { failed: false, class: None }));
    assert_eq!(facts(&ledger, STREAM).await.last_success, ended);
    assert_eq!(facts(&ledger, "elsewhere").await.last_success, None);
    let second = extract(&ledger, new_task("shop", "us"), false).await;
    assert_eq!(last(&ledger).await.map(|end| end.failed), Some(false), "it is not over");
    event(&ledger, &second, TaskEvent::Fail).await;
    assert_eq!(last(&ledger).await.map(|end| end.failed), Some(true));
    let kept = StreamFacts { last_success: ended, first_task: Some(created) };
    assert_eq!(facts(&ledger, STREAM).await, kept);
}
