//! A bucket of Amazon S3 or of a store that speaks its protocol.

use super::{Tls, Transfer};
use crate::config::units::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A bucket of Amazon S3 or of a store that speaks its protocol. The bucket must be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Destination {
    /// Name of the bucket.
    pub bucket: String,
    /// The region, which is part of every signature.
    #[serde(default = "default_region")]
    pub region: String,
    /// URL of the store, without the bucket, e.g. `https://s3.example`; Amazon's of the region by default. Its origin is the
    /// only one that gets signed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What stands before every key, e.g. `exports`; nothing by default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Whether the bucket stands in the path of a URL (`https://s3.example/bucket/key`) instead of its host; by default it does
    /// where there is an `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Who writes.
    #[serde(default)]
    pub credentials: S3Credentials,
    /// How the store encrypts what it keeps; its own default where nothing stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<S3Encryption>,
    /// Storage class of the objects, e.g. `STANDARD_IA`; the bucket's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// TLS settings.
    #[serde(default)]
    pub tls: Tls,
    /// How fast and how parallel it is written to.
    #[serde(default)]
    pub transfer: Transfer,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl S3Destination {
    /// Whether the bucket stands in the path.
    pub fn in_path(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }
}

/// Who writes to a bucket: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum S3Credentials {
    /// A key that stands in auth.env.
    Static(S3Key),
    /// A token in a file that is exchanged for a role's credentials (AWS STS, e.g. in Kubernetes).
    WebIdentity(WebIdentity),
    /// The role of the machine, asked for at the metadata service (IMDSv2), or of the container.
    Instance {},
}

impl Default for S3Credentials {
    fn default() -> Self {
        Self::Instance {}
    }
}

/// A key that stands in auth.env.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Key {
    /// The access key's id.
    pub access_key_id: SecretText,
    /// The access key.
    pub secret_access_key: SecretText,
    /// The token of a session, where the key is a temporary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretText>,
}

/// A token in a file that is exchanged for a role's credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebIdentity {
    /// The role; by default the one in the environment (`AWS_ROLE_ARN`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The file; by default the one in the environment (`AWS_WEB_IDENTITY_TOKEN_FILE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

/// How the store encrypts what it keeps: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum S3Encryption {
    /// With keys of the store (SSE-S3).
    SseS3 {},
    /// With a key of the key management service (SSE-KMS).
    SseKms(SseKms),
}

/// Encryption with a key of the key management service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SseKms {
    /// The key's id or ARN; the account's default key where nothing stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Whether the bucket has a key of its own below it, so that the service is asked less often.
    pub bucket_key: bool,
}
