//! What is swept, and what is kept.

use super::*;
use crate::base::ids::RequestKey;
use crate::config;
use crate::destinations::Opener;
use crate::ledger::Advance;
use crate::ledger::Tail;
use crate::ledger::input::{Change, NewTask, StreamEnd};
use crate::model::offset::{Offset, PageCursor};
use crate::model::scope::Scope;
use crate::model::segment::{CheckpointDelta, Counts, CutReason, SealedSegment, SegmentId};
use crate::model::task::TaskEvent;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

const CONFIG: &str = r#"
version: 1
daemon: { state_dir: DIR/state }
sources:
  shop:
    rest:
      base_url: https://api.shop.example
      streams: { orders: { path: /orders, records: "$[*]", paginate: { none: {} } } }
destinations: { lake: { local: { root: DIR/lake } }, copy: { local: { root: DIR/copy } } }
exports: { shop: { source: shop, to: [lake, copy], keep: { unpublished: 2d } } }
"#;

fn pruner(dir: &Path, ledger: &Ledger) -> Pruner {
    let config =
        config::load(&dir.join("config.yaml"), None).unwrap_or_else(|problems| panic!("{:?}", problems.list()));
    let opener = Arc::new(Opener::new(Arc::new(crate::config::Secrets::default())));
    Pruner::new(ledger.clone(), opener, tokio::sync::watch::Sender::new(Arc::new(config)).subscribe())
}

/// A failed task with a delivered segment, a journal and rejected records; the directory, the ledger and its row.
async fn failed() -> (tempfile::TempDir, Ledger, TaskRow, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, CONFIG.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    let config = config::load(&path, None).unwrap_or_else(|problems| panic!("{:?}", problems.list()));
    let ledger = Ledger::open(&config.daemon.state_dir).unwrap();
    let new = NewTask {
        export: "shop".into(),
        key: RequestKey("a".repeat(64)),
        params: vec![],
        scope: Scope::default(),
        chained: false,
        format: "csv".into(),
        config: config.effective_for("shop").unwrap().to_string(),
        streams: vec!["orders".into()],
        notify: vec![],
        actor: "anna".into(),
        at: clock::now(),
    };
    let (id, _) = ledger.create_task(new).await.unwrap();
    ledger.task_event(&id, TaskEvent::Start, Change::default()).await.unwrap();
    ledger.open_lanes(&id, "orders", &[Offset::start(0)]).await.unwrap();
    let segment = SegmentId { stream: "orders".into(), lane: 0, n: 0, revision: 0 };
    let to = Offset { cursor: PageCursor::Page(1), pages: 1, records: 1, ..Offset::start(0) };
    let sealed = SealedSegment {
        name: segment.file_name("csv"),
        id: segment,
        bytes: 1,
        sha256: "0".repeat(64),
        crc32c: 0,
        plain: None,
        counts: Counts { read: 1, written: 1, ..Counts::default() },
        pages: 1,
        source_bytes: 2,
        cut: CutReason::Size,
        delta: CheckpointDelta { from: Offset::start(0), to },
    };
    let destinations = ["lake".to_owned()];
    ledger.advance(&id, &sealed, Advance { destinations: &destinations, ..Advance::default() }).await.unwrap();
    ledger.delivery_verified(&id, &sealed.id, "lake").await.unwrap();
    let row = ledger.task_event(&id, TaskEvent::Fail, Change::default()).await.unwrap();
    let object = dir.path().join("lake").join(object_key("shop", "orders", &id, &sealed.name));
    let spool = Spool::new(&dir.path().join("lake").join(PRIVATE), &config.daemon.state_dir, &id, 0o640);
    for file in [&object, &spool.dir().join("orders/part.journal"), &spool.quarantine().join("orders/part.ndjson")] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "x").unwrap();
    }
    fs::create_dir_all(dir.path().join("copy").join(PRIVATE)).unwrap();
    (dir, ledger, row, object)
}

fn aged(row: &TaskRow, hours: i64) -> TaskRow {
    TaskRow { ended_at: Some(clock::now() - jiff::SignedDuration::from_hours(hours)), ..row.clone() }
}

#[tokio::test]
async fn files_of_a_failed_task_are_kept_for_a_while_and_then_go() {
    let (dir, ledger, row, object) = failed().await;
    let state = dir.path().join("state");
    assert!(Left::of(&aged(&row, 47), &state).is_none());
    let left = Left::of(&aged(&row, 49), &state).unwrap();
    left.sweep(&pruner(dir.path(), &ledger), &row).await.unwrap();
    assert!(!object.exists() && !left.spool.dir().exists() && !left.spool.quarantine().exists());
    // A retry starts over, under other names.
    let lane = &ledger.lanes(&row.id, "orders").await.unwrap()[0];
    assert_eq!((&lane.offset, lane.revision), (&Offset::start(0), 1));
    assert!(Left::of(&aged(&row, 49), &state).is_none(), "nothing is left to sweep");
}

#[tokio::test]
async fn a_task_that_was_retried_meanwhile_is_left_alone() {
    let (dir, ledger, row, object) = failed().await;
    let left = Left::of(&aged(&row, 49), &dir.path().join("state")).unwrap();
    ledger.task_event(&row.id, TaskEvent::Retry, Change::default()).await.unwrap();
    assert!(matches!(left.sweep(&pruner(dir.path(), &ledger), &row).await, Err(PruneError::Ledger(_))));
    assert!(object.exists() && left.spool.dir().exists());
}

#[tokio::test]
async fn what_a_manifest_lists_stays() {
    let (dir, ledger, row, object) = failed().await;
    ledger.task_event(&row.id, TaskEvent::Retry, Change::default()).await.unwrap();
    ledger.task_event(&row.id, TaskEvent::Start, Change::default()).await.unwrap();
    let to = Offset { cursor: PageCursor::Page(1), pages: 1, records: 1, ..Offset::start(0) };
    let end = Offset { cursor: PageCursor::End, ..to.clone() };
    ledger
        .finish_lane(
            &row.id,
            "orders",
            0,
            Tail { delta: CheckpointDelta { from: to, to: end }, counts: Counts::default() },
        )
        .await
        .unwrap();
    ledger.stream_extracted(&row.id, "orders").await.unwrap();
    ledger.compose_manifest(&row.id, "orders", "lake", b"m".to_vec()).await.unwrap();
    let row = ledger.task_event(&row.id, TaskEvent::Fail, Change::default()).await.unwrap();
    let left = Left::of(&aged(&row, 49), &dir.path().join("state")).unwrap();
    left.sweep(&pruner(dir.path(), &ledger), &row).await.unwrap();
    assert!(object.exists());
}

#[tokio::test]
async fn a_dead_destination_holds_up_no_other_and_is_swept_later() {
    let (dir, ledger, row, object) = failed().await;
    let copy = dir.path().join("copy").join(object.strip_prefix(dir.path().join("lake")).unwrap());
    // What is in the way of the file's directory lets no deletion through.
    fs::create_dir_all(&copy).unwrap();
    let left = Left::of(&aged(&row, 49), &dir.path().join("state")).unwrap();
    let pruner = pruner(dir.path(), &ledger);
    assert!(left.sweep(&pruner, &row).await.is_err());
    assert!(!object.exists() && !object.parent().unwrap().exists(), "the other one is swept, its directory as well");
    assert!(left.spool.dir().exists(), "so that it is tried again");
    let rows = ledger.audit_since(0, 100).await.unwrap().len();
    assert!(left.sweep(&pruner, &row).await.is_err());
    assert_eq!(ledger.audit_since(0, 100).await.unwrap().len(), rows, "a repetition is no news");
    fs::remove_dir(&copy).unwrap();
    left.sweep(&pruner, &row).await.unwrap();
    assert!(!left.spool.dir().exists() && !copy.parent().unwrap().exists());
}

#[tokio::test]
async fn the_manifest_of_a_cancelled_task_goes_with_its_files() {
    let (dir, ledger, row, object) = failed().await;
    ledger.task_event(&row.id, TaskEvent::Retry, Change::default()).await.unwrap();
    ledger.task_event(&row.id, TaskEvent::Start, Change::default()).await.unwrap();
    let to = Offset { cursor: PageCursor::Page(1), pages: 1, records: 1, ..Offset::start(0) };
    let end = Offset { cursor: PageCursor::End, ..to.clone() };
    let tail = Tail { delta: CheckpointDelta { from: to, to: end }, counts: Counts::default() };
    ledger.finish_lane(&row.id, "orders", 0, tail).await.unwrap();
    ledger.stream_extracted(&row.id, "orders").await.unwrap();
    let end = StreamEnd { stream: "orders".into(), fingerprint: "f".into(), ..StreamEnd::default() };
    ledger.task_extracted(&row.id, vec![end]).await.unwrap();
    ledger.compose_manifest(&row.id, "orders", "lake", b"m".to_vec()).await.unwrap();
    let manifest = object.with_file_name("_manifest.json");
    fs::write(&manifest, "m").unwrap();
    let row = ledger.task_event(&row.id, TaskEvent::Cancel, Change::default()).await.unwrap();
    let written = ledger.to_withdraw(&row.id).await.unwrap();
    let written: Vec<_> = written.iter().map(|row| (row.stream.as_str(), row.destination.as_str())).collect();
    assert_eq!(written, [("orders", "lake")]);
    let pruner = pruner(dir.path(), &ledger);
    assert!(!withdraw(&pruner, &row).await.unwrap() && manifest.exists(), "a request may be on its way");
    assert_eq!(goes_to(&row).unwrap(), ["lake", "copy"]);
    let mut unseen: serde_json::Value = serde_json::from_str(&row.config).unwrap();
    unseen["exports"]["shop"]["to"] = serde_json::json!([]);
    let unseen = TaskRow { config: unseen.to_string(), ..row.clone() };
    assert!(
        goes_to(&unseen).unwrap().is_empty()
            && Left::of(&aged(&unseen, 49), dir.path()).is_none_or(|left| left.destinations.is_empty())
    );
    let left = Left::of(&aged(&row, 49), &dir.path().join("state")).unwrap();
    left.sweep(&pruner, &row).await.unwrap();
    assert!(!manifest.exists() && !object.exists());
    ledger.withdrawn(&row.id, 1).await.unwrap();
    assert!(ledger.to_withdraw(&row.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn nobody_retries_a_task_while_its_files_go() {
    let (_dir, ledger, row, _) = failed().await;
    let claim = ledger.claim_sweep(&row).await.unwrap();
    assert!(ledger.claim_sweep(&row).await.is_err(), "it is claimed");
    assert!(ledger.task_event(&row.id, TaskEvent::Retry, Change::default()).await.is_err());
    drop(claim);
    ledger.task_event(&row.id, TaskEvent::Retry, Change::default()).await.unwrap();
    assert!(ledger.claim_sweep(&row).await.is_err(), "it was retried");
}
