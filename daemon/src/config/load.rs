//! The one file that speaks YAML values: text to JSON value.
//!
//! `serde_yaml` is no longer maintained upstream; it is named here only, so that it can be replaced here.

use super::path::KeyPath;
use super::positions::{Mark, Positions};
use super::problem::{Mistake, Problem, Problems};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess as _, Visitor};
use serde_json::Value;
use std::fmt;

/// The largest configuration file.
pub const MAX_BYTES: usize = 1 << 20;

/// A document as a JSON value, with the places of its keys and values.
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where it says it.
    pub positions: Positions,
    /// What of YAML may not be used; the rest of the document can be read all the same.
    pub problems: Vec<Problem>,
}

/// Reads a YAML document. `file` is its name in the problems.
pub fn document(text: &str, file: &str) -> Result<Document, Problems> {
    if text.len() > MAX_BYTES {
        return Err(Problem::of_file(file, format!("is larger than {MAX_BYTES} bytes")).into());
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let told = |faults: Vec<super::positions::Fault>| -> Vec<Problem> {
        let place = |fault: super::positions::Fault| Problem {
            hint: fault.hint.map(str::to_owned),
            ..place(file, fault.mark, fault.message)
        };
        faults.into_iter().map(place).collect()
    };
    let bad = || Problem::of_file(file, "not valid YAML");
    let (positions, faults) =
        Positions::scan(text).map_err(|faults| Problems::collect(told(faults)).unwrap_or_else(|| bad().into()))?;
    let mut mistakes = Vec::new();
    let seed = Node { path: KeyPath::top(), mistakes: &mut mistakes };
    let value = seed.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let at = error.location();
        let mark = at.map_or(Mark { line: 0, column: 0 }, |at| Mark { line: at.line(), column: at.column() });
        Problems::from(place(file, mark, format!("not valid YAML: {error}")))
    })?;
    let mut problems = told(faults);
    problems.extend(super::placed(file, &positions, mistakes));
    Ok(Document { value, positions, problems })
}

/// Reads a YAML document of another kind than ours, as JSON. What JSON has no word for is taken as it comes: keys that are no
/// text become text, tags are dropped, numbers that are too large or not finite become null.
pub fn foreign(text: &str) -> Result<Value, String> {
    let mut mistakes = Vec::new();
    let seed = Node { path: KeyPath::top(), mistakes: &mut mistakes };
    seed.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| format!("not valid YAML: {error}"))
}

fn place(file: &str, mark: Mark, message: String) -> Problem {
    Problem { line: mark.line, column: mark.column, ..Problem::of_file(file, message) }
}

/// Reads one value and what is below it. It takes more than `serde_yaml::Value` does (tags, repeated keys, keys that are
/// no text), because those have been told and the rest should be checked as well. The nesting is bounded by the scan.
struct Node<'a> {
    path: KeyPath,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        self.mistakes.push(Mistake::value(&self.path, "the number is too large"));
        Ok(Value::Null)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        self.mistakes.push(Mistake::value(&self.path, "the number is too large"));
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        if !value.is_finite() {
            self.mistakes.push(Mistake::value(&self.path, "not a finite number"));
        }
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = self.path.item(list.len());
            match items.next_element_seed(Node { path, mistakes: &mut *self.mistakes })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some(key) = fields.next_key_seed(Key)? {
            let (key, text) = match key {
                Value::String(key) => (key, true),
                other => (other.to_string(), false),
            };
            let path = self.path.key(&key);
            if !text {
                let mistake = Mistake::key(&path, "a key must be text");
                self.mistakes.push(mistake.hint(format!("put it in quotes: \"{key}\"")));
            }
            let value = fields.next_value_seed(Node { path, mistakes: &mut *self.mistakes })?;
            // The scan has told repeated keys and merge keys.
            if key != "<<" {
                map.entry(key).or_insert(value);
            }
        }
        Ok(Value::Object(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (_, inside) = tagged.variant_seed(Key)?;
        inside.newtype_variant_seed(self)
    }
}

/// Reads a key (or a tag); maps and lists as keys do not come through the scan.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        // A key may have a tag, too; what it is, is told by the scan.
        Node { path: KeyPath::top(), mistakes: &mut Vec::new() }.deserialize(deserializer)
    }
}
