//! Opens the ledger's file: checked before SQLite may write to it, created whole or not at all.

use super::error::LedgerError;
use super::schema::{APPLICATION_ID, NEWEST, migrate};
use crate::base::{clock, fsio};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a connection waits for a lock. Only a checkpoint and a reader that opens can ever meet.
const BUSY: Duration = Duration::from_secs(5);
/// Pages in the log before a commit moves them to the file: 4 MB, which bounds what a start must replay.
const CHECKPOINT_PAGES: i64 = 1000;
/// What the log's file is cut back to after a checkpoint.
const LOG_LIMIT: i64 = 16 * 1024 * 1024;
/// Statements kept prepared; more than the ledger has.
const STATEMENTS: usize = 128;
/// Up to this size a ledger is checked whole before it is used, and a larger one for this long.
const CHECKED_WHOLE: u64 = 64 << 20;
const CHECKED_FOR: Duration = Duration::from_millis(100);
/// Steps of SQLite's machine between two looks at the time.
const CHECK_STEPS: i32 = 1000;
/// What every SQLite file starts with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The one connection that writes. A missing ledger is created; a damaged, foreign or newer one is refused and left as
/// it is.
pub(super) fn writer(path: &Path) -> Result<Connection, LedgerError> {
    if exists(path)? {
        check_for(path, brief(path))?
    } else {
        create(path)?
    }
    let mut sql = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mode: String = sql.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(LedgerError::Refused(format!(
            "open the ledger {}: its file system takes no write-ahead log",
            path.display()
        )));
    }
    sql.pragma_update(None, "synchronous", "full")?;
    sql.pragma_update(None, "foreign_keys", true)?;
    sql.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    sql.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |_| Ok(()))?;
    migrate(&mut sql)?;
    Ok(sql)
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path) -> Result<Connection, LedgerError> {
    let sql = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    sql.pragma_update(None, "query_only", true)?;
    Ok(sql)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, LedgerError> {
    let sql = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    sql.busy_timeout(BUSY)?;
    sql.pragma_update(None, "temp_store", "memory")?;
    sql.pragma_update(None, "trusted_schema", false)?;
    sql.set_prepared_statement_cache_capacity(STATEMENTS);
    // Plans do not depend on what is asked for; or else each statement that a partial index may serve is compiled at each use.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(sql)
}

fn exists(path: &Path) -> Result<bool, LedgerError> {
    if path.try_exists().map_err(|source| io_at("look at", path, source))? {
        return Ok(true);
    }
    // The log alone holds commits that a new file would lose.
    let log = fsio::sibling(path, "-wal");
    let left = fs::metadata(&log).is_ok_and(|meta| meta.len() > 0);
    if left { Err(corrupt(path, format!("it is missing, but its log {} is there", log.display()))) } else { Ok(false) }
}

/// Builds the ledger under another name, so that a crash leaves either none or a whole one.
fn create(path: &Path) -> Result<(), LedgerError> {
    let fresh = fsio::sibling(path, ".new");
    for suffix in ["-wal", "-shm", "-journal"] {
        let leftover = fsio::sibling(&fresh, suffix);
        fsio::remove(&leftover).map_err(|source| io_at("remove", &leftover, source))?;
    }
    let file = fsio::create_fresh(&fresh, 0o600).map_err(|source| io_at("create", &fresh, source))?;
    let built = (|| {
        let mut sql = connect(&fresh, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        sql.pragma_update(None, "application_id", APPLICATION_ID)?;
        sql.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        migrate(&mut sql)?;
        sql.close().map_err(|(_, error)| LedgerError::from(error))
    })();
    built.map_err(|error| error.located(path))?;
    file.sync_all().map_err(|source| io_at("sync", &fresh, source))?;
    fs::rename(&fresh, path).map_err(|source| io_at("create", path, source))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    fsio::sync_dir(dir).map_err(|source| io_at("sync", dir, source))
}

/// Refuses what is not a whole ledger of a version known here, without writing a byte.
pub(super) fn check(path: &Path) -> Result<(), LedgerError> {
    check_for(path, None)
}

/// How long a ledger is checked before it is used: a large one for a moment, so that nobody waits for it. Snapshots of it are
/// checked whole.
fn brief(path: &Path) -> Option<Duration> {
    fs::metadata(path).is_ok_and(|meta| meta.len() > CHECKED_WHOLE).then_some(CHECKED_FOR)
}

/// The same, for at most so long: what was seen until then counts.
fn check_for(path: &Path, limit: Option<Duration>) -> Result<(), LedgerError> {
    let mut sql = untouched(path)?;
    if let Some(limit) = limit {
        let began = clock::monotonic();
        sql.progress_handler(CHECK_STEPS, Some(move || clock::since(began) > limit))?;
    }
    let verdict = sql.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(corrupt(path, format!("its check found: {}", verdict.replace('\n', ", ")))),
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::OperationInterrupted => Ok(()),
        Err(error) => Err(damaged(path, error.into())),
    }
}

/// Opens a ledger of a version known here for looking, without writing a byte. Whether it is whole is still to be checked.
pub(super) fn untouched(path: &Path) -> Result<Connection, LedgerError> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start))
        .map_err(|source| io_at("read", path, source))?;
    if start.is_empty() {
        return Err(corrupt(path, "it is empty".into()));
    }
    if start != MAGIC {
        return Err(corrupt(path, "it is not an SQLite file".into()));
    }
    let sql = connect_untouching(path).map_err(|error| damaged(path, error))?;
    let problem = inspect(&sql, path).map_err(|error| damaged(path, error))?;
    match problem {
        None => Ok(sql),
        Some(Found::Newer(found)) => Err(LedgerError::Newer { path: path.to_owned(), found, known: NEWEST }),
        Some(Found::Problem(problem)) => Err(corrupt(path, problem)),
    }
}

enum Found {
    Newer(i64),
    Problem(String),
}

fn inspect(sql: &Connection, path: &Path) -> Result<Option<Found>, LedgerError> {
    let application: i32 = sql.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Ok(Some(Found::Problem("it is an SQLite file of another program".into())));
    }
    let version: i64 = sql.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > NEWEST {
        return Ok(Some(Found::Newer(version)));
    }
    // SQLite takes a torn last page for a whole one that ends in zeros.
    let page: i64 = sql.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let size = fs::metadata(path).map_err(|source| io_at("read", path, source))?.len();
    let torn = size % u64::try_from(page).unwrap_or(4096).max(512);
    let logged = fs::metadata(fsio::sibling(path, "-wal")).is_ok();
    if !logged && torn != 0 {
        return Ok(Some(Found::Problem(format!("its last page is cut off after {torn} bytes"))));
    }
    Ok(None)
}

/// Opens a ledger for looking. Without a log the file alone is the ledger and nothing beside it is created; with a log
/// the log is read too, and stays.
fn connect_untouching(path: &Path) -> Result<Connection, LedgerError> {
    if fs::metadata(fsio::sibling(path, "-wal")).is_ok() {
        let sql = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        return Ok(sql);
    }
    let absolute = std::path::absolute(path).map_err(|source| io_at("find", path, source))?;
    let uri = PathBuf::from(format!("file:{}?immutable=1", escaped(&absolute)));
    connect(&uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// A path inside a `file:` URI.
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
    path.as_os_str()
        .as_bytes()
        .iter()
        .map(|&b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn damaged(path: &Path, error: LedgerError) -> LedgerError {
    use rusqlite::ErrorCode;
    match error {
        LedgerError::Sqlite(rusqlite::Error::SqliteFailure(e, text))
            if matches!(e.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
        {
            corrupt(path, text.unwrap_or_else(|| "it is damaged".into()))
        }
        other => other.located(path),
    }
}

fn corrupt(path: &Path, problem: String) -> LedgerError {
    LedgerError::Corrupt { path: path.to_owned(), problem }
}

pub(super) fn io_at(doing: &'static str, path: &Path, source: io::Error) -> LedgerError {
    LedgerError::Io { doing, path: path.to_owned(), source }
}
