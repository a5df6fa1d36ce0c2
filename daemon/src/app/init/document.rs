//! An OpenAPI document: references, merged schemas, and where the records of an answer are. Nothing is fetched.

use serde_json::{Map, Value};

/// References and compositions that are followed one after the other.
const MAX_DEPTH: usize = 24;

/// The words of fields that hold the records, the likeliest first.
const RECORDS: [&str; 14] = [
    "data",
    "items",
    "results",
    "records",
    "values",
    "value",
    "entries",
    "elements",
    "list",
    "rows",
    "objects",
    "content",
    "resources",
    "collection",
];

/// A document of a known version.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    root: &'a Value,
}

/// What a value may be, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub struct Shape<'a> {
    /// `array`, `object`, `string`, `integer` and so on; empty where the document does not say.
    pub kind: String,
    /// Schema of an array's elements.
    pub items: Option<&'a Value>,
    /// Fields of an object, in order.
    pub fields: Vec<(&'a str, &'a Value)>,
}

/// Where the records of an answer are.
pub struct Records<'a> {
    /// JSONPath.
    pub path: String,
    /// Schema of one.
    pub item: &'a Value,
    /// Whether another list could have been meant.
    pub guessed: bool,
}

impl<'a> Document<'a> {
    /// A document; the error says what it is instead.
    pub fn new(root: &'a Value) -> Result<Self, String> {
        let version =
            |key: &str| root.get(key).map(|version| version.as_str().map_or(version.to_string(), str::to_owned));
        match version("openapi") {
            Some(version) if version.starts_with("3.") => Ok(Self { root }),
            Some(version) => Err(format!("it is OpenAPI {version}; 3.0 and 3.1 are known here")),
            None if root.get("swagger").is_some() => {
                Err("it is Swagger 2.0; convert it to OpenAPI 3 first (many tools do)".into())
            }
            None => Err("it is no OpenAPI document: it has no key `openapi`".into()),
        }
    }

    /// The value behind these keys from the top; `null` where there is none.
    pub fn at(&self, keys: &[&str]) -> &'a Value {
        const NULL: &Value = &Value::Null;
        keys.iter().try_fold(self.root, |value, key| value.get(*key)).unwrap_or(NULL)
    }

    /// The value that a reference leads to, or the value itself. A reference out of the document leads nowhere.
    pub fn resolve(&self, value: &'a Value) -> &'a Value {
        let mut value = value;
        for _ in 0..MAX_DEPTH {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
            let target = reference.strip_prefix('#').and_then(|pointer| {
                // A pointer in a URL may be percent-encoded, too (RFC 6901, section 6).
                let pointer = pointer.replace("%7B", "{").replace("%7D", "}").replace("%20", " ");
                self.root.pointer(&pointer)
            });
            match target {
                Some(target) => value = target,
                None => return value,
            }
        }
        value
    }

    /// What a schema describes: references followed, `allOf` merged, of alternatives the first that is a list or an object.
    pub fn shape(&self, schema: &'a Value) -> Shape<'a> {
        let mut shape = Shape::default();
        self.add(schema, &mut shape, MAX_DEPTH);
        shape
    }

    fn add(&self, schema: &'a Value, shape: &mut Shape<'a>, depth: usize) {
        let schema = self.resolve(schema);
        let Some(depth) = depth.checked_sub(1) else { return };
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            // 3.1 writes null beside the type.
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("")
            }
            _ => "",
        };
        if shape.kind.is_empty() {
            kind.clone_into(&mut shape.kind);
        }
        if let Some(items) = schema.get("items") {
            shape.items.get_or_insert(items);
        }
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if !shape.fields.iter().any(|(known, _)| known == name) {
                shape.fields.push((name, field));
            }
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.add(part, shape, depth);
        }
        for word in ["oneOf", "anyOf"] {
            let choices = schema.get(word).and_then(Value::as_array).into_iter().flatten();
            let first = choices
                .map(|choice| self.shape_within(choice, depth))
                .find(|choice| !choice.kind.is_empty() && choice.kind != "null");
            if let Some(first) = first.filter(|_| shape.fields.is_empty() && shape.items.is_none()) {
                *shape = first;
            }
        }
        if shape.kind.is_empty() {
            let kind = if shape.items.is_some() {
                "array"
            } else if shape.fields.is_empty() {
                ""
            } else {
                "object"
            };
            kind.clone_into(&mut shape.kind);
        }
    }

    fn shape_within(&self, schema: &'a Value, depth: usize) -> Shape<'a> {
        let mut shape = Shape::default();
        self.add(schema, &mut shape, depth);
        shape
    }

    /// Where the records are in an answer of this schema; `words` are those of the path's last part. None where it is no list.
    pub fn records(&self, schema: &'a Value, words: &str) -> Option<Records<'a>> {
        let shape = self.shape(schema);
        match shape.kind.as_str() {
            "array" => {
                let item = shape.items?;
                self.is_object(item).then(|| Records { path: "$[*]".into(), item, guessed: false })
            }
            "object" => self.records_in(&shape, "$", words, 2),
            _ => None,
        }
    }

    /// The list in an object, or in the one object of it that has a list.
    fn records_in(&self, shape: &Shape<'a>, path: &str, words: &str, depth: usize) -> Option<Records<'a>> {
        // Something with an id is one thing that has lists, and no list of things.
        if path == "$" && shape.fields.iter().any(|(name, _)| matches!(*name, "id" | "uuid")) {
            return None;
        }
        let lists: Vec<(&str, &'a Value)> = shape
            .fields
            .iter()
            .filter_map(|(name, field)| {
                let inner = self.shape(field);
                let item = inner.items.filter(|_| inner.kind == "array")?;
                self.is_object(item).then_some((*name, item))
            })
            .collect();
        let rank = |name: &str| {
            let own = name.to_lowercase() == words.to_lowercase();
            let known = RECORDS.iter().position(|word| *word == name.to_lowercase());
            if own { 0 } else { known.map_or(RECORDS.len() + 1, |at| at + 1) }
        };
        if let Some((name, item)) = lists.iter().min_by_key(|(name, _)| rank(name)) {
            return Some(Records { path: format!("{}[*]", member(path, name)), item, guessed: lists.len() > 1 });
        }
        let depth = depth.checked_sub(1)?;
        let mut deeper = shape.fields.iter().filter_map(|(name, field)| {
            let inner = self.shape(field);
            (inner.kind == "object").then(|| self.records_in(&inner, &member(path, name), words, depth)).flatten()
        });
        let first = deeper.next()?;
        Some(Records { guessed: first.guessed || deeper.next().is_some(), ..first })
    }

    fn is_object(&self, schema: &'a Value) -> bool {
        let shape = self.shape(schema);
        shape.kind == "object" || !shape.fields.is_empty()
    }

    /// The names of the fields of a schema.
    pub fn fields(&self, schema: &'a Value) -> Vec<&'a str> {
        self.shape(schema).fields.into_iter().map(|(name, _)| name).collect()
    }

    /// The value of a media type that is JSON, in a map of them.
    pub fn json<'m>(&self, content: &'m Map<String, Value>) -> Option<&'m Value> {
        let plain = content.get("application/json");
        plain.or_else(|| {
            content.iter().find(|(kind, _)| kind.contains("json") || *kind == "*/*").map(|(_, value)| value)
        })
    }
}

/// The JSONPath of a member.
pub fn member(path: &str, name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain {
        return format!("{path}.{name}");
    }
    format!("{path}['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
}
