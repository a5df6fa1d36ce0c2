//! Several destinations: each on its own, also when one hangs, refuses or is slow; filled back later, or let go.

use crate::compare::{assert_complete, assert_exact, latest, sha256, walk};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chain::chain;
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::faults::Faults;
use saas_export_tests::sample::table::Change;
use saas_export_tests::sample::{Fault, Options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A bed with these destinations beside the lake, each a directory of its own.
pub fn bed(records: u64, more: &[&str]) -> Bed {
    let mut bed = Bed::with_records(records);
    let mut to = vec!["lake"];
    for name in more {
        bed.config["destinations"][name] = json!({ "local": { "root": bed.path(name) } });
        to.push(name);
    }
    let mut export = config::export("shop", "cursor", "ndjson", "64kB");
    export["to"] = json!(to);
    bed.export("shop", export);
    bed
}

/// Every file that readers see below a root, with its SHA-256.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let files = walk(root).into_iter().filter(|path| !path.starts_with(root.join(".saas-export")));
    files.map(|path| (path.strip_prefix(root).unwrap().to_owned(), sha256(&path))).collect()
}

/// A destination of a task, as the API shows it.
fn place(daemon: &Daemon, id: &str, name: &str) -> Value {
    let task = daemon.task(id);
    let places = task["task"]["destinations"].as_array().cloned().unwrap_or_default();
    places.into_iter().find(|place| place["name"] == name).unwrap_or_else(|| panic!("no {name} in {task}"))
}

/// Waits until `is` holds of a destination.
#[track_caller]
pub fn until(daemon: &Daemon, id: &str, name: &str, is: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = place(daemon, id, name);
        if is(&found) {
            return found;
        }
        assert!(Instant::now() < end, "{name}: {found}\n{}", daemon.stderr());
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn published(place: &Value) -> bool {
    place["published"] == true
}

#[test]
fn a_dead_destination_delays_only_itself() {
    let bed = bed(3000, &["hangs", "refuses", "slow"]);
    let faults = Faults::of(&bed);
    faults.set("hangs", "hang");
    faults.set("refuses", "refuse");
    faults.set("slow", "slow 30");
    let daemon = bed.start_with(&[faults.env()]);
    let id = daemon.run("shop");
    until(&daemon, &id, "lake", published);
    until(&daemon, &id, "slow", published);
    let refuses = until(&daemon, &id, "refuses", |place| place["error"].is_string());
    assert_eq!((&refuses["delivered"], &refuses["published"]), (&json!(0), &json!(false)), "{refuses}");
    assert!(refuses["files"].as_u64().unwrap() > 10, "{refuses}");
    assert_eq!(place(&daemon, &id, "hangs")["delivered"], 0);
    let shown = bed.ctl(&["show", &id]).expect(0).stdout;
    assert!(shown.contains("refuses") && shown.contains("refused"), "{shown}");
    let status = bed.ctl(&["status"]).expect(0).stdout;
    assert!(status.contains("refuses") && status.contains("hangs") && !status.contains("lake"), "{status}");
    assert_exact(&bed, "shop");
    assert_eq!(tree(&bed.lake()), tree(&bed.path("slow")));

    // It waits without a slot: another export runs, and it outlives the daemon.
    let requests = bed.api.requests();
    daemon.kill();
    let daemon = bed.start_with(&[faults.env()]);
    until(&daemon, &id, "refuses", |place| place["error"].is_string());
    assert_eq!(daemon.task(&id)["task"]["state"], "processing");
    faults.clear("refuses");
    until(&daemon, &id, "refuses", published);
    assert_eq!(place(&daemon, &id, "hangs")["delivered"], 0);
    faults.clear("hangs");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_eq!(bed.api.requests(), requests, "the source was asked nothing more");
    for name in ["hangs", "refuses", "slow"] {
        assert_eq!(tree(&bed.lake()), tree(&bed.path(name)), "{name}");
    }
    assert!(walk(&bed.lake().join(".saas-export/spool")).is_empty());
}

#[test]
fn a_task_that_only_delivers_holds_no_slot() {
    let mut bed = bed(500, &["dead"]);
    bed.config["daemon"]["parallel"] = 1.into();
    bed.export("other", config::export("shop", "paged", "ndjson", "64kB"));
    let faults = Faults::of(&bed);
    faults.set("dead", "refuse");
    let daemon = bed.start_with(&[faults.env()]);
    let id = daemon.run("shop");
    until(&daemon, &id, "lake", published);
    daemon.run_to_success("other");
    daemon.kill();
    let daemon = bed.start_with(&[faults.env()]);
    daemon.run_to_success("other");
    faults.clear("dead");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
}

#[test]
fn deliveries_go_on_during_a_pause() {
    let bed = bed(3000, &["slow"]);
    let faults = Faults::of(&bed);
    faults.set("slow", "hang");
    bed.api.set_faults(vec![Fault::rate(40.0)]);
    let daemon = bed.start_with(&[faults.env()]);
    let id = daemon.run("shop");
    until(&daemon, &id, "lake", |place| place["delivered"].as_u64().unwrap() >= 3);
    bed.ctl(&["pause", &id]).expect(0);
    let paused = daemon.wait_for(&id, &["paused"], Duration::from_secs(2));
    let (requests, records) = (bed.api.requests(), paused["task"]["progress"]["records"].clone());
    faults.clear("slow");
    let all = |place: &Value| place["files"] == place["delivered"] && place["files"].as_u64().unwrap() >= 3;
    until(&daemon, &id, "slow", all);
    assert_eq!(daemon.task(&id)["task"]["state"], "paused");
    assert_eq!(daemon.task(&id)["task"]["progress"]["records"], records);
    assert_eq!(bed.api.requests(), requests, "the source rests");
    assert!(!bed.path("slow/shop/cursor/latest.json").exists(), "and nothing is published");
    bed.api.set_faults(vec![]);
    bed.ctl(&["resume", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    assert_eq!(tree(&bed.lake()), tree(&bed.path("slow")));
}

/// Bytes below a directory.
fn bytes(dir: &Path) -> u64 {
    walk(dir).iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum()
}

fn waits_for_room(daemon: &Daemon, id: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let task = daemon.task(id)["task"].clone();
        match task["waiting"]["reason"].as_str() {
            Some(reason) if reason.contains("spool is full") => return reason.to_owned(),
            _ => assert!(Instant::now() < end, "no word of waiting: {task}\n{}", daemon.stderr()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The segments of a task at a destination, with their bytes.
fn parts(bed: &Bed, id: &str, name: &str) -> BTreeMap<PathBuf, String> {
    let mut files = tree(&bed.path(name).join("shop/cursor").join(id));
    files.retain(|path, _| path.to_string_lossy().starts_with("part-"));
    files
}

#[test]
fn an_export_larger_than_the_quota_waits_for_a_dead_destination_and_finishes() {
    // About 10 MB in 100 files, through 1 MB; the first run knows no quota.
    let mut bed = bed(20_000, &["copy"]);
    bed.config["exports"]["shop"]["chunk_size"] = "100kB".into();
    let daemon = bed.start();
    let first = daemon.run_to_success("shop");
    let (undisturbed, total) = (parts(&bed, &first, "lake"), bytes(&bed.lake().join("shop/cursor").join(&first)));
    assert!(total > 9_000_000, "{total}");
    drop(daemon);

    bed.config["daemon"]["spool_quota"] = "1MB".into();
    let faults = Faults::of(&bed);
    faults.set("lake", "refuse");
    let daemon = bed.start_with(&[faults.env()]);
    let id = daemon.run("shop");
    let reason = waits_for_room(&daemon, &id);
    assert!(reason.contains(&format!("exportctl deliver {id} --drop lake")), "{reason}");
    until(&daemon, &id, "copy", |place| place["files"] == place["delivered"]);
    let (requests, held) = (bed.api.requests(), bytes(&bed.lake().join(".saas-export/spool")));
    assert!((700_000..=1_000_000).contains(&held), "{held} bytes in the spool");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(bed.api.requests(), requests, "nothing is asked for while there is no room");
    // Also over a restart.
    daemon.kill();
    let daemon = bed.start_with(&[faults.env()]);
    waits_for_room(&daemon, &id);
    bed.ctl(&["pause", &id]).expect(0);
    daemon.wait_for(&id, &["paused"], Duration::from_secs(2));
    bed.ctl(&["resume", &id]).expect(0);
    waits_for_room(&daemon, &id);
    faults.clear("lake");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    assert_eq!(parts(&bed, &id, "lake"), undisturbed, "byte for byte");
    assert_eq!(parts(&bed, &id, "copy"), undisturbed);
}

#[test]
fn tasks_and_lanes_share_the_quota_without_blocking_each_other() {
    let mut bed = bed(6000, &["slow"]);
    bed.config["daemon"]["spool_quota"] = "1MB".into();
    bed.stream("regions", config::regions(3));
    for name in ["shop", "second", "third"] {
        let mut export = config::export("shop", "regions", "ndjson", "160kB");
        // The spool lies with the slow one, which no link makes cheap.
        export["to"] = json!(["slow", "lake"]);
        bed.export(name, export);
    }
    let faults = Faults::of(&bed);
    faults.set("slow", "slow 40");
    let daemon = bed.start_with(&[faults.env()]);
    let ids: Vec<String> = ["shop", "second", "third"].map(|name| daemon.run(name)).into();
    let mut most = 0;
    let end = Instant::now() + PATIENCE;
    while ids.iter().any(|id| daemon.task(id)["task"]["state"] != "succeeded") {
        most = most.max(bytes(&bed.path("slow/.saas-export/spool")));
        assert!(
            Instant::now() < end,
            "{:?}\n{}",
            ids.iter().map(|id| daemon.task(id)).collect::<Vec<_>>(),
            daemon.stderr()
        );
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(most <= 1_300_000, "{most} bytes in the spool");
    for name in ["shop", "second", "third"] {
        assert_complete(&bed, name);
    }
}

#[test]
fn what_a_dead_destination_holds_is_dropped_and_filled_back() {
    for dead in ["lake", "copy"] {
        let mut bed = bed(5000, &["copy"]);
        bed.config["daemon"]["spool_quota"] = "1MB".into();
        bed.config["exports"]["shop"]["chunk_size"] = "100kB".into();
        let alive = if dead == "lake" { "copy" } else { "lake" };
        let faults = Faults::of(&bed);
        faults.set(dead, "refuse");
        let daemon = bed.start_with(&[faults.env()]);
        let id = daemon.run("shop");
        if dead == "lake" {
            waits_for_room(&daemon, &id);
        } else {
            until(&daemon, &id, "lake", published);
        }
        bed.ctl(&["deliver", &id, "--to", dead]).expect(7);
        bed.ctl(&["deliver", &id, "--drop", "nowhere"]).expect(7);
        bed.ctl(&["deliver", &id, "--drop", dead]).expect(0);
        let task = daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert!(task["streams"][0]["notes"].to_string().contains(dead), "{task}");
        assert_eq!(task["task"]["destinations"].as_array().unwrap().len(), 1, "{task}");
        assert!(walk(&bed.path(dead).join("shop")).is_empty());
        assert!(walk(&bed.lake().join(".saas-export/spool")).is_empty());
        bed.ctl(&["verify", &id, "--deep"]).expect(0);
        let refused = bed.ctl(&["deliver", &id, "--drop", alive]).expect(7);
        assert!(refused.stderr.contains("published"), "{refused:?}");

        faults.clear(dead);
        bed.ctl(&["deliver", &id, "--to", dead]).expect(0);
        until(&daemon, &id, dead, |place| published(place) && place["filling"].is_null());
        assert_eq!(tree(&bed.path(dead)), tree(&bed.path(alive)), "{dead}");
        bed.ctl(&["verify", &id, "--destination", dead]).expect(0);
        assert_exact(&bed, "shop");
        let refused = bed.ctl(&["deliver", &id, "--to", dead]).expect(7);
        assert!(refused.stderr.contains("everything already"), "{refused:?}");
    }
}

#[test]
fn a_new_destination_is_filled_back_from_an_earlier_task() {
    let mut bed = bed(2000, &["copy"]);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let refused = bed.ctl(&["deliver", &id, "--to", "late"]).expect(4);
    assert!(refused.stderr.contains("lake, ") || refused.stderr.contains("copy, lake"), "{refused:?}");
    bed.ctl(&["deliver", "20990101T0000", "--to", "copy"]).expect(4);
    drop(daemon);
    for name in ["late", "later"] {
        bed.config["destinations"][name] = json!({ "local": { "root": bed.path(name) } });
    }
    let faults = Faults::of(&bed);
    faults.set("late", "refuse");
    let daemon = bed.start_with(&[faults.env()]);
    // The lake's copy of a file is damaged, and another one is gone: the other destination has them.
    let files = latest(&bed, "shop", "lake");
    std::fs::write(&files[0].path, b"damaged").unwrap();
    std::fs::remove_file(&files[1].path).unwrap();
    let requests = bed.api.requests();
    bed.ctl(&["deliver", &id, "--to", "late"]).expect(0);
    bed.ctl(&["deliver", &id, "--to", "late"]).expect(0);
    until(&daemon, &id, "late", |place| place["error"].is_string() && place["filling"] == true);
    assert_eq!(daemon.task(&id)["task"]["state"], "succeeded");
    // It outlives the daemon.
    daemon.kill();
    faults.clear("late");
    let daemon = bed.start_with(&[faults.env()]);
    until(&daemon, &id, "late", |place| published(place) && place["filling"].is_null());
    assert_eq!(tree(&bed.path("late")), tree(&bed.path("copy")));
    assert_eq!(bed.api.requests(), requests, "the source is not asked");
    bed.ctl(&["verify", &id, "--destination", "late", "--deep"]).expect(0);
    let wrong = bed.ctl(&["verify", &id, "--deep"]).expect(9);
    assert!(wrong.stdout.contains(&files[0].path.display().to_string()), "{wrong:?}");

    for root in ["lake", "copy", "late"] {
        for file in
            walk(&bed.path(root).join("shop")).iter().filter(|path| path.ends_with(files[2].path.file_name().unwrap()))
        {
            std::fs::remove_file(file).unwrap();
        }
    }
    let refused = bed.ctl(&["deliver", &id, "--to", "later"]).expect(7);
    assert!(refused.stderr.contains("gone everywhere"), "{refused:?}");
    let failed = daemon.run("shop");
    daemon.wait_for(&failed, &["succeeded"], PATIENCE);
}

#[test]
fn a_back_fill_survives_a_crash_at_each_of_its_points() {
    for point in [
        "delivery.fetched:3",
        "delivery.copied:2",
        "delivery.committed:4",
        "spool.removed:2",
        "manifest.written",
        "manifest.latest_written",
    ] {
        let mut bed = bed(1500, &["copy"]);
        let daemon = bed.start();
        let id = daemon.run_to_success("shop");
        drop(daemon);
        bed.config["destinations"]["late"] = json!({ "local": { "root": bed.path("late") } });
        let mut daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let _ = daemon.ask("POST", &format!("/v1/tasks/{id}/deliver"), r#"{"to": "late"}"#);
        let end = Instant::now() + PATIENCE;
        while daemon.alive() {
            assert!(Instant::now() < end, "{point} is not passed");
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon.kill();
        let daemon = bed.start();
        until(&daemon, &id, "late", |place| published(place) && place["filling"].is_null());
        assert_eq!(tree(&bed.path("late")), tree(&bed.lake()), "{point}");
        assert!(walk(&bed.lake().join(".saas-export/spool")).is_empty(), "{point}");
    }
}

#[test]
fn a_chain_is_filled_back_in_any_order() {
    let mut bed = Bed::new(Options { records: 0, ..Options::default() });
    let put = |id: u64, at: u64| Change::Put(id, format!("2024-01-01T00:00:{at:02}Z"), "row".into());
    bed.stream(
        "items",
        json!({
            "path": "/table/cursor/items", "records": "$.data[*]", "primary_key": ["id"],
            "paginate": config::table_pager("cursor"),
            "incremental": { "cursor_field": "updated_at", "param": "updated_since", "start": "2024-01-01T00:00:00Z" },
        }),
    );
    bed.export("shop", config::export("shop", "items", "ndjson", "64kB"));
    bed.config["destinations"]["late"] = json!({ "local": { "root": bed.path("late") } });
    let daemon = bed.start();
    let mut ids = Vec::new();
    for round in 0..3u64 {
        bed.api.table().change((1..=5).map(|id| put(10 * round + id, 10 * round + id)));
        ids.push(daemon.run_to_success("shop"));
        std::thread::sleep(Duration::from_millis(1100));
    }
    let stream = bed.path("late/shop/items");
    let links = || chain(&stream).len();
    for (id, whole) in [(&ids[2], 0), (&ids[0], 1), (&ids[1], 3)] {
        bed.ctl(&["deliver", id, "--to", "late"]).expect(0);
        until(&daemon, id, "late", |place| published(place) && place["filling"].is_null());
        match whole {
            0 => assert!(!stream.join("latest.json").exists(), "half a chain is no data set"),
            whole => assert_eq!(links(), whole),
        }
        bed.ctl(&["verify", id]).expect(0);
    }
    assert_eq!(tree(&bed.path("late")), tree(&bed.lake()));
}
