//! Killed at every crash point, in every format, in every kind of run, with every destination at once: the whole product in the long
//! form, else so much of it that every two of them meet.

use crate::compare::{sha256, walk};
use crate::crash::{self, each};
use crate::matrix::{Kind, kinds};
use crate::{read, torture};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::programs::wait_until;
use saas_export_tests::sample::table::Change;
use saas_export_tests::sample::{Fault, Options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Rows of the first run; a second one moves those that changed and some that are new.
const ROWS: u64 = 240;
const CHANGED: std::ops::RangeInclusive<u64> = 221..=260;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
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

struct Scene {
    bed: Bed,
    kinds: Vec<Kind>,
}

fn put(id: u64, at: u64) -> Change {
    let text = format!("{id} {}", "text ".repeat(220));
    Change::Put(id, format!("2024-01-01T{:02}:{:02}:{:02}Z", at / 3600, at / 60 % 60, at % 60), text)
}

impl Scene {
    fn new(format: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let run = format!("product-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let mut bed = Bed::new(Options { records: 0, ..Options::default() });
        bed.config["daemon"]["replay_limit"] = "1s".into();
        let stream = json!({
            "path": "/table/cursor/items", "records": "$.data[*]", "primary_key": ["id"],
            "paginate": config::table_pager("cursor"),
            "incremental": { "cursor_field": "updated_at", "param": "updated_since", "start": "2024-01-01T00:00:00Z" },
        });
        bed.stream("items", stream);
        // A signed manifest has points of its own.
        bed.config["daemon"]["signing_key"] = "${MANIFEST_KEY}".into();
        bed.auth_env += crash::MANIFEST_KEY;
        let kinds = kinds(&bed, &run);
        let mut export = config::export("shop", "items", format, "64kB");
        export["to"] = json!(kinds.iter().map(|kind| kind.name).collect::<Vec<_>>());
        export["attempts"] = 5.into();
        if format == "parquet" {
            export["format"]["parquet"] = json!({ "row_group_rows": 50, "compression": "none" });
        } else {
            export["format"][format] = json!({ "compression": "none" });
        }
        for kind in &kinds {
            bed.config["destinations"][kind.name] = kind.settings.clone();
            bed.auth_env += &kind.secrets;
        }
        bed.export("shop", export);
        bed.api.table().change((1..=ROWS).map(|id| put(id, id)));
        Self { bed, kinds }
    }

    /// Everything before the run that is killed.
    fn prepare(&self, run: Run) {
        match run {
            Run::First => {}
            Run::Resumed => {
                self.bed.api.set_faults(vec![Fault::rate(60.0)]);
                let daemon = self.bed.start();
                daemon.run("shop");
                std::thread::sleep(Duration::from_millis(250));
                daemon.kill();
            }
            Run::Retried => {
                self.bed.api.set_faults(vec![Fault::status(400).at(&(12..30).collect::<Vec<_>>())]);
                let daemon = self.bed.start();
                let id = daemon.run("shop");
                daemon.wait_for(&id, &["failed"], PATIENCE);
            }
            Run::Incremental => {
                let daemon = self.bed.start();
                daemon.run_to_success("shop");
                self.bed.api.table().change(CHANGED.map(|id| put(id, 1000 + id)));
            }
        }
        // Slow enough that segments stay open for the page journal.
        self.bed.api.set_faults(vec![Fault::rate(if run == Run::First { 25.0 } else { 60.0 })]);
    }

    /// Starts what is to be done, where it is not under way: the task's id, once it is known.
    fn ask(&self, daemon: &Daemon, run: Run) -> Option<String> {
        let tasks = daemon.ask("GET", "/v1/tasks", "").ok()?.json()["result"].take();
        let tasks = tasks.as_array()?;
        let wanted = if run == Run::Incremental { 2 } else { 1 };
        if tasks.len() < wanted {
            let said = daemon.ask("POST", "/v1/exports/shop/run", "").ok()?.json();
            return said["result"]["task"].as_str().map(str::to_owned);
        }
        let newest = tasks.first()?;
        let id = newest["id"].as_str()?.to_owned();
        if newest["state"] == "failed" {
            daemon.ask("POST", &format!("/v1/tasks/{id}/retry"), "").ok()?;
        }
        Some(id)
    }

    /// Lets the daemon die at the point. Whether the run passed it.
    fn dies(&self, run: Run, point: &str) -> bool {
        let mut daemon = self.bed.spawn_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let mut asked = None;
        let ended = wait_until(PATIENCE, || {
            if !daemon.alive() {
                return true;
            }
            if asked.is_none() {
                asked = self.ask(&daemon, run);
            }
            let done = |id: &String| {
                let task = daemon.ask("GET", &format!("/v1/tasks/{id}"), "").ok()?.json();
                Some(task["result"]["task"]["state"] == "succeeded")
            };
            asked.as_ref().and_then(done).unwrap_or(false)
        });
        assert!(ended, "neither dead nor done at {point}:\n{}", daemon.stderr());
        // What ends only after the task's end may still be passed.
        let passed = wait_until(Duration::from_secs(2), || !daemon.alive());
        if passed {
            let (status, said) = daemon.ended(Duration::from_secs(1));
            assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
        }
        passed
    }

    /// Brings everything to its end, and looks at every destination.
    fn judge(&self, run: Run) {
        let daemon = self.bed.start();
        let id = self.ask(&daemon, run).expect("a task");
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        for kind in &self.kinds {
            holds(&kind.look().join("shop/items"), run, kind.name);
        }
        let spool = walk(&self.bed.lake().join(".saas-export/spool"));
        assert!(spool.is_empty(), "left in the spool: {spool:?}");
        self.bed.ctl(&["verify", &id, "--deep"]).expect(0);
    }
}

/// A destination has the data sets that its `latest.json` lists, each with every record once, and no other object.
fn holds(stream: &Path, run: Run, name: &str) {
    let json = |path: &Path| -> Value {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {}: {error}", path.display()));
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let latest = json(&stream.join("latest.json"));
    let mut wanted = BTreeSet::from([stream.join("latest.json")]);
    let mut sets = Vec::new();
    for entry in latest["manifests"].as_array().expect("manifests") {
        let manifest = stream.join(entry["path"].as_str().expect("a path"));
        assert_eq!(entry["sha256"], sha256(&manifest), "{name}");
        let mut ids = Vec::new();
        for segment in json(&manifest)["segments"].as_array().expect("segments") {
            let path = manifest.with_file_name(segment["name"].as_str().expect("a name"));
            assert_eq!(segment["sha256"], sha256(&path), "{name}: {}", path.display());
            ids.extend(read::ids(&path));
            wanted.insert(path);
        }
        ids.sort_unstable();
        sets.push(ids);
        wanted.extend([manifest.with_file_name("SHA256SUMS"), manifest.with_file_name("_manifest.json.sig"), manifest]);
    }
    let missing: Vec<_> = wanted.iter().filter(|path| !path.exists()).collect();
    assert!(missing.is_empty(), "{name} lacks {missing:?}");
    let mut expected = vec![(1..=ROWS).collect::<Vec<_>>()];
    expected.extend((run == Run::Incremental).then(|| CHANGED.collect()));
    assert_eq!(sets, expected, "{name}: ids");
    // What a server keeps beside an object for itself is its own business.
    let own = |path: &Path| {
        let inside = path.strip_prefix(stream).expect("it was found there");
        inside.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
    };
    let more: Vec<_> = walk(stream).into_iter().filter(|path| !wanted.contains(path) && !own(path)).collect();
    assert!(more.is_empty(), "{name} has more: {more:?}");
}

/// Passed once for each destination.
const AT_EACH: [&str; 6] = [
    "delivery.started",
    "delivery.before_commit",
    "delivery.committed",
    "manifest.written",
    "manifest.latest_written",
    "manifest.committed",
];

fn product(format: &'static str, nth: usize) {
    // crash.rs kills the daemon at those of a credential that changes.
    let mut points: Vec<_> = crash::points().into_iter().filter(|point| !point.starts_with("token.")).collect();
    // An SFTP server gets every file in parts; what S3 gets in parts is large (stores.rs).
    if std::env::var_os("SAAS_EXPORT_TEST_SFTP").is_some() {
        let of_uploads =
            ["upload.before_begin", "upload.begun", "upload.part_sent", "upload.part_noted", "upload.completed"];
        points.extend(of_uploads.map(str::to_owned));
    }
    let runs = |at: usize| match torture() {
        true => RUNS.to_vec(),
        // With five formats every point meets each kind of run, and each format.
        false => vec![RUNS[(at + nth) % RUNS.len()]],
    };
    let cases = points.iter().enumerate().flat_map(|(at, point)| runs(at).into_iter().map(move |run| (point, run)));
    let cases: Vec<_> = cases.map(|(point, run)| (format!("{point} {run:?}"), point, run)).collect();
    let (passed, destinations) = (AtomicU32::new(0), AtomicU32::new(0));
    each(&cases.iter().map(|case| case.0.clone()).collect::<Vec<_>>(), |name| {
        let (_, point, run) = cases.iter().find(|case| case.0 == name).expect("a case");
        let scene = Scene::new(format);
        scene.prepare(*run);
        let kinds = scene.kinds.len();
        destinations.fetch_max(kinds as u32, Ordering::Relaxed);
        // Each format and kind of run dies at another destination.
        let passage = 1 + (nth + *run as usize) % kinds;
        let point = if AT_EACH.contains(&point.as_str()) { format!("{point}:{passage}") } else { (*point).clone() };
        let dead = scene.dies(*run, &point);
        // The first run passes all of them; the others begin somewhere on the way.
        assert!(dead || *run != Run::First, "{name}: not passed");
        passed.fetch_add(u32::from(dead), Ordering::Relaxed);
        scene.judge(*run);
    });
    let (passed, destinations) = (passed.into_inner(), destinations.into_inner());
    println!(
        "torture: {format}: {} cases at {destinations} destinations, killed in {passed}; lost 0, duplicated 0",
        cases.len()
    );
    assert!(passed as usize * 4 >= cases.len() * 3, "most of them must be killed");
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
