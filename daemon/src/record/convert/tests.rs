//! Conversion: nothing is lost, what does not fit is rescued or rejected with its reason.

use super::*;
use crate::model::schema::{Field, Type};
use crate::record::infer::Sample;
use crate::record::locate::Locator;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, StringArray};
use std::collections::BTreeMap;

mod lossless;

fn schema(fields: &[(&str, &str)]) -> Schema {
    let field = |(name, kind): &(&str, &str)| Field { name: (*name).into(), kind: Type::parse(kind).unwrap() };
    Schema { fields: fields.iter().map(field).collect() }
}

fn inferred(records: &[&str]) -> Schema {
    let mut sample = Sample::default();
    sample.add(&Page::of(records));
    sample.schema()
}

fn columns(schema: &Schema, records: &[&str]) -> (RecordBatch, Converted) {
    let mut converted = Plan::new(schema, Layout::Columns).convert(&Page::of(records), None);
    let data = std::mem::replace(&mut converted.data, Data::Lines(Vec::new()));
    let Data::Batch(batch) = data else { panic!("columns expected") };
    assert!(converted.counts.balanced());
    assert_eq!(batch.num_rows() as u64, converted.counts.written);
    (batch, converted)
}

/// What is made of a body's records while they are found.
fn eager(plan: &Arc<Plan>, path: &str, body: &str) -> Option<Made> {
    let mut eager = Eager::new(plan, body.as_bytes(), 2)?;
    let located = Locator::new(path, &[]).unwrap().locate_and_take(body.as_bytes(), &mut eager).ok()?;
    eager.finish(located.records.len())
}

fn rescued(batch: &RecordBatch) -> Vec<Option<String>> {
    let (field, array) = (batch.schema().fields().last().unwrap().clone(), batch.columns().last().unwrap().clone());
    assert_eq!(field.name(), "_rescued");
    array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn texts(array: &dyn Array) -> Vec<Option<&str>> {
    array.as_any().downcast_ref::<StringArray>().unwrap().iter().collect()
}

#[test]
fn every_kind_of_column() {
    let schema = schema(&[
        ("i", "integer"),
        ("f", "float"),
        ("s", "string"),
        ("b", "boolean"),
        ("t", "timestamp"),
        ("d", "date"),
        ("c", "time"),
        ("m", "decimal(9,2)"),
        ("x", "binary"),
        ("j", "json"),
        ("l", "list(integer)"),
    ]);
    let full = r#"{"i":-7,"f":1.5,"s":"a\n\u00e9\ud83d\ude00","b":true,"t":"2024-02-29T12:00:00.25+02:00","d":"2024-02-29",
        "c":"01:02:03.5","m":"12.50","x":"AQID","j": { "k" : [ 1.0 , "a b" ] },"l":[1,null,3]}"#;
    let (batch, converted) = columns(&schema, &[full, "{}", r#"{"m":-1e2,"b":false,"l":[],"j":"x"}"#]);
    assert_eq!((converted.counts.rescued, converted.observed.is_none()), (0, true));
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(-7), None, None]);
    assert_eq!(batch.column(1).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(1.5), None, None]);
    assert_eq!(texts(batch.column(2)), [Some("a\né😀"), None, None]);
    assert_eq!(batch.column(3).as_boolean().iter().collect::<Vec<_>>(), [Some(true), None, Some(false)]);
    assert_eq!(batch.column(4).as_primitive::<TimestampMicrosecondType>().value(0), 1_709_200_800_250_000);
    assert_eq!(batch.column(5).as_primitive::<Date32Type>().value(0), 19_782);
    assert_eq!(batch.column(6).as_primitive::<Time64MicrosecondType>().value(0), 3_723_500_000);
    assert_eq!(
        batch.column(7).as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(),
        [Some(1250), None, Some(-10_000)]
    );
    assert_eq!(batch.column(8).as_binary::<i32>().value(0), [1, 2, 3]);
    assert_eq!(texts(batch.column(9)), [Some(r#"{"k":[1.0,"a b"]}"#), None, Some(r#""x""#)]);
    let lists = batch.column(10).as_list::<i32>();
    assert_eq!(lists.iter().map(|l| l.map(|l| l.len())).collect::<Vec<_>>(), [Some(3), None, Some(0)]);
    assert_eq!(lists.values().as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, Some(3)]);
    assert_eq!(rescued(&batch), [None, None, None]);
}

#[test]
fn what_does_not_fit_keeps_its_text() {
    let schema = schema(&[
        ("i", "integer"),
        ("f", "float"),
        ("s", "string"),
        ("t", "timestamp"),
        ("x", "binary"),
        ("m", "decimal(4,2)"),
    ]);
    for (record, expected) in [
        (r#"{"i":9223372036854775808}"#, r#"{"i":"9223372036854775808"}"#),
        (r#"{"i":1.0}"#, r#"{"i":"1.0"}"#),
        (r#"{"i":-0}"#, r#"{"i":"-0"}"#),
        (r#"{"i":true}"#, r#"{"i":"true"}"#),
        (r#"{"f":1e400,"i":1}"#, r#"{"f":"1e400"}"#),
        (r#"{"f":0.1234567890123456789}"#, r#"{"f":"0.1234567890123456789"}"#),
        (r#"{"f":[ 1, {"a":"b\"c"} ]}"#, r#"{"f":"[ 1, {\"a\":\"b\\\"c\"} ]"}"#),
        (r#"{"s":"a\ud800b","i":1}"#, r#"{"s":"\"a\\ud800b\""}"#),
        (r#"{"s":1}"#, r#"{"s":"1"}"#),
        (r#"{"t":"2024-01-01T00:00:00.1234567Z"}"#, r#"{"t":"\"2024-01-01T00:00:00.1234567Z\""}"#),
        (r#"{"t":""}"#, r#"{"t":"\"\""}"#),
        (r#"{"x":"AQI"}"#, r#"{"x":"\"AQI\""}"#),
        (r#"{"m":"1.234"}"#, r#"{"m":"\"1.234\""}"#),
        (r#"{"m":"1.2x"}"#, r#"{"m":"\"1.2x\""}"#),
        (r#"{"m":100}"#, r#"{"m":"100"}"#),
        (r#"{"new":{"a": 1},"i":2,"other":null}"#, r#"{"new":"{\"a\": 1}"}"#),
        (r#"{"_rescued":{"i":"1"}}"#, r#"{"_rescued":"{\"i\":\"1\"}"}"#),
        (r#"{"a.b[0]\\":1}"#, r#"{"a\\.b\\[0]\\\\":"1"}"#),
        (r#"{"\ud800":1}"#, r#"{"\\\\ud800":"1"}"#),
        (r#"{"i":1,"i":2,"i":null,"z":1,"z":2}"#, r#"{"i":"2","i\\2":"null","z":"1","z\\2":"2"}"#),
    ] {
        let (batch, converted) = columns(&schema, &["{}", record, r#"{"i":5,"s":"t"}"#]);
        assert_eq!(rescued(&batch), [None, Some(expected.into()), None], "{record}");
        assert!(serde_json::from_str::<BTreeMap<String, String>>(expected).is_ok());
        assert!(
            converted.counts.rescued > 0 && converted.observed.is_some()
                || record.contains("_rescued")
                || record.contains("ud800\":")
        );
        let kept = batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        assert_eq!((kept[0], kept[2]), (None, Some(5)));
        assert_eq!(texts(batch.column(2)), [None, None, Some("t")]);
    }
}

#[test]
fn nested_values_are_rescued_by_their_path() {
    let schema = inferred(&[r#"{"o":{"a":1,"l":[{"x":1}]},"u":null,"e":{},"el":[]}"#]);
    let (batch, converted) = columns(
        &schema,
        &[
            r#"{"o":{"l":[{"x":1},7,{"x":"s","y":[2]}],"n":true},"u":3,"e":{"k":1},"el":[null,1]}"#,
            r#"{"e":{},"o":null,"el":[]}"#,
            r#"{"o":{"a":2}}"#,
        ],
    );
    let expected =
        r#"{"o.l[1]":"7","o.l[2].x":"\"s\"","o.l[2].y":"[2]","o.n":"true","u":"3","e":"{\"k\":1}","el[1]":"1"}"#;
    assert_eq!(rescued(&batch), [Some(expected.into()), None, None]);
    assert_eq!(converted.counts.rescued, 7);
    let object = batch.column(0).as_struct();
    assert_eq!(object.nulls().unwrap().iter().collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(object.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [None, None, Some(2)]);
    let list = object.column(1).as_list::<i32>();
    assert_eq!(
        list.value(0).as_struct().column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
        [Some(1), None, None]
    );
    assert_eq!(texts(batch.column(2)), [None, Some("{}"), None]);
    let next = schema.merge(&converted.observed.unwrap());
    let (batch, converted) =
        columns(&next, &[r#"{"o":{"n":true},"u":3,"e":{"k":1},"el":[null,1]}"#, r#"{"o":{"l":[{"x":"s","y":[2]}]}}"#]);
    assert_eq!((converted.counts.rescued, rescued(&batch)), (0, vec![None, None]));
}

#[test]
fn bad_records_are_rejected_and_leave_no_trace() {
    let schema = inferred(&[r#"{"a":1,"s":"x","l":[{"b":[1]}],"o":{"c":true}}"#]);
    let good = r#"{"a":2,"s":"y","l":[{"b":[2,3]}],"o":{"c":false}}"#;
    let half = r#"{"a":9,"s":"z","l":[{"b":[9]},{"b":[1]}],"o":{"c":true},"new":1,"a":tru}"#;
    let huge = format!("{{\"s\":\"{}\"}}", "x".repeat(MAX_RECORD));
    let (batch, converted) = columns(&schema, &["7", good, half, "[]", &huge, "null", good, "{} 1"]);
    let reasons: Vec<_> = converted.rejected.iter().map(|r| (r.index, r.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (0, "it is no JSON object"),
            (2, "it is not JSON: byte 68: expected a value"),
            (3, "it is no JSON object"),
            (4, "it is larger than 16 MB"),
            (5, "it is no JSON object"),
            (7, "it is not JSON: byte 3: expected the end"),
        ]
    );
    assert_eq!(converted.rejected[1].raw, half.as_bytes());
    let (expected, _) = columns(&schema, &[good, good]);
    assert_eq!(batch, expected);
    assert_eq!((converted.counts.read, converted.counts.written, converted.counts.rescued), (8, 2, 0));

    // It breaks off within what is not ended.
    for half in
        [r#"{"l":[{"b":[9,8]},{"b":[7,tru]}]}"#, r#"{"l":[{"b":[9]},{"b":[1]},tru]}"#, r#"{"o":{"c":true,"d":tru}}"#]
    {
        let (batch, converted) = columns(&schema, &[half, good, half, good]);
        assert_eq!((converted.rejected.len(), batch), (2, expected.clone()), "{half}");
    }

    let mut page = Page::of(&[good, good]);
    let mut body = page.body.to_vec();
    let at = body.iter().position(|byte| *byte == b'y').unwrap();
    body[at] = 0xFF;
    page.body = body.into();
    for layout in [Layout::Columns, Layout::Flat, Layout::Lines] {
        let converted = Plan::new(&schema, layout).convert(&page, None);
        assert_eq!(converted.rejected.len(), 1);
        assert_eq!((converted.rejected[0].index, converted.rejected[0].reason.as_str()), (0, "it is not UTF-8"));
    }
}

#[test]
fn a_record_whose_rescue_explodes_is_rejected() {
    let name = "n".repeat(1000);
    let schema = inferred(&[&format!("{{\"{name}\":{{\"a\":1}}}}")]);
    let members: Vec<String> = (0..60_000).map(|n| format!("\"{n}\":1")).collect();
    let record = format!("{{\"{name}\":{{{}}}}}", members.join(","));
    let (batch, converted) = columns(&schema, &[&record, "{}"]);
    assert_eq!((batch.num_rows(), converted.counts.rescued), (1, 0));
    assert_eq!(converted.rejected[0].reason, "what does not fit its columns takes more than 32 MB");
}

#[test]
fn any_order_of_members_gives_the_same_columns() {
    let schema = inferred(&[r#"{"a":1,"b\"\\":2,"c":3,"":4}"#]);
    let records = [
        r#"{"a":1,"b\"\\":2,"c":3,"":4}"#,
        r#"{ "" : 4 , "c" : 3 , "b\u0022\\" : 2 , "\u0061" : 1 }"#,
        r#"{"c":3,"a":1,"":4,"b\"\\":2}"#,
        r#"{"c":3,"a":1,"":4,"b\"\\":2}"#,
    ];
    let (batch, converted) = columns(&schema, &records);
    assert_eq!(converted.counts.rescued, 0);
    for (column, value) in batch.columns().iter().zip([1, 2, 3, 4]) {
        assert_eq!(column.as_primitive::<Int64Type>().values()[..], [value; 4]);
    }
}

#[test]
fn flat_columns_hold_nested_values_as_text() {
    let schema = inferred(&[r#"{"o":{"a":1},"l":[1],"i":1}"#]);
    let plan = Plan::new(&schema, Layout::Flat);
    let Data::Batch(batch) =
        plan.convert(&Page::of(&[r#"{"o":{ "b" : 1 },"l":[ ],"i":1}"#, r#"{"o":"x"}"#]), None).data
    else {
        panic!()
    };
    assert_eq!(texts(batch.column(0)), [Some(r#"{"b":1}"#), Some(r#""x""#)]);
    assert_eq!(texts(batch.column(1)), [Some("[]"), None]);
    assert_eq!(rescued(&batch), [None, None]);
}

#[test]
fn lines_are_the_records_without_white_space() {
    let plan = Plan::new(&Schema::default(), Layout::Lines);
    let converted =
        plan.convert(&Page::of(&["{ \"a b\" : [ 1.50 ,\n\t\"\\u0041 \\\" x\" ] , \"a b\":1e400}", "1", "{}"]), None);
    let Data::Lines(lines) = converted.data else { panic!() };
    assert_eq!(String::from_utf8(lines).unwrap(), "{\"a b\":[1.50,\"\\u0041 \\\" x\"],\"a b\":1e400}\n{}\n");
    assert_eq!((converted.counts.written, converted.counts.rejected, converted.rejected[0].index), (2, 1, 1));
}

#[test]
fn a_plan_without_fields_still_has_rows() {
    let (batch, _) = columns(&Schema::default(), &["{}", r#"{"a":1}"#]);
    assert_eq!(rescued(&batch), [None, Some(r#"{"a":"1"}"#.into())]);
    let (batch, _) = columns(&Schema::default(), &[]);
    assert_eq!(batch.num_rows(), 0);
}

#[test]
fn records_are_converted_while_they_are_found_or_not_at_all() {
    let schema = schema(&[("id", "integer")]);
    let plan = Arc::new(Plan::new(&schema, Layout::Columns));
    let ids = |path, body| {
        let Data::Batch(batch) = eager(&plan, path, body)?.converted.data else { panic!("columns expected") };
        Some(batch.column(0).as_primitive::<Int64Type>().values().to_vec())
    };
    assert_eq!(ids("$.d[*]", r#"{"d":[{"id":1},{"id":2},{"id":3}]}"#), Some(vec![1, 2, 3]));
    assert_eq!(ids("$.d[*]", r#"{"d":{"a":{"id":1},"b":{"id":2}}}"#), Some(vec![1, 2]));
    assert_eq!(ids("$", "\u{feff}[{\"id\":7}]"), Some(vec![7]));
    assert_eq!(ids("$.d[*]", r#"{"d":[]}"#), Some(vec![]));
    // What was found first does not count, a record that is none, one that is the whole value, places that need a tree.
    assert_eq!(ids("$.d[*]", r#"{"d":[{"id":1}],"d":[{"id":2}]}"#), None);
    assert_eq!(ids("$.d[*]", r#"{"d":[{"id":1},2,{"id":3}]}"#), None);
    assert_eq!(ids("$.d", r#"{"d":{"id":1}}"#), None);
    assert_eq!(ids("$.d", r#"{"d":[{"id":1}],"d":{"id":2}}"#), None, "as many as were taken, but another one");
    let mut taker = Eager::new(&plan, b"", 2).unwrap();
    let body = br#"{"d":[{"id":1},{"id":2}],"d":[{"id":3},{"id":4}]}"#;
    let located = Locator::new("$.d[*]", &["$.d[0].id"]).unwrap().locate_and_take(body, &mut taker).unwrap();
    assert!(taker.finish(located.records.len()).is_none(), "the first of each is looked into, and not taken");
    assert_eq!(ids("$..id", r#"{"d":{"id":1}}"#), None);
    for broken in [r#"{"d":[{"id":1},{"id":01}]}"#, r#"{"d":[{"id":1}"#, r#"{"d":[{"id":1}]} x"#] {
        assert_eq!(ids("$.d[*]", broken), None);
    }
    assert!(eager(&Arc::new(Plan::new(&schema, Layout::Lines)), "$.d[*]", r#"{"d":[{"id":1}]}"#).is_none());
}
