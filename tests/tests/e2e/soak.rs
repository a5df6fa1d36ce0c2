//! A soak: exports of every format run one after the other for an hour (a minute in CI), while sources, destinations, wires and
//! operators misbehave by a seed. What succeeds is exact, and nothing leaks.

use crate::compare::{latest, sha256, walk};
use crate::matrix::{Kind, kinds};
use crate::{read, torture};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chance::Chance;
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::faults::Faults;
use saas_export_tests::harness::proxy::Wire;
use saas_export_tests::harness::usage::Usage;
use saas_export_tests::sample::truth::{expected, ids_sha256};
use saas_export_tests::sample::{Fault, Kind as Trouble, Options, View};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Export, stream and format.
const EXPORTS: [(&str, &str, &str); 6] = [
    ("orders", "cursor", "ndjson"),
    ("areas", "regions", "parquet"),
    ("pages", "paged", "csv"),
    ("links", "link", "avro"),
    ("urls", "next-url", "json"),
    ("offsets", "offset", "parquet"),
];

/// The log of the ledger is bounded by its limit and what one transaction writes beyond it.
const WAL_MOST: u64 = 32 << 20;

/// How the daemon is at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    usage: Usage,
    wal: u64,
    spool: u64,
}

/// What the runs came to.
#[derive(Debug, Default)]
struct Tally {
    ended: Mutex<BTreeMap<String, u64>>,
    reasons: Mutex<BTreeMap<String, u64>>,
    cancelled: Mutex<Vec<String>>,
    /// The exports of which a task succeeded.
    whole: Mutex<BTreeSet<String>>,
    records: AtomicU64,
    events: AtomicU64,
}

struct Scene {
    bed: Bed,
    kinds: Vec<Kind>,
    faults: Faults,
    daemon: Daemon,
    tally: Tally,
    over: AtomicBool,
}

/// Ends the others when one of them fails, too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Relaxed);
        }
    }
}

impl Scene {
    fn new() -> Self {
        let run = format!("soak-{}", std::process::id());
        let mut bed = Bed::new(Options { records: 2000, ..Options::default() });
        // Where files can be seen from outside, and be removed again.
        let kinds: Vec<Kind> =
            kinds(&bed, &run).into_iter().filter(|kind| !["azure", "http"].contains(&kind.name)).collect();
        bed.config["exports"] = json!({});
        bed.config["daemon"]["replay_limit"] = "1s".into();
        // What comes by chance is no haste: a pace that is learnt from it would only be slow.
        bed.config["sources"]["shop"]["rest"]["rate"] = json!({ "adaptive": false, "concurrency": 8 });
        bed.config["sources"]["shop"]["rest"]["keep_alive"] = json!({ "read_timeout": "2s" });
        bed.stream("regions", config::regions(3));
        for kind in &kinds {
            bed.config["destinations"][kind.name] = kind.settings.clone();
            bed.auth_env += &kind.secrets;
        }
        for (name, stream, format) in EXPORTS {
            let mut export = config::export("shop", stream, format, "300kB");
            export["to"] = json!(kinds.iter().map(|kind| kind.name).collect::<Vec<_>>());
            export["attempts"] = 20.into();
            export["keep"] = json!({ "chains": 2 });
            bed.export(name, export);
        }
        bed.api.set_faults(vec![
            Fault::status(503).probability(0.01),
            Fault::new(Trouble::Reset).probability(0.01),
            Fault::new(Trouble::TruncatedJson).probability(0.01),
            Fault::new(Trouble::Throttle).seconds(0).probability(0.01),
            Fault::new(Trouble::StallBody).ms(300).probability(0.01),
            Fault::new(Trouble::Delay).ms(30),
            Fault::rate(100.0),
        ]);
        let faults = Faults::of(&bed);
        let daemon = bed.start_with(&[faults.env()]);
        Self { bed, kinds, faults, daemon, tally: Tally::default(), over: AtomicBool::new(false) }
    }

    /// Runs an export again and again, each time to its end.
    fn drive(&self, export: &str, stream: &str) {
        let _ends = Ends(&self.over);
        while !self.over.load(Relaxed) {
            let id = self.daemon.run(export);
            let state = self.ends(&id);
            if state == "cancelled" {
                self.tally.cancelled.lock().expect("unpoisoned").push(id.clone());
            }
            if state == "succeeded" {
                let records = self.exact(export, stream, &id);
                self.tally.whole.lock().expect("unpoisoned").insert(export.to_owned());
                self.tally.records.fetch_add(records, Relaxed);
            }
            *self.tally.ended.lock().expect("unpoisoned").entry(state).or_default() += 1;
        }
    }

    /// The state in which a task ends. Whoever pauses it resumes it.
    fn ends(&self, id: &str) -> String {
        let begun = Instant::now();
        loop {
            let task = self.daemon.task(id)["task"].clone();
            let state = task["state"].as_str().unwrap_or_default().to_owned();
            if ["succeeded", "failed", "cancelled"].contains(&state.as_str()) {
                if state == "failed" {
                    let reason = task["reason"].as_str().unwrap_or_default().to_owned();
                    *self.tally.reasons.lock().expect("unpoisoned").entry(reason).or_default() += 1;
                }
                return state;
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "no end: {task}\n{}", self.daemon.stderr());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A task that says it succeeded: each record once at the lake, and the same files everywhere else.
    fn exact(&self, export: &str, stream: &str, id: &str) -> u64 {
        let files: Vec<_> = latest(&self.bed, export, "lake").into_iter().filter(|file| file.task == id).collect();
        let mut ids: Vec<u64> = files.iter().flat_map(|file| read::ids(&file.path)).collect();
        ids.sort_unstable();
        let oracle = expected(&self.bed.api.data(), View::ALL);
        assert_eq!(ids.len() as u64, oracle.count, "{export} {id}: records");
        assert_eq!(ids_sha256(ids.into_iter()), oracle.sha256, "{export} {id}: ids");
        for (kind, file) in self.kinds.iter().flat_map(|kind| files.iter().map(move |file| (kind, file))) {
            let name = file.path.file_name().unwrap_or_default();
            let there = kind.files.join(export).join(stream).join(id).join(name);
            assert_eq!(sha256(&there), file.sha256, "{}: {}", kind.name, there.display());
        }
        oracle.count
    }

    /// Lets things go wrong until it is over; everything is well again at the end.
    fn harm(&self, mut chance: Chance) {
        let _ends = Ends(&self.over);
        while !self.over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(100 + chance.below(500)));
            self.tally.events.fetch_add(1, Relaxed);
            match chance.below(8) {
                0..=3 => self.harm_a_destination(&mut chance),
                4 | 5 => self.interfere(&mut chance),
                6 => self.daemon.signal(nix::sys::signal::Signal::SIGHUP),
                _ => self.talk_nonsense(&mut chance),
            }
        }
        self.heal();
    }

    fn heal(&self) {
        self.kinds.iter().for_each(|kind| self.faults.clear(kind.name));
        self.kinds.iter().filter_map(|kind| kind.proxy.as_ref()).for_each(|proxy| proxy.set(Wire::Fine));
    }

    fn harm_a_destination(&self, chance: &mut Chance) {
        let kind = chance.one_of(&self.kinds);
        let long = Duration::from_millis(100 + chance.below(1000));
        match &kind.proxy {
            Some(proxy) if chance.below(3) > 0 => {
                proxy.set(match chance.below(4) {
                    0 => Wire::ResetAfter(chance.below(400_000)),
                    1 => Wire::StallAfter(chance.below(100_000)),
                    2 => Wire::SwallowAnswer(1 + chance.below(5)),
                    _ => Wire::Answer(1 + chance.below(5), *chance.one_of(&[500, 502, 503, 429])),
                });
                std::thread::sleep(long);
                proxy.set(Wire::Fine);
            }
            _ => {
                self.faults
                    .set(kind.name, ["hang", "refuse", "slow 50"][usize::try_from(chance.below(3)).unwrap_or(0)]);
                std::thread::sleep(long);
                self.faults.clear(kind.name);
            }
        }
    }

    /// What an operator does to one of the tasks under way.
    fn interfere(&self, chance: &mut Chance) {
        let status = self.daemon.get("/v1/status");
        let open = status["open"].as_array().cloned().unwrap_or_default();
        let ids: Vec<&str> = open.iter().filter_map(|task| task["id"].as_str()).collect();
        if ids.is_empty() {
            return;
        }
        let id = *chance.one_of(&ids);
        // It may have ended a moment ago; that is an answer, too.
        let act = |what: &str| drop(self.daemon.ask("POST", &format!("/v1/tasks/{id}/{what}"), ""));
        if chance.below(4) == 0 {
            return act("cancel");
        }
        act("pause");
        std::thread::sleep(Duration::from_millis(chance.below(400)));
        act("resume");
    }

    fn talk_nonsense(&self, chance: &mut Chance) {
        let said: &[&[u8]] =
            &[b"", b"\x16\x03\x01", b"GET / HTTP/9", b"POST /v1/exports/x/run HTTP/1.1\r\n", b"\r\n\r\n\r\n"];
        if let Ok(mut stream) = UnixStream::connect(self.daemon.socket()) {
            let _ = stream.write_all(chance.one_of::<&[u8]>(said));
            std::thread::sleep(Duration::from_millis(chance.below(50)));
        }
    }

    fn look(&self) -> Look {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        Look {
            usage: self.daemon.usage(),
            wal: size(&self.bed.path("state/ledger.db-wal")),
            spool: self.spooled().iter().map(|path| size(path)).sum(),
        }
    }

    /// What lies in the spools. That of a cancelled task is kept for a retry, for longer than this takes.
    fn spooled(&self) -> Vec<PathBuf> {
        let mut files = walk(&self.bed.lake().join(".saas-export/spool"));
        let cancelled = self.tally.cancelled.lock().expect("unpoisoned");
        files.retain(|path| !cancelled.iter().any(|id| path.components().any(|part| part.as_os_str() == id.as_str())));
        files
    }
}

/// The most of something in a part of the looks.
fn most(looks: &[Look], of: impl Fn(&Look) -> u64) -> u64 {
    looks.iter().map(of).max().unwrap_or_default()
}

#[test]
fn nothing_leaks_and_nothing_is_lost_while_everything_goes_wrong() {
    let given = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let long = Duration::from_secs(given.unwrap_or(if torture() { 3600 } else { 60 }));
    let mut chance = Chance::of_this_run("soak");
    let scene = Scene::new();
    let mut looks: Vec<Look> = Vec::new();
    std::thread::scope(|scope| {
        let _ends = Ends(&scene.over);
        for (export, stream, _) in EXPORTS {
            let scene = &scene;
            scope.spawn(move || scene.drive(export, stream));
        }
        let harmed = chance.fork();
        let scene_of_harm = &scene;
        scope.spawn(move || scene_of_harm.harm(harmed));
        let (begun, mut told) = (Instant::now(), Instant::now());
        while begun.elapsed() < long && !scene.over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(250));
            looks.push(scene.look());
            if told.elapsed() > Duration::from_secs(300) {
                told = Instant::now();
                println!("torture: {:?} of {long:?}: {:?}, {:?}", begun.elapsed(), scene.tally, looks.last());
            }
        }
        scene.over.store(true, Relaxed);
    });
    judge(&scene, &looks, long);
}

fn judge(scene: &Scene, looks: &[Look], long: Duration) {
    let Tally { ended, reasons, records, events, .. } = &scene.tally;
    let (ended, reasons) = (ended.lock().expect("unpoisoned"), reasons.lock().expect("unpoisoned"));
    // The first quarter warms up.
    let (early, late) = (&looks[looks.len() / 4..looks.len() / 2], &looks[looks.len() * 3 / 4..]);
    let of = |what: fn(&Look) -> u64| (most(early, what), most(late, what));
    let (memory, descriptors) = (of(|look| look.usage.memory), of(|look| look.usage.descriptors));
    let (threads, wal) = (of(|look| look.usage.threads), most(looks, |look| look.wal));
    println!(
        "torture: {long:?} of soak: tasks {ended:?}, {} records exact at {} destinations each time, {} faults at \
         destinations and words of operators, faults of the source {:?}; memory {} and {} MB, descriptors {descriptors:?}, \
         threads {threads:?} (second and last quarter), log of the ledger at most {} kB, spool at most {} kB; failed {reasons:?}; \
         lost 0, duplicated 0",
        records.load(Relaxed),
        scene.kinds.len(),
        events.load(Relaxed),
        scene.bed.api.truth().faults,
        memory.0 / 1_000_000,
        memory.1 / 1_000_000,
        wal / 1000,
        most(looks, |look| look.spool) / 1000,
    );
    let all: u64 = ended.values().sum();
    assert!(ended.get("failed").copied().unwrap_or_default() * 20 <= all, "{ended:?}: {reasons:?}");
    let whole = scene.tally.whole.lock().expect("unpoisoned");
    assert_eq!(whole.len(), EXPORTS.len(), "each of them succeeds now and then: {whole:?}");
    assert!(memory.1 <= memory.0 * 5 / 4 + 16_000_000, "memory grows: {memory:?}");
    assert!(descriptors.1 <= descriptors.0 + 32, "descriptors grow: {descriptors:?}");
    assert!(threads.1 <= threads.0 + 16, "threads grow: {threads:?}");
    let spool = of(|look| look.spool);
    assert!(spool.1 <= spool.0 * 2 + 16_000_000, "the spool grows: {spool:?}");
    assert!(wal <= WAL_MOST, "the log of the ledger grows: {wal}");
    assert!(!scene.daemon.stderr().contains("panicked"), "{}", scene.daemon.stderr());
    // Deliveries of what was cancelled may still end.
    let tidy = saas_export_tests::harness::programs::wait_until(Duration::from_secs(30), || scene.spooled().is_empty());
    assert!(tidy, "left in the spool: {:?}", scene.spooled());
    scene.bed.ctl(&["ledger", "check"]).expect(0);
}
