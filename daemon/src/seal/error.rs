//! What can go wrong with sealing; no message holds what was sealed.

use crate::base::error::{Classify, ErrorClass, io_class};
use std::path::PathBuf;

/// A key that cannot be had, or bytes that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A file of the key.
    #[error("{doing} the state-key {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A key that is too short to be one.
    #[error("use the state-key {path}: it has fewer than {least} bytes")]
    Short {
        /// The file.
        path: PathBuf,
        /// The fewest.
        least: usize,
    },
    /// A key that others can read.
    #[error("use the state-key {path}: it is open to its group or to others (run: chmod 0600 {path})")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that were never sealed, or are cut.
    #[error("open what is kept: it is damaged")]
    NotSealed,
    /// Another key, another subject, or damage: they cannot be told apart.
    #[error("open what is kept: it was sealed with another state-key, or is damaged")]
    OtherKey,
    /// A public key that is none.
    #[error("use a recipient: it is not an X25519 public key of age")]
    Recipient,
    /// The cryptography itself, e.g. no random numbers.
    #[error("seal or open")]
    Crypto,
}

impl Classify for SealError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File { source, .. } => io_class(source),
            Self::Short { .. } | Self::Exposed { .. } | Self::NotSealed | Self::OtherKey | Self::Recipient => {
                ErrorClass::Config
            }
            Self::Crypto => ErrorClass::Bug,
        }
    }
}
