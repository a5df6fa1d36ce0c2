//! What stands in the files: every value of every record, in every format.

use crate::compare::{assert_exact, latest};
use crate::read::{self, column};
use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind, Record};
use serde_json::{Value, json};

fn bed(format: &str, settings: Value) -> Bed {
    let mut bed = Bed::with_records(1200);
    let mut export = config::export("shop", "cursor", format, "100kB");
    export["format"][format] = settings;
    bed.export("shop", export);
    bed
}

/// Runs the export and calls `check` for each file with the position of its first record.
fn each_file(bed: &Bed, check: impl Fn(&std::path::Path, u64) -> u64) {
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(bed, "shop");
    let files = latest(bed, "shop", "lake");
    // Compressed, the whole data set may fit into the first boundary at which bytes are counted.
    let settings = bed.config["exports"]["shop"]["format"].to_string();
    assert!(files.len() > 1 || settings.contains("compression"), "the data set is cut into files");
    let mut position = 0;
    for file in files {
        position += check(&file.path, position);
    }
    assert_eq!(position, 1200);
}

#[test]
fn ndjson_is_what_the_source_wrote() {
    for (compression, end) in [("none", "ndjson"), ("gzip", "ndjson.gz"), ("zstd", "ndjson.zst")] {
        let bed = bed("ndjson", json!({ "compression": compression }));
        let data = bed.api.data();
        each_file(&bed, |path, first| {
            assert!(path.to_string_lossy().ends_with(end), "{}", path.display());
            let text = read::text(path);
            let mut position = first;
            for line in read::lines(&text) {
                let mut wanted = Vec::new();
                data.record(position).write_json(&mut wanted);
                assert_eq!(String::from_utf8_lossy(line), String::from_utf8_lossy(&wanted));
                position += 1;
            }
            position - first
        });
    }
}

#[test]
fn json_is_one_array_a_file() {
    let bed = bed("json", json!({}));
    let data = bed.api.data();
    each_file(&bed, |path, first| {
        let records = read::json(path);
        for (n, record) in records.iter().enumerate() {
            let mut wanted = Vec::new();
            data.record(first + n as u64).write_json(&mut wanted);
            assert_eq!(*record, serde_json::from_slice::<Value>(&wanted).unwrap());
        }
        records.len() as u64
    });
}

#[test]
fn csv_is_the_default_and_keeps_every_text() {
    let mut bed = bed("csv", json!({}));
    bed.config["exports"]["shop"].as_object_mut().unwrap().remove("format");
    let data = bed.api.data();
    each_file(&bed, |path, first| {
        assert!(path.to_string_lossy().ends_with(".csv"), "{}", path.display());
        let rows = read::csv(path);
        for (n, row) in rows.iter().enumerate() {
            let record = data.record(first + n as u64);
            assert_eq!(row["uuid"], record.uuid());
            assert_eq!(row["name"], record.name());
            assert_eq!(row["email"], record.email());
            assert_eq!(row["note"], record.note());
            assert_eq!(row["paid"], record.paid().to_string());
            assert_eq!(row["amount"].parse::<f64>().unwrap(), record.amount());
            assert_eq!(row["quantity"], record.quantity().map(|q| q.to_string()).unwrap_or_default());
            assert_eq!(row["weight"].parse::<f64>().ok(), record.weight());
            assert_eq!(row["cancelled_at"], "");
        }
        rows.len() as u64
    });
}

#[test]
fn parquet_has_types_and_every_value() {
    for compression in ["zstd", "snappy", "gzip", "none"] {
        let bed = bed("parquet", json!({ "compression": compression, "row_group_rows": 300 }));
        let data = bed.api.data();
        each_file(&bed, |path, first| {
            let mut position = first;
            for batch in read::parquet(path) {
                for row in 0..batch.num_rows() {
                    assert_row(&batch, row, &data.record(position));
                    position += 1;
                }
            }
            position - first
        });
    }
}

#[test]
fn avro_has_types_and_every_value() {
    for compression in ["zstd", "none"] {
        let bed = bed("avro", json!({ "compression": compression }));
        let data = bed.api.data();
        each_file(&bed, |path, first| {
            assert!(path.to_string_lossy().ends_with(".avro"), "{}", path.display());
            let mut position = first;
            for batch in read::avro(path) {
                for row in 0..batch.num_rows() {
                    assert_row(&batch, row, &data.record(position));
                    position += 1;
                }
            }
            position - first
        });
    }
}

fn assert_row(batch: &arrow_array::RecordBatch, row: usize, record: &Record) {
    let text = |name: &str| read::string(column(batch, name), row);
    assert_eq!(read::integer(column(batch, "id"), row), Some(record.id() as i64));
    assert_eq!(text("uuid"), Some(record.uuid()));
    assert_eq!(text("name"), Some(record.name()));
    assert_eq!(text("note").as_deref(), Some(record.note()));
    assert_eq!(text("status").as_deref(), Some(record.status()));
    assert_eq!(read::instant(column(batch, "created_at"), row), Some(record.created_us()));
    assert_eq!(read::instant(column(batch, "updated_at"), row), Some(record.updated_us()));
    assert_eq!(read::float(column(batch, "amount"), row), Some(record.amount()));
    assert_eq!(read::float(column(batch, "weight"), row), record.weight());
    assert_eq!(column(batch, "paid").as_boolean().value(row), record.paid());
    assert_eq!(read::integer(column(batch, "quantity"), row), record.quantity().map(|q| q as i64));
    assert!(column(batch, "cancelled_at").is_null(row));
    let address = column(batch, "address").as_struct();
    let (city, country, zip) = record.address();
    let part = |name: &str| read::string(address.column_by_name(name).unwrap(), row);
    assert_eq!(
        (part("city").as_deref(), part("country").as_deref(), part("zip")),
        (Some(city), Some(country), Some(zip))
    );
    let tags = column(batch, "tags").as_list::<i32>().value(row);
    let tags: Vec<_> = (0..tags.len()).map(|n| read::string(&tags, n).unwrap()).collect();
    assert_eq!(tags, record.tags().collect::<Vec<_>>());
}

#[test]
fn declared_types_are_respected() {
    let mut bed = bed("parquet", json!({}));
    bed.config["sources"]["shop"]["rest"]["streams"]["cursor"]["types"] =
        json!({ "amount": "decimal(12,2)", "created_at": "string", "address": "json" });
    let data = bed.api.data();
    let daemon = bed.start();
    daemon.run_to_success("shop");
    for file in latest(&bed, "shop", "lake").iter().take(1) {
        let batch = &read::parquet(&file.path)[0];
        let amounts = column(batch, "amount").as_primitive::<arrow_array::types::Decimal128Type>();
        assert_eq!(amounts.value(0), i128::from(data.record(0).cents()));
        assert!(read::string(column(batch, "created_at"), 0).unwrap().ends_with('Z'));
        let address: Value = serde_json::from_str(&read::string(column(batch, "address"), 0).unwrap()).unwrap();
        assert_eq!(address["city"], data.record(0).address().0);
    }
}

#[test]
fn a_late_field_and_a_changed_type_are_rescued_and_known_the_next_time() {
    let mut bed = Bed::with_records(12_000);
    bed.export("shop", config::export("shop", "cursor", "parquet", "10MB"));
    // Behind the sample of fifty pages.
    bed.api.set_faults(vec![Fault::new(Kind::LateField).after(9_000), Fault::new(Kind::TypeChange).after(10_000)]);
    let data = bed.api.data();
    let daemon = bed.start();
    let first = daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    let texts = (10_000..12_000).filter(|p| data.record(*p).quantity().is_some()).count() as u64;
    assert_eq!(daemon.task(&first)["streams"][0]["counts"]["rescued"], 3_000 + texts);
    let mut position = 0;
    for batch in latest(&bed, "shop", "lake").iter().flat_map(|file| read::parquet(&file.path)) {
        assert!(batch.column_by_name("discount_code").is_none(), "the schema of a task is fixed");
        for row in 0..batch.num_rows() {
            let record = data.record(position);
            let rescued = read::string(column(&batch, "_rescued"), row);
            let rescued: Value = rescued.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
            let wanted = record.discount_code().map(|code| format!("\"{code}\""));
            assert_eq!(rescued["discount_code"].as_str(), wanted.as_deref(), "record {position}");
            if record.quantity_is_text() {
                let wanted = record.quantity().map(|q| format!("\"{q} pcs\""));
                assert_eq!(rescued["quantity"].as_str(), wanted.as_deref(), "record {position}");
                assert!(column(&batch, "quantity").is_null(row));
            }
            position += 1;
        }
    }
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    let batch = &read::parquet(&latest(&bed, "shop", "lake")[0].path)[0];
    assert!(batch.column_by_name("discount_code").is_some(), "the next task's schema has the field");
}

#[test]
fn a_record_that_is_none_goes_to_the_quarantine() {
    let mut bed = Bed::with_records(10_000);
    bed.export("shop", config::export("shop", "cursor", "parquet", "1MB"));
    bed.api.set_faults(vec![Fault::new(Kind::NonObject).at(&[5])]);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    let counts = &daemon.task(&id)["streams"][0]["counts"];
    assert_eq!((&counts["read"], &counts["written"], &counts["rejected"]), (&json!(10_004), &json!(10_000), &json!(4)));
    let files = crate::compare::walk(bed.dir());
    let quarantine: Vec<_> = files.iter().filter(|path| path.to_string_lossy().contains("quarantine")).collect();
    let text: String = quarantine.iter().map(|path| String::from_utf8_lossy(&read::text(path)).into_owned()).collect();
    assert!(text.contains("42") && text.contains("[1,2]"), "{quarantine:?}: {text}");
}

#[test]
fn too_many_rejected_records_fail_the_task() {
    let mut bed = Bed::with_records(1000);
    bed.export("shop", config::export("shop", "cursor", "parquet", "1MB"));
    bed.api.set_faults(vec![Fault::new(Kind::NonObject)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let detail = daemon.wait_for(&id, &["failed"], std::time::Duration::from_secs(60));
    assert!(detail["task"]["reason"].as_str().unwrap().contains("reject"), "{detail}");
    assert!(!bed.lake().join("shop/cursor/latest.json").exists());
}
