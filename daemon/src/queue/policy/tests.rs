//! First in, first out, and what each end of a run leads to.

use super::*;
use crate::base::clock;
use crate::base::ids::RequestKey;
use crate::model::task::Waiting;
use proptest::prelude::*;

fn queued(n: u8, export: u8, plain: bool) -> QueuedTask {
    QueuedTask { id: TaskId::known(format!("t{n}")), export: format!("e{export}"), chained: plain, extracted: false }
}

proptest! {
    #[test]
    fn never_more_than_the_slots_and_never_two_plain_tasks_of_an_export(
        queue in prop::collection::vec((0u8..4, any::<bool>()), 0..20),
        parallel in 1usize..5,
        used in 0usize..5,
        stopping in 0u8..20,
        shut in 0u8..8,
    ) {
        let queue: Vec<_> = queue.iter().enumerate().map(|(n, (e, p))| queued(n as u8, *e, *p)).collect();
        let stopping = TaskId::known(format!("t{stopping}"));
        let closed = [format!("e{shut}")].into();
        let slots = Slots { parallel, used, stopping: [stopping.clone()].into(), closed, ..Slots::default() };
        let shut = format!("e{shut}");
        let start = choose(&queue, slots);
        prop_assert!(used + start.len() <= parallel.max(used));
        prop_assert!(!start.contains(&stopping));
        prop_assert!(queue.iter().all(|task| task.export != shut || !start.contains(&task.id)), "outside of its windows");
        let started: Vec<_> = queue.iter().filter(|task| start.contains(&task.id)).collect();
        for task in &started {
            let twins = started.iter().filter(|other| other.chained && other.export == task.export);
            prop_assert!(!task.chained || twins.count() == 1);
        }
        // First in, first out: what was passed over could not have started.
        let last = start.last().and_then(|id| queue.iter().position(|task| &task.id == id)).unwrap_or(0);
        let until = if used + start.len() < parallel { queue.len() } else { last };
        for (n, task) in queue.iter().enumerate().take(until).filter(|(_, task)| !start.contains(&task.id)) {
            let twin = |other: &&QueuedTask| other.chained && other.export == task.export && start.contains(&other.id);
            let held = task.id == stopping || task.export == shut;
            prop_assert!(held || (task.chained && queue[..n].iter().any(|other| twin(&other))));
        }
    }

    #[test]
    fn whatever_the_end_the_ledger_can_take_what_follows(
        outcome in 0usize..6, state in 0usize..6, attempt in 0u32..5, cancelled in any::<bool>(),
    ) {
        let task = task(STATES[state], attempt);
        let actor = Actor("anna".into());
        let cancelled_by = cancelled.then_some(&actor);
        let Some((event, change)) = after(&outcomes()[outcome], &task, 3, cancelled_by, clock::now()) else {
            // Nothing is recorded only where the task does not run any more: it cannot be left Processing.
            prop_assert!(task.state != TaskState::Processing);
            prop_assert!(!cancelled || task.state.closed() || outcome == 0, "a cancel is never lost");
            return Ok(());
        };
        prop_assert!(task.state.next(event).is_ok(), "{} {event}", task.state);
        prop_assert!(!change.reason.is_empty());
        if cancelled {
            prop_assert!(matches!(event, TaskEvent::Cancel | TaskEvent::Succeed));
        }
    }
}

const STATES: [TaskState; 6] = [
    TaskState::Pending,
    TaskState::Processing,
    TaskState::Paused,
    TaskState::Succeeded,
    TaskState::Failed,
    TaskState::Cancelled,
];

fn outcomes() -> [Outcome; 6] {
    [
        Outcome::Done,
        Outcome::Stopped,
        Outcome::Wait(Waiting { reason: "disk full".into(), until: None }, Duration::from_secs(2)),
        Outcome::RetryAfter(None, ErrorClass::Transient, "connect".into()),
        Outcome::Failed(ErrorClass::Auth, "log in".into()),
        Outcome::Closed(Waiting { reason: "its windows".into(), until: Some(clock::now()) }),
    ]
}

pub fn task(state: TaskState, attempt: u32) -> TaskRow {
    TaskRow {
        id: TaskId::known("t"),
        export: "e".into(),
        key: RequestKey("k".into()),
        params: vec![],
        scope: crate::model::scope::Scope::default(),
        chained: true,
        format: "csv".into(),
        state,
        reason: String::new(),
        error_class: None,
        waiting: None,
        attempt,
        queue_pos: 1,
        config: "{}".into(),
        actor: "anna".into(),
        created_at: clock::now(),
        started_at: None,
        ended_at: None,
        not_before: None,
        extracted: false,
        home: None,
    }
}

#[test]
fn each_end_of_a_running_task_leads_somewhere() {
    let ends = |attempt| {
        outcomes().map(|outcome| {
            after(&outcome, &task(TaskState::Processing, attempt), 3, None, clock::now()).map(|(event, _)| event)
        })
    };
    use TaskEvent::{Fail, Recover, Succeed, TryAgain};
    assert_eq!(ends(2), [Succeed, Recover, Recover, TryAgain, Fail, Recover].map(Some));
    assert_eq!(ends(3), [Succeed, Recover, Recover, Fail, Fail, Recover].map(Some));
}

#[test]
fn a_window_that_closes_is_no_attempt_and_says_when_it_goes_on() {
    let closed = outcomes().into_iter().next_back().unwrap();
    let (_, change) = after(&closed, &task(TaskState::Processing, 2), 3, None, clock::now()).unwrap();
    assert_eq!((change.attempt, change.queue_head), (Some(1), true));
    assert!(change.reason.starts_with("its windows; it goes on at 20"), "{}", change.reason);
}

#[test]
fn a_stored_pause_stands_unless_all_is_done() {
    let ends = outcomes()
        .map(|outcome| after(&outcome, &task(TaskState::Paused, 0), 3, None, clock::now()).map(|(event, _)| event));
    assert_eq!(ends, [Some(TaskEvent::Succeed), None, None, None, None, None]);
}

#[test]
fn a_task_that_takes_the_daemon_down_is_given_up() {
    assert!(used_up(2, 3).is_none());
    let change = used_up(3, 3).unwrap();
    assert!(change.reason.contains("attempt 3 of 3"), "{}", change.reason);
}

#[test]
fn rechecks_come_ever_later_but_never_sooner_than_asked() {
    let seconds = Duration::from_secs;
    let mut waits = vec![recheck(seconds(2), None)];
    for _ in 0..5 {
        waits.push(recheck(seconds(2), waits.last().copied()));
    }
    assert_eq!(waits, [2, 4, 8, 16, 30, 30].map(seconds));
    assert_eq!(recheck(seconds(60), Some(seconds(60))), seconds(60));
}
