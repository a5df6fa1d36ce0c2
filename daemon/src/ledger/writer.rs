//! The writer thread: it alone writes, one immediate transaction per piece of work, with its audit rows inside.

use super::error::LedgerError;
use super::owner::Owner;
use crate::base::clock;
use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::cell::Cell;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Pieces of work that may wait for the writer; callers wait beyond that.
pub(super) const INBOX: usize = 64;

/// A piece of work for the writer thread.
pub(super) enum Job {
    /// Run this, which was asked for then.
    Run(Instant, Box<dyn FnOnce(&mut Writer) + Send>),
    /// Move the log into the file, end, and answer.
    Close(oneshot::Sender<Result<(), LedgerError>>),
}

impl Job {
    /// Work that is asked for now.
    pub fn run(work: impl FnOnce(&mut Writer) + Send + 'static) -> Self {
        Self::Run(clock::monotonic(), Box::new(work))
    }
}

/// When the piece of work was asked for that the writer does, if it does one.
#[derive(Default)]
pub(super) struct Busy(Mutex<Option<Instant>>);

impl Busy {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// How long whoever asked for it has waited.
    pub fn long(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, clock::since)
    }
}

/// What the writer thread owns.
pub(super) struct Writer {
    pub sql: Connection,
    pub path: PathBuf,
    pub changes: watch::Sender<i64>,
    // Last, so that the lock outlives the connection.
    pub owner: Arc<Owner>,
}

/// An open transaction, its time, and the audit rows it made.
pub(super) struct Tx<'a> {
    sql: Transaction<'a>,
    /// The time of everything in it.
    pub at: Timestamp,
    /// This start of the daemon.
    pub instance: &'a str,
    /// The last audit row made in it.
    pub audited: Cell<Option<i64>>,
}

impl Deref for Tx<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.sql
    }
}

impl Writer {
    /// Does jobs until told to close or until nobody can send any.
    pub fn work(mut self, mut jobs: mpsc::Receiver<Job>, busy: &Busy) {
        while let Some(job) = jobs.blocking_recv() {
            match job {
                Job::Run(asked, run) => {
                    busy.set(Some(asked));
                    run(&mut self);
                    busy.set(None);
                }
                Job::Close(answer) => {
                    jobs.close();
                    let _ = answer.send(self.finish());
                    return;
                }
            }
        }
    }

    /// Runs `work` in one immediate transaction: all of it, or nothing.
    pub fn transact<T>(&mut self, work: impl FnOnce(&Tx<'_>) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let Self { sql, owner, changes, path } = self;
        let result = (|| {
            let sql = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let tx = Tx { sql, at: clock::now(), instance: &owner.instance, audited: Cell::new(None) };
            let done = work(&tx)?;
            let audited = tx.audited.get();
            tx.sql.commit()?;
            if let Some(seq) = audited {
                changes.send_replace(seq);
            }
            Ok(done)
        })();
        result.map_err(|error: LedgerError| error.located(path))
    }

    fn finish(self) -> Result<(), LedgerError> {
        let Self { sql, owner, path, .. } = self;
        let checkpoint = sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let closed = sql.close().map_err(|(_, error)| error);
        drop(owner);
        checkpoint.and(closed).map_err(|error| LedgerError::from(error).located(&path))
    }
}
