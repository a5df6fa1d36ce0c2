//! The one file that speaks YAML values: text to JSON value and back.
//!
//! `serde_yaml` is no longer maintained upstream; it is named here only, so that it can be replaced here.

use super::path::KeyPath;
use super::positions::{Mark, Positions};
use super::problem::{Mistake, Problem, Problems};
use serde_json::Value;
use serde_yaml::Value as Yaml;

/// The largest configuration file.
pub const MAX_BYTES: usize = 1 << 20;

/// A document as a JSON value, with the places of its keys and values.
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where it says it.
    pub positions: Positions,
}

/// Reads a YAML document. `file` is its name in the problems.
pub fn document(text: &str, file: &str) -> Result<Document, Problems> {
    if text.len() > MAX_BYTES {
        return Err(Problem::of_file(file, format!("is larger than {MAX_BYTES} bytes")).into());
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let positions = Positions::scan(text).map_err(|faults| {
        let problems = faults.into_iter().map(|fault| Problem {
            hint: fault.hint.map(str::to_owned),
            ..place(file, fault.mark, fault.message)
        });
        Problems::collect(problems.collect()).unwrap_or_else(|| Problem::of_file(file, "not valid YAML").into())
    })?;
    let yaml: Yaml = serde_yaml::from_str(text).map_err(|error| {
        let mark = error.location().map_or(Mark { line: 0, column: 0 }, |at| Mark { line: at.line(), column: at.column() });
        Problems::from(place(file, mark, format!("not valid YAML: {error}")))
    })?;
    let mut mistakes = Vec::new();
    let value = to_json(yaml, &KeyPath::top(), &mut mistakes);
    match Problems::collect(super::placed(file, &positions, mistakes)) {
        Some(problems) => Err(problems),
        None => Ok(Document { value, positions }),
    }
}

fn place(file: &str, mark: Mark, message: String) -> Problem {
    Problem { line: mark.line, column: mark.column, ..Problem::of_file(file, message) }
}

/// The nesting is bounded by the scan of the positions and by the YAML parser itself.
fn to_json(yaml: Yaml, path: &KeyPath, mistakes: &mut Vec<Mistake>) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::String(value) => Value::String(value),
        Yaml::Number(number) => match serde_json::to_value(&number) {
            Ok(Value::Number(number)) => Value::Number(number),
            _ => {
                mistakes.push(Mistake::value(path, "not a finite number"));
                Value::Null
            }
        },
        Yaml::Sequence(items) => {
            let items = items.into_iter().enumerate();
            Value::Array(items.map(|(index, item)| to_json(item, &path.item(index), mistakes)).collect())
        }
        Yaml::Mapping(fields) => {
            let mut map = serde_json::Map::new();
            for (key, value) in fields {
                if let Some(key) = text_key(key, path, mistakes) {
                    let value = to_json(value, &path.key(&key), mistakes);
                    map.insert(key, value);
                }
            }
            Value::Object(map)
        }
        Yaml::Tagged(_) => {
            mistakes.push(Mistake::value(path, "a YAML tag (`!…`) is not supported here").hint("remove it"));
            Value::Null
        }
    }
}

fn text_key(key: Yaml, path: &KeyPath, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let shown = match key {
        Yaml::String(key) => return Some(key),
        Yaml::Number(number) => number.to_string(),
        Yaml::Bool(value) => value.to_string(),
        _ => String::new(),
    };
    let mistake = Mistake::key(&path.key(&shown), "a key must be text");
    mistakes.push(if shown.is_empty() { mistake } else { mistake.hint(format!("put it in quotes: \"{shown}\"")) });
    None
}

/// Writes a value as YAML.
pub fn to_yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default()
}
