//! The schema of a stream, and what an export does with what does not fit it.

use super::AnyValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The schema of a stream: a map with one key. Without it types are inferred; `types` of the stream win over both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamSchema {
    /// A JSON Schema (Draft 7 or 2020-12) of one record, after `transform`. It gives the columns, and records that are not
    /// valid against it follow the export's `schema.invalid`.
    JsonSchema(JsonSchemaText),
}

/// Where a JSON Schema stands: a map with one key. Its `$ref` may lead to places within it, never to files or the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonSchemaText {
    /// Absolute path of a JSON file of at most 1 MB, read when the configuration is loaded.
    File(PathBuf),
    /// The JSON Schema itself.
    Inline(AnyValue),
}

/// What an export does with what does not fit the schema of a stream: the ledger's last version, or for the first task the
/// declared JSON Schema or what its sample saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaPolicy {
    /// What to do with fields that the schema does not have.
    pub new_fields: OnMisfit,
    /// What to do with values of a type that their column does not take.
    pub type_changes: OnMisfit,
    /// What to do with records that are not valid against the stream's JSON Schema.
    pub invalid: OnInvalid,
    /// What a task does when it meets a field or type that its sample did not show.
    pub on_misfit: Midway,
}

/// What to do with what does not fit the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMisfit {
    /// The schema grows with the next task; until then the value is kept in `_rescued`.
    #[default]
    Evolve,
    /// The schema stays as it is; the value is kept in `_rescued`, and the report names the field.
    Freeze,
    /// The task fails and names stream, field, record and page.
    Fail,
    /// The record is rejected into the quarantine (see `max_rejected`).
    Quarantine,
}

/// What to do with an invalid record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    /// The record is rejected into the quarantine (see `max_rejected`).
    #[default]
    Quarantine,
    /// The task fails and names stream, field, record and page.
    Fail,
}

/// What a task does when it meets a field or type that its sample did not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Midway {
    /// It keeps the value in `_rescued`; the next task has a column for it.
    #[default]
    Keep,
    /// It reads the stream again from its start with the widened schema, at most five times; then it keeps. Files without
    /// columns (NDJSON, JSON) are never read again: they have every field anyway.
    Restart,
}
