//! Pause, resume and cancel, while runs start, wait and stop.

use super::*;

/// A bench whose task runs until its gate is opened, and then has stopped.
async fn gated() -> (Bench, TaskId, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let bench = Bench::new([("shop", vec![Script::AtGate(gate.clone(), Outcome::Stopped)])]);
    let id = bench.under_way("shop").await;
    (bench, id, gate)
}

#[tokio::test]
async fn a_pause_is_stored_before_the_run_has_stopped() {
    let (bench, id, gate) = gated().await;
    let answer = bench.act(Act::Pause, Target::Task(id.clone()));
    let paused = bench.reaches(&id, TaskState::Paused).await;
    assert_eq!(paused.attempt, 0);
    assert!(!answer.is_finished(), "it still stops");
    gate.notify_one();
    assert_eq!(answer.await.unwrap().unwrap(), std::slice::from_ref(&id));
    let actions: Vec<_> = bench.audit(&id).await.into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["created", "start", "pause"]);
    bench.act(Act::Resume, Target::Task(id.clone())).await.unwrap().unwrap();
    soon("it goes on", async || bench.runs("shop") == 2).await;
}

#[tokio::test]
async fn a_task_resumed_while_it_stops_goes_on_once() {
    let (bench, id, gate) = gated().await;
    let pause = bench.act(Act::Pause, Target::Task(id.clone()));
    bench.reaches(&id, TaskState::Paused).await;
    bench.act(Act::Resume, Target::Task(id.clone())).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.runs("shop"), 1, "never twice at the same time");
    gate.notify_one();
    soon("it goes on", async || bench.runs("shop") == 2).await;
    let refused = pause.await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("is pending by now"), "{refused}");
}

#[tokio::test]
async fn a_pause_wins_over_a_failed_attempt_and_a_success_over_a_pause() {
    let scripts = vec![Script::WhenStopped(transient()), Script::WhenStopped(Outcome::Done)];
    let bench = Bench::new([("shop", scripts)]);
    let id = bench.under_way("shop").await;
    assert_eq!(bench.act(Act::Pause, Target::Task(id.clone())).await.unwrap().unwrap(), std::slice::from_ref(&id));
    assert_eq!(bench.task(&id).await.state, TaskState::Paused);
    bench.act(Act::Resume, Target::Task(id.clone())).await.unwrap().unwrap();
    soon("it goes on", async || bench.runs("shop") == 2).await;
    let refused = bench.act(Act::Pause, Target::Task(id.clone())).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("is succeeded by now"), "{refused}");
    assert_eq!(bench.task(&id).await.state, TaskState::Succeeded);
}

#[tokio::test]
async fn nothing_takes_a_cancel_back() {
    let (bench, id, gate) = gated().await;
    let other = bench.under_way("crm").await;
    let cancel = bench.act(Act::Cancel, Target::Task(id.clone()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let refused = bench.act(Act::Pause, Target::Task(id.clone())).await.unwrap().unwrap_err();
    assert!(matches!(&refused, Refusal::Conflict(why) if why.contains("being cancelled")), "{refused}");
    assert_eq!(bench.act(Act::Pause, Target::All).await.unwrap().unwrap(), std::slice::from_ref(&other));
    gate.notify_one();
    assert_eq!(cancel.await.unwrap().unwrap(), std::slice::from_ref(&id));
    assert_eq!(bench.task(&id).await.state, TaskState::Cancelled);
    assert_eq!(bench.task(&other).await.state, TaskState::Paused);
}

#[tokio::test]
async fn a_task_that_stops_for_a_pause_can_be_cancelled() {
    let (bench, id, gate) = gated().await;
    let pause = bench.act(Act::Pause, Target::Task(id.clone()));
    bench.reaches(&id, TaskState::Paused).await;
    let cancel = bench.act(Act::Cancel, Target::Task(id.clone()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    gate.notify_one();
    cancel.await.unwrap().unwrap();
    assert!(pause.await.unwrap().is_err());
    assert_eq!(bench.task(&id).await.state, TaskState::Cancelled);
}

#[tokio::test]
async fn a_waiting_task_stays_where_it_is_when_a_command_fails() {
    // An end that a jammed ledger could not note is reached again.
    let done = (0..100).map(|_| Script::End(Outcome::Done));
    let scripts = (0..4).map(|_| Script::End(full("1"))).chain(done).collect();
    let bench = Bench::new([("shop", scripts)]);
    let id = bench.under_way("shop").await;
    bench.waits(&id).await;
    bench.ledger.jam(true).await;
    for act in [Act::Pause, Act::Cancel] {
        let answer = bench.act(act, Target::Task(id.clone())).await.unwrap();
        assert!(matches!(answer, Err(Refusal::Unavailable(_))), "{act:?}: {answer:?}");
    }
    bench.ledger.jam(false).await;
    bench.reaches(&id, TaskState::Succeeded).await;
}

#[tokio::test]
async fn a_waiting_task_is_paused_and_cancelled_at_once() {
    let waits = || vec![Script::End(Outcome::Wait(waiting("1"), Duration::from_secs(600)))];
    let bench = Bench::new([("shop", waits()), ("crm", waits())]);
    for (export, act, state) in [("shop", Act::Pause, TaskState::Paused), ("crm", Act::Cancel, TaskState::Cancelled)] {
        let id = bench.under_way(export).await;
        bench.waits(&id).await;
        bench.act(act, Target::Task(id.clone())).await.unwrap().unwrap();
        assert_eq!(bench.task(&id).await.state, state);
    }
}

#[tokio::test]
async fn resuming_everything_lets_paused_exports_go_on() {
    let bench = Bench::new([]);
    bench.act(Act::Pause, Target::Export(Name::new("shop").unwrap())).await.unwrap().unwrap();
    let id = bench.run("shop").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let row = bench.task(&id).await;
    assert_eq!(row.state, TaskState::Pending);
    assert_eq!(row.waiting.unwrap().reason, "export shop is paused: exportctl resume shop");
    bench.act(Act::Resume, Target::All).await.unwrap().unwrap();
    assert_eq!(bench.reaches(&id, TaskState::Processing).await.waiting, None);
    assert!(bench.ledger.paused_exports().await.unwrap().is_empty());
}
