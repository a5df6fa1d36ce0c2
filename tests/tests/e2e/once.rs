//! One export in the foreground, without a socket: same engine, same ledger, same exit codes.

use crate::compare::walk;
use crate::read;
use nix::sys::signal::Signal;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::programs::{finish, wait};
use saas_export_tests::sample::{Fault, Kind, View};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The data files below a directory, by name.
fn data_files(root: &Path) -> Vec<PathBuf> {
    let is_data = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"));
    let mut files: Vec<PathBuf> = walk(root).into_iter().filter(is_data).collect();
    files.sort();
    files
}

#[test]
fn runs_an_export_and_ends() {
    let bed = Bed::with_records(1500);
    let ended = bed.daemon(&["once", "shop"]).expect(0);
    assert_eq!(ended.stderr.matches("succeeded").count(), 1, "an end is told once: {}", ended.stderr);
    let ids: Vec<u64> = data_files(&bed.lake()).iter().flat_map(|path| read::ids(path)).collect();
    assert_eq!(ids, View::ALL.ids(1500).collect::<Vec<_>>());
    assert!(!bed.socket().exists(), "no socket");
    assert!(ended.stdout.is_empty() || !ended.stdout.contains('\u{1b}'), "no colours in a pipe: {ended:?}");
    // The daemon knows the task afterwards: it is the same ledger.
    let daemon = bed.start();
    assert_eq!(daemon.get("/v1/tasks")[0]["state"], "succeeded");
    crate::compare::assert_exact(&bed, "shop");
}

#[test]
fn output_format_size_and_threads_can_be_given() {
    let bed = Bed::with_records(1500);
    let root = bed.path("elsewhere");
    let root_text = root.display().to_string();
    bed.daemon(&[
        "once",
        "shop",
        "--output",
        &root_text,
        "--format",
        "parquet",
        "--chunk-size",
        "64kB",
        "--threads",
        "2",
    ])
    .expect(0);
    let files = data_files(&root);
    assert!(files.len() > 1 && files.iter().all(|path| path.to_string_lossy().ends_with(".parquet")), "{files:?}");
    let ids: Vec<u64> = files.iter().flat_map(|path| read::ids(path)).collect();
    assert_eq!(ids, View::ALL.ids(1500).collect::<Vec<_>>());
    assert!(data_files(&bed.lake()).is_empty(), "--output replaces the destinations");
}

#[test]
fn exit_codes() {
    let bed = Bed::with_records(500);
    bed.daemon(&["once", "shopp"]).expect(4);
    bed.daemon(&["once", "shop", "--format", "xlsx"]).expect(2);
    let state = bed.path("state").join("out").display().to_string();
    let wrong: [(&[&str], &str); 5] = [
        (&["--threads", "257"], "--threads"),
        (&["--chunk-size", "1kB"], "--chunk-size"),
        (&["--output", &state], "--output: lies within daemon.state_dir"),
        (&["--param", "a=1", "--param", "a=2"], "\"a\" is given twice"),
        (&["--param", "=1"], "NAME=VALUE"),
    ];
    for (args, told) in wrong {
        let ended = bed.daemon(&[&["once", "shop"], args].concat()).expect(2);
        assert!(ended.stderr.contains(told), "{args:?}: {}", ended.stderr);
    }
    assert_eq!(bed.api.requests(), 0, "nothing was started");
    bed.api.set_faults(vec![Fault::status(404)]);
    let failed = bed.daemon(&["once", "shop"]).expect(1);
    assert_eq!(failed.stderr.matches("404 Not Found").count(), 1, "an end is told once: {}", failed.stderr);
}

#[test]
fn a_killed_run_is_taken_up_by_the_next() {
    // Behind the sample of fifty pages, before which nothing is committed.
    let bed = Bed::with_records(10_000);
    bed.write();
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[80])]);
    let mut child = bed
        .daemon_command()
        .args(["once", "shop"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.faults.contains_key(&Kind::Stall)));
    child.kill().unwrap();
    assert!(wait(&mut child, PATIENCE).is_some());
    let before = bed.api.requests();
    finish(bed.daemon_command().args(["once", "shop"]), PATIENCE).expect(0);
    assert!(bed.api.requests() - before < 40, "what was committed is not asked for again");
    let ids: Vec<u64> = data_files(&bed.lake()).iter().flat_map(|path| read::ids(path)).collect();
    assert_eq!(ids, View::ALL.ids(10_000).collect::<Vec<_>>());
}

/// A `once` that hangs in a request without end.
fn stalled(bed: &Bed, args: &[&str]) -> Daemon {
    bed.write();
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[8])]);
    let mut command = bed.daemon_command();
    command.args(["once", "shop"]).args(args);
    let once = Daemon::spawn(command, bed.socket());
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.faults.contains_key(&Kind::Stall)));
    once
}

#[test]
fn a_signal_puts_the_task_away_and_the_next_run_goes_on() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let bed = Bed::with_records(2000);
        let once = stalled(&bed, &[]);
        let asked = Instant::now();
        once.signal(signal);
        let (status, said) = once.ended(Duration::from_secs(15));
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert!(said.contains("the same command goes on from here"), "{said}");
        bed.api.set_faults(Vec::new());
        let ended = bed.daemon(&["once", "shop"]).expect(0);
        assert!(ended.stderr.contains("goes on where it stopped"), "{}", ended.stderr);
        let ids: Vec<u64> = data_files(&bed.lake()).iter().flat_map(|path| read::ids(path)).collect();
        assert_eq!(ids, View::ALL.ids(2000).collect::<Vec<_>>());
    }
}

#[test]
fn an_open_task_keeps_its_settings_and_others_are_refused() {
    let bed = Bed::with_records(2000);
    let (first, other) = (bed.path("first").display().to_string(), bed.path("other").display().to_string());
    let once = stalled(&bed, &["--output", &first]);
    once.signal(Signal::SIGTERM);
    once.ended(Duration::from_secs(15));
    bed.api.set_faults(Vec::new());
    for args in [["--output", &other], ["--chunk-size", "1MB"]] {
        let ended = bed.daemon(&[&["once", "shop"][..], &args].concat()).expect(7);
        assert!(ended.stderr.contains(&first) && ended.stderr.contains(args[0]), "{}", ended.stderr);
    }
    let ended = bed.daemon(&["once", "shop"]).expect(0);
    assert!(ended.stderr.contains(&first), "says where it writes: {}", ended.stderr);
    assert!(!data_files(&bed.path("first")).is_empty() && data_files(&bed.lake()).is_empty());
}

#[test]
fn what_an_operator_paused_stays_paused() {
    let bed = Bed::with_records(500);
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[2])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    daemon.wait_for(&id, &["processing"], PATIENCE);
    bed.ctl(&["pause", &id]).expect(0);
    daemon.kill();
    let ended = bed.daemon(&["once", "shop"]).expect(7);
    assert!(ended.stderr.contains(&id) && ended.stderr.contains("paused"), "{}", ended.stderr);
    let daemon = bed.start();
    bed.ctl(&["cancel", &id]).expect(0);
    bed.ctl(&["pause", "shop"]).expect(0);
    daemon.kill();
    let ended = bed.daemon(&["once", "shop"]).expect(7);
    assert!(ended.stderr.contains("export shop is paused"), "{}", ended.stderr);
}
