//! The check finds each kind of mistake, and nothing in a ledger that has none.

use super::*;
use crate::ledger::{CheckStep, check_file};

/// The names of the steps that found something, with what they found.
fn wrong(steps: &[CheckStep]) -> Vec<(&'static str, Vec<String>)> {
    let wrong = steps.iter().filter(|step| !step.problems.is_empty());
    wrong.map(|step| (step.name, step.problems.clone())).collect()
}

/// What a manifest says of the two segments of a task, as far as it is looked at.
fn manifest() -> String {
    let listed = |n: u64| {
        let SealedSegment { name, sha256, bytes, .. } = segment(n, n..n + 1);
        serde_json::json!({ "name": name, "sha256": sha256, "bytes": bytes })
    };
    serde_json::json!({ "segments": [listed(0), listed(1)] }).to_string()
}

/// A ledger with a published incremental task, one that failed in the middle, and one that is running.
async fn lived(ledger: &Ledger) -> TaskId {
    let task = extract(ledger, chained_task("shop"), true).await;
    for n in 0..2 {
        for place in ["lake", "offsite"] {
            ledger.delivery_verified(&task, &segment(n, n..n + 1).id, place).await.unwrap();
        }
    }
    ledger.compose_manifest(&task, STREAM, "lake", manifest().into_bytes()).await.unwrap();
    ledger.manifest_published(&task, STREAM, "lake").await.unwrap();
    let failed = running(ledger, "crm").await;
    commit(ledger, &failed, &segment(0, 0..3)).await.unwrap();
    event(ledger, &failed, TaskEvent::Fail).await;
    running(ledger, "other").await;
    task
}

#[tokio::test]
async fn a_good_ledger_has_no_problems_open_or_closed() {
    let (_dir, ledger) = fresh();
    lived(&ledger).await;
    let (steps, _) = ledger.check().await.unwrap();
    assert_eq!(wrong(&steps), []);
    let names: Vec<_> = steps.iter().map(|step| step.name).collect();
    assert_eq!(names, ["file", "references", "audit", "sums", "published", "manifests", "chains", "marks", "tasks"]);
    // Also while its daemon runs, with a log beside it.
    assert_eq!(wrong(&check_file(ledger.path()).unwrap()), []);
    let path = ledger.path().to_owned();
    ledger.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(wrong(&check_file(&path).unwrap()), []);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let beside = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 2, "the ledger and its lock");
}

#[tokio::test]
async fn each_mistake_is_found_by_its_step() {
    let cases = [
        ("UPDATE segments SET written = written - 1 WHERE task = 'T' AND n = 0", "sums"),
        ("UPDATE task_streams SET read = read + 1 WHERE task = 'T'", "sums"),
        ("UPDATE deliveries SET verified_at = NULL WHERE task = 'T' AND n = 1 AND destination = 'lake'", "published"),
        ("UPDATE manifests SET bytes = x'00' WHERE task = 'T'", "manifests"),
        ("UPDATE segments SET sha256 = 'other' WHERE task = 'T' AND n = 1", "manifests"),
        ("UPDATE segments SET name = 'other' WHERE task = 'T' AND n = 0", "manifests"),
        ("DELETE FROM chain_links WHERE task = 'T'", "chains"),
        ("UPDATE chain_links SET chain = 'lost' WHERE task = 'T'", "chains"),
        ("UPDATE marks SET export = 'crm' WHERE task = 'T'", "marks"),
        ("UPDATE tasks SET ended_at = NULL WHERE state = 'failed'", "tasks"),
        ("UPDATE tasks SET instance = NULL WHERE state = 'processing'", "tasks"),
        ("DELETE FROM lanes WHERE task = 'T'", "references"),
        ("DROP TRIGGER audit_is_not_changed; UPDATE audit SET actor = 'nobody' WHERE seq = 2", "audit"),
    ];
    for (harm, step) in cases {
        let (_dir, ledger) = fresh();
        let task = lived(&ledger).await;
        let sql = Connection::open(ledger.path()).unwrap();
        sql.pragma_update(None, "foreign_keys", false).unwrap();
        sql.execute_batch(&harm.replace("'T'", &format!("'{task}'"))).unwrap();
        let (steps, _) = ledger.check().await.unwrap();
        let found = wrong(&steps);
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [step], "{harm}: {found:?}");
        let told = steps.iter().find(|found| found.name == step).unwrap();
        assert!(!told.remedy.is_empty() && told.problems.len() <= 21);
    }
}

#[test]
fn what_is_no_ledger_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    assert!(check_file(&path).is_err());
    for bytes in [&b""[..], b"no database at all", b"SQLite format 3\0 but then nothing"] {
        std::fs::write(&path, bytes).unwrap();
        let error = check_file(&path).unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
