//! Rate limits of servers: found without being told, kept where they are told, and shown.

use crate::compare::assert_exact;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind, Options};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A bed whose export `shop` asks for so many numbered pages of ten records.
fn bed(pages: u64) -> Bed {
    let mut bed = Bed::new(Options { records: pages * 10, page_size: 10, ..Options::default() });
    bed.stream("paged", stream());
    bed.export("shop", config::export("shop", "paged", "ndjson", "1MB"));
    bed
}

fn stream() -> Value {
    let mut stream = config::streams()["paged"].clone();
    stream["paginate"]["page"]["size"] = 10.into();
    stream
}

/// Runs the export of an unconfigured source under a limit of 50 requests a second: the part of it that was used, and the
/// part of the requests that was refused.
fn discovered(retry_after: Option<u64>) -> (f64, f64) {
    let bed = bed(1300);
    let limit = Fault::bucket(50.0, 50.0);
    bed.api.set_faults(vec![retry_after.map_or(limit.clone(), |seconds| limit.seconds(seconds))]);
    let daemon = bed.start();
    let started = Instant::now();
    daemon.run_to_success("shop");
    let took = started.elapsed().as_secs_f64();
    assert_exact(&bed, "shop");
    let truth = bed.api.truth();
    let refused = truth.faults.get(&Kind::Limit).copied().unwrap_or_default();
    let (used, part) = ((truth.requests - refused) as f64 / (50.0 * took), refused as f64 / truth.requests as f64);
    eprintln!("Retry-After {retry_after:?}: {took:.1} s, {used:.3} used, {refused} of {} refused", truth.requests);
    (used, part)
}

#[test]
fn an_unknown_limit_is_used_without_retry_after() {
    let (used, refused) = discovered(None);
    assert!(used >= 0.95 && refused < 0.01, "{used} used, {refused} refused");
}

#[test]
fn an_unknown_limit_is_used_with_retry_after() {
    let (used, refused) = discovered(Some(1));
    assert!(used >= 0.95 && refused < 0.01, "{used} used, {refused} refused");
}

#[test]
fn a_told_window_is_kept_and_shown() {
    let bed = bed(60);
    bed.api.set_faults(vec![Fault::window(15.0, 2000)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let end = Instant::now() + PATIENCE;
    let source = loop {
        let status = daemon.get("/v1/status");
        let source = status["sources"][0].clone();
        if source["requests"].as_u64().is_some_and(|requests| requests > 20) {
            break source;
        }
        assert!(Instant::now() < end, "{status}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((&source["source"], &source["limit"]["from"]), (&json!("shop"), &json!("server")), "{source}");
    let limit = source["limit"]["per_second"].as_f64().unwrap();
    assert!((14.0..15.0).contains(&limit), "{source}");
    assert_eq!(source["window"]["limit"], 30, "{source}");
    let text = bed.ctl(&["status"]).expect(0).stdout;
    assert!(text.contains("(server)") && text.contains("of 30"), "{text}");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    assert_eq!(bed.api.truth().faults.get(&Kind::Limit), None, "nothing was refused");
}

#[test]
fn a_wait_says_why() {
    let bed = bed(20);
    bed.api.set_faults(vec![Fault::new(Kind::Throttle).seconds(3).at(&[4])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let end = Instant::now() + PATIENCE;
    loop {
        let status = daemon.get("/v1/status");
        let source = &status["sources"][0];
        if source["waiting"]["reason"].as_str().is_some_and(|why| why.contains("Retry-After")) {
            assert_eq!(source["refused"], 1, "{source}");
            break;
        }
        assert!(Instant::now() < end, "{status}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = bed.ctl(&["status"]).expect(0).stdout;
    assert!(text.contains("429") && text.contains("asks to wait (Retry-After)"), "{text}");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
}

#[test]
fn exports_of_one_source_share_its_budget() {
    let mut bed = bed(20);
    bed.config["sources"]["shop"]["rest"]["rate"] = json!({ "per_second": 20, "concurrency": 8 });
    bed.export("other", config::export("shop", "paged", "csv", "1MB"));
    let daemon = bed.start();
    let started = Instant::now();
    let ids = [daemon.run("shop"), daemon.run("other")];
    for id in &ids {
        daemon.wait_for(id, &["succeeded"], PATIENCE);
    }
    let most = (started.elapsed().as_secs_f64() * 20.0) as u64 + 2;
    assert!(bed.api.requests() <= most, "{} requests, where {most} are allowed", bed.api.requests());
    assert!(bed.api.truth().most_at_once <= 8);
}
