//! The reference of `config.yaml` as a list of sections, read from the schema and so from the types; `markdown` and the
//! manual write it down.

#[cfg(test)]
pub(super) mod manual;
mod markdown;

pub use markdown::markdown;

use super::schema::{self, Shape};
use super::walk;
use serde_json::Value;

/// A type: what it is, and its keys, kinds or words.
struct Section {
    name: &'static str,
    about: String,
    rows: Rows,
}

enum Rows {
    /// Nothing more to tell.
    None,
    /// The words of an enumeration, each with its meaning.
    Words(Vec<(&'static str, String)>),
    /// The kinds of a map with one key.
    Kinds(Vec<(&'static str, Type, String)>),
    /// The keys of a map.
    Keys(Vec<Key>),
}

struct Key {
    name: &'static str,
    kind: Type,
    default: Default,
    meaning: String,
}

enum Default {
    /// The key must be there.
    Required,
    /// It may be left out, and then there is nothing.
    Nothing,
    /// The value that counts.
    Value(String),
    /// A map, whose own section tells.
    SeeThere,
}

enum Type {
    /// One with a section of its own.
    Section(&'static str),
    /// A word or two.
    Plain(&'static str),
    /// `true` or `false`.
    Flag,
    MapByName(Box<Type>),
    MapTo(Box<Type>),
    ListOf(Box<Type>),
}

/// Every section: the whole file, then each type in the order in which it is first named.
fn sections() -> Vec<Section> {
    let mut order = Vec::new();
    let mut all = vec![section("config.yaml", &Shape::of(schema::root()), &mut order)];
    let mut done = 0;
    while let Some(name) = order.get(done).copied() {
        done += 1;
        let definitions = schema::root().get("$defs");
        if let Some(body) = definitions.and_then(|all| all.get(name)) {
            all.push(section(name, &Shape::of(body), &mut order));
        }
    }
    all
}

/// Types that the section refers to are put into `order`.
fn section(name: &'static str, shape: &Shape, order: &mut Vec<&'static str>) -> Section {
    let rows = if let Some(words) = choices(shape) {
        Rows::Words(words)
    } else if let Some(kinds) = shape.kinds() {
        let choices = shape.body.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let row = |((kind, inner), choice)| (kind, type_of(inner, order), description(choice));
        Rows::Kinds(kinds.into_iter().zip(choices).map(row).collect())
    } else if let Some(fields) = shape.fields() {
        let required = shape.required();
        let row = |(name, site): (&'static String, &'static Value)| Key {
            name,
            default: match required.contains(&name.as_str()) {
                true => Default::Required,
                false => site.get("default").map_or(Default::Nothing, default_of),
            },
            kind: type_of(site, order),
            meaning: meaning(site),
        };
        Rows::Keys(fields.iter().map(row).collect())
    } else {
        Rows::None
    };
    Section { name, about: description(shape.body), rows }
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
fn default_of(value: &Value) -> Default {
    match value {
        Value::Object(map) if map.len() == 1 && map.values().all(Value::is_object) => {
            Default::Value(map.keys().next().cloned().unwrap_or_default())
        }
        Value::Object(_) => Default::SeeThere,
        Value::String(text) => Default::Value(text.clone()),
        value => Default::Value(value.to_string()),
    }
}

/// The type of a value; one that has a section is put into `order`.
fn type_of(site: &'static Value, order: &mut Vec<&'static str>) -> Type {
    let shape = Shape::of(site);
    if let Some(name) = shape.name {
        if let Some(plain) = plain_name(name) {
            return Type::Plain(plain);
        }
        if !order.contains(&name) {
            order.push(name);
        }
        return Type::Section(name);
    }
    Type::Plain(match shape.kind() {
        Some("object") => match (shape.free(), shape.fields()) {
            (Some((inner, true)), _) => return Type::MapByName(Box::new(type_of(inner, order))),
            (Some((inner, false)), _) => return Type::MapTo(Box::new(type_of(inner, order))),
            (None, Some(_)) => "map",
            (None, None) => "empty map",
        },
        Some("array") => match shape.body.get("items") {
            Some(items) => return Type::ListOf(Box::new(type_of(items, order))),
            None => "list",
        },
        Some("boolean") => return Type::Flag,
        Some("string") => "text",
        Some("integer") => "whole number",
        Some("number") => "number",
        _ => "any value",
    })
}

/// Types without a section of their own.
fn plain_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "Size" => "size",
        "Span" => "duration",
        "SpanOrNever" => "duration or never",
        "Mode" => "file mode",
        "Name" => "name",
        "SecretText" => "secret text",
        _ => return None,
    })
}
