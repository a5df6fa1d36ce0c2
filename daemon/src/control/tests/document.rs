//! The OpenAPI document: it names the routes that there are, and describes the documents that are sent.

use crate::control::handlers::daemon::OPENAPI;
use crate::control::routes::ROUTES;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

#[test]
fn the_document_has_exactly_the_routes_of_the_table() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let access = operation["x-access"].as_str().unwrap();
            described.insert(format!("{} {path} {access}", method.to_uppercase()));
            for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(parameters.iter().any(|p| p["name"] == name && p["in"] == "path"), "{path} {name}");
            }
        }
    }
    let table: BTreeSet<String> =
        ROUTES.iter().map(|route| format!("{} {} {}", route.method, route.path, route.access.word())).collect();
    assert_eq!(described, table);
}

#[test]
fn the_golden_documents_are_as_described() {
    let document = document();
    let cases = [
        ("acted", "Acted"),
        ("check_report", "CheckReport"),
        ("deliver_drop", "Deliver"),
        ("deliver_to", "Deliver"),
        ("delivering", "Delivering"),
        ("event", "Event"),
        ("event_small", "Event"),
        ("export", "Export"),
        ("file_link", "FileLink"),
        ("files", "Files"),
        ("files_named", "Files"),
        ("ledger_backup", "LedgerBackup"),
        ("ledger_check", "LedgerCheck"),
        ("ledger_snapshot", "LedgerSnapshot"),
        ("notification", "Notification"),
        ("notification_sent", "Notification"),
        ("notification_test", "NotificationTest"),
        ("offsets", "OffsetsDoc"),
        ("preflight", "Preflight"),
        ("prune_report", "PruneReport"),
        ("reload_report", "ReloadReport"),
        ("reload_report_notes", "ReloadReport"),
        ("source_rate", "SourceRate"),
        ("source_rate_small", "SourceRate"),
        ("schedule", "Schedule"),
        ("schedule_small", "Schedule"),
        ("schema_diff", "SchemaDiff"),
        ("schema_report", "SchemaReport"),
        ("stale_stream", "StaleStream"),
        ("stale_stream_never", "StaleStream"),
        ("status", "Status"),
        ("status_trouble", "Status"),
        ("submit", "Submit"),
        ("submit_empty", "Submit"),
        ("submitted", "Submitted"),
        ("task_destination", "TaskDestination"),
        ("task_destination_small", "TaskDestination"),
        ("task_detail", "TaskDetail"),
        ("published_pruned", "Published"),
        ("task_summary", "TaskSummary"),
        ("task_summary_small", "TaskSummary"),
        ("verify_report", "VerifyReport"),
        ("verify_report_skipped", "VerifyReport"),
        ("version", "Version"),
    ];
    for (file, schema) in cases {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("api/tests/golden/{file}.json"));
        let value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        fits(&document, &document["components"]["schemas"][schema], &value, file).unwrap();
    }
}

#[test]
fn the_check_itself_finds_mistakes() {
    let document = document();
    let schema = &document["components"]["schemas"]["LaneOffset"];
    let good = serde_json::json!({ "lane": 0, "revision": 0,
        "offset": { "partition": 0, "cursor": { "page": 1 }, "pages": 0, "records": 0, "partition_records": 0 } });
    assert_eq!(fits(&document, schema, &good, "lane"), Ok(()));
    for (pointer, wrong) in [
        ("/lane", serde_json::json!("0")),
        ("/offset/cursor", serde_json::json!("middle")),
        ("/offset/cursor", serde_json::json!({ "page": -1 })),
        ("/offset", serde_json::json!({ "partition": 0 })),
        (
            "/offset",
            serde_json::json!({ "partition": 0, "cursor": "end", "pages": 0, "records": 0, "partition_records": 0, "more": 0 }),
        ),
    ] {
        let mut value = good.clone();
        *value.pointer_mut(pointer).unwrap() = wrong;
        assert!(fits(&document, schema, &value, "lane").is_err(), "{value}");
    }
}

/// Whether a value is as a schema says; the part of JSON Schema 2020-12 that the document uses. Beyond it, a field that
/// the schema does not name is a mistake: the document must tell all.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.strip_prefix('#').unwrap()).ok_or(format!("{reference} is missing"))?;
        return fits(document, target, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|choice| fits(document, choice, value, at).is_ok()).count();
        return if fitting == 1 { Ok(()) } else { Err(format!("{at}: {fitting} choices fit {value}")) };
    }
    if let Some(words) = schema["enum"].as_array() {
        return if words.contains(value) { Ok(()) } else { Err(format!("{at}: {value} is none of {words:?}")) };
    }
    let good = match schema["type"].as_str().unwrap_or_default() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_i64().is_some_and(|n| n >= schema["minimum"].as_i64().unwrap_or(i64::MIN)),
        "array" => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                fits(document, &schema["items"], item, &format!("{at}[{index}]"))?;
            }
            value.is_array()
        }
        "object" => return fields_fit(document, schema, value, at),
        other => return Err(format!("{at}: the schema has type {other:?}")),
    };
    if good { Ok(()) } else { Err(format!("{at}: {value} is not {}", schema["type"])) }
}

fn fields_fit(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fields = value.as_object().ok_or(format!("{at}: {value} is no object"))?;
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        fields.get(name).ok_or(format!("{at}: {name} is missing"))?;
    }
    let free = schema.get("properties").is_none() && schema.get("additionalProperties").is_none();
    for (name, value) in fields.iter().filter(|_| !free) {
        let known =
            schema["properties"].get(name).or(schema.get("additionalProperties").filter(|more| more.is_object()));
        let known = known.ok_or(format!("{at}: {name} is not described"))?;
        fits(document, known, value, &format!("{at}.{name}"))?;
    }
    Ok(())
}
