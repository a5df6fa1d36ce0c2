//! The ledger: the SQLite database that is the only truth.
//!
//! [`Ledger`] is an async handle over one writer thread ([`writer`]); readers use their own connections ([`read`]).
//! Every method that writes is one transaction together with its audit rows. A method whose future is dropped may still
//! take effect; none takes effect in part.

pub mod adopt;
mod audit;
mod check;
mod codec;
mod deliveries;
mod draft;
mod error;
mod exports;
pub mod facts;
mod fill;
mod history;
pub mod input;
mod manifests;
mod marks;
mod offsets;
mod open;
mod outbox;
mod owner;
mod parents;
mod partitions;
pub mod prunes;
mod queue;
mod read;
mod recover;
mod restart;
pub mod rows;
mod schedules;
mod schema;
mod segments;
mod single;
mod snapshot;
mod spooled;
mod streams;
mod sweeps;
mod tasks;
mod uploads;
mod writer;

pub use check::{CheckStep, check_file};
pub use draft::Draft;
pub use error::LedgerError;
pub use outbox::{Attempt, Due, NoticeFilter};
pub use schedules::Slot;
pub use segments::{Advance, Tail};
pub use snapshot::{Snapshot, Taken};
pub use sweeps::SweepClaim;

use crate::base::clock;
use codec::At;
use owner::Owner;
use read::Readers;
use rusqlite::{Connection, InterruptHandle};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use writer::{Busy, INBOX, Job, Tx, Writer};

/// Name of the ledger's file in the state directory.
pub const FILE: &str = "ledger.db";
/// Starts of the daemon that are remembered.
const INSTANCES: i64 = 1000;

/// A handle on the ledger; clones share the writer thread.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: mpsc::Sender<Job>,
    busy: Arc<Busy>,
    readers: Arc<Readers>,
    changes: watch::Receiver<i64>,
    instance: String,
    path: PathBuf,
    /// Tasks whose files are being removed.
    claims: sweeps::Claims,
    /// The turn of what reads the whole ledger.
    care: Arc<tokio::sync::Mutex<()>>,
    /// Ends a check that is under way.
    interrupt: Mutex<Option<InterruptHandle>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// Takes the state directory (created with mode 0700 if missing), checks or creates the ledger in it, and starts
    /// its thread. Blocks while it checks: seconds for a ledger of gigabytes.
    ///
    /// # Errors
    /// `Owned` while another daemon works there, `NetworkFs`, `Corrupt` and `Newer` as they say; the ledger is not
    /// touched then.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        let owner = Arc::new(Owner::take(state_dir)?);
        Self::start(owner, state_dir.join(FILE))
    }

    /// Opens a file of a state directory that is ours, and starts its thread.
    fn start(owner: Arc<Owner>, path: PathBuf) -> Result<Self, LedgerError> {
        let sql = open::writer(&path).map_err(|error| error.located(&path))?;
        let instance = owner.instance.clone();
        let tip = audit::tip(&sql)?.0;
        let (changes, follow) = watch::channel(tip);
        let mut writer = Writer { sql, path: path.clone(), changes, owner };
        introduce(&mut writer)?;
        let (jobs, inbox) = mpsc::channel(INBOX);
        let busy = Arc::new(Busy::default());
        let working = busy.clone();
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.work(inbox, &working))
            .map_err(|source| LedgerError::Io { doing: "start the thread of", path: path.clone(), source })?;
        let readers = Arc::new(Readers::new(path.clone()));
        let thread = Mutex::new(Some(thread));
        let (claims, care) = (sweeps::Claims::default(), Arc::default());
        let shared = Shared {
            jobs,
            busy,
            readers,
            changes: follow,
            instance,
            path,
            claims,
            care,
            interrupt: Mutex::default(),
            thread,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The random id of this start of the daemon.
    pub fn instance(&self) -> &str {
        &self.shared.instance
    }

    /// The ledger's file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The seq of the last audit row, as it grows: who waits for a change sees every one.
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.shared.changes.clone()
    }

    /// How long whoever asked for the piece of work that the writer thread does now has waited.
    pub fn busy(&self) -> Result<Duration, LedgerError> {
        if self.shared.jobs.is_closed() { Err(LedgerError::Closed) } else { Ok(self.shared.busy.long()) }
    }

    /// Comes back when the writer thread has answered; for the watchdog.
    pub async fn heartbeat(&self) -> Result<(), LedgerError> {
        let (answer, wait) = oneshot::channel();
        let job = Job::run(move |_| {
            let _ = answer.send(());
        });
        self.shared.jobs.send(job).await.map_err(|_| LedgerError::Closed)?;
        wait.await.map_err(|_| LedgerError::Closed)
    }

    /// Finishes the work that waits, moves the log into the file and gives the state directory free. Every later call
    /// on any clone fails with `Closed`.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.shared.readers.close().await;
        if let Some(check) = self.shared.interrupt.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            check.interrupt();
        }
        let (answer, wait) = oneshot::channel();
        self.shared.jobs.send(Job::Close(answer)).await.map_err(|_| LedgerError::Closed)?;
        let closed = wait.await.map_err(|_| LedgerError::Closed)?;
        let thread = self.shared.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        closed
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (answer, wait) = oneshot::channel();
        let job = Job::run(move |writer| {
            let _ = answer.send(writer.transact(work));
        });
        self.shared.jobs.send(job).await.map_err(|_| LedgerError::Closed)?;
        wait.await.map_err(|_| LedgerError::Closed)?
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.shared.readers.run(work).await
    }
}

/// Writes down this start of the daemon, so that its tasks can be told from those of a dead one.
fn introduce(writer: &mut Writer) -> Result<(), LedgerError> {
    let boot_id = writer.owner.boot_id.clone();
    writer.transact(|tx| {
        codec::run(
            tx,
            "INSERT INTO instances (id, boot_id, pid, started_at) VALUES (?1, ?2, ?3, ?4)",
            (tx.instance, boot_id, std::process::id(), At(clock::now())),
        )?;
        codec::run(
            tx,
            "DELETE FROM instances WHERE rowid <= (SELECT max(rowid) FROM instances) - ?1
             AND id NOT IN (SELECT instance FROM tasks WHERE instance IS NOT NULL)",
            [INSTANCES],
        )?;
        Ok(())
    })
}

#[cfg(test)]
mod tests;
