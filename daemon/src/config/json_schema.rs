//! JSON Schemas of streams: read from their files, and compiled. Nothing but the text itself is looked at: a `$ref` that
//! leads out of it is a mistake.

use super::path::KeyPath;
use super::problem::Mistake;
use super::settings::{AnyValue, Config, JsonSchemaText, Source, StreamSchema};
use crate::base::fsio;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use std::path::Path;

/// The largest file or text of a JSON Schema; each task stores it.
const MAX_BYTES: usize = 1_000_000;

/// The drafts that are understood, by their `$schema`.
const DRAFTS: [&str; 2] = ["json-schema.org/draft-07/schema", "json-schema.org/draft/2020-12/schema"];

/// Compiles a JSON Schema; without `$schema` it counts as 2020-12. The error says what is wrong with it.
pub fn compile(schema: &Value) -> Result<Validator, String> {
    if let Some(draft) = schema.get("$schema") {
        let draft = draft.as_str().unwrap_or_default();
        let plain = draft.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('#');
        if !DRAFTS.contains(&plain) {
            return Err(format!("its $schema is neither https://{} nor http://{}#", DRAFTS[1], DRAFTS[0]));
        }
    }
    // The engine without backtracking: a pattern meets texts that anybody may have written.
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    options.build(schema).map_err(|error| {
        if let ValidationErrorKind::Referencing(_) = error.kind() {
            return "a $ref in it leads to nothing that is in it".to_owned();
        }
        let at = error.instance_path().to_string();
        let text: String = error.to_string().chars().take(300).collect();
        if at.is_empty() { text } else { format!("at {at}: {text}") }
    })
}

/// Puts the text of every file into its place, so that what was loaded is what counts until the next load.
pub(super) fn read_files(config: &mut Config) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (source, Source::Rest(rest)) in &mut config.sources {
        for (name, stream) in &mut rest.streams {
            let Some(StreamSchema::JsonSchema(text)) = &mut stream.schema else { continue };
            let JsonSchemaText::File(file) = text else { continue };
            let path = KeyPath::of(&["sources", source.as_str(), "rest", "streams", name.as_str()]);
            let path = path.key("schema").key("json_schema").key("file");
            match read(file) {
                Ok(schema) => *text = JsonSchemaText::Inline(AnyValue(schema)),
                Err(why) => mistakes.push(Mistake::value(&path, why)),
            }
        }
    }
    mistakes
}

fn read(file: &Path) -> Result<Value, String> {
    let bytes = fsio::read_limited(file, MAX_BYTES as u64).map_err(|error| format!("cannot be read: {error}"))?;
    let schema = serde_json::from_slice(&bytes).map_err(|error| format!("is not JSON: {error}"))?;
    // Here and not later, because only here it is known as a file.
    compile(&schema).map(drop).map_err(|why| format!("is no JSON Schema of a stream: {why}"))?;
    Ok(schema)
}

/// Whether a text is small enough to be stored with each task.
pub(super) fn fits(schema: &Value) -> bool {
    schema.to_string().len() <= MAX_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_text_itself_counts() {
        compile(&json!({ "type": "object", "$ref": "#/$defs/a", "$defs": { "a": { "required": ["id"] } } })).unwrap();
        compile(&json!({ "$schema": "http://json-schema.org/draft-07/schema#", "items": [{}] })).unwrap();
        for bad in [
            json!({ "type": "objekt" }),
            json!({ "$ref": "https://schemas.example/a.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "$ref": "#/$defs/none" }),
            json!({ "pattern": "(?<=a)b" }),
            json!({ "$schema": "http://json-schema.org/draft-04/schema#" }),
            json!({ "$schema": 7 }),
            json!(5),
        ] {
            assert!(compile(&bad).is_err(), "{bad}");
        }
    }
}
