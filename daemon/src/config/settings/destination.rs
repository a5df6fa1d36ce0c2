//! Where files go: the kinds of destinations.

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
}

impl Destination {
    /// Its settings, if it is a directory on this machine.
    pub fn local(&self) -> Option<&LocalDestination> {
        match self {
            Self::Local(local) => Some(local),
        }
    }

    /// Files that are delivered there at the same time.
    pub fn connections(&self) -> usize {
        match self {
            // More would only make a disk seek.
            Self::Local(_) => 4,
        }
    }

    /// Where the object `key` lies, for a person; never with a secret in it.
    pub fn location(&self, key: &str) -> String {
        match self {
            Self::Local(local) => local.root.join(key).display().to_string(),
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
