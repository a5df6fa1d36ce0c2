//! Why a ledger cannot be restored or rebuilt. Nothing has changed then.

use crate::app::protect::ProtectError;
use crate::ledger::LedgerError;
use std::path::PathBuf;

/// The command failed.
const EXIT_FAILED: u8 = 1;
/// The command line is wrong.
const EXIT_USAGE: u8 = 2;
/// There is no such snapshot.
const EXIT_NOT_FOUND: u8 = 4;

/// Why a ledger cannot be restored or rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The ledger refused, or its files cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The key that signs cannot be used.
    #[error(transparent)]
    Key(#[from] ProtectError),
    /// There is no such snapshot.
    #[error("find the snapshot {0}: it is neither a file nor a name in {1}")]
    NoSnapshot(PathBuf, PathBuf),
    /// No destination of this name is configured.
    #[error("find the destination {0:?}: the configuration has {1}")]
    NoDestination(String, String),
    /// What is published at a destination is not known.
    #[error(
        "read destination {name}: {why}; have it answer, or leave it out by --skip {name} (what is published there alone \
         may then be published once more)"
    )]
    Unreadable {
        /// Its name.
        name: String,
        /// What was wrong, for a person.
        why: String,
    },
    /// What is published there is not what the daemon has written.
    #[error("trust {location} at destination {name}: {why}")]
    Untrusted {
        /// Name of the destination.
        name: String,
        /// The object.
        location: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// There is nothing to make a ledger of.
    #[error(
        "find anything published at {0}: are these the right places? A daemon without a ledger starts an empty one"
    )]
    Nothing(String),
}

impl AdoptError {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Ledger(LedgerError::Owned { .. }) => crate::app::EXIT_CONFLICT,
            Self::NoSnapshot(..) => EXIT_NOT_FOUND,
            Self::NoDestination(..) => EXIT_USAGE,
            _ => EXIT_FAILED,
        }
    }
}
