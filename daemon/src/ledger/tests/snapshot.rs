//! Snapshots: whole, consistent, in nobody's way, and swept without ever losing the newest.

use super::super::snapshot::{DIR, Taken};
use super::*;
use crate::ledger::check_file;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn count(path: &Path, query: &str) -> i64 {
    Connection::open(path).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_one_moment_of_a_ledger_that_is_written_meanwhile() {
    let (_dir, ledger) = fresh();
    // More pages than one step copies, so that commits come between the steps.
    let sql = Connection::open(ledger.path()).unwrap();
    sql.execute_batch("CREATE TABLE ballast (b BLOB); INSERT INTO ballast VALUES (zeroblob(12000000))").unwrap();
    drop(sql);
    let stop = Arc::new(AtomicBool::new(false));
    let (writing, until) = (ledger.clone(), stop.clone());
    let writer = tokio::spawn(async move {
        let (mut written, mut slowest) = (0u32, Duration::ZERO);
        while !until.load(Ordering::Relaxed) {
            let begun = clock::monotonic();
            writing.create_task(new_task("shop", &written.to_string())).await.unwrap();
            slowest = slowest.max(clock::since(begun));
            written += 1;
        }
        (written, slowest)
    });
    let before = ledger.audit_since(0, 1).await.unwrap().len();
    let taken = ledger.snapshot("uid 7 (tester)").await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let (written, slowest) = writer.await.unwrap();
    assert!(written > 1 && before <= 1, "{written} tasks were created meanwhile");
    assert!(slowest < Duration::from_secs(2), "a commit waited for {slowest:?}");

    let path = &taken.snapshot.path;
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let bytes = fs::read(path).unwrap();
    let digests = saas_export_manifest::Digests::of(&bytes);
    assert_eq!((taken.snapshot.bytes, &taken.sha256), (digests.bytes, &digests.sha256));
    assert!(check_file(path).unwrap().iter().all(|step| step.problems.is_empty()), "{:?}", check_file(path));
    assert_eq!(fs::read(path).unwrap(), bytes, "looking writes nothing");
    // A task, its stream and its line of the audit come in one transaction: none is there without the others.
    let tasks = count(path, "SELECT count(*) FROM tasks");
    assert!(tasks <= i64::from(written));
    assert_eq!(count(path, "SELECT count(*) FROM task_streams"), tasks);
    assert_eq!(count(path, "SELECT count(*) FROM audit WHERE action = 'created'"), tasks);

    let audit = ledger.audit_since(0, 10_000).await.unwrap();
    let line = audit.iter().find(|row| row.action == "snapshot").unwrap();
    assert_eq!((line.actor.as_str(), &line.reason), ("uid 7 (tester)", &taken.snapshot.name));
    assert!(line.detail.as_ref().unwrap().contains(&taken.sha256));
}

#[tokio::test]
async fn names_are_times_and_nothing_else_is_opened() {
    let (_dir, ledger) = fresh();
    assert!(ledger.snapshots().await.unwrap().is_empty());
    let first = ledger.snapshot("").await.unwrap().snapshot;
    let second = ledger.snapshot("").await.unwrap().snapshot;
    assert!(first.name < second.name, "two of one second");
    assert_eq!(first.name, first.taken_at.strftime("ledger-%Y%m%dT%H%M%SZ.db").to_string());
    assert_eq!(ledger.snapshots().await.unwrap(), [second.clone(), first]);
    let dir = ledger.path().with_file_name(DIR);
    fs::write(dir.join("notes.txt"), "x").unwrap();
    fs::copy(&second.path, dir.join("ledger-20261121T024501Z.db.partial")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("ledger-20261121T024501Z.db")).unwrap();
    assert_eq!(ledger.snapshots().await.unwrap().len(), 2);
    let (_, bytes) = ledger.open_snapshot(&second.name).await.unwrap().unwrap();
    assert_eq!(bytes, second.bytes);
    for name in ["notes.txt", "../ledger.db", "", "ledger-20261321T024501Z.db", "ledger-20261121T024501Z.db.partial"] {
        assert!(ledger.open_snapshot(name).await.unwrap().is_none(), "{name}");
    }
    assert!(ledger.open_snapshot("ledger-20261121T024501Z.db").await.is_err(), "a link leads elsewhere");
    assert!(ledger.open_snapshot("ledger-20200101T000000Z.db").await.unwrap().is_none());
}

/// Puts a snapshot into another time.
fn dated(taken: &Taken, name: &str) {
    fs::copy(&taken.snapshot.path, taken.snapshot.path.with_file_name(name)).unwrap();
}

#[tokio::test]
async fn old_ones_go_but_never_the_newest() {
    let (_dir, ledger) = fresh();
    assert!(ledger.sweep_snapshots(Duration::ZERO).await.unwrap().is_empty(), "without a directory");
    let taken = ledger.snapshot("").await.unwrap();
    dated(&taken, "ledger-20200101T000000Z.db");
    dated(&taken, "ledger-20200102T000000Z.db");
    dated(&taken, "ledger-20200102T000000Z.db.partial");
    dated(&taken, "mine.db.partial");
    let day = Duration::from_secs(86_400);
    assert_eq!(
        ledger.sweep_snapshots(day).await.unwrap(),
        ["ledger-20200102T000000Z.db", "ledger-20200101T000000Z.db"]
    );
    let dir = taken.snapshot.path.parent().unwrap();
    let mut left: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [taken.snapshot.name.clone(), "mine.db.partial".into()]);
    fs::remove_file(&taken.snapshot.path).unwrap();
    fs::copy(dir.join("mine.db.partial"), dir.join("ledger-20200101T000000Z.db")).unwrap();
    assert!(ledger.sweep_snapshots(day).await.unwrap().is_empty(), "the newest stays, however old");
    assert_eq!(ledger.snapshots().await.unwrap()[0].name, "ledger-20200101T000000Z.db");
    let audit = ledger.audit_since(0, 100).await.unwrap();
    let removed: Vec<_> = audit.iter().filter(|row| row.action == "snapshots_removed").collect();
    assert_eq!(removed.len(), 1);
    assert!(removed[0].reason.contains("ledger-20200101T000000Z.db"));
}

#[tokio::test]
async fn a_damaged_ledger_gives_no_snapshot() {
    let (_dir, ledger) = fresh();
    for n in 0..200 {
        ledger.create_task(new_task("shop", &n.to_string())).await.unwrap();
    }
    let ledger = reopened(ledger).await;
    let path = ledger.path().to_owned();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xaa);
    fs::write(&path, &bytes).unwrap();
    let error = ledger.snapshot("").await.unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("ledger.db") && !error.to_string().contains("partial"), "{error}");
    assert!(fs::read_dir(path.with_file_name(DIR)).unwrap().next().is_none(), "nothing is left of it");
    let (steps, _) = ledger.check().await.unwrap();
    assert!(steps.iter().any(|step| step.name == "file" && !step.problems.is_empty()), "{steps:?}");
}
