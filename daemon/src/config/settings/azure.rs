//! A container of Azure Blob Storage.

use super::Transfer;
use crate::config::units::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A container of Azure Blob Storage. The container must be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzureDestination {
    /// Name of the storage account.
    pub account: String,
    /// Name of the container.
    pub container: String,
    /// URL of the account, e.g. `https://acme.blob.core.windows.net`, which it is by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What stands before every key; nothing by default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Who writes.
    #[serde(default)]
    pub credentials: AzureCredentials,
    /// How fast and how parallel it is written to.
    #[serde(default)]
    pub transfer: Transfer,
}

impl AzureDestination {
    /// URL of the account.
    pub fn url(&self) -> String {
        let own = self.endpoint.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        own.unwrap_or_else(|| format!("https://{}.blob.core.windows.net", self.account))
    }
}

/// Who writes to a container: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AzureCredentials {
    /// An access key of the account.
    Key(SecretText),
    /// A shared access signature: the query of its URL.
    Sas(SecretText),
    /// The managed identity of the machine, asked for at the metadata service.
    Instance {},
}

impl Default for AzureCredentials {
    fn default() -> Self {
        Self::Instance {}
    }
}
