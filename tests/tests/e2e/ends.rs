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
    let mut bed = bed(vec![Fault { status: Some(400), ..Fault::new(Kind::Status).path("/paged/").at(&[4, 6]) }]);
    // Once it is not believed: the page before is looked at, and this one asked for again.
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
fn a_status_behind_the_last_page_is_the_end_where_the_total_or_the_config_says_so() {
    // The last page is full, so that only a total can tell.
    let mut bed = Bed::with_records(700);
    for pager in NUMBERED {
        bed.export(pager, config::export("shop", pager, "ndjson", "100kB"));
    }
    let offset = &mut bed.config["sources"]["shop"]["rest"]["streams"]["offset"];
    let total = offset.as_object_mut().unwrap().remove("total");
    // A last page that overlaps is never full.
    offset["paginate"]["offset"]["overlap"] = false.into();
    bed.api.set_faults(vec![Fault::new(Kind::BehindEnd)]);
    let daemon = bed.start();
    let id = daemon.run("offset");
    let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
    let reason = detail["task"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("streams.offset.paginate.offset.end_status: [404]"), "{reason}");
    assert!(reason.contains("the page of \"/offset/orders\" at offset=700"), "{reason}");
    assert_eq!(reason.matches("stream offset").count(), 1, "no part of the reason is said twice: {reason}");
    drop(daemon);
    let streams = bed.config["sources"]["shop"]["rest"]["streams"].as_object_mut().unwrap();
    let ends = [
        (
            "end_status",
            serde_json::json!({ "paginate": { "offset": { "limit": 100, "overlap": false, "end_status": [404] } } }),
        ),
        ("a rule", serde_json::json!({ "answers": [{ "status": [404], "then": "empty" }] })),
        ("the total", serde_json::json!({ "total": total })),
    ];
    let plain = streams["offset"].clone();
    for (how, more) in ends {
        let mut stream = plain.clone();
        stream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bed.stream("offset", stream);
        let daemon = bed.start();
        let id = daemon.run_to_success("offset");
        assert_exact(&bed, "offset");
        assert_eq!(notes(&daemon.task(&id)), "[]", "{how}");
    }
}

#[test]
fn a_request_that_makes_something_fails_at_once() {
    let mut bed = Bed::with_records(300);
    bed.export("search", config::export("shop", "search", "ndjson", "100kB"));
    bed.api.set_faults(vec![Fault { status: Some(201), ..Fault::new(Kind::Status).path("/search/") }]);
    let daemon = bed.start();
    let id = daemon.run("search");
    let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
    let reason = detail["task"]["reason"].as_str().unwrap();
    assert!(reason.contains("answered 201 Created: this request makes something new; is it a search?"), "{reason}");
    assert_eq!(bed.api.requests(), 1);
}

#[test]
fn what_the_sample_has_read_is_progress() {
    let bed = Bed::with_records(2000);
    // Twenty pages, all of them in the sample.
    bed.api.set_faults(vec![Fault::new(Kind::Stall).ms(100)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let mut seen = Vec::new();
    loop {
        let detail = daemon.task(&id);
        match detail["task"]["state"].as_str().unwrap() {
            "pending" | "processing" => seen.push(detail["task"]["progress"]["records"].as_u64().unwrap()),
            state => break assert_eq!(state, "succeeded", "{detail}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(seen.iter().any(|records| (1..=1000).contains(records)), "{seen:?}");
    assert!(seen.is_sorted(), "{seen:?}");
    assert_exact(&bed, "shop");
}
