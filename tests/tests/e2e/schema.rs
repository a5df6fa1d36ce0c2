//! Schemas: each policy, JSON Schema of both drafts, a stream that is read again for its schema, the dry run and the diff.

use crate::compare::{assert_exact, latest, parts, walk};
use crate::read;
use arrow_array::Array as _;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind, Options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// More pages than a sample has.
const LONG: u64 = 5600;

/// Records before the shape changes: behind the sample.
const LATE: u64 = 5300;

fn bed(records: u64, format: &str, policy: Value) -> Bed {
    let mut bed = Bed::new(Options { records, ..Options::default() });
    bed.export("shop", config::export("shop", "cursor", format, "150kB"));
    if format == "parquet" {
        bed.config["exports"]["shop"]["format"]["parquet"]["row_group_rows"] = 500.into();
    }
    bed.config["exports"]["shop"]["schema"] = policy;
    bed.config["exports"]["shop"]["max_rejected"] = json!({ "rate": 1.0, "count": records });
    bed
}

fn late_field(after: u64) -> Vec<Fault> {
    vec![Fault::new(Kind::LateField).after(after)]
}

fn type_change(after: u64) -> Vec<Fault> {
    vec![Fault::new(Kind::TypeChange).after(after)]
}

/// Rows whose `_rescued` is there, and all rows, over the newest files.
fn rescued(bed: &Bed) -> (usize, usize) {
    let (mut some, mut all) = (0, 0);
    for file in latest(bed, "shop", "lake") {
        for batch in read::parquet(&file.path) {
            let column = read::column(&batch, "_rescued");
            some += column.len() - column.null_count();
            all += column.len();
        }
    }
    (some, all)
}

fn columns(bed: &Bed) -> Vec<String> {
    let batches = read::parquet(&latest(bed, "shop", "lake")[0].path);
    batches[0].schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn failed(bed: &Bed, daemon: &saas_export_tests::harness::daemon::Daemon) -> String {
    let id = daemon.run("shop");
    let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
    assert_eq!(detail["task"]["error_class"], "data", "{detail}");
    let said = daemon.stderr();
    assert!(!walk(&bed.lake()).iter().any(|path| path.to_string_lossy().contains(&format!("{id}/_manifest"))));
    format!("{} {said}", detail["task"]["reason"].as_str().unwrap())
}

#[test]
fn a_frozen_schema_stays_and_nothing_is_lost() {
    let bed = bed(300, "parquet", json!({ "new_fields": "freeze", "type_changes": "freeze" }));
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let before = columns(&bed);
    bed.api.set_faults(late_field(0));
    let id = daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    assert_eq!((columns(&bed), rescued(&bed)), (before, (300, 300)));
    let notes = daemon.task(&id)["streams"][0]["notes"].to_string();
    assert!(notes.contains("the schema is frozen") && notes.contains("discount_code"), "{notes}");
    bed.api.set_faults(type_change(0));
    daemon.run_to_success("shop");
    let texts = (0..300).filter(|position| bed.api.data().record(*position).quantity().is_some()).count();
    assert_eq!(rescued(&bed), (texts, 300));
}

#[test]
fn a_task_fails_with_the_place_and_without_data() {
    for (policy, faults, field) in [
        (json!({ "new_fields": "fail" }), late_field(150), "discount_code"),
        (json!({ "type_changes": "fail" }), type_change(150), "quantity"),
    ] {
        for format in ["csv", "ndjson"] {
            let bed = bed(300, format, policy.clone());
            let daemon = bed.start();
            daemon.run_to_success("shop");
            bed.api.set_faults(faults.clone());
            let why = failed(&bed, &daemon);
            assert!(why.contains("stream cursor") && why.contains(field) && why.contains("of page 2"), "{why}");
            assert!(!why.contains(" pcs") && !why.contains("\"D"), "no value of a record: {why}");
        }
    }
}

#[test]
fn records_that_do_not_fit_go_into_the_quarantine() {
    for format in ["parquet", "ndjson"] {
        let bed = bed(300, format, json!({ "type_changes": "quarantine" }));
        let daemon = bed.start();
        daemon.run_to_success("shop");
        bed.api.set_faults(type_change(200));
        let id = daemon.run_to_success("shop");
        let texts: Vec<u64> =
            (200..300).filter(|position| bed.api.data().record(*position).quantity().is_some()).collect();
        let counts = &daemon.task(&id)["streams"][0]["counts"];
        assert_eq!(counts["rejected"], texts.len(), "{counts}");
        let ids: Vec<u64> = latest(&bed, "shop", "lake").iter().flat_map(|file| read::ids(&file.path)).collect();
        let wanted: Vec<u64> = (0..300).filter(|n| !texts.contains(n)).map(|n| n + 1).collect();
        assert_eq!(ids, wanted, "{format}");
        let kept = walk(&bed.path("state/quarantine").join(&id));
        let lines: usize = kept.iter().map(|path| read::lines(&read::text(path)).count()).sum();
        assert_eq!(lines, texts.len());
    }
}

#[test]
fn a_json_schema_gives_columns_and_says_what_is_valid() {
    let draft7 = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": { "money": { "type": "number", "minimum": 0 } },
        "type": "object",
        "required": ["id"],
        "properties": { "id": { "type": "integer" }, "amount": { "$ref": "#/definitions/money" }, "later": { "type": "string", "format": "date-time" } },
    });
    let newest = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": { "money": { "type": "number", "minimum": 0 } },
        "properties": { "id": { "type": "integer" }, "amount": { "$ref": "#/$defs/money" }, "later": { "type": "string", "format": "date-time" } },
    });
    for (schema, in_file) in [(draft7, true), (newest, false)] {
        let mut bed = bed(300, "parquet", json!({}));
        let mut stream = config::streams()["cursor"].clone();
        stream["schema"] = if in_file {
            let file = bed.path("order.json");
            std::fs::write(&file, schema.to_string()).unwrap();
            json!({ "json_schema": { "file": file } })
        } else {
            json!({ "json_schema": { "inline": schema } })
        };
        bed.stream("cursor", stream);
        let daemon = bed.start();
        // Loaded is loaded: what becomes of the file later does not count.
        let _ = std::fs::remove_file(bed.path("order.json"));
        let id = daemon.run_to_success("shop");
        let negative = (0..300).filter(|position| bed.api.data().record(*position).cents() < 0).count();
        assert!(negative > 0);
        let detail = daemon.task(&id);
        assert_eq!(detail["streams"][0]["counts"]["rejected"], negative, "{detail}");
        assert_eq!(&columns(&bed)[..3], ["id", "amount", "later"], "the schema's own columns come first");
        let kept = walk(&bed.path("state/quarantine").join(&id));
        let text = String::from_utf8(read::text(&kept[0])).unwrap();
        assert!(text.contains(r#"\"/amount\" breaks \"minimum\""#), "{text}");
        drop(daemon);

        std::fs::write(bed.path("order.json"), schema.to_string()).unwrap();
        bed.config["exports"]["shop"]["schema"] = json!({ "invalid": "fail" });
        let daemon = bed.start();
        let why = failed(&bed, &daemon);
        assert!(why.contains("\"/amount\" breaks \"minimum\"") && why.contains("of page 1"), "{why}");
    }
}

/// Names of the newest files without their revision, and their sums.
fn plain_parts(bed: &Bed) -> BTreeMap<String, String> {
    parts(bed, "shop", "lake").into_iter().map(|(name, sum)| (name.replace("-r1.", "."), sum)).collect()
}

/// What a task writes whose schema had the field from the start.
fn known_from_the_start(faults: Vec<Fault>) -> BTreeMap<String, String> {
    let bed = bed(LONG, "parquet", json!({}));
    bed.api.set_faults(faults);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    daemon.run_to_success("shop");
    plain_parts(&bed)
}

#[test]
fn a_stream_is_read_again_with_the_schema_that_it_needs() {
    for faults in [late_field(LATE), type_change(LATE)] {
        let wanted = known_from_the_start(faults.clone());
        let bed = bed(LONG, "parquet", json!({ "on_misfit": "restart" }));
        bed.api.set_faults(faults);
        let daemon = bed.start();
        let id = daemon.run_to_success("shop");
        assert_exact(&bed, "shop");
        assert_eq!(plain_parts(&bed), wanted, "as if the schema had been known");
        assert_eq!(rescued(&bed).0, 0);
        let detail = daemon.task(&id);
        assert!(detail["streams"][0]["notes"].to_string().contains("read again from its start"), "{detail}");
        assert_eq!(detail["streams"][0]["counts"]["read"], LONG);
        let events = bed.ctl(&["query", "GET", "/v1/events"]).expect(0).stdout;
        let event = events.lines().find(|line| line.contains("stream_restarted")).expect("an event tells it");
        assert!(!event.contains("\"superseded\":0"), "something had been sealed: {event}");
        let left: Vec<_> =
            walk(&bed.lake()).into_iter().filter(|path| path.to_string_lossy().contains("part-")).collect();
        assert!(left.iter().all(|path| path.to_string_lossy().contains("-r1.")), "superseded files are gone: {left:?}");
    }
}

#[test]
fn killed_while_a_stream_is_sent_back() {
    let wanted = known_from_the_start(late_field(LATE));
    for point in ["restart.before_commit", "restart.committed"] {
        let bed = bed(LONG, "parquet", json!({ "on_misfit": "restart" }));
        bed.api.set_faults(late_field(LATE));
        let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let id = daemon.run("shop");
        daemon.ended(Duration::from_secs(60));
        let daemon = bed.start();
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_exact(&bed, "shop");
        assert_eq!(plain_parts(&bed), wanted, "{point}");
    }
}

#[test]
fn a_dry_run_asks_for_one_page_and_changes_nothing() {
    let bed = bed(1000, "parquet", json!({}));
    let daemon = bed.start();
    let fresh = bed.ctl_json(&["schema", "shop"]);
    assert_eq!(fresh["streams"][0].get("version"), None);
    assert_eq!(bed.api.truth().requests, 1, "one page of one stream");
    daemon.run_to_success("shop");
    bed.api.set_faults(vec![Fault::new(Kind::LateField).after(0), Fault::new(Kind::TypeChange).after(0)]);
    let events = || bed.ctl(&["query", "GET", "/v1/events"]).expect(0).stdout;
    let (asked, before) = (bed.api.truth().requests, (events(), bed.ctl_json(&["tasks"])));
    let report = bed.ctl_json(&["schema", "shop", "--stream", "cursor"]);
    assert_eq!(bed.api.truth().requests, asked + 1);
    assert_eq!((events(), bed.ctl_json(&["tasks"])), before);
    let stream = &report["streams"][0];
    assert_eq!((stream["records"].as_u64(), stream["version"].as_u64()), (Some(100), Some(1)), "{stream}");
    let column = |name: &str| {
        let columns = stream["columns"].as_array().unwrap();
        columns.iter().find(|column| column["field"] == name).unwrap_or_else(|| panic!("no {name} in {stream}")).clone()
    };
    assert_eq!(column("id")["column"], "INT64");
    assert_eq!(column("address.city")["column"], "STRING");
    assert_eq!(
        (column("discount_code")["before"].as_str(), column("quantity")["before"].as_str()),
        (Some("new"), Some("integer"))
    );
    let texts = (0..100).filter(|position| bed.api.data().record(*position).quantity().is_some()).count();
    let misfits = json!([
        { "field": "discount_code", "values": 100, "why": "new" },
        { "field": "quantity", "values": texts, "why": "type" },
    ]);
    assert_eq!(stream["misfits"], misfits);
    let shown = bed.ctl(&["schema", "shop", "--format", "csv"]).expect(0).stdout;
    assert!(shown.contains("would be rescued: 100 values of discount_code"), "{shown}");
    bed.ctl(&["schema", "shop", "--stream", "none"]).expect(4);

    daemon.run_to_success("shop");
    let found = bed.ctl_json(&["schema", "diff", "shop"]);
    let fields = found["streams"][0]["fields"].as_array().unwrap();
    let change = |name: &str| fields.iter().find(|field| field["field"] == name).map(|field| field["change"].clone());
    assert_eq!(
        (change("discount_code"), change("quantity")),
        (Some("added".into()), Some("widened".into())),
        "{found}"
    );
    let (older, newer) = (found["older"].as_str().unwrap(), found["newer"].as_str().unwrap());
    let turned = bed.ctl_json(&["schema", "diff", newer, older]);
    assert!(turned["streams"][0]["fields"].as_array().unwrap().iter().any(|field| field["change"] == "removed"));
    assert!(bed.ctl(&["schema", "diff", older, newer]).expect(0).stdout.contains("discount_code"));
}

#[test]
fn a_dry_run_does_not_wait_for_ever() {
    let bed = bed(100, "parquet", json!({}));
    bed.api.set_faults(vec![Fault::status(404)]);
    let _daemon = bed.start();
    let ended = bed.ctl(&["schema", "shop", "--json"]).expect(1);
    assert!(ended.json()["streams"][0]["error"].as_str().unwrap().contains("404"), "{ended:?}");
}
