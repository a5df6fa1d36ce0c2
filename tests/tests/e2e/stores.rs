//! An export to a real S3 server beside a local directory: both hold the same, however the daemon dies on its way.

use crate::compare::{assert_complete, sha256};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::{finish, skipped};
use saas_export_tests::harness::proxy::Proxy;
use saas_export_tests::sample::Options;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Bytes that may be sent again after each kill.
const IN_FLIGHT: u64 = 11_000_000;

/// The server that `tests/stores/server.sh` started, and where it keeps the bucket's files.
struct Server {
    settings: Value,
    files: PathBuf,
}

impl Server {
    fn started(what: &str) -> Option<Self> {
        let (settings, files) = (std::env::var("SAAS_EXPORT_TEST_S3"), std::env::var_os("SAAS_EXPORT_TEST_S3_DIR"));
        let (Ok(settings), Some(files)) = (settings, files) else {
            skipped(&format!("{what}: no S3 server whose files can be seen (SAAS_EXPORT_TEST_S3, …_DIR)"));
            return None;
        };
        Some(Self { settings: serde_json::from_str(&settings).expect("settings as JSON"), files: files.into() })
    }

    fn s3(&self) -> &Value {
        &self.settings["s3"]
    }

    fn text(&self, key: &str) -> &str {
        self.s3()[key].as_str().expect("a text")
    }

    fn key(&self, key: &str) -> &str {
        self.s3()["credentials"]["static"][key].as_str().expect("a key")
    }

    /// What the server says of open uploads below a prefix.
    fn open_uploads(&self, prefix: &str) -> usize {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let mut curl = Command::new("curl");
        curl.args(["-sf", "--max-time", "20", "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["-u", &format!("{}:{}", self.key("access_key_id"), self.key("secret_access_key"))])
            .args(["-H", &format!("x-amz-content-sha256: {empty}")])
            .arg(format!("{}/{}?prefix={prefix}&uploads=", self.text("endpoint"), self.text("bucket")));
        finish(&mut curl, PATIENCE).expect(0).stdout.matches("<Upload>").count()
    }
}

struct Scene<'a> {
    bed: Bed,
    server: &'a Server,
    proxy: Proxy,
    prefix: String,
}

/// An export of so many records to a local directory and to the server.
fn scene(server: &Server, records: u64) -> Scene<'_> {
    let mut bed = Bed::new(Options { records, page_size: 500, ..Options::default() });
    let (proxy, endpoint) = Proxy::before_url(server.text("endpoint"));
    let prefix = bed.dir().file_name().expect("a name").to_string_lossy().trim_start_matches('.').to_owned();
    let mut s3 = server.s3().clone();
    s3["endpoint"] = endpoint.into();
    s3["prefix"] = prefix.clone().into();
    s3["credentials"] = json!({ "static": { "access_key_id": "${S3_ID}", "secret_access_key": "${S3_KEY}" } });
    s3["transfer"] = json!({ "connections": 2, "in_flight": format!("{IN_FLIGHT}B") });
    bed.config["destinations"]["offsite"] = json!({ "s3": s3 });
    bed.auth_env += &format!("S3_ID={}\nS3_KEY={}\n", server.key("access_key_id"), server.key("secret_access_key"));
    let mut export = config::export("shop", "cursor", "ndjson", "17MB");
    export["to"] = json!(["lake", "offsite"]);
    export["attempts"] = 10.into();
    bed.export("shop", export);
    Scene { bed, server, proxy, prefix }
}

/// Every file below a directory, with its size and sum; nothing of the daemon's own.
fn tree(root: &Path) -> BTreeMap<String, (u64, String)> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.expect("an entry").path();
            if path.ends_with(".saas-export") && path.is_dir() && dir == root {
                // Of the bucket, too: what was tried there is deleted again, and a server may keep the empty directory.
                continue;
            } else if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").display().to_string();
                all.insert(name, (path.metadata().expect("a file").len(), sha256(&path)));
            }
        }
    }
    all
}

impl Scene<'_> {
    /// Brings the task to its end; the bucket then holds what the directory holds, and nothing else.
    fn finishes(&self) -> u64 {
        let daemon = self.bed.start();
        let tasks = daemon.get("/v1/tasks");
        let known = tasks.as_array().and_then(|tasks| tasks.first()).and_then(|task| task["id"].as_str());
        let id = known.map_or_else(|| daemon.run("shop"), str::to_owned);
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_complete(&self.bed, "shop");
        let (lake, bucket) = (tree(&self.bed.lake()), tree(&self.server.files.join(&self.prefix)));
        assert!(lake.len() >= 4, "{lake:?}");
        assert_eq!(bucket, lake, "the bucket holds what the directory holds");
        assert!(!self.server.files.join(&self.prefix).join(".saas-export/probe").exists(), "a trial object is left");
        assert_eq!(self.server.open_uploads(&self.prefix), 0, "an upload is left open");
        lake.values().map(|(bytes, _)| bytes).sum()
    }

    fn dies_at(&self, point: &str) {
        let daemon = self.bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
        let (status, said) = daemon.ended(Duration::from_secs(60));
        assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
    }
}

/// Some 15 MB in one file, which has three parts.
const LARGE: u64 = 30_000;

#[test]
fn killed_while_parts_travel() {
    let Some(server) = Server::started("uploads in parts") else { return };
    for point in
        ["upload.before_begin", "upload.begun", "upload.part_sent:2", "upload.part_noted:2", "upload.completed"]
    {
        let scene = scene(&server, LARGE);
        scene.dies_at(point);
        let bytes = scene.finishes();
        let sent = scene.proxy.forwarded();
        println!("{point}: {bytes} bytes stored, {sent} sent");
        assert!(bytes > 12_000_000, "{bytes} bytes are too few for parts");
        assert!(sent <= bytes + IN_FLIGHT + 1_000_000, "{point}: {sent} bytes sent for {bytes}");
    }
}

#[test]
fn killed_where_small_objects_are_made() {
    let Some(server) = Server::started("deliveries and manifests") else { return };
    for point in [
        "delivery.started",
        "delivery.before_commit",
        "delivery.before_commit:2",
        "delivery.committed:2",
        "manifest.composed",
        "manifest.sums_written",
        "manifest.written:2",
        "manifest.latest_written",
        "manifest.latest_written:2",
        "manifest.committed:2",
    ] {
        let scene = scene(&server, 1000);
        scene.dies_at(point);
        scene.finishes();
    }
}

#[test]
fn killed_again_and_again() {
    let Some(server) = Server::started("many kills") else { return };
    let mut scene = scene(&server, 2 * LARGE);
    // Slow enough that each kill comes while parts travel.
    scene.bed.config["destinations"]["offsite"]["s3"]["transfer"]["per_second"] = "6MB".into();
    let kills = 5;
    for _ in 0..kills {
        let before = scene.proxy.forwarded();
        let daemon = scene.bed.start();
        let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
        let end = Instant::now() + PATIENCE;
        while scene.proxy.forwarded() < before + 3_000_000 {
            assert!(Instant::now() < end, "nothing travels:\n{}", daemon.stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon.kill();
    }
    let bytes = scene.finishes();
    let sent = scene.proxy.forwarded();
    println!("{kills} kills: {bytes} bytes stored, {sent} sent");
    assert!(sent <= bytes + kills * IN_FLIGHT + 1_000_000, "{sent} bytes sent for {bytes}, {kills} kills");
}

#[test]
fn check_names_what_the_store_keeps() {
    let Some(server) = Server::started("check of a store") else { return };
    let scene = scene(&server, 100);
    let daemon = scene.bed.start();
    let told = scene.bed.ctl(&["check", "shop"]);
    assert!(told.stdout.contains("offsite"), "{}", told.stdout);
    let secret = scene.server.key("secret_access_key");
    for text in [&told.stdout, &told.stderr, &daemon.stderr()] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_link_hands_out_one_file_for_a_while() {
    let Some(server) = Server::started("links to a store") else { return };
    let scene = scene(&server, 100);
    let daemon = scene.bed.start();
    let id = daemon.run_to_success("shop");
    let name = "part-0-000000.ndjson";
    let link = |expires: &str| {
        let told = scene.bed.ctl(&["url", &id, name, "--destination", "offsite", "--expires", expires]).expect(0);
        told.stdout.trim().to_owned()
    };
    let fetched = |link: &str| {
        let to = scene.bed.path("fetched");
        let mut curl = Command::new("curl");
        curl.args(["-s", "--max-time", "20", "-w", "%{http_code}", "-o"]).arg(&to).arg(link);
        (finish(&mut curl, PATIENCE).expect(0).stdout, sha256(&to))
    };
    let file = scene.bed.lake().join("shop/cursor").join(&id).join(name);
    let (hour, second) = (link("1h"), link("1s"));
    assert_eq!(fetched(&hour), ("200".to_owned(), sha256(&file)), "{hour}");
    // The signature is of this file alone, and of this time.
    assert_eq!(fetched(&hour.replace(name, "_manifest.json")).0, "403");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fetched(&second).0, "403", "{second}");
    let secret = server.key("secret_access_key");
    for text in [&hour, &daemon.stderr()] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_lost_ledger_is_rebuilt_from_the_bucket() {
    let Some(server) = Server::started("a ledger that is made of what a bucket holds") else { return };
    let scene = scene(&server, 2000);
    scene.finishes();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(scene.bed.path(&format!("state/ledger.db{suffix}")));
    }
    let report = scene.bed.daemon(&["ledger", "rebuild", "--from", "offsite", "--json"]).expect(0).json();
    let [adopted] = &report["adopted"].as_array().expect("a list")[..] else { panic!("{report}") };
    assert_eq!(adopted["streams"][0]["records"], 2000);
    let (daemon, id) = (scene.bed.start(), adopted["task"].as_str().expect("an id").to_owned());
    scene.bed.ctl(&["verify", &id, "--deep"]).expect(0);
    // The directory has the same, which the rebuild was not to look at: it is filled from there without a byte sent twice.
    scene.bed.ctl(&["deliver", &id, "--to", "lake"]).expect(0);
    crate::several::until(&daemon, &id, "lake", crate::several::published);
    assert_complete(&scene.bed, "shop");
}
