//! One export in the foreground, without a socket: same engine, same ledger, same exit codes.

use crate::compare::walk;
use crate::read;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::programs::{finish, wait};
use saas_export_tests::sample::{Fault, Kind, View};
use std::path::{Path, PathBuf};

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
    bed.api.set_faults(vec![Fault::status(404)]);
    let failed = bed.daemon(&["once", "shop"]).expect(1);
    assert!(failed.stderr.contains("404"), "{}", failed.stderr);
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
