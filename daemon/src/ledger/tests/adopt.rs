//! Adoption: what a manifest says becomes what the ledger knows, once, and never beside something else.

use super::*;
use crate::ledger::adopt::{AdoptedStream, Adoption, CancelOpen, LeftBehind};
use crate::ledger::input::AuditEntry;
use crate::ledger::rows::Composed;
use jiff::Timestamp;
use saas_export_manifest::{ChainPosition, Counts as Sums, LaneOffsets, Manifest, Marks, Mode, Segment, crc32c_hex};
use serde_json::json;

/// A time at which a task of a day is created.
fn created(n: u64) -> Timestamp {
    format!("2024-02-{n:02}T02:00:00Z").parse().unwrap()
}

fn id(n: u64) -> TaskId {
    TaskId::new(created(n), &chained_task("shop").key)
}

/// The manifest of day `n`, which is the place before it in the chain of day 1.
fn manifest(n: u64) -> Manifest {
    let offset = |offset: Offset| serde_json::to_value(offset).unwrap();
    let marks = Marks {
        before: (n > 1).then(|| serde_json::to_value(day(n - 1)).unwrap()),
        after: Some(serde_json::to_value(day(n)).unwrap()),
        fingerprint: Some("fingerprint".into()),
        ..Marks::default()
    };
    Manifest {
        version: 1,
        export: "shop".into(),
        stream: STREAM.into(),
        task: id(n).to_string(),
        created_at: created(n).to_string(),
        mode: if n == 1 { Mode::Full } else { Mode::Incremental },
        format: "csv".into(),
        compression: None,
        encryption: None,
        parquet_encryption: false,
        encrypted_columns: vec![],
        signature: None,
        schema: json!({ "fields": [{ "name": "id", "type": "integer" }] }),
        schema_version: 3,
        primary_key: vec!["id".into()],
        cursor_field: Some("updated_at".into()),
        shift_protection: "none".into(),
        limited_by: None,
        chain: ChainPosition { id: id(1).to_string(), position: n - 1 },
        offsets: vec![LaneOffsets { lane: 0, first: offset(after(0)), last: offset(after(2)) }],
        marks: marks.with_boundary(&newest(n).records),
        counts: Sums { read: 20, written: 18, rejected: 2, ..Sums::default() },
        pages: 2,
        source_bytes: 99,
        segments: vec![Segment {
            name: "part-0-000000.csv".into(),
            rows: 18,
            bytes: 7,
            sha256: format!("{n:064x}"),
            crc32c: crc32c_hex(9),
            plain_sha256: None,
            plain_bytes: None,
            lane: 0,
            n: 0,
            revision: 0,
            first_offset: offset(after(0)),
            last_offset: offset(after(2)),
        }],
        daemon_version: "0".into(),
    }
}

/// The order to adopt the task of day `n`, published at the lake.
fn order(n: u64) -> Adoption {
    let config = json!({ "exports": { "shop": { "to": ["lake", "offsite"] } }, "destinations": { "lake": {} } });
    let manifest = manifest(n);
    let composed = Composed { bytes: manifest.to_bytes().unwrap(), signature: None };
    let new = NewTask { at: created(n), config: config.to_string(), actor: "anna".into(), ..chained_task("shop") };
    let places = vec![("lake".to_owned(), composed)];
    Adoption { id: id(n), new, streams: vec![AdoptedStream { manifest, places }], reason: "it is published".into() }
}

async fn mark(ledger: &Ledger) -> Option<(CursorValue, TaskId)> {
    ledger.marks("shop").await.unwrap().pop().map(|row| (row.mark, row.task))
}

#[tokio::test]
async fn a_chain_is_adopted_and_gone_on_with() {
    let (_dir, ledger) = fresh();
    for n in 1..=3 {
        assert_eq!(ledger.adopt(order(n)).await.unwrap(), None);
    }
    assert_eq!(mark(&ledger).await, Some((day(3), id(3))));
    assert_eq!(ledger.boundary(&id(3), STREAM).await.unwrap(), newest(3).records);
    assert_eq!(number(&ledger, "SELECT count(*) FROM boundary"), 2, "the newest alone");
    let row = ledger.task(&id(2)).await.unwrap().unwrap();
    assert_eq!((row.state.word(), row.created_at, row.extracted), ("succeeded", created(2), true));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&row.config).unwrap()["exports"]["shop"]["to"],
        json!(["lake"])
    );
    let stream = ledger.streams(&id(2)).await.unwrap().pop().unwrap();
    assert_eq!((stream.counts.read, stream.counts.rejected, stream.bytes, stream.schema_version), (20, 2, 7, 3));
    let (steps, _) = ledger.check().await.unwrap();
    // The manifests of these tests are no files that anybody wrote; all else must be as in any ledger.
    let problems: Vec<_> =
        steps.into_iter().filter(|step| step.name != "manifests").flat_map(|step| step.problems).collect();
    assert_eq!(problems, [""; 0]);
    let last = ledger.last_schema("shop", STREAM).await.unwrap().unwrap();
    assert_eq!((last.version, last.schema.fields.len()), (3, 1), "by the number that the manifest gives it");
    let segments = ledger.segments(&id(2), STREAM).await.unwrap();
    assert_eq!((segments.len(), segments[0].counts.written), (1, 18));
    assert_eq!(ledger.verified_at(&id(2), &segments[0].id).await.unwrap(), ["lake"]);
    let chain = ledger.chain(&id(3), STREAM, "lake").await.unwrap();
    assert_eq!(chain.iter().map(|link| link.task.clone()).collect::<Vec<_>>(), [id(1), id(2), id(3)]);

    // Once more changes nothing, and the next task goes on from here.
    let audited = *ledger.changes().borrow();
    assert_eq!(ledger.adopt(order(3)).await.unwrap().map(|state| state.word()), Some("succeeded"));
    assert_eq!(*ledger.changes().borrow(), audited + 1, "but the line that says so");
    assert_eq!(ledger.verify_audit().await.unwrap(), None);
    let next = extract(&ledger, chained_task("shop"), true).await;
    let link = ledger.link(&next, STREAM).await.unwrap().unwrap();
    assert_eq!((link.place.id, link.place.position), (id(1).to_string(), 3));
    assert_eq!(link.as_new.mark_before, Some(day(3)));
}

#[tokio::test]
async fn what_was_open_is_completed_and_the_rest_cancelled() {
    let (_dir, ledger) = fresh();
    ledger.adopt(order(1)).await.unwrap();
    // A task that has read everything, and one that has not begun; of both the ledger is behind the truth.
    let open =
        extract(&ledger, NewTask { at: created(2), config: order(2).new.config, ..chained_task("shop") }, true).await;
    assert_eq!(open, id(2));
    let key = RequestKey("f".repeat(64));
    let (pending, _) = ledger.create_task(NewTask { key, ..chained_task("shop") }).await.unwrap();
    let change = Change { reason: "restored".into(), actor: "anna".into(), ..Change::default() };
    let cancelled = ledger
        .cancel_open(CancelOpen { keep: [open.clone()].into(), change: change.clone(), ..CancelOpen::default() })
        .await
        .unwrap();
    assert_eq!(cancelled.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), [pending]);
    assert_eq!(ledger.adopt(order(2)).await.unwrap().map(|state| state.word()), Some("processing"));
    let row = ledger.task(&open).await.unwrap().unwrap();
    assert_eq!((row.state.word(), row.reason.as_str()), ("succeeded", "it is published"));
    let names: Vec<_> = ledger.segments(&open, STREAM).await.unwrap().into_iter().map(|row| row.sha256).collect();
    assert_eq!(names, [format!("{:064x}", 2)], "the files that are published");
    assert_eq!(mark(&ledger).await, Some((day(2), open)));

    let third = extract(&ledger, chained_task("shop"), true).await;
    assert_eq!(mark(&ledger).await.unwrap().1, third);
    ledger.cancel_open(CancelOpen { change, ..CancelOpen::default() }).await.unwrap();
    assert_eq!(mark(&ledger).await, Some((day(2), id(2))), "the mark is taken back");
    assert!(ledger.link(&third, STREAM).await.unwrap().is_none(), "and the place");
    let segments = ledger.segments(&third, STREAM).await.unwrap();
    assert!(!segments.is_empty() && segments.iter().all(|row| row.superseded), "a retry has other names");
}

#[tokio::test]
async fn what_a_cancelled_task_left_behind_is_known_to_go() {
    let (_dir, ledger) = fresh();
    let config = order(1).new.config;
    let (task, _) = ledger.create_task(NewTask { at: created(1), config, ..chained_task("shop") }).await.unwrap();
    assert_eq!(task, id(1));
    let left = LeftBehind { destination: "lake".into(), manifest: manifest(1), sha256: "ab".repeat(32) };
    let change = Change { reason: "restored".into(), actor: "anna".into(), ..Change::default() };
    let unseen = ["offsite".to_owned()].into();
    let order = CancelOpen { left: vec![left], unseen, change, ..CancelOpen::default() };
    assert_eq!(ledger.cancel_open(order).await.unwrap().len(), 1);
    let written = ledger.to_withdraw(&task).await.unwrap();
    assert_eq!((written.len(), written[0].destination.as_str()), (1, "lake"));
    let files = ledger.segments(&task, STREAM).await.unwrap();
    assert_eq!(
        files.iter().map(|row| (row.name.as_str(), row.superseded)).collect::<Vec<_>>(),
        [("part-0-000000.csv", true)]
    );
    let row = ledger.task(&task).await.unwrap().unwrap();
    let stored: serde_json::Value = serde_json::from_str(&row.config).unwrap();
    assert_eq!(stored["exports"]["shop"]["to"], json!(["lake"]), "nothing goes where nobody has looked");
    assert!(ledger.check().await.unwrap().0.into_iter().all(|step| step.problems.is_empty()));

    let restored = AuditEntry { action: "ledger_restored".into(), ..AuditEntry::default() };
    ledger.audit(restored).await.unwrap();
    let refused = ledger.task_event(&task, TaskEvent::Retry, Change::default()).await.unwrap_err().to_string();
    assert!(refused.contains("was restored since") && refused.contains("run its export again"), "{refused}");
    // What ends afterwards is as any other.
    let (next, _) = ledger.create_task(chained_task("shop")).await.unwrap();
    ledger.task_event(&next, TaskEvent::Cancel, Change::default()).await.unwrap();
    ledger.task_event(&next, TaskEvent::Retry, Change::default()).await.unwrap();
}

#[tokio::test]
async fn another_truth_is_refused_and_changes_nothing() {
    let (_dir, ledger) = fresh();
    for n in 1..=2 {
        ledger.adopt(order(n)).await.unwrap();
    }
    let audited = *ledger.changes().borrow();
    let refused = async |spoil: fn(&mut Adoption)| {
        let mut bad = order(3);
        spoil(&mut bad);
        bad.streams[0].places[0].1.bytes = bad.streams[0].manifest.to_bytes().unwrap();
        let error = ledger.adopt(bad).await.unwrap_err().to_string();
        assert_eq!(
            (*ledger.changes().borrow(), number(&ledger, "SELECT count(*) FROM tasks")),
            (audited, 2),
            "{error}"
        );
        error
    };
    let taken = refused(|order| order.streams[0].manifest.chain.position = 1).await;
    assert!(taken.contains(id(2).as_str()) && taken.contains("place 1"), "{taken}");
    let offset = refused(|order| order.streams[0].manifest.offsets[0].last = json!({ "page": 1 })).await;
    assert!(offset.contains("offset"), "{offset}");
    let files = refused(|order| {
        order.id = id(2);
        order.streams[0].manifest.chain.position = 1;
        order.streams[0].manifest.segments[0].sha256 = "ab".repeat(32);
    })
    .await;
    assert!(files.contains("other files"), "{files}");
    assert_eq!(mark(&ledger).await, Some((day(2), id(2))));
}

#[tokio::test]
async fn a_slot_whose_night_is_published_is_not_run_again() {
    let (_dir, ledger) = fresh();
    ledger.adopt(order(1)).await.unwrap();
    let sql = Connection::open(ledger.path()).unwrap();
    let text = "INSERT INTO schedules (export, fingerprint, since) VALUES ('shop', 'f', ?1)";
    sql.execute(text, [created(1).as_microsecond()]).unwrap();
    drop(sql);
    // One stream of two is not the night.
    let mut part = order(2);
    part.new.streams.push("customers".into());
    ledger.adopt(part).await.unwrap();
    let slot = async || ledger.schedules().await.unwrap().pop().unwrap().seen.slot;
    assert_eq!(slot().await, None);
    ledger.adopt(order(3)).await.unwrap();
    assert_eq!(slot().await, Some(created(3)));
    assert_eq!(number(&ledger, "SELECT count(*) FROM last_ends WHERE export = 'shop' AND state = 'succeeded'"), 1);
}
