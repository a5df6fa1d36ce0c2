//! Encryption of an export's files before they leave the daemon.

use crate::config::units::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Encryption of whole files before they are stored anywhere: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileEncryption {
    /// The age format (age-encryption.org/v1), which `age` and `rage` decrypt. Names of files end in `.age`.
    Age(AgeEncryption),
}

/// Encryption to public keys; the daemon itself can then decrypt nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgeEncryption {
    /// Public keys (X25519, `age1…`, as `age-keygen` prints them); at most 64. The identity of any one of them decrypts.
    #[schemars(length(min = 1))]
    pub recipients: Vec<String>,
}

/// Parquet's own encryption (AES-GCM): readers need the keys, and can still read single columns and row groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetEncryption {
    /// Key of the footer and, without `columns`, of every column: 16 or 32 bytes in base64 or hex, from auth.env.
    pub footer_key: SecretText,
    /// Keys of single columns, by name; a name stands for all that is nested in it. The columns that are not named are then
    /// not encrypted (but `_rescued` is, with the footer's key, because it may hold values of any column). Each stream of the
    /// export must have every one of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, SecretText>,
    /// Whether the footer is only signed, so that readers without a key can read schema and columns that are not encrypted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext_footer: bool,
    /// Text that readers must know and give, so that files cannot be exchanged for those of another data set; it is not
    /// stored in the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aad_prefix: Option<String>,
}
