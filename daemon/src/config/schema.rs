//! The JSON Schema of the configuration, generated from its types; and the few questions that the checks ask of it.

use super::settings::Config;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// Identifies version 1 of the format.
pub const ID: &str = "urn:saas-export:config:1";

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema =
        schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    schema.insert("$id".into(), ID.into());
    schema.insert("title".into(), "config.yaml of saas-export-daemon".into());
    // Its serialisation puts the keys into an order for readers; `to_value` does not.
    serde_json::to_value(&schema).unwrap_or_default()
});

impl Config {
    /// The JSON Schema (draft 2020-12) of `config.yaml`, for editors.
    pub fn schema() -> Value {
        SCHEMA.clone()
    }
}

/// The schema itself, for the walk.
pub(super) fn root() -> &'static Value {
    &SCHEMA
}

/// What a schema says about a value, with `$ref` and "or null" taken apart.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// The schema where the value stands: limits and defaults.
    pub site: &'static Value,
    /// The definition that it refers to, or the same schema.
    pub body: &'static Value,
    /// Name of the definition.
    pub name: Option<&'static str>,
    /// Whether null stands for "not there".
    pub nullable: bool,
}

impl Shape {
    /// Takes a schema apart.
    pub fn of(site: &'static Value) -> Self {
        let words = |value: &'static Value| value.as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(target) = site.get("$ref").and_then(Value::as_str) {
            let name = target.rsplit('/').next();
            let body = name.and_then(|name| root().get("$defs")?.get(name)).unwrap_or(&Value::Null);
            return Self { site, body, name, nullable: false };
        }
        let null = |schema: &Value| schema.get("type").and_then(Value::as_str) == Some("null");
        if let Some([first, second]) = site.get("anyOf").map(words)
            && null(second)
        {
            return Self { site, nullable: true, ..Self::of(first) };
        }
        let nullable = site.get("type").is_some_and(|kind| words(kind).iter().any(|word| word == "null"));
        Self { site, body: site, name: None, nullable }
    }

    /// A number that limits the value.
    pub fn limit(&self, key: &str) -> Option<&'static Value> {
        self.site.get(key).or_else(|| self.body.get(key))
    }

    /// The JSON type of the value, if it has a single one.
    pub fn kind(&self) -> Option<&'static str> {
        match self.body.get("type")? {
            Value::String(kind) => Some(kind),
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            _ => None,
        }
    }

    /// The words of an enumeration.
    pub fn words(&self) -> Option<Vec<&'static str>> {
        if let Some(words) = self.body.get("enum").and_then(Value::as_array) {
            return Some(words.iter().filter_map(Value::as_str).collect());
        }
        let mut all = Vec::new();
        for choice in self.body.get("oneOf")?.as_array()? {
            match (choice.get("const"), choice.get("enum")) {
                (Some(Value::String(word)), _) => all.push(word.as_str()),
                (_, Some(Value::Array(words))) => all.extend(words.iter().filter_map(Value::as_str)),
                _ => return None,
            }
        }
        Some(all)
    }

    /// The kinds of a one-key map, each with the schema of what is inside.
    pub fn kinds(&self) -> Option<Vec<(&'static str, &'static Value)>> {
        let choices = self.body.get("oneOf")?.as_array()?;
        let kind = |choice: &'static Value| {
            let (name, inner) = choice.get("properties")?.as_object()?.iter().next()?;
            Some((name.as_str(), inner))
        };
        choices.iter().map(kind).collect()
    }

    /// The known keys of a map.
    pub fn fields(&self) -> Option<&'static Map<String, Value>> {
        self.body.get("properties")?.as_object()
    }

    /// The schema of every value of a map with free keys, and whether its keys are names.
    pub fn free(&self) -> Option<(&'static Value, bool)> {
        if let Some(patterns) = self.body.get("patternProperties").and_then(Value::as_object) {
            return patterns.values().next().map(|schema| (schema, true));
        }
        self.body.get("additionalProperties").filter(|schema| schema.is_object()).map(|schema| (schema, false))
    }

    /// The keys that a map must have.
    pub fn required(&self) -> Vec<&'static str> {
        let required = self.body.get("required").and_then(Value::as_array);
        required.map(|keys| keys.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }
}
