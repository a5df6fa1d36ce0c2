//! Where files go: the kinds of destinations.

use super::{HttpDestination, SftpDestination};
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
    /// A directory on an SFTP server.
    Sftp(Box<SftpDestination>),
    /// A server that takes files by HTTP PUT.
    Http(Box<HttpDestination>),
}

impl Destination {
    /// Its settings, if it is a directory on this machine.
    pub fn local(&self) -> Option<&LocalDestination> {
        match self {
            Self::Local(local) => Some(local),
            Self::Sftp(_) | Self::Http(_) => None,
        }
    }

    /// Where the object `key` lies, for a person; never with a secret in it.
    pub fn location(&self, key: &str) -> String {
        match self {
            Self::Local(local) => local.root.join(key).display().to_string(),
            Self::Sftp(sftp) => sftp.location(key),
            Self::Http(http) => http.location(key),
        }
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
