//! The reference of `config.yaml` as Markdown, generated from the schema and so from the types.

use super::schema::{self, Shape};
use super::walk;
use serde_json::Value;
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration

This is the reference of `/etc/export/config.yaml`. It is generated from the types of the daemon
(`UPDATE_DOCS=1 cargo test -p saas-export-daemon --lib config`); do not edit it.

* An unknown key is an error, and so is a repeated one. All mistakes are told at once:
  `saas-export-daemon --check-config`.
* A thing that comes in kinds is a map with one key, the kind: `format: { parquet: {} }`.
* Sizes and durations carry a unit: `50MB`, `30s`.
* `${NAME}` is filled from `/etc/export/auth.env`, in fields of the type *secret text* alone; `$${` stands for a plain
  `${`. `{{ param.NAME }}`, `{{ partition.NAME }}` and `{{ parent.NAME }}` are filled in path, headers, query and body of a
  stream.
* Editors complete the file with the JSON Schema: `# yaml-language-server: $schema=config.schema.json`.

";

/// The whole document.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    let mut order: Vec<&'static str> = Vec::new();
    section(&mut text, "config.yaml", &Shape::of(schema::root()), &mut order);
    let mut done = 0;
    while let Some(name) = order.get(done).copied() {
        done += 1;
        let definitions = schema::root().get("$defs");
        if let Some(body) = definitions.and_then(|all| all.get(name)) {
            section(&mut text, name, &Shape::of(body), &mut order);
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A type: what it is, and its keys, kinds or words. Types it refers to are put into `order`.
fn section(text: &mut String, name: &str, shape: &Shape, order: &mut Vec<&'static str>) {
    let _ = writeln!(text, "## {name}\n\n{}\n", description(shape.body));
    if let Some(words) = choices(shape) {
        text.push_str("| word | meaning |\n|---|---|\n");
        for (word, meaning) in words {
            let _ = writeln!(text, "| `{word}` | {} |", cell(&meaning));
        }
        text.push('\n');
    } else if let Some(kinds) = shape.kinds() {
        text.push_str("| kind | type | meaning |\n|---|---|---|\n");
        let choices = shape.body.get("oneOf").and_then(Value::as_array);
        for ((kind, inner), choice) in kinds.iter().zip(choices.into_iter().flatten()) {
            let _ = writeln!(text, "| `{kind}` | {} | {} |", type_of(inner, order), cell(&description(choice)));
        }
        text.push('\n');
    } else if let Some(fields) = shape.fields() {
        text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        let required = shape.required();
        for (key, site) in fields {
            let default = match required.contains(&key.as_str()) {
                true => "**required**".to_owned(),
                false => site.get("default").map(default_of).unwrap_or_default(),
            };
            let kind = type_of(site, order);
            let _ = writeln!(text, "| `{key}` | {kind} | {default} | {} |", cell(&meaning(site)));
        }
        text.push('\n');
    }
}

fn description(value: &Value) -> String {
    value.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

/// The description of a key with its limits.
fn meaning(site: &'static Value) -> String {
    let shape = Shape::of(site);
    let text = description(site);
    let limit = |key| shape.limit(key).and_then(Value::as_str);
    match (limit("x-minimum"), limit("x-maximum"), walk::limits(&shape)) {
        (Some(least), Some(most), _) => format!("{text} {least} to {most}."),
        (_, _, Some(limits)) if limits != "must be at least 0" => {
            let limits = limits.trim_start_matches("must be ").trim_start_matches("between ").replace(" and ", " to ");
            let mut chars = limits.chars();
            let first = chars.next().map(|c| c.to_ascii_uppercase()).into_iter();
            format!("{text} {}.", first.chain(chars).collect::<String>())
        }
        _ => text,
    }
}

fn choices(shape: &Shape) -> Option<Vec<(&'static str, String)>> {
    let words = shape.words()?;
    let all = shape.body.get("oneOf").and_then(Value::as_array);
    let meaning = |word: &str| {
        let own = |choice: &&'static Value| choice.get("const").and_then(Value::as_str) == Some(word);
        all.into_iter().flatten().find(own).map(description).unwrap_or_default()
    };
    Some(words.into_iter().map(|word| (word, meaning(word))).collect())
}

/// A default in one line; maps say where to look.
fn default_of(value: &Value) -> String {
    match value {
        Value::Object(map) if map.len() == 1 && map.values().all(Value::is_object) => {
            format!("`{}`", map.keys().next().map(String::as_str).unwrap_or_default())
        }
        Value::Object(_) => "see there".into(),
        Value::String(text) => format!("`{}`", text.replace('|', "\\|")),
        value => format!("`{value}`"),
    }
}

/// The type of a value, with a link where it has a section.
fn type_of(site: &'static Value, order: &mut Vec<&'static str>) -> String {
    let shape = Shape::of(site);
    if let Some(name) = shape.name {
        if let Some(plain) = plain_name(name) {
            return plain.into();
        }
        if !order.contains(&name) {
            order.push(name);
        }
        return format!("[{name}](#{})", name.to_ascii_lowercase());
    }
    match shape.kind() {
        Some("object") => match (shape.free(), shape.fields()) {
            (Some((inner, true)), _) => format!("map from name to {}", type_of(inner, order)),
            (Some((inner, false)), _) => format!("map to {}", type_of(inner, order)),
            (None, Some(_)) => "map".into(),
            (None, None) => "empty map".into(),
        },
        Some("array") => match shape.body.get("items") {
            Some(items) => format!("list of {}", type_of(items, order)),
            None => "list".into(),
        },
        Some("string") => "text".into(),
        Some("integer") => "whole number".into(),
        Some("number") => "number".into(),
        Some("boolean") => "`true` or `false`".into(),
        _ => "any value".into(),
    }
}

/// Types without a section of their own.
fn plain_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "Size" => "size",
        "Span" => "duration",
        "Mode" => "file mode",
        "Name" => "name",
        "SecretText" => "secret text",
        _ => return None,
    })
}

/// Text that may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
