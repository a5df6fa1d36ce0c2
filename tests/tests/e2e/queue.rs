//! The queue: first in, first out, three at a time.

use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::sample::{Fault, Kind};

fn bed(parallel: Option<u32>) -> Bed {
    let mut bed = Bed::with_records(300);
    if let Some(parallel) = parallel {
        bed.config["daemon"]["parallel"] = parallel.into();
    }
    bed.config["sources"]["shop"]["rest"]["rate"] = serde_json::json!({ "concurrency": 16 });
    for n in 1..=6 {
        let export = bed.config["exports"]["shop"].clone();
        bed.export(&format!("e{n}"), export);
    }
    bed
}

fn states(daemon: &Daemon, ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| daemon.task(id)["task"]["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn three_run_and_the_others_wait_their_turn() {
    let bed = bed(None);
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[1, 2, 3])]);
    let daemon = bed.start();
    let ids: Vec<String> = (1..=6).map(|n| daemon.run(&format!("e{n}"))).collect();
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.under_way == 3));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let expected = ["processing", "processing", "processing", "pending", "pending", "pending"];
    assert_eq!(states(&daemon, &ids), expected);
    assert_eq!(bed.api.truth().most_at_once, 3, "a pending task asks nothing");
    // A pause frees the slot: the fourth starts, and then, one after the other, the rest.
    bed.ctl(&["pause", &ids[0]]).expect(0);
    for id in &ids[3..] {
        daemon.wait_for(id, &["succeeded"], PATIENCE);
    }
    assert_eq!(states(&daemon, &ids[..3]), ["paused", "processing", "processing"]);
    bed.api.reset();
    bed.ctl(&["pause", "--all"]).expect(0);
    bed.ctl(&["resume", "--all"]).expect(0);
    for id in &ids {
        daemon.wait_for(id, &["succeeded"], PATIENCE);
    }
}

#[test]
fn first_in_first_out_and_a_resumed_task_goes_to_the_head() {
    let bed = bed(Some(1));
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[1])]);
    let daemon = bed.start();
    let ids: Vec<String> = (1..=5).map(|n| daemon.run(&format!("e{n}"))).collect();
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.under_way == 1));
    bed.ctl(&["pause", &ids[4]]).expect(0);
    bed.ctl(&["resume", &ids[4]]).expect(0);
    // The stalled first one gets out of the way and comes back to the head as well.
    bed.ctl(&["cancel", &ids[0]]).expect(0);
    for id in &ids[1..] {
        daemon.wait_for(id, &["succeeded"], PATIENCE);
    }
    let mut order: Vec<(String, usize)> =
        (1..5).map(|n| (daemon.task(&ids[n])["task"]["started_at"].as_str().unwrap().to_owned(), n)).collect();
    order.sort();
    let order: Vec<usize> = order.into_iter().map(|(_, n)| n).collect();
    assert_eq!(order, [4, 1, 2, 3]);
    assert_eq!(bed.api.truth().most_at_once, 1);
}

#[test]
fn the_queue_survives_a_kill_in_its_order() {
    let bed = bed(Some(1));
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[2])]);
    let daemon = bed.start();
    let ids: Vec<String> = (1..=4).map(|n| daemon.run(&format!("e{n}"))).collect();
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.faults.contains_key(&Kind::Stall)));
    daemon.kill();
    let daemon = bed.start();
    for id in &ids {
        daemon.wait_for(id, &["succeeded"], PATIENCE);
    }
    let ends: Vec<String> =
        ids.iter().map(|id| daemon.task(id)["task"]["ended_at"].as_str().unwrap().to_owned()).collect();
    assert!(ends.is_sorted(), "{ends:?}");
}

#[test]
fn tasks_of_a_paused_export_say_why_they_wait_and_resuming_everything_starts_them() {
    let bed = bed(None);
    let daemon = bed.start();
    bed.ctl(&["pause", "e1"]).expect(0);
    let held = daemon.run("e1");
    bed.ctl(&["pause", &held]).expect(0);
    bed.ctl(&["resume", &held]).expect(0);
    daemon.run_to_success("e2");
    let task = daemon.task(&held)["task"].clone();
    assert_eq!(task["state"], "pending", "{task}");
    assert_eq!(task["waiting"]["reason"], "export e1 is paused: exportctl resume e1");
    bed.ctl(&["resume", "--all"]).expect(0);
    daemon.wait_for(&held, &["succeeded"], PATIENCE);
}

#[test]
fn a_pause_that_is_answered_survives_a_kill() {
    let bed = bed(None);
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[2])]);
    let daemon = bed.start();
    let id = daemon.run("e1");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.faults.contains_key(&Kind::Stall)));
    bed.ctl(&["pause", &id]).expect(0);
    daemon.kill();
    let daemon = bed.start();
    assert_eq!(daemon.task(&id)["task"]["state"], "paused");
    bed.ctl(&["resume", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
}
