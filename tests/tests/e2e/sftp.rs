//! An export to an SFTP server that is killed at every point, at random moments, and whose connection is cut: the server
//! holds exactly what the manifest lists, nothing is left on its way, and little is sent twice.

use crate::compare::{sha256, walk};
use crate::{read, torture};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::skipped;
use saas_export_tests::harness::proxy::{Proxy, Wire};
use saas_export_tests::sample::truth::{expected, ids_sha256};
use saas_export_tests::sample::{Options, View};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes that may be sent and not confirmed.
const IN_FLIGHT: u64 = 1_000_000;

/// What a connection costs beside the files: keys, logins, requests, small objects.
const OVERHEAD: u64 = 200_000;

/// Records: two files of about a megabyte, each in several parts.
const RECORDS: u64 = 5000;

/// A bed with an export to a directory of its own on the server, by a wire.
struct Scene {
    bed: Bed,
    wire: Proxy,
    files: PathBuf,
}

fn scene(name: &str, transfer: Value) -> Option<Scene> {
    let Ok(text) = std::env::var("SAAS_EXPORT_TEST_SFTP") else {
        skipped("SFTP: no server was started (tests/stores/sftp.sh)");
        return None;
    };
    let server: Value = serde_json::from_str(&text).unwrap();
    let text = |key: &str| server[key].as_str().unwrap();
    let wire = Proxy::before(([127, 0, 0, 1], server["port"].as_u64().unwrap() as u16).into()).unwrap();
    let mut bed = Bed::new(Options { records: RECORDS, page_size: 500, ..Options::default() });
    let root = format!("e2e-{name}-{}", std::process::id());
    let mut transfer = transfer;
    transfer["in_flight"] = "1MB".into();
    transfer["connections"] = 1.into();
    bed.config["destinations"] = json!({ "far": { "sftp": {
        "host": "127.0.0.1", "port": wire.address().port(), "user": server["user"], "root": format!("/upload/{root}"),
        "auth": { "key": { "private_key": "${SFTP_KEY}" } }, "host_key": server["fingerprint"], "transfer": transfer,
    } } });
    let key = std::fs::read_to_string(text("private_key")).unwrap().replace('\n', "\\n");
    bed.auth_env += &format!("SFTP_KEY='{key}'\n");
    let mut export = config::export("shop", "cursor", "ndjson", "1500kB");
    export["to"] = json!(["far"]);
    // More than kills: what a failed task had begun to send waits for a retry.
    export["attempts"] = 20.into();
    bed.export("shop", export);
    Some(Scene { bed, wire, files: Path::new(text("local_root")).join(root) })
}

impl Scene {
    /// Everything on the server, by its path, with its digest.
    fn there(&self) -> BTreeMap<String, String> {
        let name = |path: &PathBuf| path.strip_prefix(&self.files).unwrap().to_string_lossy().into_owned();
        walk(&self.files).iter().map(|path| (name(path), sha256(path))).collect()
    }

    /// The server holds what the manifest lists, each record once, and nothing else.
    #[track_caller]
    fn assert_exact(&self, task: &str) -> u64 {
        let there = self.there();
        let dir = format!("shop/cursor/{task}");
        let manifest = std::fs::read(self.files.join(&dir).join("_manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let mut wanted: BTreeSet<String> =
            ["_manifest.json", "SHA256SUMS"].iter().map(|name| format!("{dir}/{name}")).collect();
        wanted.insert("shop/cursor/latest.json".to_owned());
        let (mut ids, mut bytes) = (Vec::new(), 0);
        for segment in manifest["segments"].as_array().unwrap() {
            let name = format!("{dir}/{}", segment["name"].as_str().unwrap());
            assert_eq!(there.get(&name).map(String::as_str), segment["sha256"].as_str(), "{name}");
            ids.extend(read::ids(&self.files.join(&name)));
            bytes += segment["bytes"].as_u64().unwrap();
            wanted.insert(name);
        }
        assert_eq!(there.keys().cloned().collect::<BTreeSet<_>>(), wanted, "exactly the manifest's objects: {there:?}");
        assert_eq!(ids_sha256(ids.into_iter()), expected(&self.bed.api.data(), View::ALL).sha256);
        bytes
    }

    /// Brings the work of a dead daemon to its end.
    fn finish(&self) -> String {
        let daemon = self.bed.start();
        let tasks = daemon.get("/v1/tasks");
        let known = tasks.as_array().and_then(|tasks| tasks.first()).and_then(|task| task["id"].as_str());
        let id = known.map_or_else(|| daemon.run("shop"), str::to_owned);
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        id
    }
}

/// Points at which the daemon is killed.
const POINTS: [&str; 18] = [
    "delivery.started",
    "upload.before_begin",
    "upload.begun",
    "upload.part_sent",
    "upload.part_sent:4",
    "upload.part_noted",
    "upload.part_noted:3",
    "upload.completed",
    "upload.completed:2",
    "delivery.copied",
    "delivery.linked",
    "delivery.before_commit",
    "delivery.committed",
    "manifest.composed",
    "manifest.sums_written",
    "manifest.written",
    "manifest.latest_written",
    "manifest.committed",
];

#[test]
fn killed_at_every_point_of_a_delivery() {
    for point in POINTS {
        let Some(scene) = scene(&point.replace([':', '.'], "-"), json!({})) else { return };
        let daemon = scene.bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        daemon.run("shop");
        let (status, said) = daemon.ended(Duration::from_secs(30));
        assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
        let id = scene.finish();
        let bytes = scene.assert_exact(&id);
        assert!(bytes > 2 * IN_FLIGHT, "{bytes} bytes in all");
        let up = scene.wire.forwarded();
        assert!(up <= bytes + IN_FLIGHT + bytes / 100 + OVERHEAD, "{point}: {up} bytes sent for {bytes}");
    }
}

#[test]
fn killed_at_random_moments_of_a_slow_delivery() {
    let Some(scene) = scene("random", json!({ "per_second": "1MB" })) else { return };
    let kills: u64 = if torture() { 12 } else { 4 };
    for n in 0..kills {
        let daemon = scene.bed.start();
        daemon.run("shop");
        // While the source is read, then while parts are sent.
        std::thread::sleep(Duration::from_millis(200 + n * 7 % 5 * 150));
        daemon.kill();
    }
    let id = scene.finish();
    let bytes = scene.assert_exact(&id);
    let (up, most) = (scene.wire.forwarded(), bytes + kills * IN_FLIGHT + bytes / 100 + (kills + 1) * OVERHEAD);
    assert!(up <= most, "{up} bytes sent for {bytes} and {kills} kills, at most {most}");
}

#[test]
fn a_connection_that_is_cut_again_and_again() {
    let Some(scene) = scene("cut", json!({})) else { return };
    let daemon = scene.bed.start();
    let cuts: [u64; 5] = [1, 2_500, 333_333, 600_001, 900_000];
    scene.wire.set(Wire::ResetAfter(cuts[0]));
    let id = daemon.run("shop");
    for (done, next) in cuts[1..].iter().enumerate() {
        let before = scene.wire.forwarded();
        let struck = || scene.wire.struck() > done as u64;
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while !struck() && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(struck(), "cut after {} bytes", scene.wire.forwarded() - before);
        scene.wire.set(Wire::ResetAfter(*next));
    }
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    scene.wire.set(Wire::Fine);
    let bytes = scene.assert_exact(&id);
    let most = bytes + cuts.len() as u64 * (IN_FLIGHT + OVERHEAD) + bytes / 100;
    assert!(scene.wire.forwarded() <= most, "{} bytes sent for {bytes}, at most {most}", scene.wire.forwarded());
}

#[test]
fn check_looks_at_the_server_and_tells_of_another_key() {
    let Some(mut scene) = scene("check", json!({})) else { return };
    let told = scene.bed.daemon(&["check"]);
    assert!(told.stdout.contains("nothing there is overwritten"), "{}{}", told.stdout, told.stderr);
    assert!(scene.there().is_empty(), "a check leaves nothing: {:?}", scene.there());
    let other = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    scene.bed.config["destinations"]["far"]["sftp"]["host_key"] = other.into();
    let told = scene.bed.daemon(&["check"]);
    assert!(told.stdout.contains("is not the one that is configured"), "{}{}", told.stdout, told.stderr);
}
