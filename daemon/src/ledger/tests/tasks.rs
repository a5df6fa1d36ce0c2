//! Tasks: identity, queue, attempts, waiting, recovery.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::ledger::rows::{FoundTask, TaskFilter};
use crate::model::task::{TaskState, Waiting};
use jiff::SignedDuration;

#[tokio::test]
async fn a_request_whose_key_is_open_returns_that_task() {
    let (_dir, ledger) = fresh();
    let (first, created) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    assert!(created);
    assert_eq!(ledger.create_task(new_task("shop", "eu")).await.unwrap(), (first.clone(), false));
    assert_ne!(ledger.create_task(new_task("shop", "us")).await.unwrap().0, first);
    let row = ledger.task(&first).await.unwrap().unwrap();
    assert_eq!(row.params, [("region".to_owned(), "eu".to_owned())]);
    assert_eq!((row.state, row.attempt, row.extracted), (TaskState::Pending, 0, false));
    assert_eq!(ledger.streams(&first).await.unwrap()[0].stream, STREAM);
}

#[tokio::test]
async fn closed_tasks_never_block_and_ids_move_to_the_next_second() {
    let (_dir, ledger) = fresh();
    let new = new_task("shop", "eu");
    let mut ids = Vec::new();
    for shift in 0..3 {
        let (id, created) = ledger.create_task(new.clone()).await.unwrap();
        assert!(created);
        let at = new.at + SignedDuration::from_secs(shift);
        assert_eq!(id, TaskId::new(at, &new.key));
        assert_eq!(ledger.task(&id).await.unwrap().unwrap().created_at, new.at);
        event(&ledger, &id, TaskEvent::Cancel).await;
        ids.push(id);
    }
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    let listed = ledger.tasks(&TaskFilter { limit: 10, ..TaskFilter::default() }).await.unwrap();
    assert_eq!(listed.into_iter().map(|task| task.id).collect::<Vec<_>>(), newest_first);
}

#[tokio::test]
async fn events_move_the_task_and_leave_a_trace() {
    let (_dir, ledger) = fresh();
    let (id, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    let started = event(&ledger, &id, TaskEvent::Start).await;
    assert_eq!((started.state, started.attempt), (TaskState::Processing, 1));
    assert!(started.started_at.is_some() && started.ended_at.is_none());
    let not_before = clock::now();
    let change = Change {
        reason: "connection reset".into(),
        error_class: Some(ErrorClass::Transient),
        not_before: Some(not_before),
        ..Change::default()
    };
    let again = ledger.task_event(&id, TaskEvent::TryAgain, change).await.unwrap();
    assert_eq!(again.not_before, Some(not_before));
    let stored = ledger.task(&id).await.unwrap().unwrap();
    assert_eq!(format!("{again:?}"), format!("{stored:?}"), "what is returned is what is stored");
    assert_eq!(stored.error_class.as_deref(), Some("transient"));

    let change = Change { reason: "not found".into(), actor: "uid 0 (root)".into(), ..Change::default() };
    let failed = ledger.task_event(&id, TaskEvent::Fail, change).await.unwrap();
    assert!(failed.ended_at.is_some() && failed.not_before.is_none());
    let audit = audit_of(&ledger, &id).await;
    assert_eq!(audit[0].reason, "requested by uid 1000 (anna)");
    let last = audit.last().unwrap();
    assert_eq!(
        (last.actor.as_str(), last.action.as_str(), last.reason.as_str()),
        ("uid 0 (root)", "fail", "not found")
    );
    assert_eq!((last.from_state, last.to_state), (Some(TaskState::Pending), Some(TaskState::Failed)));
}

#[tokio::test]
async fn an_illegal_event_changes_nothing() {
    let (_dir, ledger) = fresh();
    let (id, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    let seq = *ledger.changes().borrow();
    let error = ledger.task_event(&id, TaskEvent::Succeed, Change::default()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Illegal { .. }));
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert_eq!(*ledger.changes().borrow(), seq);
    let error = ledger.task_event(&TaskId::known("x"), TaskEvent::Start, Change::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "find the task x");
}

#[tokio::test]
async fn resumed_tasks_go_to_the_head_and_retried_ones_to_the_end() {
    let (_dir, ledger) = fresh();
    let mut ids = Vec::new();
    for region in ["a", "b", "c"] {
        ids.push(ledger.create_task(new_task("shop", region)).await.unwrap().0);
    }
    let order = async || -> Vec<usize> {
        due(&ledger).await.iter().map(|due| ids.iter().position(|id| id == due).unwrap()).collect()
    };
    assert_eq!(order().await, [0, 1, 2]);
    event(&ledger, &ids[2], TaskEvent::Pause).await;
    event(&ledger, &ids[2], TaskEvent::Resume).await;
    assert_eq!(order().await, [2, 0, 1]);
    event(&ledger, &ids[0], TaskEvent::Cancel).await;
    let retried = event(&ledger, &ids[0], TaskEvent::Retry).await;
    assert_eq!((retried.attempt, retried.ended_at), (0, None));
    assert_eq!(order().await, [2, 1, 0]);
    event(&ledger, &ids[1], TaskEvent::Start).await;
    ledger.task_event(&ids[1], TaskEvent::TryAgain, Change { queue_head: true, ..Change::default() }).await.unwrap();
    assert_eq!(order().await, [1, 2, 0]);
}

#[tokio::test]
async fn a_retry_waits_for_an_open_task_of_the_same_request() {
    let (_dir, ledger) = fresh();
    let (old, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    event(&ledger, &old, TaskEvent::Cancel).await;
    let (open, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    let error = ledger.task_event(&old, TaskEvent::Retry, Change::default()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert!(error.to_string().contains(open.as_str()), "{error}");
    event(&ledger, &open, TaskEvent::Cancel).await;
    event(&ledger, &old, TaskEvent::Retry).await;
}

#[tokio::test]
async fn attempts_count_only_without_progress() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    for attempt in 1..4 {
        assert_eq!(ledger.task(&task).await.unwrap().unwrap().attempt, attempt);
        event(&ledger, &task, TaskEvent::TryAgain).await;
        event(&ledger, &task, TaskEvent::Start).await;
    }
    commit(&ledger, &task, &segment(0, 0..1)).await.unwrap();
    assert_eq!(event(&ledger, &task, TaskEvent::TryAgain).await.attempt, 0);
    assert_eq!(event(&ledger, &task, TaskEvent::Start).await.attempt, 1);
    // A pause is nobody's failure.
    assert_eq!(event(&ledger, &task, TaskEvent::Pause).await.attempt, 0);
    assert_eq!(event(&ledger, &task, TaskEvent::Resume).await.attempt, 0);
}

#[tokio::test]
async fn recovery_takes_over_what_a_dead_daemon_ran() {
    let (_dir, ledger) = fresh();
    let idle = running(&ledger, "idle").await;
    let busy = running(&ledger, "busy").await;
    commit(&ledger, &busy, &segment(0, 0..1)).await.unwrap();
    let paused = running(&ledger, "paused").await;
    event(&ledger, &paused, TaskEvent::Pause).await;
    assert!(ledger.recover().await.unwrap().is_empty(), "its own tasks run");

    let ledger = reopened(ledger).await;
    let recovered = ledger.recover().await.unwrap();
    let seen: Vec<_> = recovered.iter().map(|task| (&task.id, task.attempt, task.state)).collect();
    assert_eq!(seen, [(&idle, 1, TaskState::Pending), (&busy, 0, TaskState::Pending)]);
    assert!(ledger.recover().await.unwrap().is_empty(), "never twice");
    assert_eq!(ledger.task(&paused).await.unwrap().unwrap().state, TaskState::Paused);

    // A second crash without progress is a second attempt in a row.
    event(&ledger, &idle, TaskEvent::Start).await;
    let ledger = reopened(ledger).await;
    assert_eq!(ledger.recover().await.unwrap()[0].attempt, 2);
}

#[tokio::test]
async fn waiting_is_said_once_and_ends_with_the_next_event() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    let waiting = Waiting { reason: "disk full: 12 MB missing".into(), until: Some(clock::now()) };
    ledger.set_waiting(&task, Some(waiting.clone())).await.unwrap();
    let seq = *ledger.changes().borrow();
    ledger.set_waiting(&task, Some(waiting.clone())).await.unwrap();
    let less = Waiting { reason: "disk full: 9.5 MB missing".into(), until: None };
    ledger.set_waiting(&task, Some(less)).await.unwrap();
    assert_eq!(*ledger.changes().borrow(), seq, "other figures are no news");
    assert_eq!(ledger.task(&task).await.unwrap().unwrap().waiting, Some(waiting.clone()));
    ledger.set_waiting(&task, None).await.unwrap();
    assert_eq!(ledger.task(&task).await.unwrap().unwrap().waiting, None);
    ledger.set_waiting(&task, Some(waiting.clone())).await.unwrap();
    assert_eq!(event(&ledger, &task, TaskEvent::Pause).await.waiting, None);
    ledger.set_waiting(&task, Some(waiting)).await.unwrap();
    assert_eq!(ledger.task(&task).await.unwrap().unwrap().waiting, None);
}

#[tokio::test]
async fn filters_and_prefixes() {
    let (_dir, ledger) = fresh();
    let mut ids = Vec::new();
    for (export, region) in [("a", "x"), ("b", "x"), ("a", "y"), ("a", "z")] {
        ids.push(ledger.create_task(new_task(export, region)).await.unwrap().0);
    }
    event(&ledger, &ids[0], TaskEvent::Cancel).await;
    event(&ledger, &ids[2], TaskEvent::Start).await;
    let list = async |export: Option<&str>, states: &[TaskState], limit| {
        let filter = TaskFilter { export: export.map(str::to_owned), states: states.to_vec(), limit };
        let tasks = ledger.tasks(&filter).await.unwrap();
        tasks.iter().map(|task| ids.iter().position(|id| id == &task.id).unwrap()).collect::<Vec<_>>()
    };
    use TaskState::{Cancelled, Pending, Processing};
    assert_eq!(list(None, &[], 3).await, [3, 2, 1]);
    assert_eq!(list(Some("a"), &[], 9).await, [3, 2, 0]);
    assert_eq!(list(Some("a"), &[Processing, Cancelled, Processing], 9).await, [2, 0]);
    assert_eq!(list(None, &[Pending], 9).await, [3, 1]);
    assert_eq!(list(None, &[Pending, Processing], 1).await, [3]);
    assert_eq!(list(None, &[], 0).await, [] as [usize; 0]);

    let find = async |text: &str| ledger.find_task(text).await.unwrap();
    assert!(matches!(find(ids[1].as_str()).await, FoundTask::One(task) if task.id == ids[1]));
    let year = &ids[1].as_str()[..4];
    assert!(matches!(find(year).await, FoundTask::Many(all) if all.len() == 4));
    let unique = &ids[1].as_str()[..20];
    assert!(matches!(find(unique).await, FoundTask::One(task) if task.id == ids[1]), "{ids:?}");
    for none in ["", "%", "2_2", "zzz"] {
        assert!(matches!(find(none).await, FoundTask::None), "{none}");
    }
}

#[tokio::test]
async fn paused_exports_and_remembered_answers_survive() {
    let (_dir, ledger) = fresh();
    ledger.set_export_paused("shop", true, "uid 0 (root)").await.unwrap();
    ledger.set_export_paused("shop", true, "uid 0 (root)").await.unwrap();
    ledger.set_export_paused("crm", true, "uid 0 (root)").await.unwrap();
    ledger.remember("k", "f", "answer").await.unwrap();
    ledger.remember("k", "f", "another").await.unwrap();
    let ledger = reopened(ledger).await;
    assert_eq!(ledger.paused_exports().await.unwrap(), ["crm", "shop"]);
    ledger.set_export_paused("shop", false, "uid 0 (root)").await.unwrap();
    assert_eq!(ledger.paused_exports().await.unwrap(), ["crm"]);
    assert_eq!(ledger.idempotent("k", "f").await.unwrap().as_deref(), Some("answer"));
    assert_eq!(ledger.idempotent("other", "f").await.unwrap(), None);
    assert_eq!(ledger.idempotent("k", "g").await.unwrap_err().class(), ErrorClass::Conflict);
    let actions: Vec<_> = ledger.audit_since(0, 10).await.unwrap().into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["export_paused", "export_paused", "export_resumed"]);
}

#[tokio::test]
async fn remembered_answers_are_bounded_in_age_and_number() {
    let (_dir, ledger) = fresh();
    ledger.remember("old", "f", "a").await.unwrap();
    ledger
        .write(|tx| {
            tx.execute_batch(
                "UPDATE answers SET at = at - 25 * 3600 * 1000000;
                 WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 10500)
                 INSERT INTO answers (key, fingerprint, answer, at) SELECT 'k' || i, 'f', 'a', 1 << 60 FROM c;",
            )?;
            Ok(())
        })
        .await
        .unwrap();
    ledger.remember("new", "f", "a").await.unwrap();
    assert_eq!(number(&ledger, "SELECT count(*) FROM answers"), 10_000);
    assert_eq!(ledger.idempotent("old", "f").await.unwrap(), None);
    assert!(ledger.idempotent("new", "f").await.unwrap().is_some());
}
