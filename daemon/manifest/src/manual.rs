//! Keeps the fields in saas-export-manifest(5), which are those of the types.

use crate::{Latest, Manifest};
use saas_export_manual::{self as manual, entry, paragraphs};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The fields of a document, and below it those of each type in it that is not told of elsewhere, in the order in which they
/// are first named.
fn fields_of<T: JsonSchema>(file: &str, about: &str, elsewhere: &[&str]) -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let root = generator.into_root_schema_for::<T>().to_value();
    let mut order = Vec::new();
    let mut roff = format!(".SS {file}\n{}{}", paragraphs(about), fields(&root, &mut order));
    let mut done = 0;
    while let Some(name) = order.get(done).cloned() {
        done += 1;
        if !elsewhere.contains(&name.as_str()) {
            let body = &root["$defs"][&name];
            let about = body["description"].as_str().unwrap_or_default();
            roff.push_str(&format!(".SS {name}\n{}{}", paragraphs(about), fields(body, &mut order)));
        }
    }
    roff
}

fn fields(body: &Value, order: &mut Vec<String>) -> String {
    if let Some(words) = body["oneOf"].as_array() {
        let word = |word: &Value| entry(&format!("`{}`", text(&word["const"])), text(&word["description"]));
        return words.iter().map(word).collect();
    }
    let required: Vec<&str> = body["required"].as_array().into_iter().flatten().map(text).collect();
    let field = |(name, site): (&String, &Value)| {
        let mut kind = type_of(site, order);
        if !required.contains(&name.as_str()) {
            // Instead of null it is not written at all.
            kind = format!("{}; may be left out", kind.trim_end_matches(" or null"));
        }
        entry(&format!("`{name}` {kind}"), text(&site["description"]))
    };
    body["properties"].as_object().into_iter().flatten().map(field).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn type_of(site: &Value, order: &mut Vec<String>) -> String {
    if let Some(target) = site["$ref"].as_str() {
        let name = target.rsplit('/').next().unwrap_or_default().to_owned();
        if !order.contains(&name) {
            order.push(name.clone());
        }
        return name;
    }
    if let Some([inner, _null]) = site["anyOf"].as_array().map(Vec::as_slice) {
        return format!("{} or null", type_of(inner, order));
    }
    match &site["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", type_of(&site["items"], order)),
        Value::String(kind) => word(kind).into(),
        Value::Array(kinds) if kinds.first().is_some_and(|kind| kind == "array") => {
            format!("list of {} or null", type_of(&site["items"], order))
        }
        Value::Array(kinds) => kinds.iter().map(|kind| word(text(kind))).collect::<Vec<_>>().join(" or "),
        _ => "any JSON".into(),
    }
}

fn word(kind: &str) -> &str {
    match kind {
        "integer" => "whole number",
        "string" => "text",
        "boolean" => "true or false",
        other => other,
    }
}

/// Every name of a field in a document, however deep; what stands in a value of any kind is its own business.
fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                found.push(name.clone());
                if !["schema", "first", "last", "first_offset", "last_offset", "before", "after"]
                    .contains(&name.as_str())
                {
                    names(inner, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

#[test]
fn the_manual_is_up_to_date_and_names_every_field() {
    let manifest = fields_of::<Manifest>("_manifest.json", "One stream of one task.", &[]);
    let about = "The newest chain of a stream. `ChainPosition` and `Mode` are those of a manifest.";
    let latest = fields_of::<Latest>("latest.json", about, &["ChainPosition", "Mode"]);
    let golden: Value = serde_json::from_str(include_str!("../golden/manifest-v1.json")).unwrap();
    let mut wanted = Vec::new();
    names(&golden, &mut wanted);
    assert!(wanted.len() > 30, "{wanted:?}");
    for name in wanted {
        assert!(manifest.contains(&format!("\\fB{name}\\fR ")), "{name} is not in\n{manifest}");
    }
    let blocks = [("title", manual::title("saas-export-manifest", 5)), ("manifest", manifest), ("latest", latest)];
    manual::keep("saas-export-manifest.5", &blocks).unwrap();
    manual::lint("saas-export-manifest.5").unwrap();
}
