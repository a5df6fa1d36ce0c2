//! Stand-ins: the simplest value that the types accept, put where a mistake was cut out.

use crate::config::schema::Shape;
use serde_json::{Map, Value};

/// A value that fits the schema.
pub(super) fn stand_in(site: &'static Value) -> Value {
    let shape = Shape::of(site);
    match shape.name {
        Some("Size") => return "1MB".into(),
        Some("Span" | "SpanOrNever") => return "1s".into(),
        Some("Mode") => return "0640".into(),
        Some("Name") => return "x".into(),
        _ => {}
    }
    if shape.nullable {
        return Value::Null;
    }
    if let Some(words) = shape.words() {
        return words.first().copied().into();
    }
    if let Some(kinds) = shape.kinds() {
        let one = kinds.first().map(|(name, inner)| ((*name).to_owned(), stand_in(inner)));
        return Value::Object(one.into_iter().collect());
    }
    match shape.kind() {
        Some("object") => {
            let mut map = Map::new();
            for key in shape.required() {
                if let Some(inner) = shape.fields().and_then(|fields| fields.get(key)) {
                    map.insert(key.to_owned(), stand_in(inner));
                }
            }
            Value::Object(map)
        }
        Some("array") => {
            let one = shape.limit("minItems").and(shape.body.get("items"));
            Value::Array(one.into_iter().map(stand_in).collect())
        }
        Some("string") => "".into(),
        Some("integer") => shape.limit("minimum").cloned().unwrap_or_else(|| 0.into()),
        Some("number") => shape.limit("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => false.into(),
        _ => Value::Null,
    }
}
