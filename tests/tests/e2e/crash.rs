//! Killed at every named point and at random moments: the output is that of an undisturbed run, byte for byte.

use crate::compare::{assert_complete, assert_tidy, parts};
use crate::torture;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chance::Chance;
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::{finish, program, skipped};
use saas_export_tests::sample::issuer::Rotation;
use saas_export_tests::sample::{Fault, Options};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Answers per second: slow enough that segments stay open long enough for the page journal.
pub const RATE: f64 = 40.0;

/// A key that signs manifests, as `openssl genpkey` writes it.
pub const MANIFEST_KEY: &str = "MANIFEST_KEY=\"-----BEGIN PRIVATE KEY-----\\n\
     MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n-----END PRIVATE KEY-----\"\n";

pub type Parts = BTreeMap<String, String>;

/// A bed whose second destination lies on another file system, so that a delivery there has to copy.
pub struct Scene {
    pub bed: Bed,
    /// Keeps the other file system's directory.
    _other: Option<tempfile::TempDir>,
}

impl std::ops::Deref for Scene {
    type Target = Bed;
    fn deref(&self) -> &Bed {
        &self.bed
    }
}

/// A directory on another file system than `dir`, where there is one.
fn elsewhere(dir: &Path) -> Option<tempfile::TempDir> {
    let other = tempfile::Builder::new().prefix("sxd-").tempdir_in("/dev/shm").ok()?;
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    (device(dir) != device(other.path())).then_some(other)
}

/// More pages than the sample has, in three partitions and lanes; several segments each, a journal, and two
/// destinations: a link and a copy.
fn bed(format: &str) -> Scene {
    bed_in(&std::env::temp_dir(), format)
}

/// The same below a directory.
pub fn bed_in(dir: &Path, format: &str) -> Scene {
    let mut bed = Bed::within(dir, Options { records: 2400, page_size: 20, ..Options::default() });
    bed.config["daemon"]["replay_limit"] = "1s".into();
    // Its refresh tokens rotate, so that the points of a credential are passed, too.
    bed.api.issuer().rotation = Rotation::Graceful;
    let streams = config::streams();
    bed.config["sources"]["shop"] =
        config::source(&bed.api.origin(), "/oauth", &config::refresh_token(&bed.api), &streams);
    bed.auth_env += &config::token_secrets();
    let other = elsewhere(bed.dir());
    let copy = other.as_ref().map_or(bed.path("copy"), |other| other.path().join("copy"));
    bed.config["destinations"]["copy"] = serde_json::json!({ "local": { "root": copy } });
    // Manifests are signed, so that this point is passed, too: test 1 of RFC 8032, section 7.1.
    bed.config["daemon"]["signing_key"] = "${MANIFEST_KEY}".into();
    bed.auth_env += MANIFEST_KEY;
    bed.stream("regions", config::regions(3));
    // A first segment of some twenty-five of a lane's forty pages in either format, so that the second stays open long.
    let chunk = match format {
        "parquet" => "64kB",
        "csv" => "150kB",
        _ => "300kB",
    };
    let mut export = config::export("shop", "regions", format, chunk);
    export["to"] = serde_json::json!(["lake", "copy"]);
    export["attempts"] = 5.into();
    if format == "parquet" {
        export["format"]["parquet"] = serde_json::json!({ "row_group_rows": 100, "compression": "none" });
    }
    bed.export("shop", export);
    Scene { bed, _other: other }
}

fn both(bed: &Bed) -> (Parts, Parts) {
    (parts(bed, "shop", "lake"), parts(bed, "shop", "copy"))
}

/// The output of an undisturbed run, and how long a run takes at the source's rate.
pub fn undisturbed(format: &str) -> (Parts, Duration) {
    let bed = bed(format);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_complete(&bed, "shop");
    let (lake, copy) = both(&bed);
    assert_eq!(lake, copy);
    assert!(lake.len() >= 6, "each lane has two segments: {lake:?}");
    bed.api.set_faults(vec![Fault::rate(RATE)]);
    let started = Instant::now();
    daemon.run_to_success("shop");
    assert_eq!(both(&bed).0, lake, "a slow source and its journal change nothing");
    (lake, started.elapsed())
}

/// Brings the work of a dead daemon to its end and compares.
pub fn finishes(bed: &Bed, wanted: &Parts) {
    let daemon = bed.start();
    let tasks = daemon.get("/v1/tasks");
    let known = tasks.as_array().and_then(|tasks| tasks.first()).and_then(|task| task["id"].as_str());
    let id = known.map_or_else(|| daemon.run("shop"), str::to_owned);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_complete(bed, "shop");
    let (lake, copy) = both(bed);
    assert_eq!(&lake, wanted, "the output differs from an undisturbed run");
    assert_eq!(&copy, wanted, "the copy differs from an undisturbed run");
    assert_tidy(bed, "shop", "regions");
    bed.ctl(&["verify", &id]).expect(0);
}

fn dies_at(format: &str, point: &str, wanted: &Parts) {
    let bed = bed(format);
    bed.api.set_faults(vec![Fault::rate(RATE)]);
    let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
    // At the first points the daemon dies before it can answer.
    let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
    let (status, said) = daemon.ended(PATIENCE);
    assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
    finishes(&bed, wanted);
}

/// Every crash point of the daemon.
pub fn all_points() -> Vec<String> {
    let ended = finish(Command::new(program("saas-export-daemon")).arg("--crash-points"), PATIENCE).expect(0);
    let points: Vec<String> = ended.stdout.lines().map(str::to_owned).collect();
    assert!(points.len() >= 25, "{points:?}");
    points
}

/// Those that every export passes which has a token, lanes and a signed manifest.
pub fn points() -> Vec<String> {
    let mut points = all_points();
    // Only a stream with a parent passes these; partitions.rs kills the daemon there.
    points.retain(|point| !point.starts_with("parent."));
    // Only an export with limits passes it: limits.rs kills the daemon there.
    points.retain(|point| point != "limit.noted");
    // Only deliveries in parts pass these: stores.rs kills the daemon there.
    points.retain(|point| !point.starts_with("upload."));
    if elsewhere(&std::env::temp_dir()).is_none() {
        skipped("delivery.copied: /dev/shm is no other file system here");
        points.retain(|point| point != "delivery.copied");
    }
    // Only a back-fill passes it: several.rs kills the daemon there.
    points.retain(|point| point != "delivery.fetched");
    // Only an export with one file a stream passes these: single.rs kills the daemon there.
    points.retain(|point| !point.starts_with("single."));
    // Only where chains go: keep.rs kills the daemon there.
    points.retain(|point| !point.starts_with("prune."));
    // Only runs by a schedule pass these: schedules.rs kills the daemon there.
    points.retain(|point| !point.starts_with("slot."));
    // No snapshot is taken so early.
    points.retain(|point| !point.starts_with("snapshot."));
    // Only where somebody is told: notifications.rs kills the daemon there.
    points.retain(|point| !point.starts_with("notify."));
    // Only where a ledger takes the place of another one: ledger_adopt.rs kills the daemon's program there.
    points.retain(|point| !point.starts_with("restore."));
    // Not on the way of these exports; tests of schemas and of shifts die there.
    points.retain(|point| !point.starts_with("restart.") && !point.starts_with("shift."));
    points
}

/// Of which cases alone something is wanted to be seen.
fn wanted_case() -> Option<String> {
    std::env::var("TORTURE_CASE").ok()
}

/// Tries everything, or what `TORTURE_CASE` is a part of, and only then fails with the list of what did not hold.
pub fn each(cases: &[String], try_one: impl Fn(&str)) {
    let one = wanted_case().unwrap_or_default();
    let cases: Vec<&String> = cases.iter().filter(|case| case.contains(&one)).collect();
    let mut failed = Vec::new();
    for (done, case) in cases.iter().enumerate() {
        if done > 0 && done % 25 == 0 {
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            println!("torture: {test}: {done} of {}, {} did not hold", cases.len(), failed.len());
        }
        if catch_unwind(AssertUnwindSafe(|| try_one(case))).is_err() {
            failed.push(case);
        }
    }
    assert!(failed.is_empty(), "{} of {} did not hold: {failed:?}", failed.len(), cases.len());
    println!("torture: {} cases held", cases.len());
}

#[test]
fn killed_at_every_point_ndjson() {
    let (wanted, _) = undisturbed("ndjson");
    each(&points(), |point| dies_at("ndjson", point, &wanted));
}

#[test]
fn killed_at_every_point_parquet() {
    let (wanted, _) = undisturbed("parquet");
    each(&points(), |point| dies_at("parquet", point, &wanted));
}

#[test]
fn killed_at_a_later_passage() {
    let (wanted, _) = undisturbed("parquet");
    let cases =
        ["page.fetched:87", "page.encoded:63", "segment.committed:4", "delivery.committed:5", "journal.synced:2"];
    each(&cases.map(str::to_owned), |point| dies_at("parquet", point, &wanted));
}

/// Runs in several formats, each killed again and again at moments that a seed tells, before it may come to its end.
#[test]
fn killed_at_random_moments() {
    let (runs, most, wanted_kills) = if torture() { (120, 20, 1000) } else { (14, 6, 50) };
    let mut chance = Chance::of_this_run("random kills");
    let formats = ["ndjson", "parquet", "csv", "json"];
    let wanted = formats.map(undisturbed);
    let cases: Vec<String> = (0..runs).map(|n| format!("{} {}", n % formats.len(), chance.below(u64::MAX))).collect();
    let killed = AtomicU64::new(0);
    each(&cases, |case| {
        let (format, seed) = case.split_once(' ').expect("a format and a seed");
        let format: usize = format.parse().expect("a number");
        let (mut chance, (parts, time)) = (Chance::of(seed.parse().expect("a number")), &wanted[format]);
        let mut bed = bed(formats[format]);
        bed.bed.api.set_faults(vec![Fault::rate(RATE)]);
        // Dying so often before anything is committed is what a task gives up at.
        bed.bed.config["exports"]["shop"]["attempts"] = 50.into();
        // Some runs die before they have got anywhere, others when they are nearly done.
        let longest = u64::try_from(time.as_micros()).expect("a run ends") / (2 + chance.below(8));
        let mut daemon = bed.start();
        let id = daemon.run("shop");
        for _ in 0..most {
            std::thread::sleep(Duration::from_micros(chance.below(longest)));
            daemon.kill();
            killed.fetch_add(1, Relaxed);
            daemon = bed.start();
            if daemon.task(&id)["task"]["state"] == "succeeded" {
                break;
            }
        }
        drop(daemon);
        finishes(&bed, parts);
    });
    let killed = killed.into_inner();
    println!("torture: {killed} kills at random moments of {runs} runs held, lost 0, duplicated 0");
    assert!(wanted_case().is_some() || killed >= wanted_kills, "{killed} kills");
}
