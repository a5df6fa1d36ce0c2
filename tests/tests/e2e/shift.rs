//! Records that come and go while the pages are read: nothing is lost or doubled, and the report says what was read again.

use crate::compare::assert_exact;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chain::chain;
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::sample::Options;
use saas_export_tests::sample::faults::Fault;
use saas_export_tests::sample::table::Change;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Rows at the start; pages hold 10.
const ROWS: u64 = 95;

/// Rows of a collection that is more than a sample for the schema.
const LONG: u64 = 700;

/// A row that was changed in second `at` of 2024; long, so that segments are short.
fn put(id: u64, at: u64) -> Change {
    Change::Put(id, format!("2024-01-01T00:{:02}:{:02}Z", at / 60, at % 60), format!("{at}-").repeat(1000))
}

/// A bed with the collection, read by a way of paging in an order, and what else is said of the stream.
fn bed(pager: &str, order: &str, connections: u32, more: Value) -> Bed {
    let mut bed = Bed::new(Options { records: 0, ..Options::default() });
    let mut stream = json!({
        "path": format!("/table/{pager}/items"),
        "query": { "order": order },
        "records": "$.data[*]",
        "total": "$.total",
        "primary_key": ["id"],
        "paginate": config::table_pager(pager),
    });
    stream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bed.stream("items", stream);
    bed.config["sources"]["shop"]["rest"]["rate"] = json!({ "concurrency": connections });
    bed.export("shop", config::export("shop", "items", "ndjson", "64kB"));
    bed.api.table().change((1..=ROWS).map(|id| put(id, id)));
    bed
}

/// The ids of what was published, in order, and its manifest.
fn published(bed: &Bed) -> (Vec<u64>, Value) {
    let (manifest, rows) = chain(&bed.lake().join("shop/items")).remove(0);
    (rows.iter().map(|row| row["id"].as_u64().unwrap()).collect(), manifest)
}

/// Every row that was there all the time is there once, and none that never was.
fn assert_complete(bed: &Bed, before: &BTreeMap<u64, Value>, what: &str) {
    let (ids, _) = published(bed);
    let found: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(found.len(), ids.len(), "{what}: a row is there twice: {ids:?}");
    let after = bed.api.table().rows();
    let lost: Vec<_> = before.keys().filter(|id| after.contains_key(id) && !found.contains(id)).collect();
    assert!(lost.is_empty(), "{what}: {lost:?} are missing");
    assert!(found.iter().all(|id| before.contains_key(id) || after.contains_key(id)), "{what}: {ids:?}");
}

/// The notes of a task's report.
fn notes(daemon: &Daemon, id: &str) -> String {
    daemon.task(id)["streams"][0]["notes"].to_string()
}

#[test]
fn for_every_paginator_nothing_is_lost_or_doubled_while_rows_come_and_go() {
    let plans: [(&str, Vec<Change>); 6] = [
        ("new rows in front", vec![put(101, 200), put(102, 201), put(103, 202)]),
        ("rows that were read vanish", vec![Change::Remove(94), Change::Remove(2)]),
        ("a row moves to the front", vec![put(50, 300)]),
        ("rows vanish behind", vec![Change::Remove(5)]),
        ("some come, some go", vec![put(101, 200), Change::Remove(93), Change::Remove(92)]),
        ("a whole page goes", (80..=95).map(Change::Remove).collect()),
    ];
    for pager in ["page", "offset", "cursor", "next-url"] {
        // The cursors of this API keep their place by the id alone.
        let order = if matches!(pager, "page" | "offset") { "newest" } else { "id" };
        for (what, changes) in &plans {
            for (at, connections) in [(3, 1), (5, 4)] {
                let what = format!("{pager}, {what}, request {at}, {connections} connections");
                let bed = bed(pager, order, connections, json!({}));
                let before = bed.api.table().rows();
                bed.api.table().plan(at, changes.clone());
                bed.start().run_to_success("shop");
                assert_complete(&bed, &before, &what);
            }
        }
    }
}

#[test]
fn the_report_and_the_manifest_say_what_was_read_again() {
    for (pager, word) in [("page", "total"), ("offset", "overlap")] {
        let bed = bed(pager, "newest", 1, json!({}));
        bed.api.table().change((1..=LONG).map(|id| put(id, id)));
        let before = bed.api.table().rows();
        bed.api.table().plan(LONG / 10 - 2, vec![put(2000, 2000)]);
        let daemon = bed.start();
        let id = daemon.run_to_success("shop");
        assert_complete(&bed, &before, pager);
        let notes = notes(&daemon, &id);
        assert!(notes.contains("partition 0 was read again from its start"), "{pager}: {notes}");
        let (ids, manifest) = published(&bed);
        assert_eq!(ids[0], 2000, "{pager}: it was there when the partition was read again");
        assert_eq!(manifest["shift_protection"], word);
        let segments = manifest["segments"].as_array().unwrap();
        assert!(segments.len() > 1, "{manifest:#}");
        for segment in segments {
            assert_eq!(segment["revision"], 1, "{pager}");
            assert!(segment["name"].as_str().unwrap().contains("-r1."), "{pager}: {segment}");
        }
        bed.ctl(&["verify", &id]).expect(0);
        let events = bed.ctl(&["query", "GET", "/v1/events"]).expect(0).stdout;
        let event = events.lines().find(|line| line.contains("pages_shifted")).expect("an event tells it");
        assert!(!event.contains("\"superseded\":0"), "{pager}: something had been sealed: {event}");
    }
}

#[test]
fn what_does_not_move_the_pages_costs_nothing() {
    for (pager, what, change, more_requests) in [
        ("page", "a value changes", Change::Put(3, "2024-01-01T00:00:03Z".into(), "new".into()), 0),
        ("offset", "a value changes", Change::Put(3, "2024-01-01T00:00:03Z".into(), "new".into()), 0),
        ("offset", "a row comes at the end", put(120, 1), 0),
        // The page is asked for again, and the one before it.
        ("page", "a row comes at the end", put(120, 1), 2),
    ] {
        let requests = |change: Option<Change>| {
            let bed = bed(pager, "id", 1, json!({}));
            let before = bed.api.table().rows();
            if let Some(change) = change {
                bed.api.table().plan(5, vec![change]);
            }
            let daemon = bed.start();
            let id = daemon.run_to_success("shop");
            assert_complete(&bed, &before, what);
            assert_eq!(notes(&daemon, &id), "[]", "{pager}, {what}");
            bed.api.table().queries().len()
        };
        assert_eq!(requests(Some(change)), requests(None) + more_requests, "{pager}, {what}");
    }
}

#[test]
fn a_partition_that_shifted_leaves_the_others_as_they_are() {
    let windows = json!({ "windows": {
        "start": "2024-01-01T00:00:00Z", "end": "2024-01-01T00:40:00Z", "step": "20m", "format": "%Y-%m-%dT%H:%M:%SZ",
    } });
    let query = json!({
        "order": "newest", "updated_since": "{{ partition.start }}", "updated_until": "{{ partition.end }}",
    });
    let bed = bed("offset", "newest", 1, json!({ "partition": windows, "query": query }));
    bed.api.table().change((1..=LONG).map(|id| put(id, id)));
    bed.api.table().change((1..=LONG).map(|id| put(1200 + id, 1200 + id)));
    // A page has nine new rows.
    bed.api.table().plan(2 * LONG / 9 - 5, vec![put(2000, 2000)]);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let (ids, manifest) = published(&bed);
    assert_eq!(ids.len() as u64, 2 * LONG + 1);
    let notes = notes(&daemon, &id);
    assert!(notes.contains("partition 1 was read again"), "{notes}");
    let segments = manifest["segments"].as_array().unwrap();
    let of_before = segments.iter().filter(|segment| segment["revision"].is_null()).count();
    assert!(of_before >= 2 && of_before < segments.len(), "{segments:#?}");
}

#[test]
fn a_resume_sees_what_happened_meanwhile() {
    for pager in ["page", "offset"] {
        // Without a total: the last page is compared, whatever else is known.
        for (what, changes) in
            [("nothing", vec![]), ("a row came", vec![put(101, 200)]), ("a row went", vec![Change::Remove(94)])]
        {
            let mut bed = bed(pager, "newest", 1, json!({}));
            bed.config["sources"]["shop"]["rest"]["streams"]["items"].as_object_mut().unwrap().remove("total");
            let before = bed.api.table().rows();
            let dying = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "segment.committed:2")]);
            let id = dying.run("shop");
            dying.ended(PATIENCE);
            let shifted = !changes.is_empty();
            bed.api.table().change(changes);
            let daemon = bed.start();
            daemon.wait_for(&id, &["succeeded"], PATIENCE);
            let what = format!("{pager}, {what}");
            assert_complete(&bed, &before, &what);
            let notes = notes(&daemon, &id);
            assert_eq!(notes.contains("read again"), shifted, "{what}: {notes}");
        }
    }
}

#[test]
fn a_cursor_that_the_source_has_forgotten_starts_the_partition_again() {
    for status in [404, 410] {
        let mut bed = Bed::with_records(3000);
        bed.export("shop", config::export("shop", "cursor", "ndjson", "64kB"));
        let dying = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "segment.committed:3")]);
        let id = dying.run("shop");
        dying.ended(PATIENCE);
        bed.api.set_faults(vec![Fault::status(status).at(&[1])]);
        let daemon = bed.start();
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_exact(&bed, "shop");
        let notes = notes(&daemon, &id);
        assert!(notes.contains(&format!("refuses the cursor of page 7 with {status}")), "{notes}");
    }
}

#[test]
fn killed_while_a_lane_is_sent_back() {
    for point in ["shift.before_commit", "shift.committed"] {
        let bed = bed("offset", "newest", 1, json!({}));
        let before = bed.api.table().rows();
        bed.api.table().plan(6, vec![Change::Remove(94)]);
        let dying = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let id = dying.run("shop");
        dying.ended(PATIENCE);
        let daemon = bed.start();
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_complete(&bed, &before, point);
        bed.ctl(&["verify", &id]).expect(0);
    }
}

#[test]
fn a_collection_that_never_keeps_still_fails_with_what_to_do_unless_that_is_accepted() {
    for (on_shift, state) in [("restart", "failed"), ("keep", "succeeded")] {
        let bed = bed("offset", "newest", 1, json!({ "on_shift": on_shift }));
        for request in (2..200).step_by(3) {
            bed.api.table().plan(request, vec![put(1000 + request, 1000 + request)]);
        }
        let daemon = bed.start();
        let id = daemon.run("shop");
        let detail = daemon.wait_for(&id, &["failed", "succeeded"], PATIENCE);
        assert_eq!(detail["task"]["state"], state, "{detail}");
        if state == "failed" {
            let reason = detail["task"]["reason"].as_str().unwrap();
            for says in ["partition 0", "3 times", "order", "on_shift: keep", "does not begin with the last record"] {
                assert!(reason.contains(says), "{says} in {reason}");
            }
            assert_eq!(detail["task"]["error_class"], "data");
        } else {
            assert_eq!(published(&bed).1["shift_protection"], "none");
            let report = bed.ctl_json(&["check"]);
            let steps = report["steps"].as_array().unwrap();
            let step = steps.iter().find(|step| step["name"] == "shift_protection").unwrap();
            assert_eq!(step["result"], "warn", "{step}");
        }
    }
}
