//! A ledger that is made beside the one of a state directory, and takes its place when it is whole.
//!
//! ```text
//! copy of a snapshot, or empty ─▶ ledger.db.draft ─▶ closed, synced ─▶ renamed to ledger.db, in one step
//!                                     ledger.db ─▶ has a second name before that: ledger.db.before-<time>
//! ```

use super::error::LedgerError;
use super::open::{self, io_at};
use super::owner::{LOCK, Owner};
use super::{FILE, Ledger};
use crate::base::{crash, fsio};
use jiff::Timestamp;
use rusqlite::Connection;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is added to the name of the ledger while it is a draft.
const DRAFT: &str = ".draft";
/// What is added to the name of the ledger that was there before, with the time.
const BEFORE: &str = ".before-";
/// What SQLite keeps beside a file.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// The right to replace the ledger of a state directory. Nobody else uses the directory for as long as this lives.
pub struct Draft {
    state_dir: PathBuf,
    path: PathBuf,
    // Last, so that it outlives everything else.
    _owner: Arc<Owner>,
}

impl Draft {
    /// Takes a state directory, and opens a new ledger beside the one in it, which is not touched: a copy of `snapshot`, checked
    /// and brought to the newest version, or an empty one.
    ///
    /// # Errors
    /// `Owned` while a daemon works there; `Refused` and `Newer` where the snapshot is no whole ledger that is known here.
    pub fn begin(state_dir: &Path, snapshot: Option<&Path>) -> Result<(Self, Ledger), LedgerError> {
        if !state_dir.is_dir() {
            let why = "there is no such directory; start and stop the daemon once, or correct daemon.state_dir";
            return Err(LedgerError::Refused(format!("use the state directory {}: {why}", state_dir.display())));
        }
        let owner = Arc::new(Owner::take(state_dir)?);
        own(&state_dir.join(LOCK), state_dir)?;
        forget_names(state_dir)?;
        let path = state_dir.join(format!("{FILE}{DRAFT}"));
        let draft = Self { state_dir: state_dir.to_owned(), path, _owner: owner.clone() };
        draft.remove()?;
        if let Some(snapshot) = snapshot
            && let Err(error) = copy_with_log(snapshot, &draft.path)
        {
            // On a full disk what is left of it would stand in everybody's way.
            draft.remove()?;
            return Err(error);
        }
        match Ledger::start(owner, draft.path.clone()) {
            Ok(ledger) => Ok((draft, ledger)),
            Err(error) => {
                draft.remove()?;
                Err(of(error, snapshot.unwrap_or(&draft.path)))
            }
        }
    }

    /// Forgets the draft; its ledger must be closed.
    pub fn discard(self) -> Result<(), LedgerError> {
        self.remove()
    }

    /// Puts the draft into its place; its ledger must be closed. Where the ledger that was there is now; `None` where there was
    /// none. A crash leaves the one or the other.
    pub fn put_in_place(self, now: Timestamp) -> Result<Option<PathBuf>, LedgerError> {
        let path = self.state_dir.join(FILE);
        let sync_dir = || fsio::sync_dir(&self.state_dir).map_err(|source| io_at("sync", &self.state_dir, source));
        if logged(&self.path) {
            // Its log would not come along.
            return Err(LedgerError::Refused(format!(
                "use {}: another program is reading it; end that",
                self.path.display()
            )));
        }
        own(&self.path, &self.state_dir)?;
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(|source| io_at("sync", &self.path, source))?;
        sync_dir()?;
        crash::point("restore.built");
        settle(&path)?;
        let before = free_name(&path, now);
        let mut kept = None;
        for suffix in ["", "-wal"] {
            let (from, to) = (fsio::sibling(&path, suffix), fsio::sibling(&before, suffix));
            if from.exists() {
                second_name(&from, &to).map_err(|source| io_at("keep", &to, source))?;
                own(&to, &self.state_dir)?;
                kept.get_or_insert(to);
            }
        }
        sync_dir()?;
        crash::point("restore.kept");
        // A log belongs to the file that it was written for: beside another one it would be replayed into that.
        for suffix in BESIDE {
            let beside = fsio::sibling(&path, suffix);
            fsio::remove(&beside).map_err(|source| io_at("remove", &beside, source))?;
        }
        sync_dir()?;
        crash::point("restore.log_removed");
        fs::rename(&self.path, &path).map_err(|source| io_at("replace", &path, source))?;
        sync_dir()?;
        crash::point("restore.in_place");
        Ok(kept)
    }

    fn remove(&self) -> Result<(), LedgerError> {
        for suffix in ["", "-wal", "-shm", ".new", ".new-wal", ".new-shm"] {
            let path = fsio::sibling(&self.path, suffix);
            fsio::remove(&path).map_err(|source| io_at("remove", &path, source))?;
        }
        Ok(())
    }
}

/// An error about the draft, told of what it was made of.
fn of(error: LedgerError, path: &Path) -> LedgerError {
    match error {
        LedgerError::Corrupt { problem, .. } => {
            LedgerError::Refused(format!("use the ledger {}: {problem}; choose another one", path.display()))
        }
        LedgerError::Newer { found, known, .. } => LedgerError::Newer { path: path.to_owned(), found, known },
        other => other,
    }
}

fn copy_with_log(from: &Path, to: &Path) -> Result<(), LedgerError> {
    copy(from, to)?;
    let log = fsio::sibling(from, "-wal");
    if log.exists() { copy(&log, &fsio::sibling(to, "-wal")) } else { Ok(()) }
}

/// The name under which the ledger that was there is kept: one that no ledger before it has.
fn free_name(ledger: &Path, now: Timestamp) -> PathBuf {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let name = |n: u32| {
        let count = if n == 0 { String::new() } else { format!("-{n}") };
        fsio::sibling(ledger, &format!("{BEFORE}{time}{count}"))
    };
    let taken = |path: &PathBuf| ["", "-wal"].iter().any(|end| fsio::sibling(path, end).symlink_metadata().is_ok());
    (0..u32::MAX).map(name).find(|path| !taken(path)).unwrap_or_else(|| name(u32::MAX))
}

fn copy(from: &Path, to: &Path) -> Result<(), LedgerError> {
    let mut source = File::open(from).map_err(|source| io_at("open", from, source))?;
    let mut file = fsio::create_fresh(to, 0o600).map_err(|source| io_at("create", to, source))?;
    io::copy(&mut source, &mut file).map_err(|source| io_at("copy", from, source))?;
    file.sync_all().map_err(|source| io_at("sync", to, source))
}

/// Gives a file to the owner of the state directory, who need not be the one who repairs it.
fn own(path: &Path, state_dir: &Path) -> Result<(), LedgerError> {
    OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
        .and_then(|file| fsio::give_to_owner(&file, state_dir))
        .map_err(|source| io_at("give to its owner", path, source))
}

/// Whether a file has a log with something in it.
fn logged(path: &Path) -> bool {
    fs::metadata(fsio::sibling(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// Moves the log of the ledger that is to go into its file, so that a crash before its place is taken loses nothing of it. One
/// that is damaged, or lies on a disk that cannot be read, keeps its log: it must not stand in the way of what replaces it.
fn settle(path: &Path) -> Result<(), LedgerError> {
    if !logged(path) || !path.exists() {
        return Ok(());
    }
    let closed = open::check(path).and_then(|()| {
        let sql = Connection::open(path)?;
        let busy = sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))?;
        sql.close().map_err(|(_, error)| LedgerError::from(error))?;
        Ok(busy)
    });
    match closed.map_err(|error| error.located(path)) {
        Ok(true) => {
            Err(LedgerError::Refused(format!("replace {}: another program is reading it; end that", path.display())))
        }
        Err(full @ LedgerError::Full { .. }) => Err(full),
        Ok(false) | Err(_) => Ok(()),
    }
}

/// Gives a file one more name, or where the file system has no such thing, a copy of that name.
fn second_name(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let copied = File::open(from).and_then(|mut file| io::copy(&mut file, &mut copy)).and_then(|_| copy.sync_all());
    copied.inspect_err(|_| drop(fsio::remove(to)))
}

/// Removes second names of files that are still in use, left by a replacement that was cut off.
fn forget_names(state_dir: &Path) -> Result<(), LedgerError> {
    let read = |source| io_at("read", state_dir, source);
    let same = |path: &Path, other: &Path| {
        let identity = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        identity(path).is_some_and(|found| identity(other) == Some(found))
    };
    for entry in fs::read_dir(state_dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let second = name.starts_with(&format!("{FILE}{BEFORE}"));
        let used = ["", "-wal"].iter().any(|suffix| same(&path, &state_dir.join(format!("{FILE}{suffix}"))));
        if second && used {
            fsio::remove(&path).map_err(|source| io_at("remove", &path, source))?;
        }
    }
    Ok(())
}
