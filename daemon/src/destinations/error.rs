//! Why an object could not be stored or read, classified once.

use crate::base::error::{Classify, ErrorClass, io_class};
use std::path::PathBuf;

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
    /// The directory of a local destination is missing, or there is nothing in it.
    #[error("reach {}: it is missing or empty: is the disk mounted?", root.display())]
    NotMounted {
        /// The destination's root.
        root: PathBuf,
    },
    /// A server refused, or did not answer.
    #[error("{action} {location}: {message}")]
    Remote {
        /// What was tried.
        action: &'static str,
        /// On which object.
        location: String,
        /// What it means.
        class: ErrorClass,
        /// What was said, without secrets.
        message: String,
    },
    /// Its settings cannot be used.
    #[error("set up {key}: {message}")]
    Setup {
        /// Which key.
        key: &'static str,
        /// What is wrong with it, without secrets.
        message: String,
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
    /// Somebody else moved the pointer between our look and our write.
    #[error("move {location}: somebody else wrote it at the same time")]
    Raced {
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
    /// How far an upload is could not be noted.
    #[error(transparent)]
    Log(#[from] super::upload::LogError),
    /// The worker thread is gone.
    #[error("run the file operation")]
    Worker(#[from] tokio::task::JoinError),
}

impl Classify for DestinationError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Io { source, .. } => io_class(source),
            Self::Remote { class, .. } => *class,
            Self::Setup { .. } => ErrorClass::Config,
            Self::Conflict { .. } | Self::Newer { .. } => ErrorClass::Conflict,
            Self::Gone { .. } => ErrorClass::Data,
            Self::Raced { .. } | Self::Corrupt { .. } | Self::NotMounted { .. } => ErrorClass::Transient,
            Self::Log(error) => error.0.class(),
            Self::Worker(_) => ErrorClass::Bug,
        }
    }
}
