//! Limits of an export: exactly the first records, whatever happens on the way, and a report that says so.

use crate::compare::{parts, published_ids};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind, Options, View};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

/// Pages that may have been asked for in advance when a limit is reached.
const AHEAD: u64 = 12;

fn bed(format: &str, limits: Value) -> Bed {
    let mut bed = Bed::new(Options { records: 3000, page_size: 20, ..Options::default() });
    bed.config["daemon"]["replay_limit"] = "1s".into();
    let mut export = config::export("shop", "cursor", format, "64kB");
    export["limits"] = limits;
    bed.export("shop", export);
    bed
}

/// The first stream of a task, as the API shows it.
fn stream(detail: &Value) -> &Value {
    &detail["streams"][0]
}

fn manifest(bed: &Bed) -> Value {
    let files = crate::compare::latest(bed, "shop", "lake");
    let dir = files[0].path.parent().unwrap();
    serde_json::from_slice(&std::fs::read(dir.join("_manifest.json")).unwrap()).unwrap()
}

#[test]
fn exactly_the_first_rows_are_exported_in_every_format() {
    for format in ["ndjson", "csv", "json", "parquet", "avro"] {
        let bed = bed(format, json!({ "max_rows": 1234 }));
        let daemon = bed.start();
        let id = daemon.run_to_success("shop");
        assert_eq!(published_ids(&bed, "shop"), View::ALL.ids(3000).take(1234).collect::<Vec<_>>(), "{format}");
        let detail = daemon.task(&id);
        let counts = &stream(&detail)["counts"];
        // The sixty-second page of twenty holds the last fourteen.
        let expected =
            json!({ "read": 1240, "written": 1234, "rejected": 0, "duplicate": 0, "filtered": 0, "over_limit": 6 });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&counts[key], value, "{format}: {key} of {counts}");
        }
        assert_eq!(stream(&detail)["limited_by"], "max_rows");
        let notes = stream(&detail)["notes"].to_string();
        assert!(notes.contains("limits.max_rows (1234) ended this stream"), "{notes}");
        assert_eq!(manifest(&bed)["limited_by"], "max_rows");
        // Those under way when the limit is reached are dropped.
        assert!(bed.api.requests() <= 62 + AHEAD, "{} requests", bed.api.requests());
        bed.ctl(&["verify", &id]).expect(0);
    }
}

#[test]
fn a_limit_at_a_page_end_and_one_behind_the_end_cut_no_page() {
    let bed = bed("ndjson", json!({ "max_rows": 100 }));
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert!(bed.api.requests() <= 5 + AHEAD, "{} requests", bed.api.requests());
    assert_eq!(published_ids(&bed, "shop"), View::ALL.ids(3000).take(100).collect::<Vec<_>>());
    drop(daemon);
    let bed = self::bed("ndjson", json!({ "max_rows": 3001 }));
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    crate::compare::assert_exact(&bed, "shop");
    assert!(stream(&daemon.task(&id)).get("limited_by").is_none());
    assert!(manifest(&bed).get("limited_by").is_none());
}

#[test]
fn a_limit_is_that_of_the_task_over_its_streams() {
    let mut bed = bed("ndjson", json!({ "max_rows": 3010 }));
    bed.config["exports"]["shop"]["streams"] = json!(["all", "cursor", "link"]);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let detail = daemon.task(&id);
    let told: BTreeMap<&str, (u64, Option<&str>)> = detail["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| {
            let written = stream["counts"]["written"].as_u64().unwrap();
            (stream["name"].as_str().unwrap(), (written, stream["limited_by"].as_str()))
        })
        .collect();
    let expected = [("all", (3000, None)), ("cursor", (10, Some("max_rows"))), ("link", (0, Some("max_rows")))];
    assert_eq!(told, expected.into_iter().collect());
    assert!(bed.api.truth().pages.keys().all(|page| page.pager != "link"), "the last stream is not asked for");
}

#[test]
fn bytes_are_those_of_the_records_and_end_behind_a_page() {
    let bed = bed("parquet", json!({ "max_bytes": "100kB" }));
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let detail = daemon.task(&id);
    let (read, pages) = (stream(&detail)["source_bytes"].as_u64().unwrap(), stream(&detail)["pages"].as_u64().unwrap());
    assert!(read >= 100_000 && read - read / pages < 100_000, "{read} bytes on {pages} pages");
    let ids = published_ids(&bed, "shop");
    assert_eq!(ids, View::ALL.ids(3000).take(ids.len()).collect::<Vec<_>>());
    assert_eq!(ids.len() as u64, pages * 20, "whole pages");
    assert_eq!(stream(&detail)["limited_by"], "max_bytes");
}

#[test]
fn a_crash_changes_nothing_of_what_is_cut() {
    let limits = || json!({ "max_rows": 1234 });
    let undisturbed = {
        let bed = bed("parquet", limits());
        let daemon = bed.start();
        daemon.run_to_success("shop");
        parts(&bed, "shop", "lake")
    };
    for point in ["limit.noted", "page.encoded:40", "segment.before_commit", "segment.committed"] {
        let bed = bed("parquet", limits());
        bed.api.set_faults(vec![Fault::rate(200.0)]);
        let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
        let (status, said) = daemon.ended(Duration::from_secs(20));
        assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
        let daemon = bed.start();
        let id = daemon.get("/v1/tasks")[0]["id"].as_str().unwrap().to_owned();
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_eq!(parts(&bed, "shop", "lake"), undisturbed, "{point}");
        assert_eq!(stream(&daemon.task(&id))["limited_by"], "max_rows", "{point}");
    }
}

#[test]
fn lanes_become_one_so_that_the_first_rows_are_the_same_each_time() {
    let mut bed = bed("ndjson", json!({ "max_rows": 1500 }));
    bed.stream("regions", config::regions(3));
    bed.config["exports"]["shop"]["streams"] = json!(["regions"]);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let all: Vec<u64> = ["eu", "us", "ap"].iter().flat_map(|name| View::region(name).unwrap().ids(3000)).collect();
    assert_eq!(published_ids(&bed, "shop"), all[..1500], "in the order of the partitions");
}

#[test]
fn what_the_clock_cuts_is_not_published_and_a_retry_goes_on() {
    let bed = bed("ndjson", json!({ "max_duration": "2s" }));
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[100])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let failed = daemon.wait_for(&id, &["failed"], PATIENCE);
    let reason = failed["task"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("limits.max_duration (2s)") && reason.contains(&format!("exportctl retry {id}")),
        "{reason}"
    );
    assert!(!bed.lake().join("shop/cursor/latest.json").exists());
    bed.api.set_faults(Vec::new());
    let before = bed.api.requests();
    bed.ctl(&["retry", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    crate::compare::assert_exact(&bed, "shop");
    assert!(bed.api.requests() - before < 100, "it goes on from where it stood");
}
