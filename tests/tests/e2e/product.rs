//! Killed at every crash point, in every format, in every kind of run that passes it, with every destination at once: the whole
//! product in the long form, else so much of it that every two of them meet.

mod scene;
mod way;

use crate::crash::{self, each};
use crate::torture;
use saas_export_tests::harness::programs::skipped;
pub use scene::Scene;
use std::sync::atomic::{AtomicU32, Ordering};
pub use way::Way;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The first run of an export.
    First,
    /// One that goes on after it was killed once.
    Resumed,
    /// One that had failed, and is told to try again.
    Retried,
    /// One that moves what changed since the first.
    Incremental,
}

const RUNS: [Run; 4] = [Run::First, Run::Resumed, Run::Retried, Run::Incremental];

/// Passed once for each destination.
const AT_EACH: [&str; 7] = [
    "delivery.fetched",
    "delivery.started",
    "delivery.before_commit",
    "delivery.committed",
    "manifest.written",
    "manifest.latest_written",
    "manifest.committed",
];

/// A point on a way, in a kind of run.
struct Case {
    name: String,
    point: String,
    way: Way,
    run: Run,
}

fn cases(format: &str, nth: usize) -> Vec<Case> {
    let points = crash::all_points();
    let passages = points.iter().flat_map(|point| Way::past(point).into_iter().map(move |way| (point, way)));
    let mut cases = Vec::new();
    for (at, (point, way)) in passages.enumerate() {
        let known: Vec<Run> = RUNS.into_iter().filter(|run| way.knows(format, *run)).collect();
        // With five formats every point meets each kind of run, and each format.
        let one = known.get((at + nth) % known.len().max(1)).map_or(&[][..], std::slice::from_ref);
        let runs = if torture() { &known[..] } else { one };
        cases.extend(runs.iter().map(|run| Case {
            name: format!("{point} {way:?} {run:?}"),
            point: point.clone(),
            way,
            run: *run,
        }));
    }
    cases
}

fn product(format: &'static str, nth: usize) {
    let cases = cases(format, nth);
    let (passed, destinations) = (AtomicU32::new(0), AtomicU32::new(0));
    let tried = each(&cases.iter().map(|case| case.name.clone()).collect::<Vec<_>>(), |name| {
        let Case { point, way, run, .. } = cases.iter().find(|case| case.name == name).expect("a case");
        let mut scene = Scene::new(&std::env::temp_dir(), format, *way, *run);
        if !scene.passes(point) {
            return skipped(&format!("{name}: no server"));
        }
        scene.prepare();
        let kinds = scene.kinds.len();
        destinations.fetch_max(kinds as u32, Ordering::Relaxed);
        // Each format and kind of run dies at another destination.
        let passage = 1 + (nth + *run as usize) % kinds;
        let point = if AT_EACH.contains(&point.as_str()) { format!("{point}:{passage}") } else { point.clone() };
        let dead = scene.dies(&point);
        // The first run passes all of them; the others begin somewhere on the way.
        assert!(dead || *run != Run::First, "{name}: not passed");
        passed.fetch_add(u32::from(dead), Ordering::Relaxed);
        scene.judge();
    });
    let (passed, destinations) = (passed.into_inner(), destinations.into_inner());
    println!(
        "torture: {format}: {tried} cases at {destinations} destinations, killed in {passed}; lost 0, duplicated 0"
    );
    assert!(passed as usize * 4 >= tried * 3, "most of them must be killed");
}

#[test]
fn killed_in_every_run_parquet() {
    product("parquet", 0);
}

#[test]
fn killed_in_every_run_avro() {
    product("avro", 1);
}

#[test]
fn killed_in_every_run_csv() {
    product("csv", 2);
}

#[test]
fn killed_in_every_run_ndjson() {
    product("ndjson", 3);
}

#[test]
fn killed_in_every_run_json() {
    product("json", 4);
}
