//! Incremental exports: what is new or changed is moved, nothing twice, and the chain gives exactly what the source has.

use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chain::chain;
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::sample::Options;
use saas_export_tests::sample::table::Change;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A row of the collection that was changed in second `at` of 2024.
fn put(id: u64, at: u64, text: &str) -> Change {
    Change::Put(id, time(at), text.to_owned())
}

fn time(at: u64) -> String {
    format!("2024-01-01T{:02}:{:02}:{:02}Z", at / 3600, at / 60 % 60, at % 60)
}

/// A bed whose export `shop` follows the collection by one way of paging.
fn bed(pager: &str, incremental: Value) -> Bed {
    let mut bed = Bed::new(Options { records: 0, ..Options::default() });
    let mut settings = json!({ "cursor_field": "updated_at", "param": "updated_since", "start": time(0) });
    settings.as_object_mut().unwrap().extend(incremental.as_object().unwrap().clone());
    bed.stream(
        "items",
        json!({
            "path": format!("/table/{pager}/items"),
            "records": "$.data[*]",
            "primary_key": ["id"],
            "paginate": config::table_pager(pager),
            "incremental": settings,
        }),
    );
    bed.export("shop", config::export("shop", "items", "ndjson", "64kB"));
    bed
}

/// What a reader of the chain has: the newest row of each key.
fn followed(bed: &Bed) -> BTreeMap<u64, Value> {
    let rows = chain(&bed.lake().join("shop/items")).into_iter().flat_map(|(_, rows)| rows);
    rows.map(|row| (row["id"].as_u64().unwrap(), row)).collect()
}

/// Runs the export; the rows that were written.
fn run(bed: &Bed, daemon: &Daemon) -> u64 {
    bed.api.table().forget_queries();
    let id = daemon.run_to_success("shop");
    daemon.task(&id)["streams"][0]["counts"]["written"].as_u64().unwrap()
}

#[test]
fn a_second_task_moves_only_what_changed_for_every_paginator() {
    for pager in ["page", "offset", "cursor", "next-url"] {
        let bed = bed(pager, json!({}));
        bed.api.table().change((1..=35).map(|id| put(id, id, "first")));
        let daemon = bed.start();
        assert_eq!(run(&bed, &daemon), 35, "{pager}");
        bed.api.table().change([put(3, 40, "changed"), put(36, 41, "new"), put(37, 41, "new")]);
        assert_eq!(run(&bed, &daemon), 3, "{pager}");
        assert_eq!(bed.api.table().given(), 4, "{pager}: those three, and the one at the boundary");
        let since = format!("updated_since={}", time(35).replace(':', "%3A"));
        assert!(bed.api.table().queries().iter().all(|query| query.contains(&since)), "{pager}");
        assert_eq!(run(&bed, &daemon), 0, "{pager}: nothing is new");
        assert_eq!(followed(&bed), bed.api.table().rows(), "{pager}");
        let modes: Vec<_> = chain(&bed.lake().join("shop/items"))
            .into_iter()
            .map(|(manifest, rows)| (manifest["mode"].clone(), rows.len()))
            .collect();
        assert_eq!(modes, [(json!("full"), 35), (json!("incremental"), 3), (json!("incremental"), 0)], "{pager}");
        let marks = chain(&bed.lake().join("shop/items")).pop().unwrap().0["marks"].clone();
        assert_eq!(marks["after"], json!({ "kind": "instant", "value": time(41) }), "{pager}");
        assert_eq!(marks["before"], marks["after"], "{pager}");
    }
}

#[test]
fn times_are_read_and_asked_for_as_the_api_writes_them() {
    // How the records write second `at`, the settings, and what the second run asks for (its mark is second 35).
    type Write = fn(u64) -> String;
    let local: Write = |at| format!("2024-01-01 00:00:{at:02}");
    let jira: Write = |at| format!("2024-01-01T00:00:{at:02}.000+0000");
    let german: Write = |at| format!("01.01.2024 00:00:{at:02}");
    let seconds: Write = |at| (1_704_067_200 + at).to_string();
    let millis: Write = |at| (1_704_067_200_123 + at * 1000).to_string();
    let padded: Write = |at| format!("{at:08}");
    for (write, settings, since) in [
        (local, json!({ "format": "%Y-%m-%d %H:%M:%S" }), "2024-01-01 00:00:35"),
        (local, json!({ "format": "%Y-%m-%d %H:%M:%S", "timezone": "Asia/Tokyo" }), "2024-01-01 00:00:35"),
        (jira, json!({ "format": "%Y-%m-%dT%H:%M:%S.000%z" }), "2024-01-01T00:00:35.000+0000"),
        (german, json!({ "format": "%d.%m.%Y %H:%M:%S", "cursor_format": "%d.%m.%Y %H:%M:%S" }), "01.01.2024 00:00:35"),
        (seconds, json!({ "format": "epoch" }), "1704067235"),
        (seconds, json!({ "format": "epoch", "cursor_format": "epoch", "start": "2024-01-01" }), "1704067235"),
        (millis, json!({ "start": "0" }), "1704067235123"),
        (millis, json!({ "format": "epoch_ms", "cursor_format": "epoch_ms", "look_back": "1s" }), "1704067234123"),
        (millis, json!({ "format": "%s123", "cursor_format": "epoch_ms" }), "1704067235123"),
        (padded, json!({ "cursor_format": "text", "start": "00000000" }), "00000035"),
    ] {
        let mut bed = bed("page", json!({}));
        let incremental = &mut bed.config["sources"]["shop"]["rest"]["streams"]["items"]["incremental"];
        incremental.as_object_mut().unwrap().remove("start");
        incremental.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let put = |id: u64, at: u64, text: &str| Change::Put(id, write(at), text.to_owned());
        bed.api.table().change((1..=35).map(|id| put(id, id, "first")));
        let daemon = bed.start();
        assert_eq!(run(&bed, &daemon), 35, "{settings}");
        // One that is later, one in the same second, and a new one.
        bed.api.table().change([put(3, 40, "changed"), put(36, 35, "as new"), put(37, 41, "new")]);
        assert_eq!(run(&bed, &daemon), 3, "{settings}");
        let asked = url::form_urlencoded::parse(bed.api.table().queries()[0].as_bytes())
            .find(|(name, _)| name == "updated_since")
            .map(|(_, value)| value.into_owned());
        assert_eq!(asked.as_deref(), Some(since), "{settings}");
        assert!(bed.api.table().given() <= 6, "{settings}: not more than what is new and at the boundary");
        assert_eq!(run(&bed, &daemon), 0, "{settings}: nothing is new");
        assert_eq!(followed(&bed), bed.api.table().rows(), "{settings}");
    }
}

#[test]
fn another_reading_of_times_needs_a_full_run() {
    let mut bed = bed("page", json!({}));
    bed.api.table().change((1..=5).map(|id| put(id, id, "first")));
    let daemon = bed.start();
    assert_eq!(run(&bed, &daemon), 5);
    drop(daemon);
    bed.config["sources"]["shop"]["rest"]["streams"]["items"]["incremental"]["timezone"] = "Europe/Paris".into();
    let daemon = bed.start();
    let detail = daemon.wait_for(&daemon.run("shop"), &["failed"], PATIENCE);
    let reason = detail["task"]["reason"].as_str().unwrap();
    assert!(reason.contains("cursor field changed") && reason.contains("--full"), "{reason}");
    bed.ctl(&["run", "shop", "--full", "--wait"]).expect(0);
    assert_eq!(chain(&bed.lake().join("shop/items")).len(), 1);
    assert_eq!(run(&bed, &daemon), 0);
}

#[test]
fn a_record_at_the_boundary_is_neither_lost_nor_doubled() {
    let bed = bed("page", json!({}));
    bed.api.table().change((1..=3).map(|id| put(id, 10, "same second")));
    let daemon = bed.start();
    assert_eq!(run(&bed, &daemon), 3);
    // One more in the very same second, and one of the old ones with other content and the same time.
    bed.api.table().change([put(4, 10, "late"), put(2, 10, "changed")]);
    assert_eq!(run(&bed, &daemon), 2);
    assert_eq!(followed(&bed), bed.api.table().rows());
    assert_eq!(run(&bed, &daemon), 0);
    bed.api.table().change([put(5, 11, "later")]);
    assert_eq!(run(&bed, &daemon), 1, "the boundary is handed down over a task that wrote nothing");
    assert_eq!(followed(&bed), bed.api.table().rows());
}

#[test]
fn look_back_finds_what_appears_late() {
    let bed = bed("page", json!({ "look_back": "20s" }));
    bed.api.table().change((1..=40).map(|id| put(id, id * 10, "first")));
    let daemon = bed.start();
    assert_eq!(run(&bed, &daemon), 40);
    bed.api.table().change([put(41, 395, "late"), put(42, 370, "too late")]);
    assert_eq!(run(&bed, &daemon), 1);
    assert_eq!(bed.api.table().given(), 4);
    assert!(!followed(&bed).contains_key(&42));
}

#[test]
fn an_api_without_a_filter_is_filtered_here() {
    let bed = bed("cursor", json!({ "param": "ignored" }));
    bed.api.table().change((1..=35).map(|id| put(id, id, "first")));
    let daemon = bed.start();
    assert_eq!(run(&bed, &daemon), 35);
    bed.api.table().change([put(7, 50, "changed")]);
    let id = daemon.run_to_success("shop");
    let counts = &daemon.task(&id)["streams"][0]["counts"];
    assert_eq!((&counts["read"], &counts["written"], &counts["filtered"]), (&json!(35), &json!(1), &json!(33)));
    assert_eq!(followed(&bed), bed.api.table().rows());
}

#[test]
fn full_starts_a_new_chain_and_a_back_fill_moves_no_mark() {
    let bed = bed("page", json!({ "end_param": "updated_until" }));
    bed.api.table().change((1..=20).map(|id| put(id, id, "first")));
    let daemon = bed.start();
    run(&bed, &daemon);
    let mark = bed.ctl(&["offsets", "show", "shop"]).expect(0).json();
    assert_eq!(mark["streams"]["items"]["mark"], json!({ "kind": "instant", "value": time(20) }));

    // The source mends old rows without touching their time.
    bed.api.table().change((5..=8).map(|id| put(id, id, "mended")));
    assert_eq!(run(&bed, &daemon), 0, "that is not seen by its time");
    let (from, to) = (time(5), time(8));
    bed.ctl(&["run", "shop", "--from", &from, "--to", &to, "--wait"]).expect(0);
    assert_eq!(followed(&bed), bed.api.table().rows(), "a back-fill lies in the chain");
    assert_eq!(bed.ctl(&["offsets", "show", "shop"]).expect(0).json(), mark);

    bed.api.table().change([Change::Remove(1)]);
    bed.ctl(&["run", "shop", "--full", "--wait"]).expect(0);
    assert_eq!(chain(&bed.lake().join("shop/items")).len(), 1);
    assert_eq!(followed(&bed), bed.api.table().rows(), "what is gone at the source is gone in the new chain");
    assert_eq!(run(&bed, &daemon), 0);
    assert_eq!(chain(&bed.lake().join("shop/items")).len(), 2);
}

#[test]
fn marks_are_set_and_reset_with_the_document_that_is_shown() {
    let bed = bed("page", json!({}));
    bed.api.table().change((1..=20).map(|id| put(id, id, "first")));
    let daemon = bed.start();
    run(&bed, &daemon);
    let mut document = bed.ctl(&["offsets", "show", "shop"]).expect(0).json();
    document["streams"]["items"]["mark"]["value"] = json!(time(15));
    let file = bed.path("marks.json");
    std::fs::write(&file, document.to_string()).unwrap();
    bed.ctl(&["offsets", "set", "shop", file.to_str().unwrap()]).expect(0);
    assert_eq!(run(&bed, &daemon), 5, "all but the one that is known at the boundary");
    assert_eq!(followed(&bed), bed.api.table().rows());
    bed.ctl(&["offsets", "reset", "shop", "--yes"]).expect(0);
    assert_eq!(run(&bed, &daemon), 20);
    assert_eq!(chain(&bed.lake().join("shop/items")).len(), 1, "everything again is a new chain");
}

#[test]
fn wrong_requests_are_refused_and_change_nothing() {
    let mut bed = bed("page", json!({}));
    bed.stream("plain", json!({ "path": "/table/page/items", "records": "$.data[*]" }));
    bed.config["exports"]["shop"]["streams"] = json!(["items", "plain"]);
    let daemon = bed.start();
    for (args, says) in [
        (vec!["--from", "2024-01-01"], "plain is not incremental"),
        (vec!["--stream", "itemz"], "did you mean items"),
        (vec!["--stream", "items", "--from", "2024-02-01", "--to", "2024-01-01"], "--from lies after --to"),
        (vec!["--stream", "items", "--from", "17", "--to", "2024-01-01"], "different kinds"),
        (vec!["--full", "--from", "2024-01-01"], "cannot be used with"),
        (vec!["--stream", "items", "--from", "yesterday"], "\"yesterday\" is no time"),
        (vec!["--stream", "items", "--to", "2024-13-45"], "\"2024-13-45\" is no time"),
    ] {
        let ended = bed.ctl(&[&["run", "shop"], args.as_slice()].concat());
        assert!(ended.code != Some(0) && ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
    }
    assert_eq!(bed.ctl(&["tasks", "--json"]).expect(0).json(), json!([]));
    let body = r#"{"streams": ["items"], "from": "2024-01-01"}"#;
    let id = daemon.ask("POST", "/v1/exports/shop/run", body).unwrap().json()["result"]["task"].clone();
    let id = id.as_str().unwrap().to_owned();
    let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
    assert!(detail["task"]["reason"].as_str().unwrap().contains("run it without --from"), "{detail}");
}

#[test]
fn a_killed_incremental_task_ends_as_an_undisturbed_one() {
    for point in ["segment.committed", "task.extracted", "manifest.composed", "manifest.latest_written"] {
        let bed = bed("page", json!({}));
        bed.api.table().change((1..=30).map(|id| put(id, id, "first")));
        let daemon = bed.start();
        assert_eq!(run(&bed, &daemon), 30);
        daemon.kill();
        bed.api.table().change((20..=40).map(|id| put(id, 30 + id, "second")));
        let dying = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        dying.run("shop");
        dying.ended(PATIENCE);
        let daemon = bed.start();
        let end = Instant::now() + PATIENCE;
        while daemon.get("/v1/status")["open"] != json!([]) {
            assert!(Instant::now() < end, "{point}: the task goes on and on");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(chain(&bed.lake().join("shop/items")).len(), 2, "{point}");
        assert_eq!(followed(&bed), bed.api.table().rows(), "{point}");
        assert_eq!(chain(&bed.lake().join("shop/items"))[1].1.len(), 21, "{point}");
        assert_eq!(run(&bed, &daemon), 0, "{point}");
    }
}
