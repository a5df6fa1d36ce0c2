//! Where files go. A destination stores whole objects under deterministic keys, create-only, and classifies its errors.

use crate::base::error::{Classify, ErrorClass, io_class};
use crate::base::ids::TaskId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod local;

/// The one object that is ever replaced.
pub const LATEST: &str = "latest.json";

/// The key of an object of a task: `<export>/<stream>/<task>/<name>`.
pub fn object_key(export: &str, stream: &str, task: &TaskId, name: &str) -> String {
    format!("{export}/{stream}/{task}/{name}")
}

/// What an object must be when it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// A configured destination.
#[derive(Clone)]
pub enum Destination {
    /// A directory on this machine.
    Local(Arc<local::Local>),
}

impl Destination {
    /// Checks that objects can be written, and makes what must be there.
    pub async fn probe(&self) -> Result<(), DestinationError> {
        match self {
            Self::Local(local) => local.blocking(|local| local.probe()).await,
        }
    }

    /// Stores the spooled file `from` under `key`, create-only, and verifies it there. An object that is already there
    /// is adopted if it is the same, else it is a conflict; so an unknown outcome is mended by asking again.
    pub async fn put_file(&self, key: &str, from: &Path, expected: &Expected) -> Result<(), DestinationError> {
        match self {
            Self::Local(local) => {
                let (key, from, expected) = (key.to_owned(), from.to_owned(), expected.clone());
                local.blocking(move |local| local.put_file(&key, &from, &expected)).await
            }
        }
    }

    /// Stores a small object, create-only, in the same way.
    pub async fn put_bytes(&self, key: &str, bytes: Vec<u8>) -> Result<(), DestinationError> {
        match self {
            Self::Local(local) => {
                let key = key.to_owned();
                local.blocking(move |local| local.put_bytes(&key, &bytes)).await
            }
        }
    }

    /// Reads a small object of at most `limit` bytes; `None` if it is not there.
    pub async fn read_small(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, DestinationError> {
        match self {
            Self::Local(local) => {
                let key = key.to_owned();
                local.blocking(move |local| local.read_small(&key, limit)).await
            }
        }
    }

    /// Replaces the object at `key` atomically. Only `latest.json` is ever replaced.
    pub async fn replace(&self, key: &str, bytes: Vec<u8>) -> Result<(), DestinationError> {
        debug_assert!(key.ends_with(LATEST));
        match self {
            Self::Local(local) => {
                let key = key.to_owned();
                local.blocking(move |local| local.replace(&key, &bytes)).await
            }
        }
    }

    /// Removes the object at `key`; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), DestinationError> {
        match self {
            Self::Local(local) => {
                let key = key.to_owned();
                local.blocking(move |local| local.delete(&key)).await
            }
        }
    }

    /// Bytes that may still be written; `None` where nobody can say.
    pub async fn free(&self) -> Result<Option<u64>, DestinationError> {
        match self {
            Self::Local(local) => local.blocking(|local| local.free()).await.map(Some),
        }
    }

    /// Where `key` lies, for a person or for `exportctl files`.
    pub fn location(&self, key: &str) -> String {
        match self {
            Self::Local(local) => local.path(key).display().to_string(),
        }
    }
}

/// Why an object could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The file system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it was refused.
        source: std::io::Error,
    },
    /// Another object has the name.
    #[error(
        "store {location}: another file is already there ({found}); it was not touched. Move it away, then `exportctl retry`"
    )]
    Conflict {
        /// Where.
        location: String,
        /// How it differs.
        found: String,
    },
    /// The file is neither in the spool nor at the destination.
    #[error(
        "deliver {}: the file is gone from the spool and has not arrived. Read it again: `exportctl offsets reset TASK`", path.display()
    )]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// The pointer that readers follow was written by a newer version.
    #[error("move {location}: a newer version of this program wrote it. Use that version, or move the file away")]
    Newer {
        /// Where.
        location: String,
    },
    /// What was stored is not what was sent.
    #[error("verify {location}: {found}")]
    Corrupt {
        /// Where.
        location: String,
        /// How it differs.
        found: String,
    },
    /// The worker thread is gone.
    #[error("run the file operation")]
    Worker(#[from] tokio::task::JoinError),
}

impl Classify for DestinationError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Io { source, .. } => io_class(source),
            Self::Conflict { .. } | Self::Newer { .. } => ErrorClass::Conflict,
            Self::Gone { .. } => ErrorClass::Data,
            Self::Corrupt { .. } => ErrorClass::Transient,
            Self::Worker(_) => ErrorClass::Bug,
        }
    }
}
