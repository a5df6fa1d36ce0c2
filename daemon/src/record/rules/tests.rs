//! The rules of a stream: what its schema may become, and what happens to records that do not fit.

use super::*;
use crate::config::settings::AnyValue;
use crate::model::schema::Field;
use crate::record::page::Page;
use serde_json::json;

fn stream(yaml: &str) -> Stream {
    let text = format!(
        "version: 1\nsources: {{ s: {{ rest: {{ base_url: https://a.example, streams: {{ x: {{ path: /x{yaml} }} }} }} }} }}\n\
         destinations: {{ d: {{ local: {{ root: /srv/d }} }} }}\nexports: {{ e: {{ source: s, to: [d] }} }}\n"
    );
    let config = crate::config::parse(&text, "f").unwrap();
    let crate::config::settings::Source::Rest(rest) = &config.sources["s"];
    rest.streams["x"].clone()
}

fn schema(fields: &[(&str, Type)]) -> Schema {
    let field = |(name, kind): &(&str, Type)| Field { name: (*name).into(), kind: kind.clone() };
    Schema { fields: fields.iter().map(field).collect() }
}

fn rules(yaml: &str, new_fields: OnMisfit, type_changes: OnMisfit) -> Rules {
    Rules::new(&stream(yaml), &SchemaPolicy { new_fields, type_changes, ..SchemaPolicy::default() }).unwrap()
}

#[test]
fn a_task_gets_the_schema_that_the_policies_allow() {
    use OnMisfit::{Evolve, Freeze};
    let last = schema(&[("id", Type::Integer), ("n", Type::Integer)]);
    let beside = [schema(&[("late", Type::Date)])];
    let seen = schema(&[("id", Type::Integer), ("n", Type::Float), ("new", Type::Boolean)]);
    let known = Some((&last, &beside[..]));
    let evolve = rules("", Evolve, Evolve).of_task(known, &seen);
    let all = [("id", Type::Integer), ("n", Type::Float), ("late", Type::Date), ("new", Type::Boolean)];
    assert_eq!(evolve, schema(&all));
    assert_eq!(rules("", Freeze, Freeze).of_task(known, &seen), last);
    assert_eq!(rules("", Freeze, Freeze).of_task(None, &seen), seen, "the first task learns");
    let typed = rules(", types: { n: 'decimal(9,2)' }", Freeze, Freeze);
    let decimal = Type::Decimal { precision: 9, scale: 2 };
    assert_eq!(typed.of_task(known, &seen), schema(&[("id", Type::Integer), ("n", decimal)]));
    let json = ", schema: { json_schema: { inline: { properties: { id: { type: string }, x: { type: integer } } } } }";
    let declared = rules(json, Freeze, Freeze);
    assert_eq!(declared.of_task(None, &seen), schema(&[("id", Type::String), ("x", Type::Integer)]));
    let cast = rules(", transform: [{ cast: { n: float } }, { rename: { n: m } }]", Evolve, Evolve);
    assert_eq!(cast.of_task(None, &schema(&[("m", Type::Integer)])), schema(&[("m", Type::Float)]));
}

#[test]
fn a_schema_widens_only_where_it_may() {
    use OnMisfit::{Evolve, Freeze};
    let own = schema(&[("a", Type::Integer)]);
    let beside = schema(&[("a", Type::Float), ("b", Type::Date)]);
    assert_eq!(
        rules("", Evolve, Evolve).widened(&own, &beside),
        Some(schema(&[("a", Type::Float), ("b", Type::Date)]))
    );
    assert_eq!(rules("", Freeze, Freeze).widened(&own, &beside), None);
    assert_eq!(rules(", types: { a: integer }", Freeze, Evolve).widened(&own, &beside), None, "declared types stay");
    let note = rules("", Freeze, Evolve).kept_out(&own, &beside).unwrap();
    assert!(note.contains("\"b\" (new, date)") && !note.contains("\"a\""), "{note}");
    assert_eq!(rules("", Evolve, Evolve).kept_out(&own, &beside), None);
}

#[test]
fn records_that_do_not_fit_are_rejected_or_end_the_task() {
    use OnMisfit::{Evolve, Fail, Quarantine};
    let own = schema(&[("a", Type::Integer), ("o", Type::Struct(vec![])), ("u", Type::Unknown)]);
    let records = [
        r#"{"a":1,"u":5}"#,
        r#"{"a":"secret"}"#,
        r#"{"a":2,"b":"secret"}"#,
        r#"{"a":3,"o":{"p":"secret"}}"#,
        r#"{"a":4}"#,
    ];
    for layout in [Layout::Columns, Layout::Lines] {
        let converted = |fields, types| rules("", fields, types).plan(&own, layout).convert(&Page::of(&records), None);
        let kept = converted(Evolve, Evolve);
        assert_eq!((kept.counts.written, kept.counts.rejected, kept.failed.is_some()), (5, 0, false));
        let types = converted(Evolve, Quarantine);
        assert_eq!(types.rejected.iter().map(|record| record.index).collect::<Vec<_>>(), [1]);
        assert!(types.rejected[0].reason.contains("\"a\"") && !types.rejected[0].reason.contains("secret"));
        let fields = converted(Quarantine, Evolve);
        assert_eq!(fields.rejected.iter().map(|record| record.index).collect::<Vec<_>>(), [2, 3], "{layout:?}");
        let failed = converted(Fail, Fail).failed.unwrap();
        assert_eq!(failed.index, 1);
        assert!(!failed.reason.contains("secret"), "{}", failed.reason);
    }
}

#[test]
fn invalid_records_follow_the_policy() {
    for draft in ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"] {
        let text = json!({ "$schema": draft, "required": ["id"], "properties": { "id": { "type": "integer", "minimum": 1 } } });
        let mut stream = stream("");
        stream.schema = Some(StreamSchema::JsonSchema(JsonSchemaText::Inline(AnyValue(text))));
        let records = [r#"{"id":1}"#, r#"{"id":0}"#, r#"{"x":"secret"}"#, r#"{"id":1e999}"#];
        let convert = |invalid| {
            let rules = Rules::new(&stream, &SchemaPolicy { invalid, ..SchemaPolicy::default() }).unwrap();
            let schema = rules.of_task(None, &Schema::default());
            rules.plan(&schema, Layout::Columns).convert(&Page::of(&records), None)
        };
        let kept = convert(OnInvalid::Quarantine);
        assert_eq!((kept.counts.written, kept.counts.rejected), (1, 3));
        let reasons: Vec<_> = kept.rejected.iter().map(|record| record.reason.as_str()).collect();
        assert!(reasons[0].contains("\"/id\" breaks \"minimum\""), "{reasons:?}");
        assert!(reasons[1].contains("the record breaks \"required\""), "{reasons:?}");
        let failed = convert(OnInvalid::Fail).failed.unwrap();
        assert_eq!(failed.index, 1);
    }
}
