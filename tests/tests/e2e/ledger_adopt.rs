//! A ledger that was restored from a snapshot, or rebuilt: what is published is adopted first, and no night is published twice.

use crate::compare::{sha256, walk};
use crate::several::tree;
use nix::sys::signal::Signal;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chain::chain;
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::programs::{Ended, finish, program};
use saas_export_tests::sample::Options;
use saas_export_tests::sample::table::Change;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A bed whose export `shop` follows a collection, to two directories.
pub fn bed() -> Bed {
    let mut bed = Bed::new(Options { records: 0, ..Options::default() });
    bed.stream(
        "items",
        json!({
            "path": "/table/page/items",
            "records": "$.data[*]",
            "primary_key": ["id"],
            "paginate": config::table_pager("page"),
            "incremental": { "cursor_field": "updated_at", "param": "updated_since", "start": time(0) },
        }),
    );
    bed.config["destinations"]["mirror"] = json!({ "local": { "root": bed.path("mirror") } });
    let mut export = config::export("shop", "items", "ndjson", "64kB");
    export["to"] = json!(["lake", "mirror"]);
    bed.export("shop", export);
    bed
}

fn time(at: u64) -> String {
    format!("2024-01-01T00:{:02}:{:02}Z", at / 60, at % 60)
}

/// Rows that were changed in second `at`.
pub fn change(bed: &Bed, ids: std::ops::RangeInclusive<u64>, at: u64) {
    bed.api.table().change(ids.map(|id| Change::Put(id, time(at), format!("at {at}"))));
}

/// Runs the export; the task, and the rows that were written.
pub fn night(bed: &Bed, daemon: &Daemon) -> (String, u64) {
    bed.api.table().forget_queries();
    let id = daemon.run_to_success("shop");
    let written = daemon.task(&id)["streams"][0]["counts"]["written"].as_u64().unwrap();
    (id, written)
}

pub fn stop(daemon: Daemon) {
    daemon.signal(Signal::SIGTERM);
    daemon.ended(PATIENCE);
}

/// Files of the ledger, as they are now: those that tell whether a command has changed anything.
pub fn ledger(bed: &Bed) -> BTreeMap<PathBuf, String> {
    let found = walk(&bed.path("state")).into_iter();
    let own = found.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger.db")));
    own.map(|path| (path.clone(), sha256(&path))).collect()
}

/// Copies the ledger of a daemon that is gone, with its log.
pub fn snapshot(bed: &Bed) -> PathBuf {
    let to = bed.path("snapshot.db");
    for suffix in ["", "-wal"] {
        let from = bed.path(&format!("state/ledger.db{suffix}"));
        if from.exists() {
            fs::copy(from, format!("{}{suffix}", to.display())).unwrap();
        }
    }
    to
}

pub fn restore(bed: &Bed, snapshot: &Path, more: &[&str]) -> Ended {
    let args = [&["ledger", "restore", snapshot.to_str().unwrap()], more].concat();
    bed.daemon(&args)
}

/// The rows of the chain at a destination; no version of any row is there twice.
#[track_caller]
fn followed(root: &Path) -> BTreeMap<u64, Value> {
    let rows: Vec<Value> = chain(&root.join("shop/items")).into_iter().flat_map(|(_, rows)| rows).collect();
    let mut seen: Vec<String> = rows.iter().map(ToString::to_string).collect();
    seen.sort();
    let all = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), all, "a record was published twice");
    rows.into_iter().map(|row| (row["id"].as_u64().unwrap(), row)).collect()
}

/// The lake and the mirror have what the source has, and everything in them is what the ledger says.
#[track_caller]
pub fn whole(bed: &Bed, links: usize) {
    assert_eq!(chain(&bed.lake().join("shop/items")).len(), links);
    assert_eq!(followed(&bed.lake()), bed.api.table().rows());
    assert_eq!(tree(&bed.lake()), tree(&bed.path("mirror")));
    for task in bed.ctl_json(&["tasks", "--state", "succeeded"]).as_array().unwrap() {
        bed.ctl(&["verify", task["id"].as_str().unwrap(), "--deep"]).expect(0);
    }
}

/// Three nights of one row each after a first one of twenty; a snapshot from behind the first. The last three tasks.
pub fn nights(bed: &Bed) -> (PathBuf, Vec<String>) {
    change(bed, 1..=20, 10);
    let daemon = bed.start();
    night(bed, &daemon);
    stop(daemon);
    let snapshot = snapshot(bed);
    let daemon = bed.start();
    let tasks = (1..=3).map(|n| {
        change(bed, 20 + n..=20 + n, 20 + n);
        let (task, written) = night(bed, &daemon);
        assert_eq!(written, 1);
        task
    });
    let tasks = tasks.collect();
    stop(daemon);
    (snapshot, tasks)
}

/// A first night of twenty rows, and a task of five more, asked for with `body`, that was killed at the end of its extraction: it
/// has moved the mark. The task, and a snapshot of that moment.
fn opened(bed: &Bed, body: &str) -> (String, PathBuf) {
    change(bed, 1..=20, 10);
    let daemon = bed.start();
    night(bed, &daemon);
    stop(daemon);
    change(bed, 21..=25, 21);
    let dying = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "task.extracted")]);
    let asked = dying.ask("POST", "/v1/exports/shop/run", body).unwrap().json();
    let open = asked["result"]["task"].as_str().unwrap().to_owned();
    assert_eq!(dying.ended(PATIENCE).0.signal(), Some(9));
    (open, snapshot(bed))
}

pub fn adopted(report: &Value) -> Vec<String> {
    let all = report["adopted"].as_array().unwrap();
    all.iter().map(|task| task["task"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_restored_ledger_goes_on_behind_what_is_published() {
    let bed = bed();
    let (snapshot, tasks) = nights(&bed);
    let before = ledger(&bed);
    let told = restore(&bed, &snapshot, &["--dry-run", "--json"]).expect(0).json();
    assert_eq!((adopted(&told), &told["dry_run"]), (tasks.clone(), &json!(true)));
    assert_eq!(ledger(&bed), before, "a dry run changes nothing");

    let report = restore(&bed, &snapshot, &["--json"]).expect(0).json();
    assert_eq!(adopted(&report), tasks);
    assert_eq!((&report["cancelled"], &report["commands"], &report["notes"]), (&json!([]), &json!([]), &json!([])));
    let kept = PathBuf::from(report["before"].as_str().unwrap());
    assert_eq!(sha256(&kept), before[&bed.path("state/ledger.db")], "the old one is kept as it was");
    let daemon = bed.start();
    assert_eq!(daemon.task(&tasks[2])["task"]["state"], "succeeded");
    assert_eq!(night(&bed, &daemon).1, 0, "the record at the mark is not written again");
    assert_eq!(bed.api.table().given(), 1, "although it was given again");
    change(&bed, 5..=5, 30);
    change(&bed, 30..=31, 30);
    assert_eq!(night(&bed, &daemon).1, 3);
    whole(&bed, 6);
    let events = daemon.ask("GET", "/v1/events?since=0", "").unwrap().body;
    let events = String::from_utf8_lossy(&events).into_owned();
    assert!(events.contains("ledger_restored") && events.contains("\"adopted\""), "{events}");
}

#[test]
fn a_lost_ledger_is_rebuilt_of_what_is_published() {
    let bed = bed();
    let (_, tasks) = nights(&bed);
    fs::remove_file(bed.path("state/ledger.db")).unwrap();
    let ended = finish(
        Command::new(program("exportctl"))
            .args(["ledger", "rebuild", "--json", "--config"])
            .arg(bed.path("config.yaml"))
            .arg("--auth-env")
            .arg(bed.path("auth.env")),
        PATIENCE,
    );
    let report = ended.expect(0).json();
    assert_eq!(adopted(&report).len(), 4);
    assert_eq!(&adopted(&report)[1..], &tasks);
    assert_eq!((&report["before"], &report["commands"]), (&Value::Null, &json!([])));
    let daemon = bed.start();
    let marks = bed.ctl(&["offsets", "show", "shop"]).expect(0).json();
    assert_eq!(marks["streams"]["items"]["mark"]["value"], json!(time(23)));
    assert_eq!(night(&bed, &daemon).1, 0, "the record at the mark is not written again");
    change(&bed, 40..=40, 40);
    assert_eq!(night(&bed, &daemon).1, 1);
    whole(&bed, 6);
    // Another way of reading would be another mark: what the stream was is known, too.
    let fingerprint = chain(&bed.lake().join("shop/items")).pop().unwrap().0["marks"]["fingerprint"].clone();
    assert!(fingerprint.as_str().is_some_and(|text| !text.is_empty()), "{fingerprint}");
}

#[test]
fn full_exports_are_rebuilt_with_their_chain() {
    let mut bed = Bed::with_records(2000);
    bed.export("single", {
        let mut export = config::export("shop", "cursor", "csv", "64kB");
        export["layout"] = json!("single");
        export
    });
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let (newest, single) = (daemon.run_to_success("shop"), daemon.run_to_success("single"));
    stop(daemon);
    fs::remove_file(bed.path("state/ledger.db")).unwrap();
    let report = bed.daemon(&["ledger", "rebuild", "--from", "lake", "--json"]).expect(0).json();
    assert_eq!(adopted(&report), [newest.clone(), single.clone()], "the newest chains alone can be found");
    let daemon = bed.start();
    for task in [&newest, &single] {
        bed.ctl(&["verify", task, "--deep"]).expect(0);
        assert_eq!(daemon.task(task)["task"]["state"], "succeeded");
    }
    // Ids have the second; that of the first task is known to no ledger any more.
    std::thread::sleep(Duration::from_secs(1));
    daemon.run_to_success("shop");
    crate::compare::assert_exact(&bed, "shop");
}

#[test]
fn a_task_that_was_open_then_is_completed_or_cancelled() {
    for finished in [true, false] {
        let bed = bed();
        let (open, snapshot) = opened(&bed, "");
        if finished {
            let daemon = bed.start();
            daemon.wait_for(&open, &["succeeded"], PATIENCE);
            stop(daemon);
        }
        let report = restore(&bed, &snapshot, &["--json"]).expect(0).json();
        let daemon = bed.start();
        if finished {
            assert_eq!(adopted(&report), [open.as_str()]);
            assert_eq!(report["adopted"][0]["was"], "processing", "{report}");
            assert_eq!(report["notes"], json!([]), "nothing is left in a spool");
            assert_eq!(daemon.task(&open)["task"]["state"], "succeeded");
            assert_eq!(night(&bed, &daemon).1, 0);
        } else {
            assert_eq!(report["cancelled"], json!([format!("{open} of shop")]));
            let task = daemon.task(&open);
            assert_eq!(task["task"]["state"], "cancelled");
            assert!(task["task"]["reason"].as_str().unwrap().contains("run the export again"), "{task}");
            assert_eq!(night(&bed, &daemon).1, 5, "its mark was taken back");
        }
        match finished {
            true => whole(&bed, 3),
            // What the cancelled one has delivered is in no manifest.
            false => assert_eq!(
                [followed(&bed.lake()), followed(&bed.path("mirror"))],
                [(); 2].map(|()| bed.api.table().rows())
            ),
        }
    }
}

#[test]
fn an_open_task_that_no_list_leads_to_is_found_by_its_id() {
    // One that nobody ever lists, and one whose chain has been followed by another one since.
    for (body, full) in [(r#"{"format":"csv"}"#, false), ("", true)] {
        let bed = bed();
        let (open, snapshot) = opened(&bed, body);
        let daemon = bed.start();
        daemon.wait_for(&open, &["succeeded"], PATIENCE);
        let mut tasks = vec![open.clone()];
        if full {
            bed.ctl(&["run", "shop", "--full", "--wait"]).expect(0);
            tasks.push(daemon.get("/v1/tasks")[0]["id"].as_str().unwrap().to_owned());
        }
        stop(daemon);
        let report = restore(&bed, &snapshot, &["--json"]).expect(0).json();
        assert_eq!((adopted(&report), &report["cancelled"]), (tasks, &json!([])));
        let daemon = bed.start();
        assert_eq!(daemon.task(&open)["task"]["state"], "succeeded");
        assert_eq!(night(&bed, &daemon).1, if full { 0 } else { 5 });
        whole(&bed, 2);
    }
}

#[test]
fn a_destination_that_cannot_be_read_is_left_out_by_order_alone() {
    let bed = bed();
    let (snapshot, tasks) = nights(&bed);
    let before = ledger(&bed);
    fs::rename(bed.path("mirror"), bed.path("away")).unwrap();
    let refused = restore(&bed, &snapshot, &[]).expect(1).stderr;
    assert!(refused.contains("read destination mirror") && refused.contains("--skip mirror"), "{refused}");
    assert_eq!(ledger(&bed), before);
    let refused = restore(&bed, &snapshot, &["--skip", "miror"]).expect(2).stderr;
    assert!(refused.contains("lake, mirror"), "{refused}");
    let report = restore(&bed, &snapshot, &["--skip", "mirror", "--json"]).expect(0).json();
    assert_eq!((adopted(&report), &report["skipped"]), (tasks.clone(), &json!(["mirror"])));
    assert_eq!(report["commands"], json!([]), "nobody knows what the mirror lacks");

    // It comes back as it was: the tasks are delivered there once more, and nothing is sent twice.
    fs::rename(bed.path("away"), bed.path("mirror")).unwrap();
    let report = restore(&bed, &bed.path("state/ledger.db"), &["--json"]).expect(0).json();
    assert_eq!(adopted(&report), tasks, "{report}");
    let daemon = bed.start();
    assert_eq!(night(&bed, &daemon).1, 0);
    whole(&bed, 5);
}

#[test]
fn an_adopted_task_is_delivered_where_it_lacks() {
    let mut bed = bed();
    bed.config["exports"]["shop"]["to"] = json!(["lake"]);
    let (_, tasks) = nights(&bed);
    fs::remove_file(bed.path("state/ledger.db")).unwrap();
    bed.config["exports"]["shop"]["to"] = json!(["lake", "mirror"]);
    fs::create_dir_all(bed.path("mirror/other")).unwrap();
    let report = bed.daemon(&["ledger", "rebuild", "--json"]).expect(0).json();
    let commands = report["commands"].as_array().unwrap();
    assert_eq!(commands.len(), 4);
    assert!(commands.contains(&json!(format!("exportctl deliver {} --to mirror", tasks[0]))), "{report}");
    let daemon = bed.start();
    for command in commands {
        let args: Vec<&str> = command.as_str().unwrap().split(' ').skip(1).collect();
        bed.ctl(&args).expect(0);
        crate::several::until(&daemon, args[1], "mirror", crate::several::published);
    }
    assert_eq!(night(&bed, &daemon).1, 0);
    whole(&bed, 5);
}

/// What the configuration does not have any more is published all the same: put back, it is not published again.
#[test]
fn what_is_not_configured_any_more_is_adopted_as_well() {
    let mut bed = bed();
    let (snapshot, tasks) = nights(&bed);
    let (export, to) = (bed.config["exports"]["shop"].clone(), json!(["lake"]));
    for whole_export in [true, false] {
        let was = bed.config.clone();
        if whole_export {
            // The sources stay, and another export, so that the configuration still means something.
            bed.config["exports"] = json!({ "other": export });
        } else {
            bed.config["exports"]["shop"]["to"] = to.clone();
            bed.config["destinations"].as_object_mut().unwrap().remove("mirror");
        }
        let report = restore(&bed, &snapshot, &["--json"]).expect(0).json();
        assert_eq!(adopted(&report), tasks);
        let places = &report["adopted"][0]["streams"][0]["destinations"];
        assert_eq!(places, &json!(["lake", "mirror"]), "{report}");
        bed.config = was;
    }
    // Where that cannot be read it is to be said, under the name that it had.
    bed.config["exports"]["shop"]["to"] = to;
    let mirror = bed.config["destinations"].as_object_mut().unwrap().remove("mirror").unwrap();
    fs::rename(bed.path("mirror"), bed.path("away")).unwrap();
    let refused = restore(&bed, &snapshot, &[]).expect(1).stderr;
    assert!(refused.contains("read destination mirror") && refused.contains("--skip mirror"), "{refused}");
    let told = restore(&bed, &snapshot, &["--skip", "mirror", "--dry-run", "--json"]).expect(0).json();
    assert_eq!(adopted(&told), tasks);
    fs::rename(bed.path("away"), bed.path("mirror")).unwrap();
    restore(&bed, &snapshot, &[]).expect(0);

    bed.config["destinations"]["mirror"] = mirror;
    bed.config["exports"]["shop"] = export;
    let daemon = bed.start();
    assert_eq!(night(&bed, &daemon).1, 0);
    change(&bed, 30..=30, 30);
    assert_eq!(night(&bed, &daemon).1, 1);
    whole(&bed, 6);
}

#[test]
fn what_a_restore_cancelled_is_not_retried() {
    let bed = bed();
    let (open, snapshot) = opened(&bed, "");
    // Behind the snapshot it writes a manifest that no reader is led to.
    let dying = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "manifest.written")]);
    assert_eq!(dying.ended(PATIENCE).0.signal(), Some(9));
    let written = |root: PathBuf| root.join(format!("shop/items/{open}/_manifest.json")).exists();
    assert!(written(bed.lake()) || written(bed.path("mirror")));
    let report = restore(&bed, &snapshot, &["--json"]).expect(0).json();
    assert_eq!((adopted(&report), &report["cancelled"]), (vec![], &json!([format!("{open} of shop")])));
    let daemon = bed.start();
    let refused = bed.ctl(&["retry", &open]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("the ledger was restored since it ended"), "{}", refused.stderr);
    let events = daemon.ask("GET", "/v1/events?since=0", "").unwrap().body;
    let events = String::from_utf8_lossy(&events).into_owned();
    let noted = |line: &str| line.contains("manifest_composed") && line.contains(&open);
    assert!(events.lines().any(noted), "what it wrote is known, and goes: {events}");
    assert_eq!(night(&bed, &daemon).1, 5);
}
