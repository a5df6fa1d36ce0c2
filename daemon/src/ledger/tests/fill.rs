//! More and fewer destinations for a task, and what lies in the spools.

use super::*;
use crate::ledger::input::{AddDestination, DropDestination};
use crate::ledger::rows::Holder;
use crate::model::task::TaskState;
use serde_json::{Value, json};

fn without(name: &str) -> DropDestination {
    DropDestination { name: name.into(), actor: "anna".into() }
}

fn with(name: &str, root: &str) -> AddDestination {
    let settings = json!({ "local": { "root": root } });
    AddDestination { name: name.into(), settings, moved: false, actor: "anna".into() }
}

/// A task of two segments, extracted, that goes to `lake` and `offsite`.
async fn two_places(ledger: &Ledger) -> TaskId {
    let config = json!({
        "destinations": { "lake": { "local": { "root": "/l" } }, "offsite": { "local": { "root": "/o" } } },
        "exports": { "shop": { "to": ["lake", "offsite"] } },
    });
    extract(ledger, NewTask { config: config.to_string(), ..chained_task("shop") }, false).await
}

async fn deliver(ledger: &Ledger, task: &TaskId, destination: &str) {
    for row in ledger.pending_deliveries(task, destination).await.unwrap() {
        ledger.delivery_verified(task, &row.segment.id, destination).await.unwrap();
    }
}

async fn publish(ledger: &Ledger, task: &TaskId, destination: &str, bytes: &[u8]) -> Vec<u8> {
    let composed = ledger.compose_manifest(task, STREAM, destination, bytes.to_vec()).await.unwrap();
    ledger.manifest_published(task, STREAM, destination).await.unwrap();
    composed
}

async fn to(ledger: &Ledger, task: &TaskId) -> Value {
    let config = ledger.task(task).await.unwrap().unwrap().config;
    serde_json::from_str::<Value>(&config).unwrap()["exports"]["shop"]["to"].clone()
}

#[tokio::test]
async fn a_dropped_destination_holds_nothing_and_can_be_filled_back() {
    let (_dir, ledger) = fresh();
    let task = two_places(&ledger).await;
    deliver(&ledger, &task, "lake").await;
    let first = ledger.pending_deliveries(&task, "offsite").await.unwrap().remove(0).segment.id;
    ledger.delivery_verified(&task, &first, "offsite").await.unwrap();
    for wrong in ["nowhere", ""] {
        assert!(
            matches!(ledger.drop_destination(&task, without(wrong)).await, Err(LedgerError::Refused(_))),
            "{wrong}"
        );
    }
    let refused = ledger.add_destination(&task, with("late", "/late")).await.unwrap_err().to_string();
    assert!(refused.contains("processing"), "{refused}");

    let freed = ledger.drop_destination(&task, without("offsite")).await.unwrap();
    assert_eq!(freed.len(), 1, "the other one had gone already");
    assert!(ledger.undelivered(&task).await.unwrap().is_empty());
    assert_eq!(to(&ledger, &task).await, json!(["lake"]));
    assert!(matches!(ledger.drop_destination(&task, without("lake")).await, Err(LedgerError::Refused(_))), "the last");
    let notes = ledger.streams(&task).await.unwrap().remove(0).notes;
    assert!(notes.iter().any(|note| note.contains("goes without offsite")), "{notes:?}");
    publish(&ledger, &task, "lake", b"manifest").await;
    event(&ledger, &task, TaskEvent::Succeed).await;

    assert_eq!(ledger.add_destination(&task, with("offsite", "/o")).await.unwrap(), 1, "one is there");
    assert_eq!(ledger.add_destination(&task, with("offsite", "/o")).await.unwrap(), 0, "it is under way");
    assert_eq!(ledger.back_fills(&task).await.unwrap(), ["offsite"]);
    assert_eq!(ledger.to_carry().await.unwrap(), std::slice::from_ref(&task));
    let ledger = reopened(ledger).await;
    assert_eq!(to(&ledger, &task).await, json!(["lake", "offsite"]));
    deliver(&ledger, &task, "offsite").await;
    let bytes = publish(&ledger, &task, "offsite", b"composed by a newer version").await;
    assert_eq!(bytes, b"manifest", "every destination has the same bytes");
    ledger.filled_back(&task, "offsite").await.unwrap();
    ledger.filled_back(&task, "offsite").await.unwrap();
    assert!(ledger.to_carry().await.unwrap().is_empty());
    let refused = ledger.add_destination(&task, with("offsite", "/o")).await.unwrap_err().to_string();
    assert!(refused.contains("everything already"), "{refused}");
    // The name means another place now.
    let moved = AddDestination { moved: true, ..with("offsite", "/elsewhere") };
    assert_eq!(ledger.add_destination(&task, moved).await.unwrap(), 2);
    let actions: Vec<_> = audit_of(&ledger, &task).await.into_iter().map(|row| (row.action, row.actor)).collect();
    for action in ["destination_dropped", "destination_added"] {
        assert!(actions.contains(&(action.to_owned(), "anna".to_owned())), "{actions:?}");
    }
}

#[tokio::test]
async fn the_spool_counts_what_waits_and_not_what_is_a_link() {
    let (_dir, ledger) = fresh();
    assert_eq!(ledger.spooled().await.unwrap().holder, None);
    let task = two_places(&ledger).await;
    let spooled = ledger.spooled().await.unwrap();
    assert_eq!(spooled.bytes, 1000 + 1001);
    deliver(&ledger, &task, "lake").await;
    let spooled = ledger.spooled().await.unwrap();
    let holder =
        Holder { task: task.clone(), state: TaskState::Processing, destination: "offsite".into(), bytes: 2001 };
    assert_eq!((spooled.bytes, spooled.holder), (2001, Some(holder)));
    ledger.set_home(&task, Some("lake")).await.unwrap();
    assert_eq!(ledger.spooled().await.unwrap().bytes, 0, "they are links");
    ledger.set_home(&task, Some("offsite")).await.unwrap();
    assert_eq!(ledger.spooled().await.unwrap().bytes, 2001);
    let sums = ledger.detail(&task).await.unwrap().sums;
    let figures: Vec<_> =
        sums.iter().map(|sum| (sum.destination.as_str(), sum.files, sum.delivered, sum.delivered_bytes)).collect();
    assert_eq!(figures, [("lake", 2, 2, 2001), ("offsite", 2, 0, 0)]);
    ledger.drop_destination(&task, without("offsite")).await.unwrap();
    assert_eq!(ledger.spooled().await.unwrap().bytes, 0);
}

#[tokio::test]
async fn the_newest_whole_task_has_all_its_streams_at_one_destination() {
    let (_dir, ledger) = fresh();
    let newest = || async { ledger.newest_whole("shop").await.unwrap().map(|task| task.id) };
    let old = two_places(&ledger).await;
    for name in ["lake", "offsite"] {
        deliver(&ledger, &old, name).await;
    }
    assert_eq!(newest().await, None);
    publish(&ledger, &old, "lake", b"{}").await;
    event(&ledger, &old, TaskEvent::Succeed).await;
    assert_eq!(newest().await, Some(old.clone()));
    let new = extract(&ledger, chained_task("shop"), false).await;
    ledger.add_note(&new, "users", "a stream that is published later").await.unwrap();
    deliver(&ledger, &new, "offsite").await;
    publish(&ledger, &new, "offsite", b"{}").await;
    assert_eq!(ledger.published_tasks("shop", 1).await.unwrap()[0].id, new);
    assert_eq!(newest().await, Some(old), "one of its streams is not published yet");
    ledger.stream_failed(&new, "users", "failed to read it").await.unwrap();
    assert_eq!(newest().await, Some(new), "what ended with an error never will be");
}
