//! Where numbered lists end: a total that is capped loses nothing, a page that comes for ever is refused, a status may be the end.

use crate::compare::assert_exact;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind};

const NUMBERED: [&str; 2] = ["paged", "offset"];

fn bed(faults: Vec<Fault>) -> Bed {
    let mut bed = Bed::with_records(730);
    for pager in NUMBERED {
        bed.export(pager, config::export("shop", pager, "ndjson", "100kB"));
    }
    bed.api.set_faults(faults);
    bed
}

fn notes(detail: &serde_json::Value) -> String {
    detail["streams"][0]["notes"].to_string()
}

#[test]
fn a_capped_total_loses_no_record() {
    // 250 lies within a page, 300 between two.
    for capped in [0, 250, 300] {
        let bed = bed(vec![Fault::new(Kind::CappedTotal).after(capped)]);
        let daemon = bed.start();
        for pager in NUMBERED {
            let id = daemon.run_to_success(pager);
            assert_exact(&bed, pager);
            assert!(!notes(&daemon.task(&id)).contains("the source said"), "{capped}");
        }
    }
}

#[test]
fn an_end_before_the_total_is_in_the_report() {
    let mut bed = bed(vec![Fault { status: Some(400), ..Fault::new(Kind::Status).path("/paged/").at(&[4]) }]);
    bed.config["sources"]["shop"]["rest"]["rate"] = serde_json::json!({ "concurrency": 1 });
    bed.config["sources"]["shop"]["rest"]["streams"]["paged"]["paginate"]["page"]["end_status"] =
        serde_json::json!([400]);
    let daemon = bed.start();
    let id = daemon.run_to_success("paged");
    let notes = notes(&daemon.task(&id));
    assert!(notes.contains("ended after 300 records, but the source said 730"), "{notes}");
}

#[test]
fn a_page_that_comes_for_ever_fails_the_task() {
    let bed = bed(vec![Fault::new(Kind::SamePage)]);
    let daemon = bed.start();
    for pager in NUMBERED {
        let id = daemon.run(pager);
        let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
        let reason = detail["task"]["reason"].as_str().unwrap();
        assert!(reason.contains("page 2 has the same records as the page before it"), "{reason}");
        assert!(!bed.lake().join(pager).join(pager).join("latest.json").exists(), "nothing of it is published");
    }
    assert!(bed.api.requests() < 40, "{} requests", bed.api.requests());
}

#[test]
fn a_status_behind_the_last_page_is_the_end_where_the_config_says_so() {
    let mut bed = bed(vec![Fault::new(Kind::BehindEnd)]);
    let daemon = bed.start();
    let id = daemon.run("offset");
    let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
    let reason = detail["task"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("streams.offset.paginate.offset.end_status: [404]"), "{reason}");
    assert_eq!(reason.matches("stream offset").count(), 1, "no part of the reason is said twice: {reason}");
    drop(daemon);
    for (pager, kind) in [("paged", "page"), ("offset", "offset")] {
        bed.config["sources"]["shop"]["rest"]["streams"][pager]["paginate"][kind]["end_status"] =
            serde_json::json!([404]);
    }
    let daemon = bed.start();
    for pager in NUMBERED {
        daemon.run_to_success(pager);
        assert_exact(&bed, pager);
    }
}
