//! Snapshots: whole copies of the running ledger, made without holding up its writer.

use super::audit::Entry;
use super::error::LedgerError;
use super::{Ledger, open};
use crate::base::{clock, crash, fsio};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use saas_export_manifest::Digests;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Directory of the snapshots, in the state directory.
pub const DIR: &str = "snapshots";
/// What the name of a copy ends with that is not whole yet.
const PARTIAL: &str = ".partial";
/// How a snapshot is called, after the time at which it was taken.
const NAME: &str = "ledger-%Y%m%dT%H%M%SZ.db";
/// Pages that are copied at a time, 4 MB: the end of the daemon waits for no more than these.
const STEP_PAGES: i32 = 1024;
/// Time between two steps, so that the copy leaves most of the disk to the writer.
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// When it was taken, to the second.
    pub taken_at: Timestamp,
    /// Its size.
    pub bytes: u64,
}

/// A snapshot that was just taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// How long it took.
    pub took: Duration,
}

/// The time in the name of a snapshot; nothing else has such a name.
fn time_of(name: &str) -> Option<Timestamp> {
    let at = DateTime::strptime(NAME, name).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (name_of(at) == name).then_some(at)
}

fn name_of(at: Timestamp) -> String {
    at.strftime(NAME).to_string()
}

/// The snapshots in a directory, newest first; none where there is no such directory.
pub(super) fn list(dir: &Path) -> Result<Vec<Snapshot>, LedgerError> {
    let failed = |source| LedgerError::Io { doing: "look into", path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // One that was removed meanwhile is none.
        let (Some(taken_at), Ok(meta)) = (time_of(&name), entry.metadata()) else { continue };
        if meta.is_file() {
            found.push(Snapshot { path: entry.path(), name, taken_at, bytes: meta.len() });
        }
    }
    found.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.taken_at));
    Ok(found)
}

/// Copies the ledger at `from` into `dir`: copied, checked, durable, and only then under its name.
fn take(from: &Path, dir: &Path, stopped: &dyn Fn() -> bool) -> Result<Taken, LedgerError> {
    let begun = clock::monotonic();
    let at = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| LedgerError::Io { doing, path, source }
    };
    create_dir(dir)?;
    has_room(from, dir)?;
    // Two of one second would have one name.
    while dir.join(name_of(clock::now())).exists() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let taken_at = clock::now();
    let name = name_of(taken_at);
    let path = dir.join(&name);
    let partial = fsio::sibling(&path, PARTIAL);
    let file = fsio::create_fresh(&partial, 0o600).map_err(at("create", &partial))?;
    let copied = copy(from, &partial, stopped).and_then(|()| open::check(&partial)).map_err(|error| match error {
        // The copy is what was read.
        LedgerError::Corrupt { problem, .. } => LedgerError::Corrupt { path: from.to_owned(), problem },
        other => other,
    });
    if let Err(error) = copied {
        fsio::remove(&partial).map_err(at("remove", &partial))?;
        return Err(error);
    }
    file.sync_all().map_err(at("sync", &partial))?;
    let digests = File::open(&partial).and_then(|file| Digests::read(file, |_| ())).map_err(at("read", &partial))?;
    crash::point("snapshot.synced");
    fs::rename(&partial, &path).map_err(at("rename", &partial))?;
    fsio::sync_dir(dir).map_err(at("sync", dir))?;
    crash::point("snapshot.named");
    let taken_at = time_of(&name).unwrap_or(taken_at);
    let snapshot = Snapshot { name, path, taken_at, bytes: digests.bytes };
    Ok(Taken { snapshot, sha256: digests.sha256, took: clock::since(begun) })
}

fn create_dir(dir: &Path) -> Result<(), LedgerError> {
    let failed = |source| LedgerError::Io { doing: "create", path: dir.to_owned(), source };
    fsio::create_dir_durable(dir).map_err(failed)?;
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(failed)
}

/// Refuses a copy that would leave the ledger itself less room than it has taken by now: exports come first.
fn has_room(from: &Path, dir: &Path) -> Result<(), LedgerError> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let bytes = size(from) + size(&fsio::sibling(from, "-wal"));
    let free =
        fsio::free_space(dir).map_err(|source| LedgerError::Io { doing: "look at", path: dir.to_owned(), source })?;
    if free / 2 < bytes { Err(LedgerError::NoRoom { path: dir.to_owned(), bytes, free }) } else { Ok(()) }
}

/// One snapshot of the ledger, page by page. It is read in one transaction, as any question is, so that commits meanwhile
/// neither wait nor begin it anew; the log alone grows until it ends.
fn copy(from: &Path, to: &Path, stopped: &dyn Fn() -> bool) -> Result<(), LedgerError> {
    let source = open::reader(from)?;
    let held = source.unchecked_transaction()?;
    // A transaction begins with its first look.
    held.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut copy = Connection::open(to)?;
    // What is not whole is thrown away, and what is whole is synced once, at the end.
    copy.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))?;
    copy.pragma_update(None, "synchronous", "off")?;
    let backup = Backup::new(&held, &mut copy)?;
    while backup.step(STEP_PAGES).map_err(|error| LedgerError::from(error).located(to))? != StepResult::Done {
        if stopped() {
            return Err(LedgerError::Closed);
        }
        std::thread::sleep(STEP_PAUSE);
    }
    drop(backup);
    copy.close().map_err(|(_, error)| LedgerError::from(error).located(to))?;
    held.finish()?;
    Ok(())
}

/// Removes copies that were never finished, and snapshots that were taken before `oldest`; never the newest.
fn sweep(dir: &Path, oldest: Timestamp) -> Result<Vec<String>, LedgerError> {
    let failed = |source| LedgerError::Io { doing: "sweep", path: dir.to_owned(), source };
    let mut removed = Vec::new();
    for old in list(dir)?.into_iter().skip(1).filter(|snapshot| snapshot.taken_at < oldest) {
        fsio::remove(&old.path).map_err(failed)?;
        removed.push(old.name);
    }
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(removed),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.strip_suffix(PARTIAL).is_some_and(|name| time_of(name).is_some()) {
            fsio::remove(&path).map_err(failed)?;
        }
    }
    fsio::sync_dir(dir).map_err(failed)?;
    Ok(removed)
}

impl Ledger {
    /// Takes a snapshot, which lies in the state directory then, and says so in the audit. One at a time; more wait. An empty
    /// `actor` is the daemon.
    ///
    /// # Errors
    /// `NoRoom` where the copy would take room that the ledger itself may need; `Closed` when the daemon ends meanwhile.
    pub async fn snapshot(&self, actor: &str) -> Result<Taken, LedgerError> {
        let turn = self.shared.care.clone().lock_owned().await;
        let ledger = self.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let readers = &ledger.shared.readers;
            take(ledger.path(), &ledger.snapshot_dir(), &|| readers.closed())
        });
        let taken = taken.await.map_err(|_| LedgerError::Closed)??;
        let (actor, done) = (actor.to_owned(), taken.clone());
        self.write(move |tx| {
            let detail = json!({ "bytes": done.snapshot.bytes, "sha256": done.sha256 });
            tx.audit(Entry {
                actor: &actor,
                action: "snapshot",
                reason: &done.snapshot.name,
                detail: Some(detail.to_string()),
                ..Entry::default()
            })
        })
        .await?;
        Ok(taken)
    }

    /// The snapshots that there are, newest first.
    pub async fn snapshots(&self) -> Result<Vec<Snapshot>, LedgerError> {
        let dir = self.snapshot_dir();
        tokio::task::spawn_blocking(move || list(&dir)).await.map_err(|_| LedgerError::Closed)?
    }

    /// Opens a snapshot by its name, with its size; `None` where there is none of that name.
    pub async fn open_snapshot(&self, name: &str) -> Result<Option<(File, u64)>, LedgerError> {
        if time_of(name).is_none() {
            return Ok(None);
        }
        let path = self.snapshot_dir().join(name);
        let open = move || {
            let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(&path);
            match opened.and_then(|file| Ok((file.metadata()?.len(), file))) {
                Ok((bytes, file)) => Ok(Some((file, bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(LedgerError::Io { doing: "open", path, source }),
            }
        };
        tokio::task::spawn_blocking(open).await.map_err(|_| LedgerError::Closed)?
    }

    /// Removes what interrupted snapshots left, and snapshots that are older than `keep`, but never the newest. The names of
    /// those are in the audit.
    pub async fn sweep_snapshots(&self, keep: Duration) -> Result<Vec<String>, LedgerError> {
        let turn = self.shared.care.clone().lock_owned().await;
        let dir = self.snapshot_dir();
        let swept = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            sweep(&dir, clock::now().checked_sub(keep).unwrap_or(Timestamp::MIN))
        });
        let removed = swept.await.map_err(|_| LedgerError::Closed)??;
        if !removed.is_empty() {
            let names = removed.join(" ");
            self.write(move |tx| tx.audit(Entry { action: "snapshots_removed", reason: &names, ..Entry::default() }))
                .await?;
        }
        Ok(removed)
    }

    fn snapshot_dir(&self) -> PathBuf {
        self.path().with_file_name(DIR)
    }
}
