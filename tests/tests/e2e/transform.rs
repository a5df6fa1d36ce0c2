//! Transformations: records come out as the steps say, and what is hidden reaches no disk, not even through a kill.

use crate::compare::{assert_exact, latest, walk};
use crate::{read, sealed};
use arrow_array::Array as _;
use arrow_schema::DataType;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Options};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::Path;

const RECORDS: u64 = 3000;

/// The cursor stream with everything personal hidden, and a JSON Schema that sends records into the quarantine.
fn hiding() -> Value {
    let mut stream = config::streams()["cursor"].clone();
    stream["transform"] = json!([
        { "drop": ["uuid", "address.zip"] },
        { "hash": { "fields": ["email"], "key": "${SHOP_KEY}" } },
        { "mask": { "fields": ["name"] } },
    ]);
    stream["schema"] = json!({ "json_schema": { "inline": { "properties": { "amount": { "minimum": 0 } } } } });
    stream
}

fn bed(stream: Value) -> Bed {
    let mut bed = Bed::new(Options { records: RECORDS, page_size: 20, ..Options::default() });
    bed.config["daemon"]["replay_limit"] = "1s".into();
    bed.stream("orders", stream);
    bed.export("shop", config::export("shop", "orders", "ndjson", "1GB"));
    bed.config["exports"]["shop"]["max_rejected"] = json!({ "rate": 1.0, "count": RECORDS });
    bed
}

/// What must be found nowhere: addresses, and the names, ids and codes of some records.
fn needles(bed: &Bed) -> Vec<String> {
    let data = bed.api.data();
    let mut needles = vec!["@shop.example".to_owned()];
    for position in (0..RECORDS).step_by(500) {
        let record = data.record(position);
        needles.extend([record.name(), record.uuid()]);
    }
    needles
}

/// The bytes of a file as they could be read back: the entries of a journal opened and unpacked.
fn readable(bed: &Bed, path: &Path) -> Vec<u8> {
    match path.extension().is_some_and(|ending| ending == "journal") {
        true => sealed::journal(path, &bed.path("state/state-key")),
        false => std::fs::read(path).unwrap_or_default(),
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Every file below the bed in which a needle is found, with the first one.
fn found(bed: &Bed, needles: &[String]) -> Vec<(String, String)> {
    let of = |path: &Path| {
        let bytes = readable(bed, path);
        needles.iter().find(|needle| holds(&bytes, needle)).cloned()
    };
    walk(bed.dir()).iter().filter_map(|path| Some((path.display().to_string(), of(path)?))).collect()
}

fn journals(bed: &Bed) -> usize {
    let journals = walk(bed.dir()).into_iter().filter(|path| path.extension().is_some_and(|end| end == "journal"));
    journals.map(|path| readable(bed, &path).len()).sum()
}

#[test]
fn what_is_hidden_reaches_no_disk() {
    let bed = bed(hiding());
    let needles = needles(&bed);
    bed.api.set_faults(vec![Fault::rate(50.0)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.requests >= 120));
    let said = daemon.stderr();
    daemon.kill();
    assert!(journals(&bed) > 100_000, "the kill came in the middle of a journal");
    assert_eq!(found(&bed, &needles), [], "after the kill");

    bed.api.set_faults(vec![]);
    let daemon = bed.start();
    let detail = daemon.wait_for(&id, &["succeeded"], PATIENCE);
    let said = said + &daemon.stderr() + &detail.to_string() + &bed.ctl(&["query", "GET", "/v1/events"]).stdout;
    assert_eq!(found(&bed, &needles), [], "after the end");
    assert!(!needles.iter().any(|needle| said.contains(needle)), "{said}");

    let rejected = detail["streams"][0]["counts"]["rejected"].as_u64().unwrap();
    let quarantine = bed.daemon(&["quarantine", &id]).expect(0).stdout;
    assert!(rejected > 50, "the negative amounts: {rejected}");
    assert_eq!(quarantine.lines().count() as u64, rejected);
    assert!(quarantine.contains(r#"\"name\":\"***\""#), "rejected records are masked, too");
    assert!(!needles.iter().any(|needle| quarantine.contains(needle.as_str())));
    let published = read::json(&latest(&bed, "shop", "lake")[0].path);
    assert_eq!(published.len() as u64, RECORDS - rejected);
    assert!(published.iter().all(|record| record["name"] == "***" && record.get("uuid").is_none()));
    assert!(published.iter().all(|record| record["email"].as_str().unwrap().len() == 64));
}

#[test]
fn the_search_finds_what_is_not_hidden() {
    let bed = bed(config::streams()["cursor"].clone());
    bed.api.set_faults(vec![Fault::rate(50.0)]);
    let daemon = bed.start();
    daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.requests >= 120));
    daemon.kill();
    let found = found(&bed, &needles(&bed));
    assert!(found.iter().any(|(path, _)| path.ends_with(".journal")), "{found:?}");
}

#[test]
fn records_come_out_as_the_steps_say() {
    let mut bed = Bed::with_records(500);
    let mut stream = config::streams()["cursor"].clone();
    stream["transform"] = json!([
        { "hash": { "fields": ["email"] } },
        { "mask": { "fields": ["address.zip"], "keep_last": 2 } },
        { "flatten": { "field": "address" } },
        { "cast": { "amount": "decimal(12,2)", "quantity": "string" } },
        { "rename": { "amount": "total" } },
        { "add": { "origin": "shop" } },
        { "select": ["id", "email", "address_city", "address_zip", "total", "quantity", "origin", "tags"] },
    ]);
    bed.stream("orders", stream);
    bed.export("shop", config::export("shop", "orders", "parquet", "1GB"));
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    let batches = read::parquet(&latest(&bed, "shop", "lake")[0].path);
    let names: Vec<_> = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    let wanted = ["id", "email", "total", "quantity", "address_city", "address_zip", "tags", "origin", "_rescued"];
    assert_eq!(names, wanted, "in the order in which the record has them after the steps");
    assert_eq!(*read::column(&batches[0], "total").data_type(), DataType::Decimal128(12, 2));
    let mut position = 0;
    for batch in &batches {
        let text = |name: &str, row| read::string(read::column(batch, name), row);
        for row in 0..batch.num_rows() {
            let record = bed.api.data().record(position);
            let digest: String = Sha256::digest(record.email()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text("email", row), Some(digest));
            let (city, _, zip) = record.address();
            assert_eq!(text("address_city", row).as_deref(), Some(city));
            assert_eq!(text("address_zip", row), Some(format!("***{}", &zip[3..])));
            assert_eq!(text("quantity", row), record.quantity().map(|quantity| quantity.to_string()));
            assert_eq!(text("origin", row).as_deref(), Some("shop"));
            assert!(read::column(batch, "_rescued").is_null(row));
            position += 1;
        }
    }
    assert_eq!(position, 500);
}
