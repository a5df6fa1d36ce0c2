//! Care of the ledger: snapshots while it is written, by hand and by schedule, and the check that finds what is wrong.

use crate::compare::{assert_exact, sha256, walk};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::openmetrics::Metrics;
use saas_export_tests::harness::programs::{finish, has, program, root_or_skip};
use saas_export_tests::sample::Fault;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// What lies in the directory of the snapshots, by name.
fn snapshots(bed: &Bed) -> Vec<String> {
    let dir = bed.path("state/snapshots");
    let names = walk(&dir).into_iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    let mut names: Vec<String> = if dir.is_dir() { names.collect() } else { Vec::new() };
    names.sort();
    names
}

/// Waits for something that must come.
#[track_caller]
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_backup_of_a_running_export_is_whole_and_arrives_as_it_is() {
    let bed = Bed::with_records(10_000);
    bed.api.set_faults(vec![Fault::rate(40.0)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.requests >= 10));
    let copy = bed.path("copy.db");
    let to = copy.display().to_string();
    let taken = bed.ctl_json(&["ledger", "backup", "-o", &to]);
    assert_eq!(daemon.task(&id)["task"]["state"], "processing", "while the task runs");
    let path = PathBuf::from(taken["path"].as_str().unwrap());
    assert_eq!(path.file_name().unwrap().to_string_lossy(), taken["name"].as_str().unwrap());
    for file in [&path, &copy] {
        assert_eq!(sha256(file), taken["sha256"].as_str().unwrap(), "{}", file.display());
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&copy).unwrap().len(), taken["bytes"].as_u64().unwrap());
    bed.daemon(&["ledger", "check", &to]).expect(0);
    // What is there is never written over, and nothing is taken for nothing.
    let refused = bed.ctl(&["ledger", "backup", "-o", &to]).expect(7);
    assert!(refused.stderr.contains("copy.db"), "{}", refused.stderr);
    assert_eq!(snapshots(&bed), [taken["name"].as_str().unwrap()]);
    let listed = bed.ctl_json(&["ledger", "snapshots"]);
    assert_eq!((&listed[0]["name"], &listed[0]["bytes"]), (&taken["name"], &taken["bytes"]));
    let table = bed.ctl(&["ledger", "snapshots"]).expect(0);
    assert!(table.stdout.contains("ledger-") && table.stdout.contains("ago"), "{}", table.stdout);
    bed.ctl(&["ledger", "check"]).expect(0);
    bed.api.set_faults(vec![]);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    let events = String::from_utf8(daemon.ask("GET", "/v1/events", "").unwrap().body).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for action in ["snapshot", "snapshot_download"] {
        let by: Vec<_> = events.iter().filter(|event| event["action"] == action).collect();
        assert_eq!(by.len(), 1, "{action}");
        assert!(by[0]["actor"].as_str().unwrap().starts_with("uid ") && by[0]["reason"] == taken["name"], "{}", by[0]);
    }
}

#[test]
fn only_names_of_snapshots_lead_to_files() {
    let bed = Bed::with_records(100);
    let daemon = bed.start();
    bed.ctl(&["ledger", "backup"]).expect(0);
    for name in ["ledger.db", "..%2Fledger.db", "ledger-20200101T000000Z.db", "%2Fetc%2Fpasswd", "lock"] {
        let answer = daemon.ask("GET", &format!("/v1/ledger/snapshots/{name}"), "").unwrap();
        assert!([400, 404].contains(&answer.status), "{name}: {}", answer.status);
    }
}

#[test]
fn the_check_finds_a_damaged_copy_and_writes_nothing() {
    let bed = Bed::with_records(5000);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let good = bed.ctl(&["ledger", "check"]).expect(0);
    for step in ["file", "references", "audit", "sums", "published", "manifests", "chains", "marks", "tasks"] {
        assert!(good.stdout.lines().any(|line| line.starts_with(&format!("ok    {step} "))), "{step}: {}", good.stdout);
    }
    let copy = bed.path("copy.db");
    let to = copy.display().to_string();
    bed.ctl(&["ledger", "backup", "-o", &to]).expect(0);
    let whole = fs::read(&copy).unwrap();
    // A digit of a file's hash, wherever it stands in the ledger.
    let digest = bed.ctl_json(&["files", "shop"])["files"][0]["sha256"].as_str().unwrap().to_owned();
    let mut forged = whole.clone();
    let places: Vec<usize> =
        whole.windows(digest.len()).enumerate().filter(|(_, w)| *w == digest.as_bytes()).map(|(at, _)| at).collect();
    assert!(places.len() >= 2, "{places:?}");
    for at in places {
        forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
    }
    // The second page is the root of the first table.
    let mut torn = whole.clone();
    torn[4096..8192].fill(0x5a);
    for (what, bytes) in [("torn", torn), ("forged", forged)] {
        fs::write(&copy, &bytes).unwrap();
        let found = bed.daemon(&["ledger", "check", &to]);
        assert_eq!(found.code, Some(1), "{what}: {}", found.stdout);
        let said = format!("{}{}", found.stdout, found.stderr);
        assert!(said.contains("fail") || said.contains("copy.db"), "{what}: {said}");
        assert!(fs::read(&copy).unwrap() == bytes, "{what}: nothing is written");
    }
    fs::write(&copy, &whole).unwrap();
    bed.daemon(&["ledger", "check", &to]).expect(0);
    // The ledger of the configuration, beside the daemon that has it open, and after its end.
    bed.daemon(&["ledger", "check"]).expect(0);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.ended(Duration::from_secs(20)).0.success());
    let ledger = bed.path("state/ledger.db");
    let before = sha256(&ledger);
    let checked = bed.daemon(&["ledger", "check"]).expect(0);
    assert!(checked.stdout.starts_with(&ledger.display().to_string()), "{}", checked.stdout);
    assert_eq!(sha256(&ledger), before);
    let mut bytes = fs::read(&ledger).unwrap();
    bytes[4096..8192].fill(0xaa);
    fs::write(&ledger, bytes).unwrap();
    bed.daemon(&["ledger", "check"]).expect(1);
    bed.daemon(&["ledger", "check", "/nowhere/ledger.db"]).expect(1);
    assert!(bed.ctl(&["ledger", "check"]).expect(3).stderr.contains("saas-export-daemon ledger check"));
}

#[test]
fn snapshots_come_by_themselves_and_survive_a_crash_at_any_point() {
    for point in ["snapshot.synced", "snapshot.named"] {
        let mut bed = Bed::with_records(100);
        bed.config["daemon"]["snapshots"] = json!({ "every": "never" });
        let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        assert_ne!(bed.ctl(&["ledger", "backup"]).code, Some(0), "{point}");
        daemon.ended(PATIENCE);
        let left = snapshots(&bed);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].ends_with(".partial"), point == "snapshot.synced", "{left:?}");
        bed.config["daemon"]["snapshots"] = json!({ "every": "10s", "keep": "1h" });
        let daemon = bed.start();
        until("a snapshot of its own", || {
            let now = snapshots(&bed);
            now != left && now.iter().all(|name| name.ends_with(".db"))
        });
        bed.ctl(&["ledger", "check"]).expect(0);
        let newest = daemon.get("/v1/ledger/snapshots")[0]["path"].as_str().unwrap().to_owned();
        bed.daemon(&["ledger", "check", &newest]).expect(0);
        let text = bed.ctl(&["metrics"]).expect(0).stdout;
        let at = Metrics::parse(&text).unwrap().get("saas_export_ledger_snapshot_timestamp_seconds", &[]);
        assert!(at.unwrap() > 1.7e9, "{at:?}");
    }
}

#[test]
fn who_may_not_is_told_which_group_is_missing() {
    if !root_or_skip("access") || !has("setpriv") {
        return;
    }
    let bed = Bed::with_records(100);
    bed.open_to_others();
    let _daemon = bed.start();
    let copy = bed.path("exportctl");
    fs::copy(program("exportctl"), &copy).unwrap();
    for (args, group) in [
        (["ledger", "backup"], "saas-export-admin"),
        (["ledger", "check"], "saas-export-operator"),
        (["ledger", "snapshots"], "saas-export-viewer"),
    ] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        command.arg("--socket").arg(bed.socket()).args(args).env("NO_COLOR", "1");
        let refused = finish(&mut command, PATIENCE).expect(5);
        assert!(refused.stderr.contains(group), "{args:?}: {}", refused.stderr);
    }
    assert!(snapshots(&bed).is_empty());
}
