//! One case of the product: an export made in a way, at every destination that there is, brought to where it is killed, and judged.

use super::Run;
use super::way::{Version, Way};
use crate::compare::{sha256, walk};
use crate::ledger_adopt::{snapshot, stop};
use crate::matrix::{Kind, kinds};
use crate::{crash, read};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::programs::{finish, wait_until};
use saas_export_tests::hooks::Hooks;
use saas_export_tests::sample::issuer::Rotation;
use saas_export_tests::sample::{Fault, Options};
use serde_json::{Value, json};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub struct Scene {
    bed: Bed,
    pub kinds: Vec<Kind>,
    way: Way,
    run: Run,
    hooks: Hooks,
    /// The task that is killed, once it is known.
    task: OnceCell<String>,
    /// Tasks and the destinations that were promised to be filled back with them.
    promised: RefCell<BTreeSet<(String, &'static str)>>,
}

impl Scene {
    /// In a directory below `dir`.
    pub fn new(dir: &Path, format: &str, way: Way, run: Run) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("product-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let mut bed = Bed::within(dir, Options { records: 0, accounts: 3, ..Options::default() });
        // Its refresh tokens rotate, so that the points of a credential are passed.
        bed.api.issuer().rotation = Rotation::Graceful;
        bed.config["sources"]["shop"] =
            config::source(&bed.api.origin(), "/oauth", &config::refresh_token(&bed.api), &json!({}));
        bed.stream("items", way.stream());
        if way == Way::Children {
            let pager = json!({ "page": { "size_param": "per_page", "size": 2 } });
            bed.stream(
                "parents",
                json!({ "path": "/accounts", "records": "$.data[*]", "primary_key": ["id"], "paginate": pager }),
            );
        }
        bed.config["daemon"]["replay_limit"] = "1s".into();
        // A signed manifest has a point of its own.
        bed.config["daemon"]["signing_key"] = "${MANIFEST_KEY}".into();
        bed.auth_env += crash::MANIFEST_KEY;
        bed.auth_env += &config::token_secrets();
        bed.auth_env += "HOOK_SECRET=whsec_YSBrZXkgb2YgaG9va3MgdGhhdCBpcyBub3QgYSBzZWNyZXQ=\n";
        let hooks = Hooks::start().expect("a receiver");
        bed.config["notify"]["hook"] =
            json!({ "webhook": { "url": hooks.url("/exports"), "secret": "${HOOK_SECRET}" } });
        let mut kinds = kinds(&bed, &name);
        if let Way::InParts(one) = way {
            kinds.retain(|kind| ["lake", one].contains(&kind.name));
        }
        for kind in &mut kinds {
            if matches!(way, Way::InParts("s3" | "azure")) && kind.proxy.is_some() {
                kind.settings[kind.name]["transfer"] = json!({ "connections": 2, "in_flight": "8MB" });
            }
            bed.config["destinations"][kind.name] = kind.settings.clone();
            bed.auth_env += &kind.secrets;
        }
        let mut export = config::export("shop", "items", format, "64kB");
        export["to"] = json!(kinds.iter().map(|kind| kind.name).collect::<Vec<_>>());
        export["attempts"] = 5.into();
        export["notify"] = json!([{ "to": "hook", "on": ["success"] }]);
        export["format"][format] = match format {
            "parquet" => json!({ "row_group_rows": 50, "compression": "none" }),
            _ => json!({ "compression": "none" }),
        };
        way.shape(run, &mut export);
        if way == Way::Scheduled {
            let minutes = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() / 60;
            export["schedule"] = format!("*:{:02} UTC", (minutes + 30) % 60).into();
        }
        std::fs::write(bed.path("clock"), "0").expect("a clock");
        bed.export("shop", export);
        way.put(run, &mut bed.api.table(), false);
        Self { bed, kinds, way, run, hooks, task: OnceCell::new(), promised: RefCell::default() }
    }

    /// Everything before the run that is killed at the point.
    pub fn prepare(&mut self, point: &str) {
        if self.way == Way::Pruned {
            self.whole_run();
        }
        match self.run {
            Run::First if self.way == Way::Filled => self.whole_run(),
            Run::First => {}
            Run::Resumed | Run::Retried => self.interrupted(point),
            Run::Incremental => {
                self.whole_run();
                self.way.put(self.run, &mut self.bed.api.table(), true);
                if self.way == Way::Filled {
                    self.whole_run();
                }
            }
        }
        if self.way == Way::Scheduled {
            self.comes_to_its_time();
        }
        self.way.meanwhile(self.run, &mut self.bed.api.table());
        self.bed.api.issuer().revoke_access();
        // So slow that segments stay open for the page journal, where that is what is wanted.
        self.bed.api.set_faults(vec![Fault::rate(if point.starts_with("journal.") { 25.0 } else { 60.0 })]);
        self.task.take();
    }

    /// A run that died on its way to the point, behind something of its kind where the point allows it; and failed, too.
    fn interrupted(&self, point: &str) {
        let at = |name: &str| crash::all_points().iter().position(|known| known == name);
        let before = match self.way {
            Way::Filled => {
                self.whole_run();
                "delivery.fetched"
            }
            Way::InParts(_) if at(point) > at("upload.begun") && self.run == Run::Resumed => "upload.begun",
            _ if at(point) > at("segment.committed") => "segment.committed",
            _ => "task.started",
        };
        // What follows is not read before it is dead.
        self.bed.api.table().hold(self.way.pages_of_first_segment());
        self.killed(before);
        self.bed.api.table().release();
        if self.run == Run::Retried {
            self.bed.api.set_faults(vec![Fault::status(400).every(1)]);
            let daemon = self.start(&[]);
            let id = daemon.get("/v1/tasks")[0]["id"].as_str().expect("an id").to_owned();
            daemon.wait_for(&id, &["failed"], PATIENCE);
        }
    }

    /// The schedule was seen, and its time comes while nobody is there.
    fn comes_to_its_time(&self) {
        let daemon = self.start(&[]);
        let seen = || {
            let events = daemon.ask("GET", "/v1/events", "").expect("an answer").body;
            String::from_utf8_lossy(&events).contains("schedule_seen")
        };
        assert!(wait_until(PATIENCE, seen), "{}", daemon.stderr());
        stop(daemon);
        std::fs::write(self.bed.path("clock"), "3600").expect("a clock");
    }

    /// The export is run once, in peace.
    fn whole_run(&self) {
        let daemon = self.start(&[]);
        let _ = self.bed.ctl(&["run", "shop", "--wait"]).expect(0);
        stop(daemon);
    }

    fn start(&self, env: &[(&str, &str)]) -> Daemon {
        self.spawn(env).ready()
    }

    fn spawn(&self, env: &[(&str, &str)]) -> Daemon {
        let clock = self.bed.path("clock").display().to_string();
        self.bed.spawn_with(&[&[("SAAS_EXPORT_CLOCK", clock.as_str())], env].concat())
    }

    /// Starts what is to be done, where it is not under way: the task's id, once it is known.
    fn ask(&self, daemon: &Daemon) -> Option<&str> {
        if let Some(id) = self.task.get() {
            return Some(id);
        }
        let tasks = daemon.ask("GET", "/v1/tasks", "").ok()?.json()["result"].take();
        let tasks = tasks.as_array()?;
        let id = match tasks.first().filter(|_| tasks.len() >= self.way.tasks(self.run)) {
            None if self.way == Way::Scheduled => return None,
            None => {
                let said = daemon.ask("POST", "/v1/exports/shop/run", self.way.body()).ok()?.json();
                said["result"]["task"].as_str()?.to_owned()
            }
            Some(newest) => {
                let id = newest["id"].as_str()?.to_owned();
                if newest["state"] == "failed" {
                    daemon.ask("POST", &format!("/v1/tasks/{id}/retry"), "").ok()?;
                }
                id
            }
        };
        Some(self.task.get_or_init(|| id))
    }

    /// Has everything filled back; whether it is.
    fn fill(&self, daemon: &Daemon) -> Option<bool> {
        let tasks = daemon.ask("GET", "/v1/tasks", "").ok()?.json()["result"].take();
        let mut done = true;
        for task in tasks.as_array()? {
            let url = format!("/v1/tasks/{}", task["id"].as_str()?);
            let detail = daemon.ask("GET", &url, "").ok()?.json()["result"]["task"].take();
            let places = detail["destinations"].as_array()?;
            for kind in &self.kinds {
                let place = places.iter().find(|place| place["name"] == kind.name);
                if place.is_none() {
                    let to = json!({ "to": kind.name }).to_string();
                    let said = daemon.ask("POST", &format!("{url}/deliver"), &to).ok()?;
                    assert!(said.status < 300, "{}: {}", said.status, said.json());
                    self.promised.borrow_mut().insert((url.clone(), kind.name));
                }
                done &= place.is_some_and(|place| place["published"] == true && place["filling"].is_null());
            }
        }
        Some(done)
    }

    /// Does what is to be done next; whether nothing is left. None where nobody answers.
    fn drive(&self, daemon: &Daemon) -> Option<bool> {
        if self.way == Way::Filled {
            return self.fill(daemon);
        }
        let first = self.task.get().is_none();
        let id = self.ask(daemon)?;
        if first && self.way == Way::Snapshot {
            daemon.ask("POST", "/v1/ledger/snapshots", "").ok()?;
        }
        let task = daemon.ask("GET", &format!("/v1/tasks/{id}"), "").ok()?.json()["result"]["task"].take();
        assert_ne!(task["state"], "failed", "{task}");
        Some(task["state"] == "succeeded")
    }

    /// Whether the servers are there without which nothing passes the point.
    pub fn passes(&self, point: &str) -> bool {
        let there = |name: &str| self.kinds.iter().any(|kind| kind.name == name);
        match self.way {
            Way::InParts(name) => there(name),
            _ => point != "delivery.copied" || there("sftp") || there("http"),
        }
    }

    /// Lets the daemon die at the point.
    pub fn dies(&self, point: &str) {
        if self.way == Way::Restored {
            return self.dies_restoring(point);
        }
        self.killed(point);
    }

    /// A daemon that goes on until it dies at the point; some come only after the task's end.
    fn killed(&self, point: &str) {
        let mut daemon = self.spawn(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let dead = wait_until(PATIENCE, || {
            let _ = self.drive(&daemon);
            !daemon.alive()
        });
        assert!(dead, "{point} is not passed:\n{}", daemon.stderr());
        let (status, said) = daemon.ended(Duration::from_secs(1));
        assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
    }

    /// The ledger is lost after everything was published; the program that restores one of the middle dies at the point.
    fn dies_restoring(&self, point: &str) {
        self.killed("task.extracted");
        let middle = snapshot(&self.bed);
        for file in walk(self.bed.dir()).iter().filter(|path| path.to_string_lossy().contains("snapshot.db")) {
            std::fs::File::open(file).and_then(|file| file.sync_all()).expect("it is synced");
        }
        let daemon = self.start(&[]);
        assert!(wait_until(PATIENCE, || self.drive(&daemon) == Some(true)), "{}", daemon.stderr());
        daemon.kill();
        let mut command = self.bed.daemon_command();
        command.args(["ledger", "restore"]).arg(&middle).env("SAAS_EXPORT_CRASH_AT", point);
        let code = finish(&mut command, PATIENCE).code;
        assert_eq!(code, None, "killed at {point}");
    }

    /// Brings everything to its end, and looks at every destination.
    pub fn judge(&self) {
        let daemon = self.start(&[]);
        if let Some(id) = self.task.get() {
            let known = daemon.get("/v1/tasks").as_array().is_some_and(|all| all.iter().any(|task| task["id"] == *id));
            assert!(known, "the accepted task {id} is gone");
        }
        for (url, name) in self.promised.borrow().iter() {
            let detail = daemon.get(url);
            let known =
                detail["task"]["destinations"].as_array().is_some_and(|all| all.iter().any(|at| at["name"] == *name));
            assert!(known, "that {name} is filled back was promised, and is forgotten: {detail}");
        }
        assert!(wait_until(PATIENCE, || self.drive(&daemon) == Some(true)), "{}", daemon.stderr());
        for kind in &self.kinds {
            let look = || holds(&kind.look().join("shop/items"), self.way, self.run);
            let mut held = look();
            // What is pruned goes after the task's end, and its directory last.
            if self.way == Way::Pruned {
                wait_until(PATIENCE, || {
                    held.is_ok() || {
                        held = look();
                        false
                    }
                });
            }
            held.unwrap_or_else(|why| panic!("{}: {why}", kind.name));
        }
        let spool = walk(&self.bed.lake().join(".saas-export/spool"));
        assert!(spool.is_empty(), "left in the spool: {spool:?}");
        let newest = daemon.get("/v1/tasks")[0]["id"].as_str().expect("an id").to_owned();
        self.bed.ctl(&["verify", &newest, "--deep"]).expect(0);
        for snapshot in daemon.get("/v1/ledger/snapshots").as_array().expect("snapshots") {
            self.bed.daemon(&["ledger", "check", snapshot["path"].as_str().expect("a path")]).expect(0);
        }
        if self.way != Way::Restored {
            self.told(&daemon);
        }
    }

    /// Each end was told, under one id however often.
    fn told(&self, daemon: &Daemon) {
        let sent = || daemon.get("/v1/notifications?state=sent").as_array().map_or(0, Vec::len);
        assert!(wait_until(PATIENCE, || sent() == self.way.tasks(self.run)), "{} are told", sent());
        let received = self.hooks.received();
        let ids: BTreeSet<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
        assert_eq!(ids.len(), sent(), "{received:?}");
    }
}

/// Whether a destination has the data sets that its `latest.json` lists, each with every record once, and no other object.
fn holds(stream: &Path, way: Way, run: Run) -> Result<(), String> {
    let json = |path: &Path| -> Result<Value, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    };
    let same = |is: &Value, path: &Path| match *is == sha256(path) {
        true => Ok(()),
        false => Err(format!("{} is another one", path.display())),
    };
    let latest = json(&stream.join("latest.json"))?;
    let mut wanted = BTreeSet::from([stream.join("latest.json")]);
    let mut sets = Vec::new();
    for entry in latest["manifests"].as_array().expect("manifests") {
        let manifest = stream.join(entry["path"].as_str().expect("a path"));
        same(&entry["sha256"], &manifest)?;
        let mut rows: Vec<Version> = Vec::new();
        for segment in json(&manifest)?["segments"].as_array().expect("segments") {
            let path = manifest.with_file_name(segment["name"].as_str().expect("a name"));
            same(&segment["sha256"], &path)?;
            rows.extend(rows_of(&path, way, run)?);
            wanted.insert(path);
        }
        rows.sort_unstable();
        rows.pop_if(|row| way.comes_between(*row));
        sets.push(rows);
        wanted.extend([manifest.with_file_name("SHA256SUMS"), manifest.with_file_name("_manifest.json.sig"), manifest]);
    }
    if let Some(missing) = wanted.iter().find(|path| !path.exists()) {
        return Err(format!("{} is missing", missing.display()));
    }
    let expected = way.expected(run);
    if sets != expected {
        return Err(format!("rows {sets:?}, not {expected:?}"));
    }
    // What a server keeps beside an object for itself is its own business.
    let own = |path: &Path| {
        let inside = path.strip_prefix(stream).expect("it was found there");
        inside.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
    };
    let more: Vec<_> = walk(stream).into_iter().filter(|path| !wanted.contains(path) && !own(path)).collect();
    if more.is_empty() { Ok(()) } else { Err(format!("more than there should be: {more:?}")) }
}

/// The versions of rows that a file has, each with all that it should have.
fn rows_of(path: &Path, way: Way, run: Run) -> Result<Vec<Version>, String> {
    let (ids, texts) = (read::ids(path), read::values(path, "text"));
    let mut rows = Vec::with_capacity(ids.len());
    for (id, text) in ids.iter().zip(&texts) {
        let version = text.as_deref().and_then(|text| way.version(run, text)).filter(|version| version.0 == *id);
        rows.push(version.ok_or_else(|| format!("{}: row {id} is not what it was", path.display()))?);
    }
    for second in
        [false, true].into_iter().filter(|second| way == Way::Restarted && (!second || run == Run::Incremental))
    {
        let (from, name) = way.wider(second);
        for ((id, at), value) in rows.iter().zip(read::values(path, name)) {
            // The field of the second run came when the rows of the first had been read.
            let there = *id >= from && (!second || *at > 1000);
            if value != there.then(|| id.to_string()) {
                return Err(format!("{}: row {id} has {value:?} as {name}", path.display()));
            }
        }
    }
    Ok(rows)
}
