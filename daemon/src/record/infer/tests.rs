//! Inference: the schema that a sample gives, and that it never grows narrower.

use super::*;
use crate::model::schema::Field;
use crate::model::schema::Type;
use proptest::prelude::*;

fn infer(records: &[&str], declared: &[(&str, &str)], last: Option<&Schema>) -> Schema {
    let declared = declared.iter().map(|(path, kind)| ((*path).to_owned(), Type::parse(kind).unwrap())).collect();
    let mut sample = Sample::default();
    sample.add(&Page::of(records));
    let mut schema = last.map_or(sample.schema(), |last| last.merge(&sample.schema()));
    schema.declare(&declared);
    schema
}

fn kind(values: &[&str]) -> Type {
    let records: Vec<String> = values.iter().map(|value| format!("{{\"a\":{value}}}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let schema = infer(&records, &[], None);
    assert_eq!(schema.fields.len(), 1);
    schema.fields[0].kind.clone()
}

#[test]
fn kinds() {
    use Type as T;
    let list = |kind: T| T::List(Box::new(kind));
    for (values, expected) in [
        (&["null", "null"][..], T::Unknown),
        (&["null", "true"], T::Boolean),
        (&["1", "-0", "9223372036854775807"], T::Integer),
        (&["1", "1.5"], T::Float),
        (&["1.5", "100000000000000000000"], T::Float),
        (&["1", "100000000000000000000"], T::Json),
        (&["1", "18446744073709551615"], T::Json),
        (&["1", "\"1\""], T::Json),
        (&["\"2024-01-01T00:00:00Z\"", "\"2024-01-01T00:00:00.123456+01:00\"", "null"], T::Timestamp),
        (&["\"2024-01-01T00:00:00Z\"", "\"2024-01-01T00:00:00.1234567Z\""], T::String),
        (&["\"2024-01-01T00:00:00Z\"", "\"2024-01-01\""], T::String),
        (&["\"2024-01-01\""], T::Date),
        (&["\"2024-01-01\"", "\"\""], T::String),
        (&["\"2024-13-01\""], T::String),
        (&["[]"], list(T::Unknown)),
        (&["[1]", "[null,2.5]", "[]"], list(T::Float)),
        (&["[1]", "1"], T::Json),
        (&["[1]", "{}"], T::Json),
        (&["{}"], T::Struct(vec![])),
        (&["{}", "{\"x\":[true]}"], T::Struct(vec![Field { name: "x".into(), kind: list(T::Boolean) }])),
    ] {
        assert_eq!(kind(values), expected, "{values:?}");
    }
}

#[test]
fn bounds() {
    let wide = |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"k{i}\":1")).collect::<Vec<_>>().join(","));
    assert!(matches!(kind(&[&wide(200)]), Type::Struct(fields) if fields.len() == 200));
    assert_eq!(kind(&[&wide(201)]), Type::Json);
    assert_eq!(infer(&[&wide(6000)], &[], None).fields.len(), 5000);
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let mut at = kind(&[&deep]);
    let mut levels = 0;
    while let Type::List(inner) = at {
        at = *inner;
        levels += 1;
    }
    assert_eq!((at, levels), (Type::Json, 31));
    let long = format!("{{\"{}\":1,\"b\":2}}", "n".repeat(1025));
    assert_eq!(infer(&[&long], &[], None).fields.len(), 1);
    let many: Vec<String> =
        (0..150).map(|i| format!("\"c{i}\":{}", wide(190).replace('k', &format!("k{i}_")))).collect();
    let record = format!("{{{}}}", many.join(","));
    let schema = infer(&[&record], &[], None);
    assert_eq!((schema.fields[0].kind == Type::Json, schema.fields.last().unwrap().kind == Type::Json), (false, true));
}

#[test]
fn order_names_and_what_is_ignored() {
    let schema =
        infer(&["[]", "1", r#"{"b":1,"_rescued":1,"\u0061":"x","\ud800":1}"#, r#"{"c":1,"b":1.5}"#, "{bad"], &[], None);
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert_eq!(schema.fields[0].kind, Type::Float);
}

#[test]
fn never_narrower_than_the_last_one_but_declared_types_win() {
    let last = infer(&[r#"{"x":1.5,"n":null,"s":"t","gone":true}"#], &[], None);
    let schema = infer(&[r#"{"new":1,"x":1,"n":2,"s":"2024-01-01"}"#], &[("x", "decimal(9,2)")], Some(&last));
    let fields: Vec<_> = schema.fields.iter().map(|field| (field.name.as_str(), &field.kind)).collect();
    assert_eq!(
        fields,
        [
            ("x", &Type::Decimal { precision: 9, scale: 2 }),
            ("n", &Type::Integer),
            ("s", &Type::String),
            ("gone", &Type::Boolean),
            ("new", &Type::Integer)
        ]
    );
}

#[test]
fn a_sample_ends_by_count() {
    let mut sample = Sample::default();
    for _ in 0..SAMPLE_PAGES {
        assert!(!sample.is_full());
        sample.add(&Page::of(&["{}"]));
    }
    assert!(sample.is_full());
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        (-3i64..3).prop_map(serde_json::Value::from),
        Just(serde_json::Value::from(0.5)),
        prop_oneof!["2024-01-0[1-9]", "x", "2024-01-01T00:00:0[0-9]Z"].prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Fields in the order of their names, so that only types are compared.
fn sorted(schema: Schema) -> Schema {
    fn sort(kind: Type) -> Type {
        match kind {
            Type::List(item) => Type::List(Box::new(sort(*item))),
            Type::Struct(fields) => Type::Struct(sort_fields(fields)),
            other => other,
        }
    }
    fn sort_fields(fields: Vec<Field>) -> Vec<Field> {
        let mut fields: Vec<_> = fields.into_iter().map(|f| Field { kind: sort(f.kind), ..f }).collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        fields
    }
    Schema { fields: sort_fields(schema.fields) }
}

proptest! {
    /// Seeing records together or one after the other, in any order, gives the same types.
    #[test]
    fn merging_is_seeing_together(values in proptest::collection::vec(value(), 1..5), reversed: bool) {
        let records: Vec<String> = values.iter().map(|value| format!("{{\"a\":{value}}}")).collect();
        let mut records: Vec<&str> = records.iter().map(String::as_str).collect();
        let together = infer(&records, &[], None);
        if reversed {
            records.reverse();
        }
        let merged = records.iter().fold(Schema::default(), |schema, record| infer(&[record], &[], Some(&schema)));
        prop_assert_eq!(sorted(merged), sorted(together));
    }
}
