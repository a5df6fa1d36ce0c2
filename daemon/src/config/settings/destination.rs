//! Where files go: the kinds of destinations.

use super::{AzureDestination, GcsDestination, HttpDestination, S3Destination, SftpDestination};
use crate::config::units::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where files go: a map with one key that names the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// A directory on this machine.
    Local(LocalDestination),
    /// A bucket of Amazon S3 or of a store that speaks its protocol.
    S3(S3Destination),
    /// A bucket of Google Cloud Storage.
    Gcs(GcsDestination),
    /// A container of Azure Blob Storage.
    Azure(AzureDestination),
    /// A directory on an SFTP server.
    Sftp(Box<SftpDestination>),
    /// A server that takes files by HTTP PUT.
    Http(Box<HttpDestination>),
}

/// Files that are copied to a directory at the same time.
const LOCAL_CONNECTIONS: usize = 4;

impl Destination {
    /// Its settings, if it is a directory on this machine.
    pub fn local(&self) -> Option<&LocalDestination> {
        match self {
            Self::Local(local) => Some(local),
            Self::S3(_) | Self::Gcs(_) | Self::Azure(_) | Self::Sftp(_) | Self::Http(_) => None,
        }
    }

    /// Files that are delivered there at the same time.
    pub fn connections(&self) -> usize {
        match self {
            // More would only make a disk seek.
            Self::Local(_) => LOCAL_CONNECTIONS,
            Self::S3(s3) => s3.transfer.connections as usize,
            Self::Gcs(gcs) => gcs.transfer.connections as usize,
            Self::Azure(azure) => azure.transfer.connections as usize,
            Self::Sftp(sftp) => sftp.transfer.connections as usize,
            Self::Http(http) => http.transfer.connections as usize,
        }
    }

    /// What tells the place from every other: two settings of one place reach the same objects, whatever else they say.
    pub fn place(&self) -> String {
        let endpoint = match self {
            Self::S3(s3) => s3.endpoint.as_deref(),
            Self::Gcs(gcs) => gcs.endpoint.as_deref(),
            Self::Local(_) | Self::Azure(_) | Self::Sftp(_) | Self::Http(_) => None,
        };
        // Any key tells the place; names of buckets are unique within an endpoint.
        format!("{} {}", endpoint.unwrap_or_default().trim_end_matches('/'), self.location("object"))
    }

    /// Where the object `key` lies, for a person; never with a secret in it.
    pub fn location(&self, key: &str) -> String {
        match self {
            Self::Local(local) => local.root.join(key).display().to_string(),
            Self::S3(s3) => format!("s3://{}/{}", s3.bucket, below(&s3.prefix, key)),
            Self::Gcs(gcs) => format!("gs://{}/{}", gcs.bucket, below(&gcs.prefix, key)),
            Self::Azure(azure) => format!("{}/{}/{}", azure.url(), azure.container, below(&azure.prefix, key)),
            Self::Sftp(sftp) => sftp.location(key),
            Self::Http(http) => http.location(key),
        }
    }
}

/// The whole key of an object below a prefix.
pub fn below(prefix: &str, key: &str) -> String {
    match prefix.trim_end_matches('/') {
        "" => key.to_owned(),
        prefix => format!("{prefix}/{key}"),
    }
}

/// A directory on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalDestination {
    /// The directory; created if it is missing.
    pub root: PathBuf,
    /// Permission bits of the files.
    #[serde(default = "default_mode")]
    pub mode: Mode,
}

fn default_mode() -> Mode {
    Mode(0o640)
}
