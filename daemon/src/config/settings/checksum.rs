//! Checksums that a source gives with its answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A checksum that an API gives with each answer in a way of its own, either in a header or in the body. `Content-Digest`,
/// `Repr-Digest`, `Digest` and `Content-MD5` are compared without it. An answer that differs is asked for again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checksum {
    /// Header that holds the checksum of the whole body, in hex or base64. Answers are then asked for without compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// JSONPath of the checksum in the body, in hex or base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// JSONPath of the value that `field` is about: its JSON text as it stands in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// How the checksum is computed.
    #[serde(default)]
    pub algorithm: ChecksumAlgorithm,
    /// Whether the standard headers are not compared, because the API sends wrong ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_standard: bool,
}

/// How a checksum is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5; against accidents alone.
    Md5,
    /// CRC-32C (Castagnoli), highest byte first; against accidents alone.
    Crc32c,
}
