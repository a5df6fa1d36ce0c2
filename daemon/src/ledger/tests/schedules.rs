//! Schedules: a slot and its task are one transaction, and no slot is decided on twice.

use super::*;
use crate::ledger::rows::SlotOutcome;
use jiff::SignedDuration;

fn slot(after: i64) -> Slot {
    let at = clock::now() + SignedDuration::from_secs(after);
    Slot { export: "shop".into(), fingerprint: "calendar daily".into(), at }
}

async fn actions(ledger: &Ledger) -> Vec<String> {
    let rows = ledger.audit_since(0, 1000).await.unwrap();
    rows.into_iter().map(|row| row.action).filter(|action| action.starts_with("s")).collect()
}

#[tokio::test]
async fn a_slot_makes_one_task_and_is_noted_with_it() {
    let (_dir, ledger) = fresh();
    let request = || chained_task("shop");
    assert!(ledger.create_slot_task(request(), slot(10)).await.unwrap().is_none(), "it was never seen");
    ledger.see_schedule("shop", "calendar daily").await.unwrap();
    assert!(ledger.create_slot_task(request(), slot(-10)).await.unwrap().is_none(), "a slot before that");
    let other = Slot { fingerprint: "calendar hourly".into(), ..slot(10) };
    assert!(ledger.create_slot_task(request(), other).await.unwrap().is_none(), "of another schedule");
    let first = slot(10);
    let (task, created) = ledger.create_slot_task(request(), first.clone()).await.unwrap().unwrap();
    assert!(created);
    assert!(ledger.create_slot_task(request(), first.clone()).await.unwrap().is_none(), "the same again");
    let ledger = reopened(ledger).await;
    assert!(ledger.create_slot_task(request(), first.clone()).await.unwrap().is_none(), "nor after a restart");
    let row = ledger.schedules().await.unwrap().remove(0);
    assert_eq!((row.seen.slot, row.outcome, row.task), (Some(first.at), Some(SlotOutcome::Run), Some(task.clone())));
    // While its task is open others are skipped, which is on record once.
    for after in [20, 30, 40] {
        assert_eq!(ledger.create_slot_task(request(), slot(after)).await.unwrap(), Some((task.clone(), false)));
    }
    assert_eq!(ledger.schedules().await.unwrap()[0].outcome, Some(SlotOutcome::Open));
    assert_eq!(actions(&ledger).await, ["schedule_seen", "slot_run", "slot_skipped"]);
    ledger.task_event(&task, TaskEvent::Cancel, Change::default()).await.unwrap();
    let (second, created) = ledger.create_slot_task(request(), slot(50)).await.unwrap().unwrap();
    assert!(created && second != task);
}

#[tokio::test]
async fn a_pause_another_expression_and_a_miss() {
    let (_dir, ledger) = fresh();
    ledger.see_schedule("shop", "calendar daily").await.unwrap();
    ledger.see_schedule("crm", "cron @daily").await.unwrap();
    ledger.set_export_paused("shop", true, "uid 0 (root)").await.unwrap();
    assert!(ledger.create_slot_task(chained_task("shop"), slot(10)).await.unwrap().is_none());
    ledger.set_export_paused("shop", false, "uid 0 (root)").await.unwrap();
    let missed = slot(20);
    ledger.miss_slot(missed.clone()).await.unwrap();
    assert!(ledger.create_slot_task(chained_task("shop"), slot(10)).await.unwrap().is_none(), "it lies before");
    let of = async || ledger.schedules().await.unwrap().into_iter().find(|row| row.export == "shop");
    assert_eq!(of().await.map(|row| (row.seen.slot, row.outcome)), Some((Some(missed.at), Some(SlotOutcome::Missed))));
    ledger.see_schedule("shop", "calendar hourly").await.unwrap();
    let row = of().await.unwrap();
    assert_eq!((row.seen.slot, row.fingerprint.as_str()), (None, "calendar hourly"));
    ledger.keep_schedules(vec!["crm".into()]).await.unwrap();
    assert_eq!(ledger.schedules().await.unwrap().iter().map(|row| row.export.as_str()).collect::<Vec<_>>(), ["crm"]);
    assert!(ledger.tasks(&Default::default()).await.unwrap().is_empty());
}
