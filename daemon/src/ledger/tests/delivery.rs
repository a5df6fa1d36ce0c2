//! Delivery and publication: what still has to go where, and in which order it becomes visible.

use super::rows::Composed;
use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::model::segment::Plain;
use crate::model::upload::Part;
use saas_export_manifest::{Digests, Mode};

/// A running task whose one stream is extracted in two segments for two destinations.
async fn extracted(ledger: &Ledger, export: &str) -> TaskId {
    extract(ledger, new_task(export, "eu"), false).await
}

async fn deliver(ledger: &Ledger, task: &TaskId, destination: &str) {
    for n in 0..2 {
        ledger.delivery_verified(task, &segment(n, n..n + 1).id, destination).await.unwrap();
    }
}

async fn publish(ledger: &Ledger, task: &TaskId) {
    deliver(ledger, task, "lake").await;
    ledger.compose_manifest(task, STREAM, "lake", task.as_str().into()).await.unwrap();
    ledger.manifest_published(task, STREAM, "lake").await.unwrap();
}

#[tokio::test]
async fn each_destination_has_its_own_deliveries() {
    let (_dir, ledger) = fresh();
    let task = extracted(&ledger, "shop").await;
    let (first, second) = (segment(0, 0..1).id, segment(1, 1..2).id);
    ledger.delivery_failed(&task, &first, "lake", "timed out").await.unwrap();
    ledger.delivery_failed(&task, &first, "lake", "timed out again").await.unwrap();
    let pending = ledger.pending_deliveries(&task, "lake").await.unwrap();
    assert_eq!(pending.len(), 2);
    assert_eq!((pending[0].attempts, pending[0].error.as_deref()), (2, Some("timed out again")));
    assert_eq!((&pending[1].segment.id, pending[1].attempts), (&second, 0));

    assert!(!ledger.delivery_verified(&task, &first, "lake").await.unwrap());
    assert_eq!(ledger.undelivered(&task).await.unwrap().len(), 2);
    assert!(ledger.delivery_verified(&task, &first, "offsite").await.unwrap());
    assert_eq!(ledger.undelivered(&task).await.unwrap().len(), 1);
    let seq = *ledger.changes().borrow();
    assert!(ledger.delivery_verified(&task, &first, "offsite").await.unwrap());
    assert_eq!(*ledger.changes().borrow(), seq, "said twice, noted once");
    let pending = ledger.pending_deliveries(&task, "lake").await.unwrap();
    assert_eq!(pending.iter().map(|row| &row.segment.id).collect::<Vec<_>>(), [&second]);
    assert!(ledger.pending_deliveries(&task, "elsewhere").await.unwrap().is_empty());

    for (id, destination) in [(&first, "lake"), (&second, "elsewhere"), (&segment(7, 7..8).id, "lake")] {
        let error = ledger.delivery_failed(&task, id, destination, "x").await.unwrap_err();
        assert!(matches!(error, LedgerError::NotThere { .. }), "{error}");
    }
    assert!(ledger.delivery_verified(&task, &second, "elsewhere").await.is_err());
}

#[tokio::test]
async fn a_retry_gives_open_deliveries_new_tries() {
    let (_dir, ledger) = fresh();
    let task = extracted(&ledger, "shop").await;
    ledger.delivery_failed(&task, &segment(0, 0..1).id, "lake", "x").await.unwrap();
    event(&ledger, &task, TaskEvent::Fail).await;
    event(&ledger, &task, TaskEvent::Retry).await;
    assert_eq!(ledger.pending_deliveries(&task, "lake").await.unwrap()[0].attempts, 0);
}

#[tokio::test]
async fn a_manifest_is_composed_once_and_only_when_everything_is_there() {
    let (_dir, ledger) = fresh();
    let task = extracted(&ledger, "shop").await;
    ledger.delivery_verified(&task, &segment(0, 0..1).id, "lake").await.unwrap();
    let error = ledger.compose_manifest(&task, STREAM, "lake", b"m".to_vec()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Bug, "{error}");
    deliver(&ledger, &task, "lake").await;
    assert!(ledger.compose_manifest(&task, STREAM, "offsite", b"m".to_vec()).await.is_err());
    assert!(ledger.compose_manifest(&task, "users", "lake", b"m".to_vec()).await.is_err());
    assert!(matches!(ledger.manifest_published(&task, STREAM, "lake").await, Err(LedgerError::NotThere { .. })));
    assert_eq!(ledger.compose_manifest(&task, STREAM, "lake", b"one".to_vec()).await.unwrap(), b"one");
    assert_eq!(ledger.compose_manifest(&task, STREAM, "lake", b"two".to_vec()).await.unwrap(), b"one");
    let ledger = reopened(ledger).await;
    let rows = ledger.manifests(&task).await.unwrap();
    assert_eq!((rows.len(), rows[0].bytes.as_slice(), rows[0].published_at), (1, &b"one"[..], None));
    assert_eq!(rows[0].sha256, Digests::of(b"one").sha256);
    ledger.manifest_published(&task, STREAM, "lake").await.unwrap();
    let at = ledger.manifests(&task).await.unwrap()[0].published_at;
    ledger.manifest_published(&task, STREAM, "lake").await.unwrap();
    assert!(at.is_some() && ledger.manifests(&task).await.unwrap()[0].published_at == at);
}

#[tokio::test]
async fn a_signature_is_stored_with_the_bytes_that_it_is_of() {
    let (_dir, ledger) = fresh();
    let task = extracted(&ledger, "shop").await;
    deliver(&ledger, &task, "lake").await;
    let composed =
        |text: &[u8], signature: &[u8]| Composed { bytes: text.to_vec(), signature: Some(signature.to_vec()) };
    let first = ledger.compose_signed(&task, STREAM, "lake", composed(b"one", b"1")).await.unwrap();
    // After a crash, also with another key: the same manifest with the same signature is sent again.
    let ledger = reopened(ledger).await;
    assert_eq!(ledger.compose_signed(&task, STREAM, "lake", composed(b"two", b"2")).await.unwrap(), first);
    assert_eq!(first, composed(b"one", b"1"));
    assert_eq!(ledger.manifests(&task).await.unwrap()[0].signature.as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn chains_grow_from_a_full_task() {
    let (_dir, ledger) = fresh();
    let mut tasks = Vec::new();
    for full in [true, false, true, false, false] {
        let scope = Scope { full, ..Scope::default() };
        let task = extract(&ledger, NewTask { scope, ..chained_task("shop") }, true).await;
        publish(&ledger, &task).await;
        event(&ledger, &task, TaskEvent::Succeed).await;
        // What a task with parameters read is another data set: nobody goes on with it.
        let other = extracted(&ledger, "shop").await;
        event(&ledger, &other, TaskEvent::Succeed).await;
        tasks.push(task);
    }
    let listed = async |task: &TaskId| -> Vec<(TaskId, u64)> {
        let chain = ledger.chain(task, STREAM, "lake").await.unwrap();
        chain.into_iter().map(|entry| (entry.task, entry.chain.position)).collect()
    };
    assert_eq!(listed(&tasks[1]).await, [(tasks[0].clone(), 0), (tasks[1].clone(), 1)]);
    assert_eq!(listed(&tasks[4]).await, [(tasks[2].clone(), 0), (tasks[3].clone(), 1), (tasks[4].clone(), 2)]);
    assert_eq!(listed(&tasks[2]).await, [(tasks[2].clone(), 0)]);
    assert!(ledger.chain(&tasks[2], STREAM, "offsite").await.unwrap().is_empty());
    let entry = &ledger.chain(&tasks[1], STREAM, "lake").await.unwrap()[1];
    assert_eq!((entry.mode, entry.primary_key.as_slice()), (Mode::Incremental, &["id".to_owned()][..]));
    assert_eq!(entry.sha256, Digests::of(tasks[1].as_str().as_bytes()).sha256);
    let newer = async |a: usize, b: usize| ledger.is_newer(STREAM, tasks[a].as_str(), &tasks[b]).await.unwrap();
    assert!(newer(1, 0).await && newer(2, 1).await && newer(4, 3).await);
    assert!(!newer(1, 2).await && !newer(2, 2).await && !newer(0, 1).await);
    assert!(!ledger.is_newer(STREAM, "20990101T000000Z-00000000", &tasks[0]).await.unwrap(), "of another ledger");
}

#[tokio::test]
async fn a_chain_is_published_in_its_order() {
    let (_dir, ledger) = fresh();
    let full = extract(&ledger, chained_task("shop"), true).await;
    deliver(&ledger, &full, "lake").await;
    ledger.compose_manifest(&full, STREAM, "lake", b"m".to_vec()).await.unwrap();
    assert_eq!(ledger.chain(&full, STREAM, "lake").await.unwrap().len(), 1);
    let scope = Scope { streams: vec![STREAM.into()], ..Scope::default() };
    let next = extract(&ledger, NewTask { scope, key: RequestKey("f".repeat(64)), ..chained_task("shop") }, true).await;
    assert_eq!(ledger.awaited(&next, "lake").await.unwrap(), Some(full.clone()));
    assert!(ledger.chain(&next, STREAM, "lake").await.unwrap().is_empty(), "neither is published");
    publish(&ledger, &full).await;
    assert_eq!(ledger.awaited(&next, "lake").await.unwrap(), None);
    assert_eq!(ledger.awaited(&next, "offsite").await.unwrap(), Some(full));
}

#[tokio::test]
async fn what_is_encrypted_in_a_file_is_kept_with_its_segment() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    let plain = Some(Plain { bytes: 77, sha256: "ab".repeat(32) });
    let sealed = SealedSegment { plain: plain.clone(), ..segment(0, 0..1) };
    commit(&ledger, &task, &sealed).await.unwrap();
    commit(&ledger, &task, &segment(1, 1..2)).await.unwrap();
    let ledger = reopened(ledger).await;
    let rows = ledger.segments(&task, STREAM).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.plain.clone()).collect::<Vec<_>>(), [plain, None]);
}

#[tokio::test]
async fn an_upload_is_kept_with_its_parts_until_it_is_forgotten() {
    let (_dir, ledger) = fresh();
    let task = extracted(&ledger, "shop").await;
    let row = |id: &str| rows::UploadRow { destination: "offsite".into(), key: "k".into(), id: id.into() };
    let part = |number, etag: &str| Part { number, bytes: 5, checksum: "c".into(), etag: etag.into() };
    ledger.begin_upload(&task, row("one"), 5).await.unwrap();
    for noted in [part(2, "a"), part(1, "b"), part(2, "c")] {
        ledger.add_part(&task, "offsite", "k", noted).await.unwrap();
    }
    let upload = ledger.upload(&task, "offsite", "k").await.unwrap().unwrap();
    assert_eq!((upload.id.as_str(), upload.part_size), ("one", 5));
    assert_eq!(upload.parts, [part(1, "b"), part(2, "c")]);
    ledger.begin_upload(&task, row("two"), 6).await.unwrap();
    let upload = ledger.upload(&task, "offsite", "k").await.unwrap().unwrap();
    assert_eq!((upload.id.as_str(), upload.parts.len()), ("two", 0), "parts of another upload are forgotten");
    assert_eq!(ledger.upload_ids().await.unwrap(), ["two".to_owned()].into());
    ledger.forget_upload(&task, "offsite", "k").await.unwrap();
    assert!(ledger.upload(&task, "offsite", "k").await.unwrap().is_none());
    assert!(ledger.upload_ids().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_is_not_known() {
    let (_dir, ledger) = fresh();
    let task = extracted(&ledger, "shop").await;
    let key = |name: &str| format!("shop/{STREAM}/{task}/{name}");
    let first = segment(0, 0..1);
    for (name, id) in [(first.name.as_str(), "file"), ("_manifest.json", "manifest")] {
        let row = rows::UploadRow { destination: "lake".into(), key: key(name), id: id.into() };
        ledger.begin_upload(&task, row, 5).await.unwrap();
    }
    assert_eq!(ledger.upload_ids().await.unwrap(), ["file".to_owned(), "manifest".to_owned()].into());
    event(&ledger, &task, TaskEvent::Fail).await;
    assert_eq!(ledger.upload_ids().await.unwrap(), ["file".to_owned()].into(), "a retry goes on with it");
    event(&ledger, &task, TaskEvent::Retry).await;
    event(&ledger, &task, TaskEvent::Start).await;
    ledger.delivery_verified(&task, &first.id, "lake").await.unwrap();
    assert_eq!(ledger.upload_ids().await.unwrap(), ["manifest".to_owned()].into());
    let later = clock::now() + jiff::SignedDuration::from_secs(1);
    let abandoned = ledger.abandoned_uploads(later).await.unwrap();
    assert_eq!(abandoned.iter().map(|(_, row)| row.id.as_str()).collect::<Vec<_>>(), ["file"]);
    ledger.gave_up(&abandoned[0].0, &abandoned[0].1).await.unwrap();
    assert!(ledger.abandoned_uploads(later).await.unwrap().is_empty());
}
