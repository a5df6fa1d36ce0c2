//! One case of the product: an export made in a way, at every destination that there is, brought to where it is killed, and judged.

use super::Run;
use super::way::Way;
use crate::compare::{sha256, walk};
use crate::ledger_adopt::{restore, snapshot, stop};
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
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub struct Scene {
    pub bed: Bed,
    pub kinds: Vec<Kind>,
    way: Way,
    run: Run,
    hooks: Hooks,
    /// The task that is killed, once it is known.
    task: OnceCell<String>,
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
        way.shape(&mut export);
        if way == Way::Scheduled {
            let minutes = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() / 60;
            export["schedule"] = format!("*:{:02} UTC", (minutes + 30) % 60).into();
        }
        std::fs::write(bed.path("clock"), "0").expect("a clock");
        bed.export("shop", export);
        way.put(&mut bed.api.table(), false);
        Self { bed, kinds, way, run, hooks, task: OnceCell::new() }
    }

    /// Everything before the run that is killed.
    pub fn prepare(&mut self) {
        let whole = || self.whole_run();
        if self.way == Way::Pruned {
            whole();
        }
        match self.run {
            Run::First if self.way == Way::Filled => whole(),
            Run::First => {}
            Run::Resumed => {
                self.bed.api.set_faults(vec![Fault::rate(60.0)]);
                let daemon = self.start(&[]);
                if self.way == Way::Filled {
                    daemon.run_to_success("shop");
                    self.fill(&daemon);
                } else {
                    assert!(self.ask(&daemon).is_some(), "{}", daemon.stderr());
                }
                std::thread::sleep(Duration::from_millis(250));
                daemon.kill();
            }
            Run::Retried => {
                self.bed.api.set_faults(vec![Fault::status(400).at(&(12..30).collect::<Vec<_>>())]);
                let daemon = self.start(&[]);
                let id = self.ask(&daemon).expect("a task");
                daemon.wait_for(id, &["failed"], PATIENCE);
            }
            Run::Incremental => {
                whole();
                self.way.put(&mut self.bed.api.table(), true);
                if self.way == Way::Filled {
                    whole();
                }
            }
        }
        if self.way == Way::Scheduled {
            self.comes_to_its_time();
        }
        self.way.meanwhile(&mut self.bed.api.table());
        self.bed.api.issuer().revoke_access();
        self.task.take();
        // Slow enough that segments stay open for the page journal.
        let first = self.run == Run::First && self.way == Way::Plain;
        self.bed.api.set_faults(vec![Fault::rate(if first { 25.0 } else { 60.0 })]);
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
                    daemon.ask("POST", &format!("{url}/deliver"), &to).ok()?;
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
        let server = |name: &str| self.kinds.iter().any(|kind| kind.name == name);
        match self.way {
            Way::InParts(name) => server(name),
            _ => point != "delivery.copied" || self.kinds.iter().any(|kind| kind.proxy.is_some()),
        }
    }

    /// Lets the daemon die at the point. Whether the run passed it.
    pub fn dies(&self, point: &str) -> bool {
        if self.way == Way::Restored {
            return self.dies_restoring(point);
        }
        let mut daemon = self.spawn(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let ended = wait_until(PATIENCE, || !daemon.alive() || self.drive(&daemon) == Some(true));
        assert!(ended, "neither dead nor done at {point}:\n{}", daemon.stderr());
        // What ends only after the task's end may still be passed.
        let passed = wait_until(Duration::from_secs(2), || !daemon.alive());
        if passed {
            let (status, said) = daemon.ended(Duration::from_secs(1));
            assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
        }
        passed
    }

    /// The ledger is lost after everything was published; the program that restores one of the middle dies at the point.
    fn dies_restoring(&self, point: &str) -> bool {
        let daemon = self.start(&[]);
        assert!(self.drive(&daemon).is_some(), "{}", daemon.stderr());
        std::thread::sleep(Duration::from_millis(300));
        daemon.kill();
        let middle = snapshot(&self.bed);
        let daemon = self.start(&[]);
        assert!(wait_until(PATIENCE, || self.drive(&daemon) == Some(true)), "{}", daemon.stderr());
        daemon.kill();
        let mut command = self.bed.daemon_command();
        command.args(["ledger", "restore"]).arg(&middle).env("SAAS_EXPORT_CRASH_AT", point);
        let code = finish(&mut command, PATIENCE).code;
        assert_eq!(code, None, "killed at {point}");
        restore(&self.bed, &middle, &[]).expect(0);
        true
    }

    /// Brings everything to its end, and looks at every destination.
    pub fn judge(&self) {
        let daemon = self.start(&[]);
        if let Some(id) = self.task.get() {
            let known = daemon.get("/v1/tasks").as_array().is_some_and(|all| all.iter().any(|task| task["id"] == *id));
            assert!(known, "the accepted task {id} is gone");
        }
        assert!(wait_until(PATIENCE, || self.drive(&daemon) == Some(true)), "{}", daemon.stderr());
        for kind in &self.kinds {
            let held = || holds(&kind.look().join("shop/items"), self.way, self.run);
            // What is pruned goes after the task's end.
            if self.way == Way::Pruned {
                wait_until(PATIENCE, || held().is_ok());
            }
            held().unwrap_or_else(|why| panic!("{}: {why}", kind.name));
        }
        let spool = walk(&self.bed.lake().join(".saas-export/spool"));
        assert!(spool.is_empty(), "left in the spool: {spool:?}");
        for task in daemon.get("/v1/tasks").as_array().expect("tasks").iter().take(1) {
            self.bed.ctl(&["verify", task["id"].as_str().expect("an id"), "--deep"]).expect(0);
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
        let mut ids = Vec::new();
        for segment in json(&manifest)?["segments"].as_array().expect("segments") {
            let path = manifest.with_file_name(segment["name"].as_str().expect("a name"));
            same(&segment["sha256"], &path)?;
            ids.extend(read::ids(&path).into_iter().filter(Way::counts));
            wanted.insert(path);
        }
        ids.sort_unstable();
        sets.push(ids);
        wanted.extend([manifest.with_file_name("SHA256SUMS"), manifest.with_file_name("_manifest.json.sig"), manifest]);
    }
    if let Some(missing) = wanted.iter().find(|path| !path.exists()) {
        return Err(format!("{} is missing", missing.display()));
    }
    let expected = way.expected(run);
    if sets != expected {
        return Err(format!("ids {sets:?}, not {expected:?}"));
    }
    // What a server keeps beside an object for itself is its own business.
    let own = |path: &Path| {
        let inside = path.strip_prefix(stream).expect("it was found there");
        inside.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
    };
    let more: Vec<_> = walk(stream).into_iter().filter(|path| !wanted.contains(path) && !own(path)).collect();
    if more.is_empty() { Ok(()) } else { Err(format!("more than there should be: {more:?}")) }
}
