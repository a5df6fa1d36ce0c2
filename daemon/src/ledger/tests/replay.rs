//! Whatever happens to tasks, in whatever order: what is stored is what the audit, replayed, says.

use super::*;
use crate::ledger::rows::TaskFilter;
use crate::model::task::{TaskState, Waiting};
use proptest::prelude::*;
use std::collections::HashMap;

const EVENTS: [TaskEvent; 9] = [
    TaskEvent::Start,
    TaskEvent::Pause,
    TaskEvent::Resume,
    TaskEvent::Cancel,
    TaskEvent::Succeed,
    TaskEvent::Fail,
    TaskEvent::TryAgain,
    TaskEvent::Recover,
    TaskEvent::Retry,
];

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Event(usize, usize),
    Wait(usize),
    Commit(usize),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..3u8).prop_map(Step::Create),
        12 => (0..6usize, 0..EVENTS.len()).prop_map(|(task, event)| Step::Event(task, event)),
        2 => (0..6usize).prop_map(Step::Wait),
        2 => (0..6usize).prop_map(Step::Commit),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..50)
}

/// The states by the audit alone. An illegal step in it is corruption.
async fn replayed(ledger: &Ledger) -> HashMap<String, TaskState> {
    let mut states: HashMap<String, TaskState> = HashMap::new();
    for row in ledger.audit_since(0, 10_000).await.unwrap() {
        let Some(to) = row.to_state else { continue };
        let task = row.task.unwrap();
        match row.from_state {
            None => assert!(to == TaskState::Pending && !states.contains_key(&task)),
            Some(from) => {
                assert_eq!(states[&task], from);
                let event = EVENTS.into_iter().find(|event| event.word() == row.action).unwrap();
                assert_eq!(from.next(event), Ok(to));
            }
        }
        states.insert(task, to);
    }
    states
}

async fn check(ledger: &Ledger) {
    let filter = TaskFilter { limit: 1000, ..TaskFilter::default() };
    let tasks = ledger.tasks(&filter).await.unwrap();
    let stored: HashMap<_, _> = tasks.iter().map(|task| (task.id.as_str().to_owned(), task.state)).collect();
    assert_eq!(stored, replayed(ledger).await);
    for task in &tasks {
        assert_eq!(task.state.closed(), task.ended_at.is_some());
        assert!(task.waiting.is_none() || !task.state.closed());
        let twins = tasks.iter().filter(|other| other.key == task.key && !other.state.closed());
        assert!(twins.count() <= 1, "two open tasks of one request");
    }
    assert_eq!(ledger.verify_audit().await.unwrap(), None);
}

async fn run(steps: Vec<Step>) {
    let (_dir, mut ledger) = fresh();
    let mut tasks: Vec<TaskId> = Vec::new();
    for step in steps {
        match step {
            Step::Create(region) => {
                let (task, created) = ledger.create_task(new_task("shop", &region.to_string())).await.unwrap();
                assert_eq!(created, !tasks.contains(&task));
                if created {
                    ledger.open_lanes(&task, STREAM, &[Offset::start(0)]).await.unwrap();
                    tasks.push(task);
                }
            }
            Step::Event(i, event) => {
                let Some(task) = tasks.get(i) else { continue };
                let before = ledger.task(task).await.unwrap().unwrap();
                let expected = before.state.next(EVENTS[event]);
                match ledger.task_event(task, EVENTS[event], Change::default()).await {
                    Ok(after) => assert_eq!(Ok(after.state), expected),
                    Err(LedgerError::Refused(_)) => assert_eq!(EVENTS[event], TaskEvent::Retry),
                    Err(LedgerError::Illegal { source, .. }) => assert_eq!(Err(source), expected),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Wait(i) => {
                let Some(task) = tasks.get(i) else { continue };
                ledger.set_waiting(task, Some(Waiting { reason: "rate".into(), until: None })).await.unwrap();
            }
            Step::Commit(i) => {
                let Some(task) = tasks.get(i) else { continue };
                let lane = ledger.lanes(task, STREAM).await.unwrap().remove(0);
                let state = ledger.task(task).await.unwrap().unwrap().state;
                let done = commit(&ledger, task, &segment(lane.next_n, lane.next_n..lane.next_n + 1)).await;
                assert_eq!(done.is_ok(), matches!(state, TaskState::Processing | TaskState::Paused));
            }
            Step::Crash => {
                ledger = reopened(ledger).await;
                ledger.recover().await.unwrap();
                let running = TaskFilter { states: vec![TaskState::Processing], limit: 9, ..TaskFilter::default() };
                assert!(ledger.tasks(&running).await.unwrap().is_empty());
            }
        }
    }
    check(&ledger).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_audit_replays_to_what_is_stored(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
