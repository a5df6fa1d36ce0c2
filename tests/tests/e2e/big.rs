//! The big one: as many megabytes as `BIG_MB` says to every destination at once, with the daemon killed `BIG_KILLS` times.
//!
//! `BIG_MB=5000 BIG_KILLS=10 tests/run big`, where scripts of `tests/stores` have started servers and said so.

use crate::matrix::{holds_exactly, kinds};
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::skipped;
use saas_export_tests::sample::Options;
use serde_json::json;
use std::time::{Duration, Instant};

/// Bytes of a record of the sample as NDJSON, about.
const RECORD: u64 = 500;
/// Bytes sent to a destination and not confirmed (`transfer.in_flight`).
const IN_FLIGHT: u64 = 32_000_000;
/// The most memory of a daemon, whatever the size of the export.
const MEMORY: u64 = 400_000_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn big() {
    let megabytes = number("BIG_MB", 0);
    if megabytes == 0 {
        return skipped("big: BIG_MB is not set");
    }
    let (kills, limit) = (number("BIG_KILLS", 10), Duration::from_secs(number("BIG_SECONDS", 3600)));
    let records = megabytes * 1_000_000 / RECORD;
    let mut bed = Bed::new(Options { records, page_size: 1000, ..Options::default() });
    let kinds = kinds(&bed, &format!("big-{}", std::process::id()));
    let mut export = config::export("shop", "cursor", "ndjson", "50MB");
    export["to"] = json!(kinds.iter().map(|kind| kind.name).collect::<Vec<_>>());
    for kind in &kinds {
        bed.config["destinations"][kind.name] = kind.settings.clone();
        bed.auth_env += &kind.secrets;
    }
    bed.export("shop", export);
    if let Ok(quota) = std::env::var("BIG_QUOTA") {
        bed.config["daemon"]["spool_quota"] = quota.into();
    }
    let (started, mut peaks, mut lives) = (Instant::now(), Vec::new(), 0);
    let mut daemon = bed.start();
    let id = daemon.run("shop");
    let bytes = |task: &serde_json::Value| {
        let places = task["task"]["destinations"].as_array().cloned().unwrap_or_default();
        places.iter().map(|place| place["delivered_bytes"].as_u64().unwrap_or(0)).min().unwrap_or(0)
    };
    loop {
        assert!(started.elapsed() < limit, "{}", daemon.task(&id));
        let task = daemon.task(&id);
        if task["task"]["state"] == "succeeded" {
            break;
        }
        assert_ne!(task["task"]["state"], "failed", "{task}");
        // Killed each time the slowest destination has another part of the whole.
        if lives < kills && bytes(&task) >= lives * megabytes * 1_000_000 / (kills + 1) {
            peaks.push(daemon.peak_memory());
            daemon.kill();
            daemon = bed.start();
            lives += 1;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    peaks.push(daemon.peak_memory());
    let took = started.elapsed();
    for kind in &kinds {
        let stream = kind.look().join("shop/cursor");
        holds_exactly(&stream, &id, &bed, kind.name);
        let stored: u64 =
            crate::compare::walk(&stream).iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum();
        let Some(proxy) = &kind.proxy else { continue };
        let (sent, most) = (proxy.forwarded(), stored + stored / 50 + (lives + 1) * IN_FLIGHT);
        eprintln!("{}: {sent} bytes sent, {stored} stored, {lives} kills", kind.name);
        assert!(sent <= most, "{}: {sent} bytes sent for {stored} and {lives} kills", kind.name);
    }
    eprintln!("{megabytes} MB in {took:.0?}; peaks of memory: {peaks:?}");
    assert!(peaks.iter().all(|peak| *peak <= MEMORY), "{peaks:?}");
}
