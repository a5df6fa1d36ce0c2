//! JSON Schemas of streams, and the policies of exports.

use super::Check;
use crate::config::json_schema;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{JsonSchemaText, Midway, OnMisfit, SchemaPolicy, Stream, StreamSchema};

impl Check<'_> {
    pub(super) fn schema(&mut self, path: &KeyPath, stream: &Stream) {
        let Some(StreamSchema::JsonSchema(text)) = &stream.schema else { return };
        let here = path.key("schema").key("json_schema");
        match text {
            JsonSchemaText::File(file) => {
                self.absolute(&here.key("file"), file);
            }
            JsonSchemaText::Inline(schema) => {
                let here = here.key("inline");
                if !json_schema::fits(&schema.0) {
                    self.wrong(Mistake::value(&here, "is larger than 1 MB"));
                } else if let Err(why) = json_schema::compile(&schema.0) {
                    let mistake = Mistake::value(&here, format!("is no JSON Schema of a stream: {why}"));
                    self.wrong(mistake.hint("Draft 7 and 2020-12 are understood; nothing outside of it is looked at"));
                }
            }
        }
    }

    pub(super) fn policy(&mut self, path: &KeyPath, policy: &SchemaPolicy) {
        let evolves = [policy.new_fields, policy.type_changes].contains(&OnMisfit::Evolve);
        if policy.on_misfit == Midway::Restart && !evolves {
            let mistake = Mistake::value(&path.key("on_misfit"), "a schema that may not grow is never read again for");
            self.wrong(mistake.hint("write new_fields: evolve or type_changes: evolve, or remove on_misfit"));
        }
    }
}
