//! Killed at every crash point, in every format, in every kind of run that passes it, with every destination at once: the whole
//! product in the long form, else so much of it that every two of them meet.

mod scene;
mod way;

use crate::crash::{self, each};
use crate::torture;
use saas_export_tests::harness::programs::skipped;
pub use scene::Scene;
use std::cell::RefCell;
use std::collections::BTreeMap;
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
const AT_EACH: [&str; 9] = [
    "delivery.started",
    "delivery.before_commit",
    "delivery.committed",
    "manifest.composed",
    "manifest.sums_written",
    "manifest.signed",
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

/// Those of a format. Without the long form each point meets one kind of run, and with five formats each kind.
fn cases(format: &str, nth: usize) -> Vec<Case> {
    let points = crash::all_points();
    let passages = points.iter().flat_map(|point| Way::past(point).into_iter().map(move |way| (point, way)));
    let mut cases = Vec::new();
    for (at, (point, way)) in passages.enumerate() {
        let known: Vec<Run> = RUNS.into_iter().filter(|run| way.knows(format, *run, point)).collect();
        // Lines of JSON know no restart: the three other formats meet all kinds of run between the two points.
        let one = known.get((at * if way == Way::Restarted { 3 } else { 1 } + nth) % known.len().max(1));
        cases.extend(known.iter().filter(|run| torture() || one == Some(run)).map(|run| Case {
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
    let deaths = RefCell::new(BTreeMap::<&str, u32>::new());
    each(&cases.iter().map(|case| case.name.clone()).collect::<Vec<_>>(), |name| {
        let Case { point, way, run, .. } = cases.iter().find(|case| case.name == name).expect("a case");
        let mut scene = Scene::new(&std::env::temp_dir(), format, *way, *run);
        if !scene.passes(point) {
            return skipped(&format!("{name}: no server"));
        }
        scene.prepare(point);
        // Each format and kind of run dies at another destination.
        let place = scene.kinds[(nth + *run as usize) % scene.kinds.len()].name;
        let (point, place) = match *way {
            _ if AT_EACH.contains(&point.as_str()) => (format!("{point}@{place}"), place),
            Way::InParts(place) => (point.clone(), place),
            _ => (point.clone(), "any"),
        };
        scene.dies(&point);
        *deaths.borrow_mut().entry(place).or_default() += 1;
        scene.judge();
    });
    let deaths = deaths.into_inner();
    let (all, of): (u32, Vec<_>) =
        (deaths.values().sum(), deaths.iter().map(|(place, deaths)| format!("{place} {deaths}")).collect());
    println!("torture: {format}: killed {all} times, by destination: {}; lost 0, duplicated 0", of.join(", "));
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
