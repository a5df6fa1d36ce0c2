//! The outbox: written with the end of a task, one message at a time for each recipient, bounded, settled once.

use super::*;
use crate::base::error::ErrorClass;
use crate::ledger::rows::NoticeState;
use crate::ledger::{Attempt, NoticeFilter};
use crate::model::notice::{Event, Rule};

fn rule(to: &str, on: &[Event]) -> Rule {
    Rule { to: to.into(), on: on.to_vec() }
}

fn tell() -> Vec<Rule> {
    vec![rule("ops", &[Event::FirstFailure, Event::Recovery]), rule("hook", &[Event::Success, Event::Failure])]
}

/// Ends a new task of `export`; `named` are told whatever the rules say.
async fn end(ledger: &Ledger, export: &str, event: TaskEvent, named: &[&str]) -> TaskId {
    let key = RequestKey::new(export, &[], "csv", &format!("{:?}", clock::monotonic()));
    let notify = named.iter().map(|name| (*name).to_owned()).collect();
    let (task, _) = ledger.create_task(NewTask { key, notify, ..new_task(export, "eu") }).await.unwrap();
    ledger.task_event(&task, TaskEvent::Start, Change::default()).await.unwrap();
    let class = (event == TaskEvent::Fail).then_some(ErrorClass::Auth);
    let change = Change { reason: "log in".into(), error_class: class, tell: tell(), ..Change::default() };
    ledger.task_event(&task, event, change).await.unwrap();
    task
}

/// Recipient and event of each message, oldest first.
async fn told(ledger: &Ledger) -> Vec<(String, String)> {
    let mut all = ledger.notices(&NoticeFilter { limit: 1000, ..NoticeFilter::default() }).await.unwrap();
    all.reverse();
    all.into_iter().map(|row| (row.recipient, row.event)).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(to, event)| ((*to).to_owned(), (*event).to_owned())).collect()
}

#[tokio::test]
async fn first_failures_and_recoveries_are_told_apart_for_each_export() {
    let (_dir, ledger) = fresh();
    for event in [TaskEvent::Succeed, TaskEvent::Fail, TaskEvent::Fail, TaskEvent::Succeed] {
        end(&ledger, "shop", event, &[]).await;
    }
    end(&ledger, "crm", TaskEvent::Fail, &["anna", "ops"]).await;
    let wanted = [
        ("hook", "success"),
        ("ops", "first_failure"),
        ("hook", "first_failure"),
        ("hook", "failure"),
        ("ops", "recovery"),
        ("hook", "recovery"),
        ("ops", "first_failure"),
        ("hook", "first_failure"),
        ("anna", "first_failure"),
    ];
    assert_eq!(told(&ledger).await, pairs(&wanted));
    let all = ledger.notices(&NoticeFilter { recipient: Some("anna".into()), state: None, limit: 5 }).await.unwrap();
    let facts = &all[0].facts;
    assert_eq!(
        (facts.reason.as_str(), facts.error_class.as_deref(), facts.before.as_ref()),
        ("log in", Some("auth"), None)
    );
    assert_eq!(facts.streams[0].name, STREAM);
}

#[tokio::test]
async fn a_task_that_is_tried_again_keeps_who_it_names() {
    let (_dir, ledger) = fresh();
    let task = end(&ledger, "shop", TaskEvent::Fail, &["anna"]).await;
    ledger.task_event(&task, TaskEvent::Retry, Change::default()).await.unwrap();
    ledger.task_event(&task, TaskEvent::Start, Change::default()).await.unwrap();
    ledger.task_event(&task, TaskEvent::Succeed, Change::default()).await.unwrap();
    assert_eq!(told(&ledger).await.last(), Some(&("anna".into(), "recovery".into())));
    let rows = ledger.notices(&NoticeFilter { recipient: Some("anna".into()), state: None, limit: 5 }).await.unwrap();
    assert_ne!(rows[0].id, rows[1].id, "each end has an id of its own");
    assert_eq!(rows[1].facts.state, crate::model::task::TaskState::Failed, "what is told of an end stays");
}

#[tokio::test]
async fn an_open_task_takes_more_recipients_from_an_equal_request() {
    let (_dir, ledger) = fresh();
    let (task, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    let again = NewTask { notify: vec!["anna".into()], ..new_task("shop", "eu") };
    assert_eq!(ledger.create_task(again).await.unwrap(), (task.clone(), false));
    ledger.task_event(&task, TaskEvent::Fail, Change::default()).await.unwrap();
    assert_eq!(told(&ledger).await, pairs(&[("anna", "first_failure")]));
    let (cancelled, _) =
        ledger.create_task(NewTask { notify: vec!["anna".into()], ..new_task("crm", "eu") }).await.unwrap();
    ledger.task_event(&cancelled, TaskEvent::Cancel, Change { tell: tell(), ..Change::default() }).await.unwrap();
    assert_eq!(told(&ledger).await.len(), 1, "a cancelled task is no news");
}

#[tokio::test]
async fn messages_to_one_recipient_go_out_in_order_and_survive_a_restart() {
    let (_dir, ledger) = fresh();
    for event in [TaskEvent::Succeed, TaskEvent::Succeed, TaskEvent::Fail] {
        end(&ledger, "shop", event, &[]).await;
    }
    let ledger = reopened(ledger).await;
    let now = clock::now();
    let due = ledger.notices_due(now, vec![]).await.unwrap();
    let heads: Vec<_> = due.now.iter().map(|row| (row.recipient.as_str(), row.event.as_str())).collect();
    assert_eq!(heads, [("hook", "success"), ("ops", "first_failure")]);
    assert_eq!(ledger.notices_due(now, vec!["hook".into()]).await.unwrap().now.len(), 1);

    let (first, next) = (due.now[0].id.clone(), now.checked_add(jiff::SignedDuration::from_hours(1)).unwrap());
    ledger.notice_attempted(&first, Attempt::Later(next, "silent".into())).await.unwrap();
    let due = ledger.notices_due(now, vec!["ops".into()]).await.unwrap();
    assert_eq!((due.now.len(), due.next), (0, Some(next)), "the second waits behind the first");
    assert_eq!(ledger.notice_trouble(now).await.unwrap(), (1, 0));
    ledger.notice_address(&first, "a@example.com", None).await.unwrap();
    ledger.notice_attempted(&first, Attempt::Sent(None)).await.unwrap();
    ledger.notice_attempted(&first, Attempt::GivenUp("late".into())).await.unwrap();
    let due = ledger.notices_due(now, vec!["ops".into()]).await.unwrap();
    assert_ne!(due.now[0].id, first);
    let sent = NoticeFilter { recipient: None, state: Some(NoticeState::Sent), limit: 5 };
    let sent = ledger.notices(&sent).await.unwrap();
    assert_eq!((sent.len(), sent[0].attempts, sent[0].done.len()), (1, 2, 1), "what is settled stays so");
}

#[tokio::test]
async fn a_recipient_that_is_never_reached_holds_only_so_many() {
    let (_dir, ledger) = fresh();
    let (task, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    for n in 0..23 {
        if n > 0 {
            ledger.task_event(&task, TaskEvent::Retry, Change::default()).await.unwrap();
        }
        let change = Change { tell: vec![rule("dead", &[Event::Failure])], ..Change::default() };
        ledger.task_event(&task, TaskEvent::Fail, change).await.unwrap();
    }
    let filter = |state| NoticeFilter { recipient: None, state: Some(state), limit: 2000 };
    assert_eq!(ledger.notices(&filter(NoticeState::Waiting)).await.unwrap().len(), 20);
    let lost = ledger.notices(&filter(NoticeState::GivenUp)).await.unwrap();
    assert_eq!(lost.len(), 3);
    assert!(lost.iter().all(|row| row.error.as_ref().unwrap().contains("this was the oldest")));
    assert_eq!(ledger.verify_audit().await.unwrap(), None);
}
