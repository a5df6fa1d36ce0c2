//! Starts, waits and ends of runs.

use super::*;

#[tokio::test]
async fn an_end_that_the_ledger_cannot_take_is_told_again() {
    let gate = Arc::new(Notify::new());
    let bench = Bench::new([("shop", vec![Script::AtGate(gate.clone(), Outcome::Done)])]);
    let id = bench.under_way("shop").await;
    bench.ledger.jam(true).await;
    gate.notify_one();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let refused = bench.act(Act::Pause, Target::Task(id.clone())).await.unwrap().unwrap_err();
    assert!(matches!(refused, Refusal::Unavailable(_)), "{refused}");
    assert_eq!(bench.task(&id).await.state, TaskState::Processing);
    bench.ledger.jam(false).await;
    bench.reaches(&id, TaskState::Succeeded).await;
    assert_eq!(bench.runs("shop"), 1);
}

#[tokio::test]
async fn a_waiting_run_is_quiet_and_goes_on() {
    let scripts = ["12.5", "11", "9.25"].map(|missing| Script::End(full(missing)));
    let scripts = scripts.into_iter().chain([Script::End(Outcome::Done)]).collect();
    let bench = Bench::new([("shop", scripts)]);
    let id = bench.run("shop").await;
    let ended = bench.reaches(&id, TaskState::Succeeded).await;
    assert_eq!((ended.attempt, bench.runs("shop")), (1, 4));
    let audit: Vec<_> = bench.audit(&id).await.into_iter().map(|row| (row.action, row.reason)).collect();
    let expected = [
        ("created", "requested by anna"),
        ("start", "started, attempt 1 of 3"),
        ("waiting", "disk full: 12.5 MB missing at /srv"),
        ("succeed", "everything is verified and published"),
    ];
    assert_eq!(audit, expected.map(|(action, reason)| (action.to_owned(), reason.to_owned())));
}

#[tokio::test]
async fn a_run_that_goes_on_sees_the_task_as_it_is_now() {
    let gate = Arc::new(Notify::new());
    let bench = Bench::new([("shop", vec![Script::AtGate(gate.clone(), full("1"))])]);
    let id = bench.under_way("shop").await;
    bench.ledger.stream_failed(&id, "orders", "404").await.unwrap();
    bench.ledger.task_extracted(&id, vec![]).await.unwrap();
    gate.notify_one();
    soon("it is looked at again", async || bench.runs("shop") == 2).await;
    assert!(bench.engine.started.lock().unwrap()[1].extracted);
    // Delivering takes no slot: two more run beside it.
    bench.under_way("crm").await;
    bench.under_way("erp").await;
}

#[tokio::test]
async fn a_drain_puts_waiting_tasks_back_without_counting() {
    let bench = Bench::new([("shop", vec![Script::End(full("1"))])]);
    let id = bench.under_way("shop").await;
    bench.waits(&id).await;
    bench.queue.drain().await;
    let row = bench.task(&id).await;
    assert_eq!((row.state, row.attempt), (TaskState::Pending, 0));
    assert!(row.reason.contains("the daemon was stopped"), "{}", row.reason);
}

#[tokio::test]
async fn a_task_that_kills_the_daemon_each_time_is_given_up() {
    let bench = Bench::new([]);
    let id = bench.under_way("shop").await;
    let Bench { mut ledger, dispatcher, dir, .. } = bench;
    dispatcher.abort();
    let _ = dispatcher.await;
    for attempt in 1..=3 {
        let state_dir = ledger.path().parent().unwrap().to_owned();
        ledger.close().await.unwrap();
        ledger = Ledger::open(&state_dir).unwrap();
        assert_eq!(ledger.recover().await.unwrap()[0].attempt, attempt);
        if attempt < 3 {
            ledger.task_event(&id, TaskEvent::Start, Change::default()).await.unwrap();
        }
    }
    let bench = Bench::over(dir, ledger);
    let row = bench.reaches(&id, TaskState::Failed).await;
    assert!(row.reason.contains("attempt 3 of 3"), "{}", row.reason);
    assert_eq!(bench.runs("shop"), 0);
    // An operator may try again.
    bench.act(Act::Retry, Target::Task(id.clone())).await.unwrap().unwrap();
    assert_eq!(bench.reaches(&id, TaskState::Processing).await.attempt, 1);
}

#[tokio::test]
async fn attempts_end_and_start_again_after_a_retry() {
    let tries = (0..3).map(|_| Script::End(transient()));
    let bench = Bench::new([("shop", tries.chain([Script::End(Outcome::Done)]).collect())]);
    let id = bench.run("shop").await;
    let row = bench.reaches(&id, TaskState::Failed).await;
    assert_eq!((row.attempt, bench.runs("shop")), (3, 3));
    bench.act(Act::Retry, Target::Task(id.clone())).await.unwrap().unwrap();
    bench.reaches(&id, TaskState::Succeeded).await;
}
