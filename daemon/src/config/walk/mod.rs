//! Finds every structural mistake of a document at once: it walks the value along the schema and goes on behind a mistake.
//!
//! What is wrong is cut out, or replaced by a stand-in where the types need a value, so that the rest can be read into
//! the types and checked for its meaning in the same pass. Paths of stand-ins are returned: what the later checks say
//! about them is no news.

mod fill;
mod kinds;
mod scalars;

pub(super) use scalars::limits;

use super::path::KeyPath;
use super::problem::{Mistake, did_you_mean};
use super::schema::{self, Shape};
use super::units::shown;
use serde_json::{Map, Value};

/// Mistakes kept; far more than are told, so that the number of the others is right for any file that is meant well.
const MAX_MISTAKES: usize = 10_000;

/// What the walk found.
pub struct Walked {
    /// The document without its mistakes.
    pub value: Value,
    /// The mistakes.
    pub mistakes: Vec<Mistake>,
    /// Where the value was changed.
    pub replaced: Vec<KeyPath>,
}

/// Walks a document along the schema of the configuration.
pub fn walk(value: &Value) -> Walked {
    let mut walker = Walker { mistakes: Vec::new(), replaced: Vec::new() };
    let top = KeyPath::top();
    let clean = walker.node(schema::root(), value, &top);
    let value = clean.unwrap_or_else(|| walker.stand_in(schema::root(), &top));
    Walked { value, mistakes: walker.mistakes, replaced: walker.replaced }
}

/// What a value is, in words.
fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

struct Walker {
    mistakes: Vec<Mistake>,
    replaced: Vec<KeyPath>,
}

impl Walker {
    fn wrong(&mut self, mistake: Mistake) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(mistake);
        }
    }

    fn stand_in(&mut self, site: &'static Value, path: &KeyPath) -> Value {
        self.replaced.push(path.clone());
        fill::stand_in(site)
    }

    /// The value without its mistakes; `None` where nothing of it can be used.
    fn node(&mut self, site: &'static Value, value: &Value, path: &KeyPath) -> Option<Value> {
        let shape = Shape::of(site);
        if shape.nullable && value.is_null() {
            return Some(Value::Null);
        }
        if let Some(words) = shape.words() {
            return self.word(&words, value, path);
        }
        if let Some(kinds) = shape.kinds() {
            return self.kind(&kinds, value, path);
        }
        match shape.kind() {
            Some("object") if shape.limit("x-text").is_some() && !value.is_object() => self.text_for_map(value, path),
            Some("object") => self.map(&shape, value, path),
            Some("array") => self.list(&shape, value, path),
            Some(kind) => self.scalar(&shape, kind, value, path),
            None => Some(value.clone()),
        }
    }

    /// A text that stands for a map with one key.
    fn text_for_map(&mut self, value: &Value, path: &KeyPath) -> Option<Value> {
        if !value.is_string() {
            self.wrong(Mistake::value(path, format!("expected text or a map, found {}", found(value))));
            return None;
        }
        Some(value.clone())
    }

    fn map(&mut self, shape: &Shape, value: &Value, path: &KeyPath) -> Option<Value> {
        let Value::Object(map) = value else {
            let mistake = match path.steps() {
                [] if value.is_null() => Mistake::key(path, "the document is empty"),
                _ => Mistake::value(path, format!("expected a map, found {}", found(value))),
            };
            let defaults = value.is_null() && shape.required().is_empty();
            let hint = "remove the key, or write {} for the defaults";
            self.wrong(if defaults { mistake.hint(hint) } else { mistake });
            return None;
        };
        match shape.free() {
            Some((inner, names)) => Some(self.free_map(inner, names, map, path)),
            None => Some(self.struct_map(shape, map, path)),
        }
    }

    fn free_map(&mut self, inner: &'static Value, names: bool, map: &Map<String, Value>, path: &KeyPath) -> Value {
        let mut clean = Map::new();
        for (key, value) in map {
            let path = path.key(key);
            if names && let Err(error) = crate::base::ids::Name::new(key) {
                self.wrong(Mistake::key(&path, error.to_string()));
                continue;
            }
            let value = self.node(inner, value, &path).unwrap_or_else(|| self.stand_in(inner, &path));
            clean.insert(key.clone(), value);
        }
        Value::Object(clean)
    }

    fn struct_map(&mut self, shape: &Shape, map: &Map<String, Value>, path: &KeyPath) -> Value {
        let empty = Map::new();
        let fields = shape.fields().unwrap_or(&empty);
        let mut clean = Map::new();
        let mut meant = Vec::new();
        let required = shape.required();
        for (key, value) in map {
            let here = path.key(key);
            let Some(inner) = shape.fields().and_then(|fields| fields.get(key)) else {
                meant.extend(self.unknown_key(fields, map, &here, key));
                continue;
            };
            match self.node(inner, value, &here) {
                Some(value) => drop(clean.insert(key.clone(), value)),
                None if required.contains(&key.as_str()) => {
                    let stand_in = self.stand_in(inner, &here);
                    clean.insert(key.clone(), stand_in);
                }
                None => self.replaced.push(here),
            }
        }
        for key in required.into_iter().filter(|key| !map.contains_key(*key)) {
            if !meant.contains(&key) {
                self.wrong(Mistake::key(path, format!("the key {key:?} is missing")));
            }
            if let Some(inner) = shape.fields().and_then(|fields| fields.get(key)) {
                let stand_in = self.stand_in(inner, &path.key(key));
                clean.insert(key.to_owned(), stand_in);
            }
        }
        Value::Object(clean)
    }

    /// The key that was meant, if that is clear.
    fn unknown_key<'a>(
        &mut self,
        fields: &'a Map<String, Value>,
        map: &Map<String, Value>,
        here: &KeyPath,
        key: &str,
    ) -> Option<&'a str> {
        let free = fields.keys().map(String::as_str).filter(|field| !map.contains_key(*field));
        let meant = did_you_mean(key, free);
        let mistake = Mistake::key(here, format!("there is no key {}", shown(key)));
        self.wrong(match meant {
            Some(meant) => mistake.hint(format!("did you mean {meant:?}?")),
            None if fields.is_empty() => mistake.hint("no keys are known here"),
            None => {
                let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                mistake.hint(format!("known keys: {}", known.join(", ")))
            }
        });
        meant
    }

    fn list(&mut self, shape: &Shape, value: &Value, path: &KeyPath) -> Option<Value> {
        let Value::Array(items) = value else {
            let mistake = Mistake::value(path, format!("expected a list, found {}", found(value)));
            let scalar = matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
            self.wrong(if scalar { mistake.hint("write it in brackets: [ … ]") } else { mistake });
            return None;
        };
        if shape.limit("minItems").is_some_and(|_| items.is_empty()) {
            self.wrong(Mistake::value(path, "the list is empty"));
            return None;
        }
        let inner = shape.body.get("items")?;
        let clean = items.iter().enumerate().map(|(index, item)| {
            let path = path.item(index);
            self.node(inner, item, &path).unwrap_or_else(|| self.stand_in(inner, &path))
        });
        Some(Value::Array(clean.collect()))
    }
}

#[cfg(test)]
mod tests;
