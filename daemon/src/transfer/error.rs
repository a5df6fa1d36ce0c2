//! Why the run of a task stopped short.

use crate::base::error::{Classify, ErrorClass, io_class};
use crate::destinations::DestinationError;
use crate::formats::FormatError;
use crate::ledger::LedgerError;
use crate::model::schema::Schema;
use crate::sources::SourceError;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why the run of a task stopped short.
#[derive(Debug)]
pub enum TransferError {
    /// It was asked to.
    Stopped,
    /// The source failed.
    Source {
        /// Which stream was read.
        stream: String,
        /// What the source said.
        source: SourceError,
    },
    /// A segment could not be encoded.
    Format(FormatError),
    /// The ledger failed.
    Ledger(LedgerError),
    /// A destination failed.
    Destination {
        /// Its name.
        name: String,
        /// What it said.
        source: DestinationError,
    },
    /// A file of the spool failed.
    Spool {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// What was written cannot be read back.
    ReadBack {
        /// The file.
        path: PathBuf,
    },
    /// The file of a stream needs more room than the spool has.
    Room {
        /// Name of the file.
        name: String,
        /// What it needs, in bytes.
        bytes: u64,
        /// What of that is missing.
        missing: u64,
    },
    /// A promise of the export does not hold, e.g. too many rejected records.
    Broken {
        /// What is wrong and what to do.
        message: String,
        /// What it means.
        class: ErrorClass,
    },
    /// The pages before a journal are no longer what they were; the lane starts over from its committed offset.
    JournalDiffers {
        /// The lane.
        lane: u32,
    },
    /// The stream's schema has to grow, and the export wants the stream to be read again for it; never told to anybody.
    Outgrown {
        /// The schema that it would have.
        schema: Box<Schema>,
    },
    /// The pages of a partition have shifted, and its lane has to read it again; told to nobody unless that comes too often.
    Shifted {
        /// The lane.
        lane: u32,
        /// The partition.
        partition: u32,
        /// How it was noticed.
        reason: String,
    },
    /// A worker panicked; a bug.
    Worker(String),
}

impl TransferError {
    /// An I/O error of the spool.
    pub fn spool(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Spool { action, path, source }
    }

    /// Whether another try may help although nobody does anything.
    pub fn mends_itself(&self) -> bool {
        let class = self.class();
        class.retryable() || matches!(class, ErrorClass::Full | ErrorClass::Stopped)
    }

    /// Keeps what needs somebody to act, or else the first failure; that something was stopped says least.
    pub fn keep_worst(worst: &mut Option<Self>, error: Self) {
        let rank = |error: &Self| match error.class() {
            ErrorClass::Stopped => 0,
            _ if error.mends_itself() => 1,
            _ => 2,
        };
        if worst.as_ref().is_none_or(|worst| rank(worst) < rank(&error)) {
            *worst = Some(error);
        }
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("go on: the task was asked to stop"),
            Self::Source { stream, .. } => write!(f, "read stream {stream}"),
            Self::Format(_) => f.write_str("encode a segment"),
            Self::Ledger(_) => f.write_str("write the ledger"),
            Self::Destination { name, .. } => write!(f, "deliver to {name}"),
            Self::Spool { action, path, .. } => write!(f, "{action} {}", path.display()),
            Self::ReadBack { path } => {
                write!(f, "read back {}: its checksum differs from what was written", path.display())
            }
            Self::Room { name, bytes, .. } => {
                write!(f, "put {name} together, which needs {:.1} MB beside its parts", *bytes as f64 / 1e6)
            }
            Self::Broken { message, .. } => f.write_str(message),
            Self::JournalDiffers { lane } => {
                write!(f, "use the page journal of lane {lane}: the source's pages changed")
            }
            Self::Shifted { partition, reason, .. } => write!(f, "read partition {partition} in one order: {reason}"),
            Self::Outgrown { .. } => f.write_str("keep the schema: it has to grow"),
            Self::Worker(what) => write!(f, "finish a worker: {what}"),
        }
    }
}

impl Error for TransferError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Source { source, .. } => Some(&**source),
            Self::Format(error) => Some(error),
            Self::Ledger(error) => Some(error),
            Self::Destination { source, .. } => Some(source),
            Self::Spool { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Classify for TransferError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Stopped => ErrorClass::Stopped,
            Self::Source { source, .. } => source.class(),
            Self::Format(error) => error.class(),
            Self::Ledger(error) => error.class(),
            Self::Destination { source, .. } => source.class(),
            Self::Spool { source, .. } => io_class(source),
            Self::ReadBack { .. } | Self::JournalDiffers { .. } | Self::Outgrown { .. } | Self::Shifted { .. } => {
                ErrorClass::Transient
            }
            Self::Room { .. } => ErrorClass::Full,
            Self::Broken { class, .. } => *class,
            Self::Worker(_) => ErrorClass::Bug,
        }
    }
}

impl From<LedgerError> for TransferError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<FormatError> for TransferError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<tokio::task::JoinError> for TransferError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Worker(if error.is_panic() { "it panicked".into() } else { "it was cancelled".into() })
    }
}
