//! Pause, resume, cancel and retry, also in the middle of a request that never ends.

use crate::compare::{assert_exact, assert_tidy};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::faults::Faults;
use saas_export_tests::harness::programs::wait_until;
use saas_export_tests::sample::{Fault, Kind};
use std::time::{Duration, Instant};

/// The longest a pause or cancel may take to act.
const PROMISE: Duration = Duration::from_secs(2);

/// A task that hangs in a request without end.
fn stalled(kind: Kind) -> (Bed, Daemon, String) {
    let bed = Bed::with_records(2000);
    bed.api.set_faults(vec![Fault::new(kind).at(&[8])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.faults.contains_key(&kind)));
    std::thread::sleep(Duration::from_millis(100));
    (bed, daemon, id)
}

#[test]
fn pause_acts_within_two_seconds_in_a_stalled_request() {
    for kind in [Kind::Stall, Kind::StallBody] {
        let (bed, daemon, id) = stalled(kind);
        let asked = Instant::now();
        bed.ctl(&["pause", &id]).expect(0);
        daemon.wait_for(&id, &["paused"], PROMISE);
        assert!(asked.elapsed() < PROMISE, "{:?}", asked.elapsed());
        assert!(bed.api.wait_until(PROMISE, |truth| truth.under_way == 0), "the stalled request is dropped");
        let before = bed.api.requests();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(bed.api.requests(), before, "a paused task asks nothing");
        bed.ctl(&["resume", &id]).expect(0);
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_exact(&bed, "shop");
        assert_tidy(&bed, "shop", "cursor");
    }
}

#[test]
fn cancel_acts_within_two_seconds_and_retry_finishes_the_same_task() {
    let (bed, daemon, id) = stalled(Kind::Stall);
    let asked = Instant::now();
    bed.ctl(&["cancel", &id]).expect(0);
    daemon.wait_for(&id, &["cancelled"], PROMISE);
    assert!(asked.elapsed() < PROMISE, "{:?}", asked.elapsed());
    assert!(!bed.lake().join("shop/cursor/latest.json").exists());
    bed.ctl(&["pause", &id]).expect(7);
    bed.ctl(&["retry", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    bed.ctl(&["retry", &id]).expect(7);
}

#[test]
fn a_pause_survives_a_restart_and_holds_the_export() {
    let (bed, daemon, id) = stalled(Kind::Stall);
    bed.ctl(&["pause", "shop"]).expect(0);
    daemon.wait_for(&id, &["paused"], PROMISE);
    daemon.kill();
    let daemon = bed.start();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daemon.task(&id)["task"]["state"], "paused");
    let exports = bed.ctl_json(&["exports"]);
    assert!(exports.to_string().contains("\"paused\":true"), "{exports}");
    bed.ctl(&["resume", "shop"]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
}

#[test]
fn a_pending_task_can_be_paused_too() {
    let mut bed = Bed::with_records(500);
    bed.config["daemon"]["parallel"] = 1.into();
    let other = bed.config["exports"]["shop"].clone();
    bed.export("second", other);
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[1])]);
    let daemon = bed.start();
    let first = daemon.run("shop");
    daemon.wait_for(&first, &["processing"], PATIENCE);
    let second = daemon.run("second");
    bed.ctl(&["pause", &second]).expect(0);
    assert_eq!(daemon.task(&second)["task"]["state"], "paused");
    bed.ctl(&["pause", "--all"]).expect(0);
    daemon.wait_for(&first, &["paused"], PROMISE);
    bed.ctl(&["resume", "--all"]).expect(0);
    for id in [&first, &second] {
        daemon.wait_for(id, &["succeeded"], PATIENCE);
    }
}

#[test]
fn a_failed_task_is_retried_under_the_same_id() {
    // Behind the sample of fifty pages, before which nothing is committed.
    let bed = Bed::with_records(10_000);
    bed.api.set_faults(vec![Fault::status(404).at(&[80])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    daemon.wait_for(&id, &["failed"], PATIENCE);
    // A closed task never blocks: the same request makes a new one.
    let again = daemon.run_to_success("shop");
    assert_ne!(id, again);
    bed.api.reset();
    bed.ctl(&["retry", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    assert!(bed.api.requests() < 40, "what the first attempt committed is not asked for again");
}

#[test]
fn an_open_request_is_found_again() {
    let (bed, daemon, id) = stalled(Kind::Stall);
    assert_eq!(daemon.run("shop"), id, "the same request, while its task is open");
    let ended = bed.ctl(&["run", "shop", "--format", "csv", "--json"]).expect(0);
    assert_ne!(ended.json()["task"], id.as_str(), "another format is another request");
}

#[test]
fn every_transition_is_in_the_audit() {
    let (bed, daemon, id) = stalled(Kind::Stall);
    bed.ctl(&["pause", &id]).expect(0);
    daemon.wait_for(&id, &["paused"], PROMISE);
    bed.ctl(&["resume", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    let answer = daemon.ask("GET", "/v1/events", "").unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<(String, String)> = events
        .iter()
        .filter(|event| event["task"] == id.as_str() && event["to"].is_string())
        .map(|event| {
            assert!(event["at"].is_string() && event["actor"].is_string(), "{event}");
            (event["action"].as_str().unwrap().to_owned(), event["to"].as_str().unwrap().to_owned())
        })
        .collect();
    let wanted = [
        ("start", "processing"),
        ("pause", "paused"),
        ("resume", "pending"),
        ("start", "processing"),
        ("succeed", "succeeded"),
    ];
    let steps: Vec<(&str, &str)> = steps.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert!(steps.ends_with(&wanted), "{steps:?}");
    let pause = events.iter().find(|event| event["action"] == "pause").unwrap();
    assert!(pause["actor"].as_str().unwrap().starts_with("uid "), "{pause}");
}

#[test]
fn a_cancel_that_comes_too_late_is_refused_and_the_task_goes_on() {
    let mut bed = Bed::with_records(500);
    bed.config["destinations"]["copy"] = serde_json::json!({ "local": { "root": bed.path("copy") } });
    bed.config["exports"]["shop"]["to"] = serde_json::json!(["lake", "copy"]);
    let faults = Faults::of(&bed);
    faults.set("copy", "hang");
    let daemon = bed.start_with(&[faults.env()]);
    let id = daemon.run("shop");
    let published = || {
        let task = daemon.task(&id);
        task["manifests"].as_array().is_some_and(|all| all.iter().any(|manifest| manifest["published_at"].is_string()))
    };
    assert!(wait_until(PATIENCE, published), "published at the lake");
    let refused = bed.ctl(&["cancel", &id]).expect(7);
    assert!(refused.stderr.contains("it is already published at lake"), "{}", refused.stderr);
    faults.set("copy", "refuse");
    assert!(wait_until(PATIENCE, || daemon.stderr().contains("delivery to copy failed")), "{}", daemon.stderr());
    bed.ctl(&["cancel", &id]).expect(7);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!daemon.stderr().contains("copy works again"), "{}", daemon.stderr());
    faults.clear("copy");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    let said = daemon.stderr();
    assert!(!said.contains("this is tried again") && said.contains("copy works again"), "{said}");
    assert_eq!(said.matches("EXPORT_DESTINATION=lake").count(), 1, "what is published is told once: {said}");
}
