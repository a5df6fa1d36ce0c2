//! Ledgers as the daemon of each schema version left them (`tests/fixtures/ledger`): brought to the newest, with all that was in them.

use super::*;
use crate::ledger::check_file;
use crate::ledger::rows::TaskFilter;
use crate::model::task::TaskState;
use rusqlite::Connection;
use std::path::Path;

/// The ledger of a version in a state directory of its own.
fn old(dir: &Path, version: i64) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/ledger");
    let packed = std::fs::read(fixtures.join(format!("v{version}.sql.zst"))).unwrap();
    let text = String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap();
    let path = dir.join("ledger.db");
    let sql = Connection::open(&path).unwrap();
    sql.pragma_update(None, "journal_mode", "wal").unwrap();
    // Tables come in the order of their names.
    sql.pragma_update(None, "foreign_keys", false).unwrap();
    sql.execute_batch(&text).unwrap();
    assert_eq!(sql.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap(), version);
    path
}

/// Everything that was in it is there, is whole, and can go on.
async fn is_whole(dir: &Path, what: &str) {
    let ledger = Ledger::open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(number(&ledger, "PRAGMA user_version"), schema::NEWEST, "{what}");
    let (steps, _) = ledger.check().await.unwrap();
    let wrong: Vec<_> = steps.iter().flat_map(|step| &step.problems).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:?}");
    let tasks = ledger.tasks(&TaskFilter { limit: 100, ..TaskFilter::default() }).await.unwrap();
    let mut states: Vec<(&str, TaskState)> = tasks.iter().map(|task| (task.export.as_str(), task.state)).collect();
    states.sort_by_key(|(export, state)| (*export, state.word()));
    let wanted = [
        ("broken", TaskState::Failed),
        ("next", TaskState::Processing),
        ("shop", TaskState::Pending),
        ("shop", TaskState::Succeeded),
        ("shop", TaskState::Succeeded),
        ("slow", TaskState::Paused),
    ];
    assert_eq!(states, wanted, "{what}");
    for task in &tasks {
        let segments = ledger.segments(&task.id, STREAM).await.unwrap();
        let rows: u64 = segments.iter().map(|segment| segment.counts.written).sum();
        let manifests = ledger.manifests(&task.id).await.unwrap();
        match task.state {
            TaskState::Succeeded => {
                assert_eq!(rows, 4000, "{what}: {}", task.id);
                assert!(manifests.iter().all(|row| row.published_at.is_some()) && manifests.len() == 1, "{what}");
            }
            TaskState::Paused => {
                assert!(rows > 0 && rows < 4000, "{what}: {rows} records were committed");
                let lanes = ledger.lanes(&task.id, STREAM).await.unwrap();
                assert_eq!(lanes.iter().map(|lane| lane.next_n).sum::<u64>(), segments.len() as u64, "{what}");
                event(&ledger, &task.id, TaskEvent::Resume).await;
                event(&ledger, &task.id, TaskEvent::Start).await;
            }
            TaskState::Processing => {
                event(&ledger, &task.id, TaskEvent::Recover).await;
            }
            _ => {}
        }
    }
    running(&ledger, "new").await;
    let path = ledger.path().to_owned();
    ledger.close().await.unwrap();
    assert!(check_file(&path).unwrap().iter().all(|step| step.problems.is_empty()), "{what}");
}

#[tokio::test]
async fn the_ledger_of_every_version_is_brought_to_the_newest() {
    for version in (1..schema::NEWEST).filter(|version| *version != 2) {
        let dir = tempfile::tempdir().unwrap();
        old(dir.path(), version);
        is_whole(dir.path(), &format!("version {version}")).await;
    }
}

/// Killed behind any step, the next start goes on with the next one.
#[tokio::test]
async fn an_upgrade_may_end_behind_any_step() {
    for reached in 2..schema::NEWEST {
        let dir = tempfile::tempdir().unwrap();
        let sql = Connection::open(old(dir.path(), 1)).unwrap();
        for step in 1..reached {
            sql.execute_batch(schema::STEPS[usize::try_from(step).unwrap()]).unwrap();
        }
        sql.pragma_update(None, "user_version", reached).unwrap();
        drop(sql);
        is_whole(dir.path(), &format!("version 1, brought to {reached}")).await;
    }
}
