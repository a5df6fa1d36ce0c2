//! Retention: whole chains go, by themselves, and whatever kills the daemon meanwhile, no reader ever meets half of one.

use crate::compare::walk;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chain::chain;
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::sample::Options;
use saas_export_tests::sample::table::Change;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A row of the collection that was changed in second `at` of 2024.
fn put(id: u64, at: u64) -> Change {
    Change::Put(id, format!("2024-01-01T00:{:02}:{:02}Z", at / 60, at % 60), format!("of {at}"))
}

/// A bed whose export `shop` follows a collection, to two destinations.
fn bed(keep: Value) -> Bed {
    let mut bed = Bed::new(Options { records: 0, ..Options::default() });
    bed.stream(
        "items",
        json!({
            "path": "/table/page/items",
            "records": "$.data[*]",
            "primary_key": ["id"],
            "paginate": config::table_pager("page"),
            "incremental": { "cursor_field": "updated_at", "param": "updated_since", "start": "2024-01-01T00:00:00Z" },
        }),
    );
    bed.config["destinations"]["copy"] = json!({ "local": { "root": bed.path("copy") } });
    let mut export = config::export("shop", "items", "ndjson", "64kB");
    export["to"] = json!(["lake", "copy"]);
    export["keep"] = keep;
    bed.export("shop", export);
    bed
}

/// Runs the export after a change of the collection, as a whole or what is new; its task.
fn run(bed: &Bed, daemon: &Daemon, n: u64, full: bool) -> String {
    bed.api.table().change((0..5).map(|k| put(10 * n + k, n)));
    let args: &[&str] = if full { &["run", "shop", "--full"] } else { &["run", "shop"] };
    let id = bed.ctl(args).expect(0).stdout.trim().to_owned();
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    id
}

/// Three full tasks, each with an incremental one after it.
fn chains(bed: &Bed, daemon: &Daemon) -> Vec<String> {
    (1..=6).map(|n| run(bed, daemon, n, n % 2 == 1)).collect()
}

/// Ids as directories are listed: those of one second are not in the order of their tasks.
fn listed(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}

/// The tasks that have a directory at a destination, in order.
fn tasks(stream: &Path) -> Vec<String> {
    let names = fs::read_dir(stream).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != "latest.json").collect();
    names.sort();
    names
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn exactly_the_newest_chain_is_left_and_verifies() {
    let bed = bed(json!({ "chains": 1, "destinations": { "copy": {} } }));
    let daemon = bed.start();
    let all = chains(&bed, &daemon);
    let (lake, copy) = (bed.lake().join("shop/items"), bed.path("copy/shop/items"));
    eventually("the older chains go by themselves", || tasks(&lake) == listed(&all[4..]));
    assert_eq!(tasks(&copy), listed(&all), "where everything is kept, nothing goes");
    for stream in [&lake, &copy] {
        let rows = chain(stream).into_iter().flat_map(|(_, rows)| rows);
        let read: BTreeMap<u64, Value> = rows.map(|row| (row["id"].as_u64().unwrap(), row)).collect();
        assert_eq!(read, bed.api.table().rows());
        bed.ctl(&["verify", "--dir", &stream.display().to_string()]).expect(0);
    }
    for id in &all[4..] {
        bed.ctl(&["verify", id]).expect(0);
    }
    // What is gone is offered by nothing; what is left at the other destination is.
    let old = &all[0];
    assert!(bed.ctl(&["verify", old, "--destination", "lake"]).expect(7).stderr.contains("were pruned at"));
    bed.ctl(&["verify", old, "--destination", "copy"]).expect(0);
    assert!(bed.ctl(&["show", old]).expect(0).stdout.contains(", pruned at "));
    let listed = bed.ctl_json(&["files", old])["files"].clone();
    assert!(listed.as_array().unwrap().iter().all(|file| file["destination"] == "copy"), "{listed}");
    let latest = bed.ctl_json(&["files", "shop", "--latest"])["files"].clone();
    assert!(
        latest.as_array().unwrap().iter().all(|file| all[4..].contains(&file["task"].as_str().unwrap().to_owned()))
    );
    let out = bed.path("out");
    bed.ctl(&["get", old, "-o", &out.display().to_string(), "--destination", "lake"]).expect(7);
    bed.ctl(&["get", old, "-o", &out.display().to_string()]).expect(0);
    let events = daemon.ask("GET", "/v1/events", "").unwrap();
    let text = String::from_utf8(events.body.clone()).unwrap();
    let pruned: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|e| e["action"] == "pruned")
        .collect();
    assert_eq!(pruned.len(), 2, "one line for each chain and destination: {pruned:?}");
    assert!(
        pruned
            .iter()
            .all(|e| e["actor"] == "daemon" && e["detail"]["destination"] == "lake" && e["detail"]["files"] == 2)
    );
}

#[test]
fn an_operator_sees_what_would_go_and_lets_it_go() {
    let mut bed = bed(json!({}));
    let daemon = bed.start();
    let all = chains(&bed, &daemon);
    let plan = bed.ctl_json(&["prune", "--dry-run"]);
    assert!(plan["chains"].as_array().unwrap().iter().all(|chain| chain["fate"] == "kept"), "{plan}");
    let streams = [bed.lake().join("shop/items"), bed.path("copy/shop/items")];
    // A pointer that nobody can read holds up the daemon's own looks, so that it is the operator who lets the chain go.
    let pointers =
        streams.each_ref().map(|stream| (stream.join("latest.json"), fs::read(stream.join("latest.json")).unwrap()));
    pointers.iter().for_each(|(path, _)| fs::write(path, "{").unwrap());
    bed.config["exports"]["shop"]["keep"] = json!({ "chains": 2 });
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    let shown = bed.ctl(&["prune", "shop", "--dry-run"]).expect(0);
    let goes: Vec<&str> = shown.stdout.lines().filter(|line| line.contains(" goes ")).collect();
    assert_eq!(goes.len(), 2, "one chain at two destinations: {}", shown.stdout);
    assert!(goes.iter().all(|line| line.contains(&all[0]) && line.contains("2 newer ones are whole (chains: 2)")));
    assert_eq!(tasks(&bed.lake().join("shop/items")), listed(&all), "a look removes nothing");
    bed.ctl(&["prune", "shop"]).expect(2);
    assert!(bed.ctl(&["prune", "shop", "--yes"]).expect(1).stdout.contains(" waits "), "nothing goes on a guess");
    assert_eq!(tasks(&bed.lake().join("shop/items")), listed(&all));
    pointers.iter().for_each(|(path, good)| fs::write(path, good).unwrap());
    bed.ctl(&["prune", "shop", "--yes"]).expect(0);
    for stream in &streams {
        assert_eq!(tasks(stream), listed(&all[2..]));
    }
    assert_eq!(bed.ctl(&["prune", "--yes"]).expect(0).stdout, "");
}

/// The chains of the full history, by id: their tasks in order.
type Known = BTreeMap<String, Vec<String>>;

fn known(stream: &Path) -> Known {
    let mut known: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
    for task in tasks(stream) {
        let manifest: Value =
            serde_json::from_slice(&fs::read(stream.join(&task).join("_manifest.json")).unwrap()).unwrap();
        let place = &manifest["chain"];
        let links = known.entry(place["id"].as_str().unwrap().to_owned()).or_default();
        links.insert(place["position"].as_u64().unwrap(), task);
    }
    known.into_iter().map(|(id, links)| (id, links.into_values().collect())).collect()
}

/// Whatever manifests are there are those of a chain from its start on, each with all of its files.
#[track_caller]
fn assert_no_half_chain(stream: &Path, known: &Known) {
    for (id, links) in known {
        let there: Vec<bool> = links.iter().map(|task| stream.join(task).join("_manifest.json").exists()).collect();
        assert!(there.is_sorted_by(|before, after| before >= after), "{id} lacks its start: {there:?}");
        for task in links.iter().zip(&there).filter(|(_, there)| **there).map(|(task, _)| task) {
            let dir = stream.join(task);
            let manifest: Value = serde_json::from_slice(&fs::read(dir.join("_manifest.json")).unwrap()).unwrap();
            for segment in manifest["segments"].as_array().unwrap() {
                let bytes = fs::metadata(dir.join(segment["name"].as_str().unwrap())).map(|meta| meta.len()).ok();
                assert_eq!(bytes, segment["bytes"].as_u64(), "{}", dir.display());
            }
        }
    }
    // What readers follow is always whole.
    assert_eq!(chain(stream).len(), 2);
}

fn copy(from: &Path, to: &Path) {
    for file in walk(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

#[test]
fn killed_while_pruning_every_chain_is_whole_or_gone() {
    let mut bed = bed(json!({}));
    let daemon = bed.start();
    let all = chains(&bed, &daemon);
    daemon.kill();
    let stored = bed.path("stored");
    let parts = ["state", "lake", "copy"];
    parts.iter().for_each(|part| copy(&bed.path(part), &stored.join(part)));
    let streams = [bed.lake().join("shop/items"), bed.path("copy/shop/items")];
    let known = known(&streams[0]);
    assert_eq!(known.len(), 3);
    bed.config["exports"]["shop"]["keep"] = json!({ "chains": 1 });
    let mut cases: Vec<(Option<&str>, u64)> = Vec::new();
    for point in ["prune.noted", "prune.manifest_removed", "prune.removed", "prune.committed"] {
        cases.push((Some(point), 0));
    }
    let later = [
        "prune.object_removed",
        "prune.object_removed:4",
        "prune.manifest_removed:4",
        "prune.noted:4",
        "prune.committed:3",
    ];
    cases.extend(later.map(|point| (Some(point), 0)));
    // Each at another moment from the start on.
    cases.extend((0..if crate::torture() { 40 } else { 8 }).map(|n| (None, 2 + 7 * n)));
    for (point, delay) in cases {
        for part in parts {
            fs::remove_dir_all(bed.path(part)).unwrap();
            copy(&stored.join(part), &bed.path(part));
        }
        match point {
            Some(point) => {
                let daemon = bed.spawn_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
                let (status, said) = daemon.ended(Duration::from_secs(20));
                assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
            }
            None => {
                let daemon = bed.start();
                std::thread::sleep(Duration::from_millis(delay));
                daemon.kill();
            }
        }
        streams.iter().for_each(|stream| assert_no_half_chain(stream, &known));
        let daemon = bed.start();
        for stream in &streams {
            eventually(&format!("{point:?} {delay}: the rest goes"), || tasks(stream) == all[4..]);
            assert_no_half_chain(stream, &known);
        }
        // Exactly one line for each chain and destination, however often it was begun.
        let count = || {
            let events = daemon.ask("GET", "/v1/events", "").unwrap();
            String::from_utf8(events.body.clone())
                .unwrap()
                .lines()
                .filter(|line| line.contains(r#""action":"pruned""#))
                .count()
        };
        eventually("all of it is on record", || count() == 4);
        bed.ctl(&["verify", "shop"]).expect(0);
        daemon.kill();
    }
}
