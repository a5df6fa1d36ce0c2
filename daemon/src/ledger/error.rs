//! Why the ledger refused or failed.

use crate::base::error::{Classify, ErrorClass, io_class};
use crate::base::ids::TaskId;
use crate::model::segment::NotContiguous;
use crate::model::task::IllegalTransition;
use rusqlite::ErrorCode;
use saas_export_api::size;
use std::path::{Path, PathBuf};

/// Why the ledger refused or failed. Nothing has changed in it, whichever it is.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file or directory of the ledger cannot be used.
    #[error("{doing} {path}")]
    Io {
        /// What was done, e.g. `create`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a whole ledger; it was left as it is.
    #[error(
        "open the ledger {path}: {problem}; it was left as it is. `exportctl ledger restore SNAPSHOT` goes on from a snapshot, \
         `exportctl ledger rebuild` makes it anew of what is published"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Written by a newer daemon.
    #[error(
        "open the ledger {path}: it has version {found}, this daemon knows up to version {known}; install the \
         newer daemon again"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The last version known here.
        known: i64,
    },
    /// Locks and shared memory do not work there.
    #[error(
        "use {path} for the ledger: it lies on {kind}, where locks do not hold; set daemon.state_dir to a \
         directory on a local disk"
    )]
    NetworkFs {
        /// The directory.
        path: PathBuf,
        /// E.g. `an NFS file system`.
        kind: String,
    },
    /// Another daemon works there.
    #[error("take the state directory {path}: {holder} uses it")]
    Owned {
        /// The directory.
        path: PathBuf,
        /// Who, e.g. `another daemon (pid 4711)`.
        holder: String,
    },
    /// No room for the transaction.
    #[error("write the ledger {path}: its disk is full")]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A copy would take the room that the ledger may need.
    #[error(
        "copy the ledger to {path}: it takes {}, and as much must stay free, but only {} are; make room there, or \
         lower daemon.snapshots.keep",
        size(*bytes),
        size(*free)
    )]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// What the copy takes.
        bytes: u64,
        /// What is free.
        free: u64,
    },
    /// SQLite failed.
    #[error("use the ledger")]
    Sqlite(#[from] rusqlite::Error),
    /// There is no such task.
    #[error("find the task {0}")]
    NoSuchTask(TaskId),
    /// There is no such stream or lane in the task.
    #[error("find {what} of the task {task}")]
    NotThere {
        /// The task.
        task: TaskId,
        /// E.g. `lane 2 of stream orders`.
        what: String,
    },
    /// The task's state does not allow it.
    #[error("change the task {task}")]
    Illegal {
        /// The task.
        task: TaskId,
        /// State and event.
        #[source]
        source: IllegalTransition,
    },
    /// The step does not start where the lane stands.
    #[error("move lane {lane} of stream {stream} of the task {task}")]
    NotContiguous {
        /// The task.
        task: TaskId,
        /// The stream.
        stream: String,
        /// The lane.
        lane: u32,
        /// Both offsets.
        #[source]
        source: Box<NotContiguous>,
    },
    /// The stream is not the one that was begun.
    #[error(
        "go on with stream {stream} of the task {task}: its path, paginator, key or cursor field changed; \
         `exportctl offsets reset {task} --stream {stream} --yes` starts it again"
    )]
    FingerprintChanged {
        /// The task.
        task: TaskId,
        /// The stream.
        stream: String,
    },
    /// The mark was set by a stream that was configured otherwise.
    #[error(
        "go on from the mark of stream {stream}: its path, paginator, key or cursor field changed; \
         `exportctl run {export} --full` reads everything again"
    )]
    MarkOfAnother {
        /// The export.
        export: String,
        /// The stream.
        stream: String,
    },
    /// More records share the boundary than may be remembered.
    #[error(
        "remember the newest records of stream {stream}: more than {most} lie at the boundary; \
         raise incremental.max_boundary, or shorten look_back"
    )]
    Boundary {
        /// The stream.
        stream: String,
        /// The limit.
        most: u32,
    },
    /// What is stored does not allow it; the text says why.
    #[error("{0}")]
    Refused(String),
    /// A promise that the caller must keep is broken; the text says which.
    #[error("record {0}")]
    Broken(String),
    /// The ledger is closed or its thread is gone.
    #[error("reach the ledger: it is closed")]
    Closed,
}

impl LedgerError {
    /// Says where the disk is full, if that is what happened.
    pub(super) fn located(self, path: &Path) -> Self {
        match self {
            Self::Sqlite(source) if disk_full(&source) => Self::Full { path: path.to_owned(), source },
            other => other,
        }
    }
}

/// A full disk or quota: SQLite says so, or a file of the log could not grow (quotas arrive as I/O errors).
fn disk_full(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let rusqlite::Error::SqliteFailure(error, _) = error else { return false };
    let growing = [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_SHMMAP];
    error.code == ErrorCode::DiskFull || growing.contains(&error.extended_code)
}

impl Classify for LedgerError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Io { source, .. } => io_class(source),
            Self::Corrupt { .. } => ErrorClass::Data,
            Self::Newer { .. } | Self::NetworkFs { .. } | Self::FingerprintChanged { .. } => ErrorClass::Config,
            Self::MarkOfAnother { .. } | Self::Boundary { .. } => ErrorClass::Config,
            Self::NoSuchTask(_) | Self::NotThere { .. } => ErrorClass::Config,
            Self::Full { .. } | Self::NoRoom { .. } => ErrorClass::Full,
            Self::Owned { .. } | Self::Illegal { .. } | Self::NotContiguous { .. } | Self::Refused(_) => {
                ErrorClass::Conflict
            }
            Self::Broken(_) => ErrorClass::Bug,
            Self::Closed => ErrorClass::Stopped,
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => match error.code {
                ErrorCode::DiskFull => ErrorClass::Full,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => ErrorClass::Data,
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SystemIoFailure => {
                    ErrorClass::Transient
                }
                ErrorCode::CannotOpen | ErrorCode::OutOfMemory => ErrorClass::Transient,
                ErrorCode::ReadOnly | ErrorCode::PermissionDenied => ErrorClass::Config,
                _ => ErrorClass::Bug,
            },
            Self::Sqlite(_) => ErrorClass::Bug,
        }
    }
}
