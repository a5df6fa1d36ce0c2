//! Golden JSON of schemas and their differences.

use super::{check, text};
use saas_export_api::*;

#[test]
fn schemas() {
    let column = |field: &str, kind: &str, column: &str, before: Option<&str>| SchemaColumn {
        field: text(field),
        kind: text(kind),
        column: text(column),
        before: before.map(text),
    };
    let orders = StreamSchema {
        stream: text("orders"),
        records: 100,
        version: Some(3),
        columns: vec![
            column("id", "integer", "INT64", None),
            column("amount", "float", "DOUBLE", Some("integer")),
            column("items[].price", "decimal(12,2)", "DECIMAL(12, 2)", Some("new")),
        ],
        misfits: vec![SchemaMisfit { field: text("amount"), values: 7, why: text("type") }],
        rejected: 1,
        notes: vec![text("rejected (1): it is no JSON object")],
        error: None,
    };
    let users =
        StreamSchema { stream: text("users"), error: Some(text("failed to read it")), ..StreamSchema::default() };
    let report = SchemaReport { export: text("shop"), format: text("parquet"), streams: vec![orders, users] };
    check("schema_report", &report);
    let field = |field: &str, change: &str, from: Option<&str>, to: Option<&str>| FieldDiff {
        field: text(field),
        change: text(change),
        from: from.map(text),
        to: to.map(text),
    };
    let orders = StreamDiff {
        stream: text("orders"),
        older: Some(2),
        newer: Some(3),
        fields: vec![
            field("amount", "widened", Some("integer"), Some("float")),
            field("note", "added", None, Some("string")),
            field("old", "removed", Some("date"), None),
        ],
    };
    let users = StreamDiff { stream: text("users"), newer: Some(1), ..StreamDiff::default() };
    let diff = SchemaDiff {
        export: text("shop"),
        older: text("20261120T024501Z-9f86d081"),
        newer: text("20261121T024501Z-9f86d081"),
        streams: vec![orders, users],
    };
    check("schema_diff", &diff);
}
