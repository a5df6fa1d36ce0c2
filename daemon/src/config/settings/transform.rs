//! Transformations of a stream's records, in the order in which they are written.

use crate::config::units::SecretText;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A step of a transformation: a map with one key. Fields are named by path: dots lead into objects, also through arrays of
/// objects (`items.price`); a backslash stands before a dot or backslash of a name itself. A field that is not there is no
/// error. Where `rename`, `flatten` or `add` give a field a name that another one has, the new one takes its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransformStep {
    /// Keeps these fields alone.
    Select(Vec<String>),
    /// Removes these fields.
    Drop(Vec<String>),
    /// Gives fields new names, all at once: path to the new name, which stands in the same object.
    Rename(BTreeMap<String, String>),
    /// Adds constants: path to any JSON value. Nested ones are added to the objects that are there.
    Add(BTreeMap<String, AnyValue>),
    /// Puts the members of an object into the object around it.
    Flatten(FlattenField),
    /// Turns values into another type, where that is exact; other values stay as they are (and go to `_rescued`, because the
    /// type also counts as declared): `string`, `integer`, `float`, `boolean` (also from `"true"` and 1), `decimal(12,2)`,
    /// `timestamp` (numbers are seconds since 1970), `timestamp_ms` (numbers are milliseconds).
    Cast(BTreeMap<String, String>),
    /// Replaces values by their SHA-256 in hex: the same value gives the same text.
    Hash(HashFields),
    /// Replaces characters of values, or whole values.
    Mask(MaskFields),
}

/// Any JSON value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnyValue(pub serde_json::Value);

impl JsonSchema for AnyValue {
    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "Any JSON value." })
    }
}

/// Puts the members of an object, and of the objects in it, into the object around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlattenField {
    /// Path of the object. A value that is no object stays where it is; arrays within it stay whole.
    pub field: String,
    /// What stands between the names.
    #[serde(default = "default_separator")]
    pub separator: String,
}

fn default_separator() -> String {
    "_".into()
}

/// Replaces values by their SHA-256, or with `key` by their HMAC-SHA-256, in lower-case hex. Of a string its characters
/// count, of a number or object its JSON text (without white space); each element of an array is hashed by itself; null
/// stays null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HashFields {
    /// Paths of the fields.
    #[schemars(length(min = 1))]
    pub fields: Vec<String>,
    /// Key of the HMAC (RFC 2104), from auth.env. Without one, whoever can guess a value can check the guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretText>,
}

/// Replaces values by text. By default each value becomes `***`; with `keep_first` or `keep_last` each other character
/// becomes `*` (all of them in a value with no more characters than are kept). Objects always become `***`, each element
/// of an array is masked by itself, null stays null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskFields {
    /// Paths of the fields.
    #[schemars(length(min = 1))]
    pub fields: Vec<String>,
    /// Characters kept at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub keep_first: Option<u32>,
    /// Characters kept at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub keep_last: Option<u32>,
    /// The text instead of `***`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
}
