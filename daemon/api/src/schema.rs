//! Schemas: the dry run of an export, and what differs between two tasks.

use serde::{Deserialize, Serialize};

/// What a task of an export would make of its streams, by the first page of each. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaReport {
    /// Name of the export.
    pub export: String,
    /// Word of the file format that the columns are of.
    pub format: String,
    /// Its streams, in order.
    pub streams: Vec<StreamSchema>,
}

/// What a task would make of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSchema {
    /// Name of the stream.
    pub stream: String,
    /// Records in the page.
    pub records: u64,
    /// Newest version of the stream's schema in the ledger; none before the first task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The columns, in order.
    pub columns: Vec<SchemaColumn>,
    /// What does not fit that version, or without one the columns.
    pub misfits: Vec<SchemaMisfit>,
    /// Records that would be rejected.
    pub rejected: u64,
    /// Why records would be rejected, and other remarks.
    pub notes: Vec<String>,
    /// Why the stream could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A field and its column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaColumn {
    /// Path of the field after the stream's transformation, e.g. `address.city`, `items[].price`.
    pub field: String,
    /// What it holds, as in `types`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is in the files.
    pub column: String,
    /// Its type in the newest version, where that is another one; `new` where that version does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// A field with values that do not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaMisfit {
    /// Path of the field.
    pub field: String,
    /// Values in the page; each would be kept in `_rescued`.
    pub values: u64,
    /// Why: `new` (the schema has no such field) or `type` (its column does not take the value).
    pub why: String,
}

/// What differs between the schemas of two tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDiff {
    /// Name of the export.
    pub export: String,
    /// Id of the task that counts as the older one.
    pub older: String,
    /// Id of the task that counts as the newer one.
    pub newer: String,
    /// The streams of both, in order.
    pub streams: Vec<StreamDiff>,
}

/// What differs in a stream. A version that is missing: that task has no schema of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDiff {
    /// Name of the stream.
    pub stream: String,
    /// Version of the older task's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<u32>,
    /// Version of the newer task's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<u32>,
    /// The differences.
    pub fields: Vec<FieldDiff>,
}

/// A field that is not the same in both schemas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDiff {
    /// Path of the field.
    pub field: String,
    /// `added`, `removed`, `widened` (the newer type holds everything that the older one did) or `changed`.
    pub change: String,
    /// Its type in the older schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its type in the newer schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}
