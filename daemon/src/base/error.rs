//! The classes that decide what happens after an error, and the way a chain of errors is printed.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What an error means for the work it interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May go away by itself: retry with backoff.
    Transient,
    /// The other side asks to wait this long.
    Throttled(Duration),
    /// Credentials are missing, wrong or not enough.
    Auth,
    /// The configuration does not fit the world.
    Config,
    /// The data are not what they must be.
    Data,
    /// A disk or a quota is full: wait for room.
    Full,
    /// Something else is already there: never overwrite.
    Conflict,
    /// The task was asked to stop; not a failure.
    Stopped,
    /// A promise of this program is broken.
    Bug,
}

impl ErrorClass {
    /// The stable word used in the ledger, the API and the journal.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled(_) => "throttled",
            Self::Auth => "auth",
            Self::Config => "config",
            Self::Data => "data",
            Self::Full => "full",
            Self::Conflict => "conflict",
            Self::Stopped => "stopped",
            Self::Bug => "bug",
        }
    }

    /// Whether another attempt may help without anyone acting.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled(_))
    }
}

/// Every error of ours says its class once.
pub trait Classify: Error {
    /// What this error means for the work it interrupted.
    fn class(&self) -> ErrorClass;
}

/// The class of an I/O error: a full disk waits, everything else is told.
pub fn io_class(error: &std::io::Error) -> ErrorClass {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded => ErrorClass::Full,
        K::PermissionDenied | K::ReadOnlyFilesystem | K::NotADirectory => ErrorClass::Config,
        K::AlreadyExists => ErrorClass::Conflict,
        _ => ErrorClass::Transient,
    }
}

/// Prints an error and its sources, joined by `: `.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
