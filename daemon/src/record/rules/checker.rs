//! Checks records against a JSON Schema. Only this builds trees of values, so that only streams that ask for it pay.

use crate::config::json_schema::compile;
use jsonschema::Validator;
use serde_json::Value;
use std::fmt;

/// Characters of a place that a reason repeats.
const MAX_SHOWN: usize = 200;

/// A compiled JSON Schema; shared by the threads that convert.
pub struct Checker(Validator);

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checker")
    }
}

impl Checker {
    /// Compiles a JSON Schema; the error says what is wrong with it.
    pub fn new(schema: &Value) -> Result<Self, String> {
        compile(schema).map(Self)
    }

    /// Checks a record. The error names the place and the keyword of the first thing that is wrong, never a value.
    pub fn check(&self, raw: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(raw).map_err(|error| match error.classify() {
            // Half a surrogate pair, or a number that no double holds.
            serde_json::error::Category::Syntax => {
                "it cannot be checked: a text or number in it is not representable".to_owned()
            }
            _ => "it cannot be checked against the JSON Schema".to_owned(),
        })?;
        if self.0.is_valid(&value) {
            return Ok(());
        }
        let first = self.0.iter_errors(&value).next();
        let (place, keyword) = first.map_or_else(Default::default, |error| {
            let place: String = error.instance_path().to_string().chars().take(MAX_SHOWN).collect();
            let keyword = error.schema_path().to_string();
            (place, keyword.rsplit('/').next().unwrap_or_default().to_owned())
        });
        let place = if place.is_empty() { "the record".to_owned() } else { format!("{place:?}") };
        Err(format!("it is not valid against the stream's JSON Schema: {place} breaks {keyword:?}"))
    }
}
