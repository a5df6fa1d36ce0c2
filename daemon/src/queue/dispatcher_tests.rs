//! What becomes of a run that ends while an operator wants something else of it.

use super::*;
use crate::base::ids::RequestKey;

/// An engine that nobody asks.
struct NoEngine;

impl Engine for NoEngine {
    fn plan(&self, _: &Request) -> Result<NewTask, Refusal> {
        Err(Refusal::Unavailable("none".into()))
    }
    fn build(&self, _: TaskRow, _: RunControl) -> Result<TaskRun, (ErrorClass, String)> {
        Err((ErrorClass::Bug, "none".into()))
    }
    fn has_export(&self, _: &str) -> bool {
        true
    }
    fn parallel(&self) -> usize {
        1
    }
    fn reload(&self) -> Result<ReloadReport, Refusal> {
        Err(Refusal::Unavailable("none".into()))
    }
}

/// A dispatcher with a task that is Processing and of which somebody wants `act`.
async fn running(ledger: &Ledger, act: Act) -> (Dispatcher<NoEngine>, TaskId) {
    let new = NewTask {
        export: "shop".into(),
        key: RequestKey::new("shop", &[], "csv"),
        params: vec![],
        format: "csv".into(),
        config: "{}".into(),
        streams: vec!["orders".into()],
        actor: "uid 7 (tester)".into(),
        at: clock::now(),
    };
    let (id, _) = ledger.create_task(new).await.unwrap();
    let row = ledger.task_event(&id, TaskEvent::Start, Change::default()).await.unwrap();
    let mut dispatcher = Dispatcher::new(Arc::new(NoEngine), ledger.clone());
    let run = Running {
        row,
        stop: CancellationToken::new(),
        wanted: Some((act, Actor("uid 7 (tester)".into()))),
        progress: Arc::default(),
        extracting: true,
        attempts: 3,
        waiting: None,
        parked: None,
        since: clock::monotonic(),
    };
    dispatcher.running.insert(id.clone(), run);
    (dispatcher, id)
}

#[tokio::test]
async fn a_run_that_fails_while_it_is_asked_to_pause_is_paused() {
    for (act, expected) in [(Act::Pause, TaskState::Paused), (Act::Cancel, TaskState::Cancelled)] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let (mut dispatcher, id) = running(&ledger, act).await;
        dispatcher.ended(&id, Outcome::RetryAfter(None, ErrorClass::Transient, "reach the source".into())).await;
        let row = ledger.task(&id).await.unwrap().unwrap();
        assert_eq!(row.state, expected, "{}", row.reason);
        assert_eq!(row.not_before, None, "it waits for the operator, not for a time");
    }
}
