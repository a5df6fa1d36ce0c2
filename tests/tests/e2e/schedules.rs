//! Schedules: an export runs by itself, once for each of its times, whatever happens to the daemon and its clock.

use nix::sys::signal::Signal;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::sample::{Fault, Kind};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Long enough for the daemon to look at the clock, and to do what it should not.
const A_WHILE: Duration = Duration::from_millis(1500);

/// A bed whose export has a schedule, and the file that says by how much its clock is wrong.
fn bed(schedule: Value) -> Bed {
    let mut bed = Bed::with_records(200);
    bed.config["exports"]["shop"]["schedule"] = schedule;
    set_clock(&bed, 0);
    bed
}

fn set_clock(bed: &Bed, hours: i64) {
    // In one step: a clock is never between two times.
    std::fs::write(bed.path("clock.new"), (hours * 3600).to_string()).unwrap();
    std::fs::rename(bed.path("clock.new"), bed.path("clock")).unwrap();
}

fn start(bed: &Bed, more: &[(&str, &str)]) -> Daemon {
    let clock = bed.path("clock");
    let env: Vec<_> =
        [("SAAS_EXPORT_CLOCK", clock.to_str().unwrap())].into_iter().chain(more.iter().copied()).collect();
    bed.start_with(&env)
}

fn stop(daemon: Daemon) {
    daemon.signal(Signal::SIGTERM);
    daemon.ended(PATIENCE);
}

/// Each hour, half an hour away from now.
fn each_hour() -> String {
    let minutes = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
    format!("*:{:02} UTC", (minutes + 30) % 60)
}

/// The tasks of an export, newest first; each was made by the schedule.
fn tasks(daemon: &Daemon, export: &str) -> Vec<Value> {
    let tasks = daemon.get(&format!("/v1/tasks?export={export}&limit=1000")).as_array().unwrap().clone();
    assert!(tasks.iter().all(|task| task["actor"] == "schedule"), "{tasks:?}");
    tasks
}

#[track_caller]
fn until(what: &str, daemon: &Daemon, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < end, "{what}: not in time\n{}", daemon.stderr());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for so many tasks, and that there are no more.
#[track_caller]
fn exactly(daemon: &Daemon, export: &str, count: usize) {
    until(&format!("{count} tasks"), daemon, || tasks(daemon, export).len() >= count);
    std::thread::sleep(A_WHILE);
    let found = tasks(daemon, export);
    assert_eq!(found.len(), count, "{found:?}\n{}", daemon.stderr());
}

/// Waits until the daemon has noted so many schedules.
fn seen(bed: &Bed, daemon: &Daemon, count: usize) {
    let noted = || bed.ctl(&["query", "GET", "/v1/events?since=0"]).expect(0).stdout;
    until("it is seen", daemon, || noted().matches("schedule_seen").count() >= count);
}

fn schedule(bed: &Bed, export: &str) -> Value {
    bed.ctl_json(&["schedule", export, "--next", "3"])[0].clone()
}

#[test]
fn it_runs_by_itself_and_never_beside_itself() {
    let bed = bed(json!("*:*:* UTC"));
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[2]).ms(3000)]);
    let daemon = start(&bed, &[]);
    until("a slot is skipped", &daemon, || schedule(&bed, "shop")["last"]["outcome"] == "skipped");
    assert_eq!(tasks(&daemon, "shop").len(), 1);
    let first = tasks(&daemon, "shop")[0]["id"].as_str().unwrap().to_owned();
    until("the first one ends", &daemon, || tasks(&daemon, "shop").len() >= 3);
    assert_eq!(daemon.task(&first)["task"]["state"], "succeeded");
    let told = daemon.stderr();
    assert_eq!(told.matches(&format!("because task {first} is still open")).count(), 1, "{told}");
    bed.api.set_faults(Vec::new());
    // What it shows: the next times a second apart, and what the last one made.
    let shown = schedule(&bed, "shop");
    let at = |n: usize| shown["next"][n]["at"].as_str().unwrap().to_owned();
    assert!(at(0) < at(1) && at(1) < at(2), "{shown}");
    assert_eq!(
        (&shown["expression"], &shown["timezone"], &shown["paused"]),
        (&json!("*:*:* UTC"), &json!("UTC"), &json!(false))
    );
    let table = bed.ctl(&["schedule", "--next", "2"]).expect(0).stdout;
    assert!(table.starts_with("EXPORT") && table.contains("UTC") && table.lines().count() == 3, "{table}");
    stop(daemon);
}

#[test]
fn what_was_missed_is_made_up_for_by_one_run_or_not_at_all() {
    let mut bed = bed(json!(each_hour()));
    let mut strict = bed.config["exports"]["shop"].clone();
    strict["schedule"] = json!({ "calendar": each_hour(), "catch_up": false });
    bed.export("strict", strict);
    let daemon = start(&bed, &[]);
    seen(&bed, &daemon, 2);
    assert!(tasks(&daemon, "shop").is_empty(), "nothing before it was first seen");
    stop(daemon);
    // Five slots while the daemon was down.
    set_clock(&bed, 5);
    let daemon = start(&bed, &[]);
    exactly(&daemon, "shop", 1);
    assert!(daemon.stderr().contains("missed slots are made up for by one run"), "{}", daemon.stderr());
    assert!(tasks(&daemon, "strict").is_empty());
    assert_eq!(schedule(&bed, "strict")["last"]["outcome"], "missed");
    // Two slots in a jump of the clock, and then it is put back and goes on again.
    set_clock(&bed, 7);
    exactly(&daemon, "shop", 2);
    set_clock(&bed, 5);
    exactly(&daemon, "shop", 2);
    set_clock(&bed, 7);
    exactly(&daemon, "shop", 2);
    set_clock(&bed, 8);
    exactly(&daemon, "shop", 3);
    // A clock that was wrong by years costs nothing but a look.
    set_clock(&bed, 100_000);
    exactly(&daemon, "shop", 4);
    set_clock(&bed, 8);
    std::thread::sleep(A_WHILE);
    set_clock(&bed, 9);
    exactly(&daemon, "shop", 5);
    stop(daemon);
}

#[test]
fn killed_around_its_slot_it_runs_once() {
    for (point, made) in [("slot.before_commit", 0), ("slot.committed", 1)] {
        let bed = bed(json!(each_hour()));
        let daemon = start(&bed, &[]);
        seen(&bed, &daemon, 1);
        stop(daemon);
        set_clock(&bed, 1);
        let clock = bed.path("clock");
        let env = [("SAAS_EXPORT_CLOCK", clock.to_str().unwrap()), ("SAAS_EXPORT_CRASH_AT", point)];
        let (status, said) = bed.spawn_with(&env).ended(Duration::from_secs(20));
        assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
        let daemon = start(&bed, &[("SAAS_EXPORT_CRASH_AT", if made == 1 { "slot.before_commit" } else { "" })]);
        // With the task there, nothing is made any more; without it, it is.
        exactly(&daemon, "shop", 1);
        let id = tasks(&daemon, "shop")[0]["id"].as_str().unwrap().to_owned();
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        crate::compare::assert_exact(&bed, "shop");
        stop(daemon);
    }
}

#[test]
fn a_pause_holds_it_and_what_comes_after_is_one_run() {
    let bed = bed(json!(each_hour()));
    let daemon = start(&bed, &[]);
    seen(&bed, &daemon, 1);
    bed.ctl(&["pause", "shop"]).expect(0);
    set_clock(&bed, 3);
    std::thread::sleep(A_WHILE);
    assert!(tasks(&daemon, "shop").is_empty());
    assert_eq!(schedule(&bed, "shop")["paused"], true);
    stop(daemon);
    let daemon = start(&bed, &[]);
    std::thread::sleep(A_WHILE);
    assert!(tasks(&daemon, "shop").is_empty(), "a pause survives a restart");
    let asked = Instant::now();
    bed.ctl(&["resume", "shop"]).expect(0);
    until("it goes on", &daemon, || !tasks(&daemon, "shop").is_empty());
    assert!(asked.elapsed() < Duration::from_secs(20), "at once, and not at the next look of a minute");
    exactly(&daemon, "shop", 1);
    stop(daemon);
}

#[test]
fn a_reload_changes_it_and_a_window_holds_its_run() {
    let mut bed = bed(json!({ "cron": "0 0 1 1 *", "timezone": "Asia/Tokyo", "randomized_delay": "10m" }));
    let daemon = start(&bed, &[]);
    let shown = schedule(&bed, "shop");
    assert_eq!((&shown["kind"], &shown["timezone"]), (&json!("cron"), &json!("Asia/Tokyo")), "{shown}");
    let delay = shown["delay_seconds"].as_u64().unwrap();
    let local = shown["next"][0]["local"].as_str().unwrap();
    assert!(delay <= 600 && local.contains("-01-01T00:0") || local.contains("-01-01T00:10"), "{shown}");
    assert_eq!(schedule(&bed, "shop")["delay_seconds"], delay, "always the same");
    // Each second, but only within a window that is six hours away.
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600 + 6;
    bed.config["exports"]["shop"]["schedule"] = json!("*:*:* UTC");
    bed.config["exports"]["shop"]["windows"] = json!([format!("{:02}:00-{:02}:59", hour % 24, hour % 24)]);
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    until("a task waits", &daemon, || schedule(&bed, "shop")["last"]["outcome"] == "skipped");
    let waits = tasks(&daemon, "shop");
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0]["state"], "pending");
    assert!(waits[0]["waiting"]["reason"].as_str().unwrap().contains("only within its windows"), "{waits:?}");
    assert_eq!(bed.api.requests(), 0);
    // Without a schedule nothing comes any more, and what waits is only that task.
    let export = bed.config["exports"]["shop"].as_object_mut().unwrap();
    export.remove("schedule");
    export.remove("windows");
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    daemon.wait_for(waits[0]["id"].as_str().unwrap(), &["succeeded"], PATIENCE);
    exactly(&daemon, "shop", 1);
    let none = bed.ctl(&["schedule", "shop"]).expect(4).stderr;
    assert!(none.contains("has no schedule"), "{none}");
    bed.ctl(&["schedule"]).expect(0);
    stop(daemon);
}
