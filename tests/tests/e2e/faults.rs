//! A source that misbehaves: what may pass is tried again, what may not ends the task with a reason, nothing is lost.

use crate::compare::{assert_exact, assert_tidy};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind};
use serde_json::Value;
use std::time::{Duration, Instant};

fn bed() -> Bed {
    let mut bed = Bed::with_records(2000);
    bed.config["sources"]["shop"]["rest"]["keep_alive"] = serde_json::json!({ "read_timeout": "500ms" });
    bed
}

/// Runs the export under faults to its success; the task.
#[track_caller]
fn survives(faults: Vec<Fault>) -> (Bed, Value) {
    let bed = bed();
    bed.api.set_faults(faults);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    assert_tidy(&bed, "shop", "cursor");
    let detail = daemon.task(&id);
    (bed, detail)
}

/// Runs the export under faults to its failure; the reason.
#[track_caller]
fn fails(faults: Vec<Fault>) -> (Bed, String) {
    let bed = bed();
    bed.api.set_faults(faults);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
    assert!(!bed.lake().join("shop/cursor/latest.json").exists(), "a failed task publishes nothing");
    (bed, detail["task"]["reason"].as_str().unwrap().to_owned())
}

#[test]
fn server_errors_are_tried_again() {
    let (bed, _) =
        survives(vec![Fault::status(500).at(&[2]), Fault::status(502).at(&[7]), Fault::status(503).at(&[9, 10])]);
    assert_eq!(bed.api.truth().faults[&Kind::Status], 4);
    survives(vec![Fault::status(408).at(&[1]), Fault::status(425).at(&[3])]);
}

#[test]
fn a_connection_that_breaks_in_the_middle_is_tried_again() {
    let (bed, _) = survives(vec![Fault::new(Kind::Reset).at(&[1, 5, 6])]);
    assert_eq!(bed.api.truth().faults[&Kind::Reset], 3);
}

#[test]
fn a_stall_ends_at_the_read_time_out() {
    survives(vec![Fault::new(Kind::Stall).at(&[4])]);
    survives(vec![Fault::new(Kind::StallBody).at(&[4])]);
}

#[test]
fn retry_after_is_honoured_in_both_forms() {
    for kind in [Kind::Throttle, Kind::ThrottleDate] {
        let started = Instant::now();
        survives(vec![Fault::new(kind).seconds(2).at(&[3])]);
        // A date has whole seconds, so it may mean up to one less.
        let least = if kind == Kind::Throttle { 2000 } else { 1000 };
        assert!(started.elapsed() >= Duration::from_millis(least), "{kind:?}: {:?}", started.elapsed());
    }
}

#[test]
fn truncated_json_and_a_page_of_html_are_not_data() {
    survives(vec![Fault::new(Kind::TruncatedJson).at(&[4])]);
    let (_, reason) = fails(vec![Fault::new(Kind::TruncatedJson).every(1)]);
    assert!(reason.to_lowercase().contains("json"), "{reason}");
    let (_, reason) = fails(vec![Fault::new(Kind::Html)]);
    assert!(reason.to_lowercase().contains("json"), "{reason}");
    assert!(!reason.contains("back soon"), "no content of the source in an error: {reason}");
}

#[test]
fn a_repeated_cursor_never_loops() {
    let (bed, reason) = fails(vec![Fault::new(Kind::RepeatedCursor).at(&[5, 6, 7, 8, 9, 10, 11, 12])]);
    assert!(reason.contains("cursor"), "{reason}");
    assert!(bed.api.requests() < 40, "{} requests", bed.api.requests());
}

#[test]
fn bytes_that_are_no_text_are_not_exported_as_such() {
    let bed = bed();
    bed.api.set_faults(vec![Fault::new(Kind::InvalidUtf8).every(1).path("/orders")]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
    assert!(detail["task"]["reason"].as_str().unwrap().contains("UTF-8"), "{detail}");
}

#[test]
fn statuses_that_no_retry_mends_fail_at_once() {
    let hints = [
        (401, "check `sources.shop.rest.auth`"),
        (403, "no right to this stream"),
        (404, "check `sources.shop.rest.base_url`"),
        (410, "no longer has this"),
        (422, "refuses the parameters"),
    ];
    for (status, hint) in hints {
        let (bed, reason) = fails(vec![Fault::status(status)]);
        assert!(reason.contains(&status.to_string()) && reason.contains(hint), "{reason}");
        assert_eq!(bed.api.requests(), 1, "{status} is not tried again");
    }
}

#[test]
fn a_source_that_stays_broken_uses_its_attempts_and_fails() {
    let mut bed = bed();
    bed.config["sources"]["shop"]["rest"]["retry"] =
        serde_json::json!({ "attempts": 3, "initial": "1ms", "max": "5ms" });
    bed.config["exports"]["shop"]["attempts"] = 2.into();
    bed.api.set_faults(vec![Fault::status(500)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
    assert_eq!(bed.api.requests(), 6, "three tries in each of two attempts");
    assert_eq!(detail["task"]["error_class"], "transient", "{detail}");
}

#[test]
fn everything_at_once() {
    let faults = vec![
        Fault::status(503).probability(0.05),
        Fault::new(Kind::Reset).probability(0.05),
        Fault::new(Kind::TruncatedJson).probability(0.03),
        Fault::new(Kind::Throttle).seconds(0).probability(0.05),
        Fault::new(Kind::Delay).ms(10),
    ];
    let mut bed = Bed::with_records(10_000);
    // The 429s come by chance, not by haste: a pace that is learnt from them would only be slow.
    bed.config["sources"]["shop"]["rest"]["rate"] = serde_json::json!({ "adaptive": false });
    bed.stream("regions", config::regions(3));
    bed.export("regions", config::export("shop", "regions", "parquet", "200kB"));
    bed.export("paged", config::export("shop", "paged", "parquet", "200kB"));
    bed.api.set_faults(faults);
    let daemon = bed.start();
    let ids = [daemon.run("shop"), daemon.run("regions"), daemon.run("paged")];
    for id in &ids {
        daemon.wait_for(id, &["succeeded"], PATIENCE);
    }
    assert_exact(&bed, "shop");
    assert_exact(&bed, "paged");
    crate::compare::assert_complete(&bed, "regions");
    assert!(bed.api.truth().faults.values().sum::<u64>() > 20, "{:?}", bed.api.truth().faults);
}
