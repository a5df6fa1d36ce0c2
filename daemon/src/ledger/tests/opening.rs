//! Opening: created whole, taken by one, and never touched when something is wrong with it.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Name and content of every file of a directory, but for the index of a log, which is made from it.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|f| !f.file_name().to_string_lossy().ends_with("-shm"));
    files.map(|f| (f.file_name().to_string_lossy().into_owned(), fs::read(f.path()).unwrap())).collect()
}

/// A state directory with a closed ledger of some hundred kilobytes.
async fn closed() -> (TempDir, PathBuf) {
    let (dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    for n in 0..30 {
        commit(&ledger, &task, &segment(n, n..n + 1)).await.unwrap();
    }
    let path = ledger.path().to_owned();
    ledger.close().await.unwrap();
    (dir, path)
}

/// Opens what must be refused: the error, after checking that it names the file and nothing has changed.
fn refused(path: &Path) -> LedgerError {
    let dir = path.parent().unwrap();
    fs::remove_file(dir.join("lock")).unwrap();
    let before = contents(dir);
    let error = Ledger::open(dir).err().expect("must be refused");
    fs::remove_file(dir.join("lock")).unwrap();
    assert!(contents(dir) == before, "a file changed: {error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    fs::write(dir.join("lock"), "").unwrap();
    error
}

#[tokio::test]
async fn a_new_ledger_is_private_and_set_up() {
    let (_dir, ledger) = fresh();
    assert_eq!(fs::metadata(ledger.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(number(&ledger, "PRAGMA user_version"), schema::NEWEST);
    let settings = ledger.write(|tx| {
        let get = |name| -> rusqlite::Result<String> {
            tx.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).map(|v| format!("{v:?}"))
        };
        Ok([get("journal_mode")?, get("synchronous")?, get("foreign_keys")?, get("wal_autocheckpoint")?])
    });
    let expected = ["Text(\"wal\")", "Integer(2)", "Integer(1)", "Integer(1000)"];
    assert_eq!(settings.await.unwrap(), expected);
}

#[tokio::test]
async fn closing_leaves_one_file_and_ends_every_clone() {
    let (_dir, ledger) = fresh();
    let clone = ledger.clone();
    ledger.task(&TaskId::known("x")).await.unwrap();
    ledger.close().await.unwrap();
    let names: Vec<_> = contents(ledger.path().parent().unwrap()).into_keys().collect();
    assert_eq!(names, [FILE, "lock"]);
    assert!(matches!(clone.heartbeat().await, Err(LedgerError::Closed)));
    assert!(matches!(clone.task(&TaskId::known("x")).await, Err(LedgerError::Closed)));
    assert!(matches!(clone.close().await, Err(LedgerError::Closed)));
    reopened_after_close(ledger.path()).await;
}

async fn reopened_after_close(path: &Path) {
    let ledger = Ledger::open(path.parent().unwrap()).unwrap();
    ledger.heartbeat().await.unwrap();
}

#[tokio::test]
async fn the_second_daemon_is_refused_and_told_who_holds_it() {
    let (_dir, ledger) = fresh();
    let error = Ledger::open(ledger.path().parent().unwrap()).err().unwrap();
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
    // Who is refused must not have disturbed the holder.
    ledger.create_task(new_task("shop", "eu")).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_ledger() {
    for content in [&b""[..], b"SQLite", b"hello, this is not a database, but it is longer than a header"] {
        let (_dir, path) = closed().await;
        fs::write(&path, content).unwrap();
        let error = refused(&path);
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
        assert_eq!(error.class(), ErrorClass::Data);
    }
    let (_dir, path) = closed().await;
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(refused(&path).to_string().contains("another program"));
}

#[tokio::test]
async fn a_large_ledger_is_checked_for_a_moment() {
    let (_dir, path) = closed().await;
    let sql = Connection::open(&path).unwrap();
    let ballast =
        "CREATE TABLE ballast (b BLOB); WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 300)
                   INSERT INTO ballast SELECT randomblob(1000000) FROM c";
    sql.execute_batch(ballast).unwrap();
    drop(sql);
    let began = clock::monotonic();
    let ledger = Ledger::open(path.parent().unwrap()).unwrap();
    println!("{:?} to open {} bytes", clock::since(began), fs::metadata(&path).unwrap().len());
    ledger.create_task(new_task("shop", "eu")).await.unwrap();
    ledger.close().await.unwrap();
    // What makes it a ledger is looked at whatever its size.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(200_000_000).unwrap();
    assert!(matches!(refused(&path), LedgerError::Corrupt { .. }));
}

#[tokio::test]
async fn a_truncated_ledger() {
    let (_dir, path) = closed().await;
    let whole = fs::read(&path).unwrap();
    for length in [50, 100, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refused(&path);
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{length}: {error}");
    }
}

#[tokio::test]
async fn a_damaged_page() {
    let (_dir, path) = closed().await;
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    let mut found = 0;
    for page in 1..pages {
        let mut damaged = whole.clone();
        damaged[page * 4096..page * 4096 + 512].fill(0xa5);
        fs::write(&path, damaged).unwrap();
        let error = refused(&path);
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{page}: {error}");
        found += 1;
    }
    assert!(found > 20);
}

#[tokio::test]
async fn a_damaged_ledger_with_a_log_keeps_both() {
    let (dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    commit(&ledger, &task, &segment(0, 0..1)).await.unwrap();
    // What a killed daemon leaves behind: file and log, as they are now.
    let left = dir.path().join("left");
    fs::create_dir(&left).unwrap();
    for name in [FILE, "ledger.db-wal"] {
        fs::copy(ledger.path().with_file_name(name), left.join(name)).unwrap();
    }
    let survivor = left.join("survivor");
    fs::create_dir(&survivor).unwrap();
    for name in [FILE, "ledger.db-wal"] {
        fs::copy(left.join(name), survivor.join(name)).unwrap();
    }
    let again = Ledger::open(&survivor).unwrap();
    assert_eq!(again.segments(&task, STREAM).await.unwrap().len(), 1, "the log is replayed");
    again.close().await.unwrap();
    fs::remove_dir_all(&survivor).unwrap();

    let path = left.join(FILE);
    fs::write(left.join("lock"), "").unwrap();
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    for page in 2..damaged.len() / 4096 {
        damaged[page * 4096..page * 4096 + 64].fill(0xff);
    }
    fs::write(&path, damaged).unwrap();
    assert!(matches!(refused(&path), LedgerError::Corrupt { .. }));
    fs::remove_file(&path).unwrap();
    assert!(refused(&path).to_string().contains("its log"));
}

#[tokio::test]
async fn a_newer_ledger() {
    let (_dir, path) = closed().await;
    let sql = Connection::open(&path).unwrap();
    sql.pragma_update(None, "user_version", schema::NEWEST + 1).unwrap();
    drop(sql);
    let error = refused(&path);
    assert!(matches!(error, LedgerError::Newer { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Config);
}

#[tokio::test]
async fn a_crash_while_creating_leaves_no_half_ledger() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ledger.db.new"), "half").unwrap();
    fs::write(dir.path().join("ledger.db.new-wal"), "a").unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    ledger.create_task(new_task("shop", "eu")).await.unwrap();
    ledger.close().await.unwrap();
    assert_eq!(contents(dir.path()).into_keys().collect::<Vec<_>>(), [FILE, "lock"]);
}

#[tokio::test]
async fn a_full_disk_is_named_and_nothing_is_half_written() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    let limit = |pages: &'static str| {
        ledger.write(move |tx| Ok(tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?))
    };
    limit("1").await.unwrap();
    let mut n = 0;
    let error = loop {
        match commit(&ledger, &task, &segment(n, n..n + 1)).await {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
        assert!(n < 10_000);
    };
    assert_eq!(error.class(), ErrorClass::Full);
    assert!(error.to_string().contains(ledger.path().to_str().unwrap()), "{error}");
    let lane = &ledger.lanes(&task, STREAM).await.unwrap()[0];
    assert_eq!((lane.next_n, &lane.offset), (n, &after(n)));
    assert_eq!(ledger.segments(&task, STREAM).await.unwrap().len() as u64, n);
    limit("1000000").await.unwrap();
    commit(&ledger, &task, &segment(n, n..n + 1)).await.unwrap();
    assert_eq!(ledger.verify_audit().await.unwrap(), None);
}

#[tokio::test]
async fn the_last_handle_gives_the_directory_free() {
    let (dir, ledger) = fresh();
    drop(ledger);
    for _ in 0..200 {
        match Ledger::open(&dir.path().join("state")) {
            Ok(_) => return,
            Err(LedgerError::Owned { .. }) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("still owned");
}

#[tokio::test]
async fn every_column_of_the_views_is_documented() {
    let (_dir, ledger) = fresh();
    let document = include_str!("../../../../docs/ledger.md");
    let columns = ledger.read(|sql| {
        let text =
            "SELECT m.name || '.' || p.name FROM sqlite_schema m, pragma_table_info(m.name) p WHERE m.type = 'view'";
        codec::all(sql, text, [], |row| row.get::<_, String>(0))
    });
    let columns = columns.await.unwrap();
    assert!(columns.len() > 50, "{columns:?}");
    for column in columns {
        let (view, name) = column.split_once('.').unwrap();
        let section = document.split("\n## ").find(|section| section.starts_with(&format!("`{view}`"))).unwrap();
        assert!(section.contains(&format!("`{name}`")), "docs/ledger.md does not say what {column} is");
    }
}
