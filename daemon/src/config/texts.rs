//! Every text of a configuration with its key path, told apart by the schema into secret and plain ones.

use super::path::KeyPath;
use super::schema::{self, Shape};
use super::settings::Config;
use serde_json::Value;

/// A text of the configuration.
pub(super) struct Text {
    /// Where it stands.
    pub path: KeyPath,
    /// What it says.
    pub text: String,
    /// Whether it may hold `${NAME}`.
    pub secret: bool,
}

/// All texts, keys aside.
pub(super) fn all(config: &Config) -> Vec<Text> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::to_value(config) {
        collect(Some(schema::root()), &value, &KeyPath::top(), &mut found);
    }
    found
}

/// Whether a path leads into the body of a stream or of a session's request, whose texts the schema does not know.
pub(super) fn in_body(path: &KeyPath) -> bool {
    let key = |position| path.key_at(position);
    if (key(0), key(2)) != (Some("sources"), Some("rest")) {
        return false;
    }
    let session = (key(3), key(4), key(6)) == (Some("auth"), Some("session"), Some("body"));
    session || (key(3), key(5)) == (Some("streams"), Some("body"))
}

/// Whether a text is a key in PEM form or in a document, which no request carries: it may have line ends.
pub(super) fn is_pem(path: &KeyPath) -> bool {
    let key = |position| path.key_at(position);
    if (key(0), key(2), key(3)) == (Some("destinations"), Some("gcs"), Some("credentials")) {
        return true;
    }
    (key(0), key(3), key(4), key(5)) == (Some("sources"), Some("auth"), Some("jwt_bearer"), Some("key"))
}

/// Whether a path leads into a JSON Schema, whose texts are its own business.
pub(super) fn in_json_schema(path: &KeyPath) -> bool {
    let key = |position| path.key_at(position);
    (key(0), key(2), key(3), key(5)) == (Some("sources"), Some("rest"), Some("streams"), Some("schema"))
}

/// Whether the value at a path may hold a secret: then it is not shown.
pub(super) fn is_secret(path: &KeyPath) -> bool {
    if in_body(path) {
        return true;
    }
    let mut site = schema::root();
    for step in path.steps() {
        let shape = Shape::of(site);
        let next = match step {
            super::path::Step::Item(_) => shape.body.get("items"),
            super::path::Step::Key(key) => inner(&shape, key),
        };
        match next {
            Some(next) => site = next,
            None => return false,
        }
    }
    Shape::of(site).name == Some("SecretText")
}

fn inner(shape: &Shape, key: &str) -> Option<&'static Value> {
    if let Some(kinds) = shape.kinds() {
        return kinds.iter().find(|(name, _)| *name == key).map(|(_, inner)| *inner);
    }
    shape.fields().and_then(|fields| fields.get(key)).or_else(|| shape.free().map(|(inner, _)| inner))
}

fn collect(site: Option<&'static Value>, value: &Value, path: &KeyPath, found: &mut Vec<Text>) {
    let shape = site.map(Shape::of);
    match value {
        Value::String(text) => {
            let secret = in_body(path) || shape.is_some_and(|shape| shape.name == Some("SecretText"));
            found.push(Text { path: path.clone(), text: text.clone(), secret });
        }
        Value::Array(items) => {
            let site = shape.and_then(|shape| shape.body.get("items"));
            for (index, item) in items.iter().enumerate() {
                collect(site, item, &path.item(index), found);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                collect(shape.and_then(|shape| inner(&shape, key)), value, &path.key(key), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
