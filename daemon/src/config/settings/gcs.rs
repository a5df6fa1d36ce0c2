//! A bucket of Google Cloud Storage.

use super::Transfer;
use crate::config::units::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A bucket of Google Cloud Storage. The bucket must be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GcsDestination {
    /// Name of the bucket.
    pub bucket: String,
    /// URL of the service; Google's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What stands before every key; nothing by default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Who writes.
    #[serde(default)]
    pub credentials: GcsCredentials,
    /// How fast and how parallel it is written to.
    #[serde(default)]
    pub transfer: Transfer,
}

/// Who writes to a bucket of Google Cloud Storage: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GcsCredentials {
    /// The key of a service account, the whole JSON document, in auth.env.
    ServiceAccount(SecretText),
    /// The service account of the machine, asked for at the metadata service.
    Instance {},
}

impl Default for GcsCredentials {
    fn default() -> Self {
        Self::Instance {}
    }
}
