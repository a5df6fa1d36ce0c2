//! Response rules: what an answer means where its status alone does not say it.

use crate::compare::assert_exact;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A bed whose export reads `stream` of 1,000 records under rules.
fn bed(stream: &str, rules: Value) -> Bed {
    let mut bed = Bed::with_records(1000);
    bed.config["sources"]["shop"]["rest"]["streams"][stream]["answers"] = rules;
    bed.export("shop", config::export("shop", stream, "ndjson", "64kB"));
    bed
}

fn errors(bed: &Bed) -> u64 {
    bed.api.truth().faults.values().sum()
}

#[test]
fn an_error_with_status_200_is_tried_again() {
    let bed = bed("cursor", json!([{ "json": "$.error", "equals": "not now", "then": "retry" }]));
    bed.api.set_faults(vec![Fault::new(Kind::ErrorBody).at(&[2, 3, 7])]);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    assert_eq!(errors(&bed), 3);
}

#[test]
fn the_wait_that_a_body_asks_for_is_kept() {
    let wait = json!({ "from": "$.retry_after_ms", "unit": "ms" });
    let mut bed = bed("cursor", json!([{ "json": "$.error", "equals": "not now", "then": "retry", "wait": wait }]));
    // Much longer than the first wait of `retry`; it speaks of haste, which uses up none of the task's retries.
    bed.config["sources"]["shop"]["rest"]["retry"]["per_task"] = 0.into();
    bed.api.set_faults(vec![Fault::new(Kind::ErrorBody).at(&[3]).ms(2500)]);
    let daemon = bed.start();
    let start = Instant::now();
    daemon.run_to_success("shop");
    assert!(start.elapsed() >= Duration::from_millis(2500), "{:?}", start.elapsed());
    assert_exact(&bed, "shop");
    assert_eq!(errors(&bed), 1);
}

#[test]
fn an_error_with_status_200_fails_with_its_message() {
    let rules = json!([{ "status": ["2xx"], "contains": "\"ok\":false", "then": "fail", "message": "ask the vendor" }]);
    let bed = bed("cursor", rules);
    bed.api.set_faults(vec![Fault::new(Kind::ErrorBody).at(&[3])]);
    let daemon = bed.start();
    let detail = daemon.wait_for(&daemon.run("shop"), &["failed"], PATIENCE);
    let reason = detail["task"]["reason"].as_str().unwrap();
    assert!(reason.contains("200") && reason.contains("fail: ask the vendor"), "{reason}");
    assert_eq!((errors(&bed), &detail["task"]["error_class"]), (1, &json!("data")));
}

#[test]
fn a_page_that_is_left_out_is_noted() {
    let bed = bed("paged", json!([{ "status": [500], "then": "skip" }]));
    bed.api.set_faults(vec![Fault::status(500).at(&[3])]);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let detail = daemon.task(&id);
    assert_eq!(detail["streams"][0]["counts"]["written"], 900, "{detail}");
    let notes = detail["streams"][0]["notes"].to_string();
    assert!(notes.contains("was left out") && notes.contains("500"), "{notes}");
}

#[test]
fn a_status_may_be_the_end_of_a_partition() {
    // A region that the account has not.
    let mut bed = Bed::with_records(1000);
    let mut stream = config::regions(1);
    stream["partition"]["list"]["values"] = json!(["eu", "mars", "ap"]);
    bed.stream("regions", stream);
    bed.config["sources"]["shop"]["rest"]["answers"] = json!([{ "status": [404], "json": "$.error", "then": "empty" }]);
    bed.export("shop", config::export("shop", "regions", "ndjson", "64kB"));
    let daemon = bed.start();
    let detail = daemon.task(&daemon.run_to_success("shop"));
    assert!(detail["streams"][0]["counts"]["written"].as_u64().is_some_and(|rows| rows > 0), "{detail}");
    assert_eq!(bed.api.truth().misdirected, 1);
}

#[test]
fn a_total_may_be_a_promise() {
    let mut bed = bed("cursor", json!([]));
    bed.config["sources"]["shop"]["rest"]["streams"]["cursor"]["total_mismatch"] = "fail".into();
    bed.config["sources"]["shop"]["rest"]["streams"]["cursor"]["answers"] =
        json!([{ "status": [500], "then": "empty" }]);
    bed.api.set_faults(vec![Fault::status(500).at(&[6])]);
    let daemon = bed.start();
    let detail = daemon.wait_for(&daemon.run("shop"), &["failed"], PATIENCE);
    let reason = detail["task"]["reason"].as_str().unwrap();
    assert!(reason.contains("ended after 500 records, but the source said 1000"), "{reason}");
}
