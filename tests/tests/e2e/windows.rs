//! Time windows: outside of them nothing starts, and what runs is put away and goes on when one opens.

use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::sample::{Fault, Kind};
use serde_json::{Value, json};

/// A window of two hours that is `hours` away from now.
fn window(hours: i64) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hour = (i64::try_from(now / 3600).unwrap() + hours).rem_euclid(24);
    // Midnight as an end is written 24:00.
    let end = if hour == 22 { 24 } else { (hour + 2) % 24 };
    json!([format!("{hour:02}:00-{end:02}:00")])
}

#[test]
fn outside_of_its_windows_a_task_waits_and_says_until_when() {
    let mut bed = Bed::with_records(500);
    bed.config["exports"]["shop"]["windows"] = window(6);
    let daemon = bed.start();
    let id = daemon.run("shop");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let task = daemon.task(&id)["task"].clone();
    assert_eq!(task["state"], "pending", "{task}");
    let waiting = &task["waiting"];
    assert!(waiting["reason"].as_str().unwrap().contains("only within its windows"), "{waiting}");
    assert!(waiting["until"].as_str().unwrap().ends_with(":00:00Z"), "{waiting}");
    assert_eq!(bed.api.requests(), 0);
    let shown = bed.ctl(&["tasks"]).expect(0);
    assert!(shown.stdout.contains("only within its windows"), "{}", shown.stdout);
    // The windows in force count, not those of the time at which it was asked for.
    bed.config["exports"]["shop"]["windows"] = window(-1);
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    crate::compare::assert_exact(&bed, "shop");
}

#[test]
fn a_window_that_closes_puts_the_run_away_and_gives_its_slot_back() {
    let mut bed = Bed::with_records(3000);
    bed.config["daemon"]["parallel"] = 1.into();
    let other = bed.config["exports"]["shop"].clone();
    bed.export("other", other);
    bed.config["exports"]["shop"]["windows"] = window(-1);
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[20])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.faults.contains_key(&Kind::Stall)));
    bed.config["exports"]["shop"]["windows"] = window(6);
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    let put_away = daemon.wait_for(&id, &["pending"], PATIENCE);
    let reason = put_away["task"]["reason"].as_str().unwrap();
    assert!(reason.contains("only within its windows") && reason.contains("it goes on at"), "{reason}");
    assert_eq!(put_away["task"]["attempt"], 0, "that was no attempt");
    bed.api.set_faults(Vec::new());
    daemon.run_to_success("other");
    assert_eq!(daemon.task(&id)["task"]["state"], "pending", "and it does not start by itself");
    bed.config["exports"]["shop"].as_object_mut().unwrap().remove("windows");
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    crate::compare::assert_exact(&bed, "shop");
}

#[test]
fn once_says_that_it_may_not_run_now() {
    let mut bed = Bed::with_records(300);
    bed.config["exports"]["shop"]["windows"] = window(6);
    let ended = bed.daemon(&["once", "shop"]).expect(7);
    assert!(
        ended.stderr.contains("only within its windows") && ended.stderr.contains("again from"),
        "{}",
        ended.stderr
    );
    assert_eq!(bed.api.requests(), 0);
}
