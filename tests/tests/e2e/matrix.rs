//! The crash and fault matrix: whatever happens on the way, every destination holds exactly the manifest's objects with the
//! right bytes, and nothing else. Judged from outside: by the files as their servers keep them, and by what the API has.
//!
//! Every scene exports to all destinations that there are at once, so that each fault meets each kind. A kind joins by a line
//! in [`kinds`]; kinds with a server are there where a script of `tests/stores` started one and said so.

use crate::compare::{sha256, walk};
use crate::{read, torture};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chance::Chance;
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::faults::Faults;
use saas_export_tests::harness::netns::go_home;
use saas_export_tests::harness::programs::{finish, skipped};
use saas_export_tests::harness::proxy::{Proxy, Wire};
use saas_export_tests::sample::truth::{expected, ids_sha256};
use saas_export_tests::sample::{Options, View};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A destination under test.
pub(crate) struct Kind {
    pub name: &'static str,
    pub settings: Value,
    /// Where its objects can be seen as files; [`Kind::look`] copies them there where they are none.
    pub files: PathBuf,
    /// Before its server, where it has one.
    pub proxy: Option<Proxy>,
    /// What goes into auth.env for it.
    pub secrets: String,
}

impl Kind {
    fn local(name: &'static str, root: PathBuf) -> Self {
        let settings = json!({ "local": { "root": root } });
        Self { name, settings, files: root, proxy: None, secrets: String::new() }
    }

    /// Where its objects can be seen as files now. What is in a container is copied, by a client of its own.
    pub fn look(&self) -> &Path {
        if self.settings.get("azure").is_some() {
            let (script, server) =
                (Path::new(env!("CARGO_MANIFEST_DIR")).join("stores/azure.py"), said("SAAS_EXPORT_TEST_AZURE"));
            let (prefix, _) =
                (self.settings["azure"]["prefix"].as_str().unwrap_or_default(), fs::remove_dir_all(&self.files));
            let server = server.unwrap_or_default().to_string();
            let mut copy = Command::new("python3");
            copy.arg(script).args([&server, prefix]).arg(&self.files);
            // The server is in the network of the program.
            let copies = || {
                go_home();
                finish(&mut copy, PATIENCE).expect(0);
            };
            std::thread::scope(|scope| scope.spawn(copies).join()).expect("a copy");
        }
        &self.files
    }
}

/// A server that a script said of, as the JSON in an environment variable.
fn said(variable: &str) -> Option<Value> {
    let Ok(text) = std::env::var(variable) else {
        skipped(&format!("matrix: no {variable}"));
        return None;
    };
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{variable}: {error}")))
}

fn s3(run: &str) -> Option<Kind> {
    let mut settings = said("SAAS_EXPORT_TEST_S3")?;
    let files = std::env::var_os("SAAS_EXPORT_TEST_S3_DIR").map(PathBuf::from)?;
    let (proxy, endpoint) = Proxy::before_url(settings["s3"]["endpoint"].as_str()?);
    settings["s3"]["endpoint"] = endpoint.into();
    settings["s3"]["prefix"] = run.into();
    settings["s3"]["transfer"] = json!({ "connections": 2 });
    let mut secrets = String::new();
    for (key, name) in [("access_key_id", "MATRIX_S3_KEY"), ("secret_access_key", "MATRIX_S3_SECRET")] {
        let value = &mut settings["s3"]["credentials"]["static"][key];
        secrets += &format!("{name}='{}'\n", value.as_str()?);
        *value = format!("${{{name}}}").into();
    }
    Some(Kind { name: "s3", settings, files: files.join(run), proxy: Some(proxy), secrets })
}

fn sftp(run: &str) -> Option<Kind> {
    let server = said("SAAS_EXPORT_TEST_SFTP")?;
    let port = u16::try_from(server["port"].as_u64()?).ok()?;
    let proxy = Proxy::before(([127, 0, 0, 1], port).into()).expect("a proxy");
    let key = std::fs::read_to_string(server["private_key"].as_str()?).ok()?.replace('\n', "\\n");
    let settings = json!({ "sftp": {
        "host": "127.0.0.1", "port": proxy.address().port(), "user": server["user"],
        "root": format!("{}/{run}", server["root"].as_str()?),
        "auth": { "key": { "private_key": "${MATRIX_SFTP_KEY}" } }, "host_key": server["fingerprint"],
    } });
    let files = Path::new(server["local_root"].as_str()?).join(run);
    Some(Kind { name: "sftp", settings, files, proxy: Some(proxy), secrets: format!("MATRIX_SFTP_KEY='{key}'\n") })
}

fn http(run: &str) -> Option<Kind> {
    let server = said("SAAS_EXPORT_TEST_HTTP")?;
    let (proxy, url) = Proxy::before_url(server["nginx"].as_str()?);
    let settings = json!({ "http": {
        "url": format!("{url}/{run}/{{key}}"), "auth": { "bearer": { "token": "${MATRIX_PUT_TOKEN}" } },
    } });
    let secrets = format!("MATRIX_PUT_TOKEN='{}'\n", server["token"].as_str()?);
    let files = Path::new(server["nginx_root"].as_str()?).join(run);
    Some(Kind { name: "http", settings, files, proxy: Some(proxy), secrets })
}

fn azure(bed: &Bed, run: &str) -> Option<Kind> {
    let mut settings = said("SAAS_EXPORT_TEST_AZURE")?;
    let (proxy, endpoint) = Proxy::before_url(settings["azure"]["endpoint"].as_str()?);
    let key = settings["azure"]["credentials"]["key"].as_str()?;
    let secrets = format!("MATRIX_AZURE_KEY='{key}'\n");
    settings["azure"]["endpoint"] = endpoint.into();
    settings["azure"]["prefix"] = run.into();
    settings["azure"]["credentials"]["key"] = "${MATRIX_AZURE_KEY}".into();
    settings["azure"]["transfer"] = json!({ "connections": 2 });
    Some(Kind { name: "azure", settings, files: bed.path("container"), proxy: Some(proxy), secrets })
}

/// Every kind that there is here.
pub(crate) fn kinds(bed: &Bed, run: &str) -> Vec<Kind> {
    let mut kinds = vec![Kind::local("lake", bed.lake()), Kind::local("copy", bed.path("copy"))];
    kinds.extend(s3(run));
    kinds.extend(sftp(run));
    kinds.extend(http(run));
    kinds.extend(azure(bed, run));
    kinds
}

/// An export to every kind.
pub(crate) struct Scene {
    pub bed: Bed,
    kinds: Vec<Kind>,
    faults: Faults,
    clock: PathBuf,
}

pub(crate) fn scene() -> Scene {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let run = format!("matrix-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let mut bed = Bed::new(Options { records: 600, page_size: 50, ..Options::default() });
    let kinds = kinds(&bed, &run);
    let mut export = config::export("shop", "cursor", "ndjson", "64kB");
    export["to"] = json!(kinds.iter().map(|kind| kind.name).collect::<Vec<_>>());
    export["attempts"] = 5.into();
    for kind in &kinds {
        bed.config["destinations"][kind.name] = kind.settings.clone();
        bed.auth_env += &kind.secrets;
    }
    bed.export("shop", export);
    let (faults, clock) = (Faults::of(&bed), bed.path("clock"));
    std::fs::write(&clock, "0").unwrap();
    Scene { bed, kinds, faults, clock }
}

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    /// The daemon kills itself at a point, and is started again.
    Dies(String),
    /// It is killed after so long, and is started again.
    Killed(Duration),
    /// Something on the wire to every destination that has one; the others refuse for a while.
    Wire(Wire),
    /// The clock is wrong by so many seconds from a moment on, and again after a restart.
    Jumps(i64),
}

impl Scene {
    fn env<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let clock = ("SAAS_EXPORT_CLOCK", self.clock.to_str().unwrap());
        [self.faults.env(), clock].into_iter().chain(more.iter().copied()).collect()
    }

    pub fn start(&self) -> Daemon {
        self.bed.start_with(&self.env(&[]))
    }

    /// Lets the event happen in an export.
    fn play(&self, event: &Event) {
        match event {
            Event::Dies(point) => {
                let daemon = self.bed.start_with(&self.env(&[("SAAS_EXPORT_CRASH_AT", point)]));
                let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
                let (status, said) = daemon.ended(Duration::from_secs(30));
                assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
            }
            Event::Killed(after) => {
                let daemon = self.start();
                daemon.run("shop");
                std::thread::sleep(*after);
                daemon.kill();
            }
            Event::Wire(wire) => {
                for kind in &self.kinds {
                    match &kind.proxy {
                        Some(proxy) => proxy.set(wire.clone()),
                        None => self.faults.set(kind.name, "refuse"),
                    }
                }
                let daemon = self.start();
                let id = daemon.run("shop");
                self.wait_for_strikes(&daemon, &id);
                // A byte far behind may never come; the wires of every run are such that they are met.
                let struck = self.kinds.iter().filter_map(|kind| kind.proxy.as_ref()).any(|proxy| proxy.struck() > 0);
                assert!(struck || torture() || !self.kinds.iter().any(|kind| kind.proxy.is_some()), "nothing struck");
                self.kinds.iter().filter_map(|kind| kind.proxy.as_ref()).for_each(|proxy| proxy.set(Wire::Fine));
                self.kinds.iter().for_each(|kind| self.faults.clear(kind.name));
                daemon.wait_for(&id, &["succeeded"], PATIENCE);
            }
            Event::Jumps(seconds) => {
                self.faults.set("copy", "slow 100");
                let daemon = self.start();
                let id = daemon.run("shop");
                std::fs::write(&self.clock, seconds.to_string()).unwrap();
                std::thread::sleep(Duration::from_millis(150));
                daemon.kill();
                std::fs::write(&self.clock, (-2 * seconds).to_string()).unwrap();
                let daemon = self.start();
                self.faults.clear("copy");
                daemon.wait_for(&id, &["succeeded"], PATIENCE);
            }
        }
    }

    /// Until each local destination has refused, and the wire of each other one was struck or has had its time.
    fn wait_for_strikes(&self, daemon: &Daemon, id: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        let struck = |kind: &Kind, task: &Value| match &kind.proxy {
            Some(proxy) => proxy.struck() > 0,
            None => task["task"]["destinations"].as_array().is_some_and(|places| {
                places.iter().any(|place| place["name"] == kind.name && place["error"].is_string())
            }),
        };
        while Instant::now() < end {
            let task = daemon.task(id);
            if self.kinds.iter().all(|kind| struck(kind, &task)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Brings everything to its end, and compares every destination with the manifest and with the API.
    pub fn judge(&self) {
        let daemon = self.start();
        let tasks = daemon.get("/v1/tasks");
        let known = tasks.as_array().and_then(|tasks| tasks.first()).and_then(|task| task["id"].as_str());
        let id = known.map_or_else(|| daemon.run("shop"), str::to_owned);
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        for kind in &self.kinds {
            holds_exactly(&kind.look().join("shop/cursor"), &id, &self.bed, kind.name);
        }
        let spool = walk(&self.bed.lake().join(".saas-export/spool"));
        assert!(spool.is_empty(), "left in the spool: {spool:?}");
        self.bed.ctl(&["verify", &id, "--deep"]).expect(0);
        drop(daemon);
    }
}

/// A destination has the objects that the manifest of a task names, and no others.
pub(crate) fn holds_exactly(stream: &Path, id: &str, bed: &Bed, name: &str) {
    let dir = stream.join(id);
    let read = |path: &Path| -> Value {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {}: {error}", path.display()));
        serde_json::from_slice(&bytes).unwrap()
    };
    let manifest = read(&dir.join("_manifest.json"));
    let mut wanted: BTreeMap<PathBuf, Option<String>> = ["_manifest.json", "SHA256SUMS"]
        .map(|name| (dir.join(name), None))
        .into_iter()
        .chain([(stream.join("latest.json"), None)])
        .collect();
    let mut ids = Vec::new();
    for segment in manifest["segments"].as_array().unwrap() {
        let path = dir.join(segment["name"].as_str().unwrap());
        ids.extend(read::ids(&path));
        wanted.insert(path, segment["sha256"].as_str().map(str::to_owned));
    }
    let there: Vec<PathBuf> = walk(stream);
    for (path, sum) in &wanted {
        assert!(there.contains(path), "{name} lacks {}", path.display());
        assert!(sum.as_ref().is_none_or(|sum| *sum == sha256(path)), "{name}: {} differs", path.display());
    }
    // What a server keeps beside an object for itself is its own business.
    let own = |path: &&PathBuf| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
    let more: Vec<_> = there.iter().filter(|path| !wanted.contains_key(*path)).filter(|path| !own(path)).collect();
    assert!(more.is_empty(), "{name} has more: {more:?}");
    let oracle = expected(&bed.api.data(), View::ALL);
    assert_eq!(ids.len() as u64, oracle.count, "{name}: records");
    assert_eq!(ids_sha256(ids.into_iter()), oracle.sha256, "{name}: ids, in order");
    let latest = read(&stream.join("latest.json"));
    assert_eq!(latest["manifests"].as_array().unwrap().last().unwrap()["sha256"], sha256(&dir.join("_manifest.json")));
}

/// Tries every case, and only then fails with the list of what did not hold.
pub(crate) fn all_of<T: Debug>(cases: &[T], try_one: impl Fn(&T)) {
    let failed: Vec<&T> =
        cases.iter().filter(|case| catch_unwind(AssertUnwindSafe(|| try_one(case))).is_err()).collect();
    assert!(failed.is_empty(), "{} of {} did not hold: {failed:?}", failed.len(), cases.len());
}

fn all(events: Vec<Event>) {
    all_of(&events, |event| {
        let scene = scene();
        scene.play(event);
        scene.judge();
    });
}

/// The points of delivery and publication, in the order in which they are passed.
const POINTS: [&str; 10] = [
    "delivery.started",
    "delivery.linked",
    "delivery.before_commit",
    "delivery.committed",
    "spool.removed",
    "manifest.composed",
    "manifest.sums_written",
    "manifest.written",
    "manifest.latest_written",
    "manifest.committed",
];

#[test]
fn killed_at_each_point_of_delivery_and_publication() {
    let points = POINTS.iter().chain(&["task.before_end", "task.ended"]);
    // Each passage is another destination's turn, in whatever order they come.
    let passages: &[u32] = if torture() { &[1, 2, 3, 4] } else { &[2] };
    let once = |point: &str| point.starts_with("task.");
    let dies = points.flat_map(|point| {
        let passages = if once(point) { &[1][..] } else { passages };
        passages.iter().map(move |nth| Event::Dies(format!("{point}:{nth}")))
    });
    all(dies.collect());
}

#[test]
fn killed_in_the_middle_of_an_upload() {
    // Only kinds that upload in parts pass these.
    if std::env::var_os("SAAS_EXPORT_TEST_S3").is_none() {
        return skipped("matrix: upload.*: no store that takes parts (SAAS_EXPORT_TEST_S3)");
    }
    let points = ["upload.before_begin", "upload.begun", "upload.part_sent", "upload.part_noted", "upload.completed"];
    all(points.map(|point| Event::Dies(point.into())).into());
}

#[test]
fn faults_on_the_wire() {
    let mut faults: Vec<Wire> = vec![Wire::ResetAfter(7_000), Wire::SwallowAnswer(4), Wire::Answer(3, 503)];
    // What arrives is something else, and what is said to have arrived did not.
    faults.extend([Wire::Damage(30_000), Wire::Answer(3, 200), Wire::Answer(4, 201)]);
    if torture() {
        let mut chance = Chance::of_this_run("faults on the wire");
        faults.extend((0..20).map(|_| Wire::ResetAfter(chance.below(200_000))));
        faults.extend((0..20).map(|_| Wire::Damage(chance.below(200_000))));
        faults.extend((1..12).map(Wire::SwallowAnswer));
        faults.extend([200, 201, 204].into_iter().flat_map(|status| (1..12).map(move |nth| Wire::Answer(nth, status))));
        faults.extend([500, 409, 412].into_iter().flat_map(|status| [2, 3, 5, 8].map(|nth| Wire::Answer(nth, status))));
    }
    all(faults.into_iter().map(Event::Wire).collect());
}

#[test]
fn a_clock_that_jumps() {
    let jumps: &[i64] = if torture() { &[86_400, -86_400, 3600, -3600, 400 * 86_400] } else { &[86_400, -86_400] };
    all(jumps.iter().map(|seconds| Event::Jumps(*seconds)).collect());
}

#[test]
fn killed_at_random_moments_of_the_delivery() {
    let moments: u32 = if torture() { 40 } else { 4 };
    all((0..moments).map(|n| Event::Killed(Duration::from_millis(20 + u64::from(n * 37 % 211)))).collect());
}
