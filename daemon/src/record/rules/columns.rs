//! The columns that a JSON Schema says a record has.

use crate::model::schema::{Field, Schema, Type};
use serde_json::{Map, Value};

/// References and nested schemas that are followed; one that goes deeper (or round in a circle) is JSON text.
const MAX_DEPTH: usize = 16;

/// The schema of the records. A field of which the JSON Schema says no type is left to what is seen.
pub fn columns(schema: &Value) -> Schema {
    match kind(schema, schema, 0) {
        Type::Struct(fields) => Schema { fields },
        _ => Schema::default(),
    }
}

fn kind(schema: &Value, root: &Value, depth: usize) -> Type {
    let Value::Object(map) = schema else { return Type::Unknown };
    if depth > MAX_DEPTH {
        return Type::Json;
    }
    let own = of_type(map, root, depth);
    let target = map.get("$ref").and_then(Value::as_str).map(|to| match root.pointer(to.trim_start_matches('#')) {
        Some(target) if to.starts_with('#') => kind(target, root, depth + 1),
        _ => Type::Unknown,
    });
    let of = |key: &str| map.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let all = of("allOf").iter().map(|one| kind(one, root, depth + 1));
    let both = target.into_iter().chain(all).fold(own, narrow);
    // One of several: what holds all of them.
    let any = ["anyOf", "oneOf"].into_iter().filter(|key| !of(key).is_empty()).map(|key| {
        of(key).iter().filter(|one| !is_null(one)).map(|one| kind(one, root, depth + 1)).reduce(|a, b| a.merge(&b))
    });
    any.flatten().fold(both, narrow)
}

/// What two schemas say that hold at once.
fn narrow(a: Type, b: Type) -> Type {
    match (a, b) {
        (Type::Unknown, known) | (known, Type::Unknown) => known,
        (Type::Struct(a), Type::Struct(b)) => match Type::Struct(a).merge(&Type::Struct(b)) {
            both @ Type::Struct(_) => both,
            _ => Type::Json,
        },
        (a, _) => a,
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

fn of_type(map: &Map<String, Value>, root: &Value, depth: usize) -> Type {
    let words: Vec<&str> = match map.get("type") {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).filter(|word| *word != "null").collect(),
        _ if map.contains_key("properties") => vec!["object"],
        _ => Vec::new(),
    };
    let one = |word: &&str| match *word {
        "boolean" => Type::Boolean,
        "integer" => Type::Integer,
        "number" => Type::Float,
        "string" => text(map),
        "array" => list(map, root, depth),
        "object" => object(map, root, depth),
        _ => Type::Unknown,
    };
    words.iter().map(one).reduce(|a, b| a.merge(&b)).unwrap_or(Type::Unknown)
}

fn text(map: &Map<String, Value>) -> Type {
    match map.get("format").and_then(Value::as_str) {
        Some("date-time") => Type::Timestamp,
        Some("date") => Type::Date,
        _ if map.get("contentEncoding").and_then(Value::as_str) == Some("base64") => Type::Binary,
        _ => Type::String,
    }
}

fn list(map: &Map<String, Value>, root: &Value, depth: usize) -> Type {
    match map.get("items") {
        // Each place has a schema of its own.
        _ if map.contains_key("prefixItems") => Type::Json,
        Some(Value::Array(_)) => Type::Json,
        Some(items) => Type::List(Box::new(kind(items, root, depth + 1))),
        None => Type::List(Box::new(Type::Unknown)),
    }
}

fn object(map: &Map<String, Value>, root: &Value, depth: usize) -> Type {
    let Some(Value::Object(properties)) = map.get("properties") else {
        // A map with free keys has no columns; an object of which nothing is said is left to what is seen.
        let free = map.contains_key("additionalProperties") || map.contains_key("patternProperties");
        return if free { Type::Json } else { Type::Unknown };
    };
    let fields =
        properties.iter().map(|(name, schema)| Field { name: name.clone(), kind: kind(schema, root, depth + 1) });
    Type::Struct(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_follow_the_schema() {
        let schema = json!({
            "type": "object",
            "properties": {
                "id": { "type": "integer" },
                "n": { "type": ["number", "null"] },
                "at": { "type": "string", "format": "date-time" },
                "day": { "anyOf": [{ "type": "null" }, { "type": "string", "format": "date" }] },
                "either": { "type": ["integer", "string"] },
                "tags": { "type": "array", "items": { "type": "string" } },
                "pair": { "type": "array", "prefixItems": [{}, {}] },
                "address": { "$ref": "#/$defs/address" },
                "free": { "type": "object", "additionalProperties": { "type": "string" } },
                "open": true,
                "both": { "allOf": [{ "properties": { "a": { "type": "boolean" } } }, { "properties": { "b": {} } }] },
                "tree": { "$ref": "#/definitions/tree" },
                "outside": { "$ref": "other.json" },
            },
            "$defs": { "address": { "type": "object", "properties": { "city": { "type": "string" } } } },
            "definitions": { "tree": { "properties": { "next": { "$ref": "#/definitions/tree" } } } },
        });
        let found = columns(&schema);
        let kind =
            |name: &str| found.fields.iter().find(|field| field.name == name).map(|field| field.kind.clone()).unwrap();
        let field = |name: &str, kind: Type| Field { name: name.into(), kind };
        assert_eq!(kind("id"), Type::Integer);
        assert_eq!(kind("n"), Type::Float);
        assert_eq!(kind("at"), Type::Timestamp);
        assert_eq!(kind("day"), Type::Date);
        assert_eq!(kind("either"), Type::Json);
        assert_eq!(kind("tags"), Type::List(Box::new(Type::String)));
        assert_eq!(kind("pair"), Type::Json);
        assert_eq!(kind("address"), Type::Struct(vec![field("city", Type::String)]));
        assert_eq!(kind("free"), Type::Json);
        assert_eq!(kind("open"), Type::Unknown);
        assert_eq!(kind("both"), Type::Struct(vec![field("a", Type::Boolean), field("b", Type::Unknown)]));
        assert!(matches!(kind("tree"), Type::Struct(_)));
        assert_eq!(kind("outside"), Type::Unknown);
        assert_eq!(columns(&json!(true)), Schema::default());
    }
}
