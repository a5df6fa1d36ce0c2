//! The Avro schema of a stream's columns: nullable unions, logical types, and names that Avro allows.
//!
//! A name may hold letters of ASCII, digits and `_`, and does not begin with a digit. Where a field's does not keep to that,
//! the other characters become `_`, and the original stands in the property `original`.

use arrow_schema::{DataType, FieldRef, Fields, Schema, TimeUnit};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// The name of the record of a stream.
const ROOT: &str = "Record";

/// The schema; none where a column is of a type that conversion does not make.
pub fn of(schema: &Schema) -> Option<Value> {
    Names::default().record(ROOT, schema.fields())
}

/// The names of records that are taken: each may be defined once.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn record(&mut self, name: &str, fields: &Fields) -> Option<Value> {
        let name = unlike(&self.0, name);
        self.0.insert(name.clone());
        let names = field_names(fields);
        let members = fields.iter().zip(&names).map(|(field, member)| {
            let mut written = Map::new();
            written.insert("name".into(), member.as_str().into());
            let kind = self.kind(field.data_type(), &format!("{name}_{member}"))?;
            written.insert("type".into(), json!(["null", kind]));
            written.insert("default".into(), Value::Null);
            if field.name() != member {
                written.insert("original".into(), field.name().as_str().into());
            }
            Some(Value::Object(written))
        });
        let members: Vec<Value> = members.collect::<Option<_>>()?;
        Some(json!({ "type": "record", "name": name, "fields": members }))
    }

    /// The type of a column; `place` is what a record there is called.
    fn kind(&mut self, kind: &DataType, place: &str) -> Option<Value> {
        Some(match kind {
            DataType::Boolean => "boolean".into(),
            DataType::Int64 => "long".into(),
            DataType::Float64 => "double".into(),
            DataType::Utf8 => "string".into(),
            DataType::Binary => "bytes".into(),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                json!({ "type": "long", "logicalType": "timestamp-micros" })
            }
            DataType::Date32 => json!({ "type": "int", "logicalType": "date" }),
            DataType::Time64(TimeUnit::Microsecond) => json!({ "type": "long", "logicalType": "time-micros" }),
            DataType::Decimal128(precision, scale) => {
                json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
            }
            DataType::List(item) => json!({ "type": "array", "items": ["null", self.item(item, place)?] }),
            DataType::Struct(fields) => self.record(place, fields)?,
            _ => return None,
        })
    }

    fn item(&mut self, item: &FieldRef, place: &str) -> Option<Value> {
        self.kind(item.data_type(), &format!("{place}_item"))
    }
}

/// The names of fields in Avro, in their order. Those that Avro allows keep theirs.
fn field_names(fields: &Fields) -> Vec<String> {
    let allowed = |name: &str| allowed(name) == name;
    let mut taken: HashSet<String> = fields.iter().map(|field| field.name().clone()).filter(|n| allowed(n)).collect();
    let name = |field: &FieldRef| {
        if allowed(field.name()) {
            return field.name().clone();
        }
        let name = unlike(&taken, &self::allowed(field.name()));
        taken.insert(name.clone());
        name
    };
    fields.iter().map(name).collect()
}

/// The name, or the name with the first number that makes it new.
fn unlike(taken: &HashSet<String>, name: &str) -> String {
    if !taken.contains(name) {
        return name.to_owned();
    }
    // Never more than the names that are taken.
    (2..=taken.len() + 2).map(|n| format!("{name}_{n}")).find(|name| !taken.contains(name)).unwrap_or_default()
}

/// The nearest name that Avro allows.
fn allowed(name: &str) -> String {
    let mut name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.chars().next().is_none_or(|first| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Field;
    use proptest::prelude::*;

    fn names(fields: &[&str]) -> Vec<String> {
        field_names(&fields.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect())
    }

    #[test]
    fn names_that_are_allowed_stay() {
        assert_eq!(names(&["a-b", "a_b", "1st", "", "é", "_"]), ["a_b_2", "a_b", "_1st", "__2", "__3", "_"]);
        assert_eq!(names(&["a b", "a.b", "a_b_2"]), ["a_b", "a_b_3", "a_b_2"]);
    }

    #[test]
    fn records_have_names_of_their_own() {
        let inner =
            |name: &str| Field::new(name, DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into()), true);
        let outer = Field::new("a", DataType::Struct(vec![inner("b")].into()), true);
        let schema = of(&Schema::new(vec![outer, inner("a_b")])).unwrap().to_string();
        assert!(schema.contains(r#""name":"Record_a_b""#) && schema.contains(r#""name":"Record_a_b_2""#), "{schema}");
        let union = r#""type":["null","long"],"default":null"#;
        assert!(schema.contains(union), "{schema}");
    }

    proptest! {
        #[test]
        fn every_name_is_allowed_and_there_once(fields in proptest::collection::hash_set("[a-b_\\-.1é]{0,3}", 0..12)) {
            let fields: Vec<String> = fields.into_iter().collect();
            let names = names(&fields.iter().map(String::as_str).collect::<Vec<_>>());
            let once: HashSet<&String> = names.iter().collect();
            prop_assert_eq!(once.len(), fields.len());
            for (name, field) in names.iter().zip(&fields) {
                prop_assert_eq!(&allowed(name), name);
                prop_assert!(allowed(field) != *field || field == name);
            }
        }
    }
}
