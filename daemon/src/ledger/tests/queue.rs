//! The head of the queue, and what an operator's pause of an export means for it.

use super::*;
use jiff::SignedDuration;

#[tokio::test]
async fn the_oldest_come_first_however_many_wait() {
    let (_dir, ledger) = fresh();
    let mut ids = Vec::new();
    for n in 0..1100 {
        ids.push(ledger.create_task(new_task("shop", &n.to_string())).await.unwrap().0);
    }
    event(&ledger, &ids[7], TaskEvent::Pause).await;
    event(&ledger, &ids[7], TaskEvent::Resume).await;
    let head = ledger.queue_head(None, clock::now(), 3).await.unwrap();
    let seen: Vec<_> = head.due.iter().map(|task| &task.id).collect();
    assert_eq!(seen, [&ids[7], &ids[0], &ids[1]]);
    assert_eq!((head.due[0].export.as_str(), head.due[0].chained), ("shop", false));
    assert!(ledger.queue_head(Some("crm"), clock::now(), 3).await.unwrap().due.is_empty());
}

#[tokio::test]
async fn who_must_wait_for_the_next_attempt_holds_up_nobody() {
    let (_dir, ledger) = fresh();
    let first = running(&ledger, "shop").await;
    let next = ledger.create_task(NewTask { chained: true, ..new_task("crm", "eu") }).await.unwrap().0;
    let later = clock::now() + SignedDuration::from_secs(60);
    let change = Change { not_before: Some(later), ..Change::default() };
    ledger.task_event(&first, TaskEvent::TryAgain, change).await.unwrap();
    let head = ledger.queue_head(None, clock::now(), 10).await.unwrap();
    assert_eq!((head.due.len(), &head.due[0].id, head.due[0].chained, head.next), (1, &next, true, Some(later)));
    let head = ledger.queue_head(None, later, 10).await.unwrap();
    assert_eq!((head.due.len(), &head.due[0].id, head.next), (2, &first, None));
}

#[tokio::test]
async fn tasks_of_a_paused_export_wait_and_say_so() {
    let (_dir, ledger) = fresh();
    let old = running(&ledger, "shop").await;
    event(&ledger, &old, TaskEvent::TryAgain).await;
    let pause = async |paused| ledger.set_export_paused("shop", paused, "uid 0 (root)").await.unwrap();
    pause(true).await;
    let new = ledger.create_task(new_task("shop", "us")).await.unwrap().0;
    let resumed = ledger.create_task(new_task("shop", "jp")).await.unwrap().0;
    event(&ledger, &resumed, TaskEvent::Pause).await;
    let other = ledger.create_task(new_task("crm", "us")).await.unwrap().0;
    assert_eq!(event(&ledger, &resumed, TaskEvent::Resume).await.queue_pos, 0);
    let said = async |task: &TaskId| ledger.task(task).await.unwrap().unwrap().waiting.map(|waiting| waiting.reason);
    for task in [&old, &new, &resumed] {
        assert_eq!(said(task).await.as_deref(), Some("export shop is paused: exportctl resume shop"));
    }
    assert_eq!((said(&other).await, due(&ledger).await), (None, vec![other]));
    pause(false).await;
    for task in [&old, &new, &resumed] {
        assert_eq!(said(task).await, None);
    }
    assert_eq!(due(&ledger).await.len(), 4);
}
