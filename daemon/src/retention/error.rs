//! Why objects could not be removed; it is tried again at the next look.

use crate::base::error::{Classify, ErrorClass, io_class};
use crate::base::ids::TaskId;
use crate::destinations::DestinationError;
use crate::ledger::LedgerError;
use crate::transfer::error::TransferError;
use std::path::PathBuf;
use std::time::Duration;

/// Why objects could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The ledger could not be asked, or did not take it.
    #[error("change the ledger")]
    Ledger(#[from] LedgerError),
    /// The destination refused.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The destination did not answer.
    #[error("reach {location}: no answer within {} s", limit.as_secs())]
    Silent {
        /// Where.
        location: String,
        /// How long was waited.
        limit: Duration,
    },
    /// What the task stored cannot be used.
    #[error("use the stored configuration of task {task}: {why}")]
    Stored {
        /// Which task.
        task: TaskId,
        /// What is wrong with it.
        why: String,
    },
    /// The stored settings of a place name a secret that belongs to another server by now.
    #[error(
        "open the destination {destination} where it was when the task ran: its settings of then ask for ${{{secret}}}, which \
         belongs to {owner} now, and the old server must not get it. Give {owner} a secret's name of its own, and put the old \
         value back under {secret}"
    )]
    Withheld {
        /// The destination.
        destination: String,
        /// Name of the secret.
        secret: String,
        /// Whose it is now.
        owner: String,
    },
    /// What is to be swept is what readers follow.
    #[error(
        "sweep {location}: latest.json there leads to it. `exportctl retry {task}` publishes it; once a later task of the export \
         is published there, it goes"
    )]
    Followed {
        /// Where.
        location: String,
        /// Whose it is.
        task: TaskId,
    },
    /// The pointer that readers follow does not say what it leads to.
    #[error("read {location}: {why}")]
    Latest {
        /// Where.
        location: String,
        /// What is wrong with it.
        why: String,
    },
    /// The spool of a task could not be removed.
    #[error(transparent)]
    Spool(#[from] TransferError),
    /// A directory of this machine could not be removed.
    #[error("remove {path}")]
    Remove {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Classify for PruneError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Ledger(error) => error.class(),
            Self::Destination(error) => error.class(),
            Self::Silent { .. } => ErrorClass::Transient,
            Self::Stored { .. } | Self::Withheld { .. } => ErrorClass::Config,
            Self::Latest { .. } | Self::Followed { .. } => ErrorClass::Data,
            Self::Spool(error) => error.class(),
            Self::Remove { source, .. } => io_class(source),
        }
    }
}
