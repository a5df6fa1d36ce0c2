//! What the routes answer, with what the ledger holds.

use super::*;
use crate::ledger::Advance;
use crate::ledger::Tail;
use crate::ledger::input::Change;
use crate::model::offset::{Offset, PageCursor};
use crate::model::segment::{CheckpointDelta, Counts, CutReason, SealedSegment, SegmentId};
use crate::model::task::TaskEvent;
use serde_json::from_str;

/// Two lanes in the stream `orders`, the first with a segment of two pages; and the task paused.
pub async fn give_lanes(fixture: &Fixture, task: &TaskId) {
    let ledger = &fixture.state.ledger;
    ledger.open_lanes(task, "orders", &[Offset::start(0), Offset::start(1)]).await.unwrap();
    ledger.task_event(task, TaskEvent::Start, Change::default()).await.unwrap();
    ledger.advance(task, &segment(), Advance { destinations: &["lake".into()], ..Advance::default() }).await.unwrap();
    ledger.task_event(task, TaskEvent::Pause, Change::default()).await.unwrap();
}

fn segment() -> SealedSegment {
    let cursor = PageCursor::Token("two".into());
    let to = Offset { cursor, pages: 2, records: 20, partition_records: 20, ..Offset::start(0) };
    SealedSegment {
        id: SegmentId { stream: "orders".into(), lane: 0, n: 0, revision: 0 },
        name: "part-0-000000.csv".into(),
        bytes: 300,
        sha256: "ab".repeat(32),
        crc32c: 7,
        plain: None,
        counts: Counts { read: 20, written: 20, ..Counts::default() },
        pages: 2,
        source_bytes: 1000,
        cut: CutReason::Size,
        delta: CheckpointDelta { from: Offset::start(0), to },
    }
}

async fn run_with_key(fixture: &Fixture, key: &str, body: &str) -> Got {
    let request = Request::post("/v1/exports/shop/run").header("Idempotency-Key", key);
    let body = Full::from(body.to_owned());
    fixture.send(&caller(Some(Access::Operate)), request.body(body).unwrap()).await
}

#[tokio::test]
async fn a_run_answers_202_with_where_to_ask() {
    let fixture = Fixture::new().await;
    let got = fixture.ask(Some(Access::Operate), "POST", "/v1/exports/shop/run", r#"{"params":{"region":"eu"}}"#).await;
    assert_eq!((got.status, got.body["type"].as_str()), (StatusCode::ACCEPTED, Some("async")));
    let location = got.headers["location"].to_str().unwrap();
    assert_eq!(got.body["location"], location);
    let shown = fixture.get(location).await;
    assert_eq!(shown.body["result"]["task"]["id"], got.body["result"]["task"]);
    assert_eq!(shown.body["result"]["task"]["state"], "pending");
    assert_eq!(fixture.told(), [r#"submit shop {"region": "eu"} None by uid 7 (tester)"#]);
}

#[tokio::test]
async fn a_repeated_request_is_one_request() {
    let fixture = Fixture::new().await;
    let first = run_with_key(&fixture, "k1", "{}").await;
    let again = run_with_key(&fixture, "k1", "{}").await;
    assert_eq!((again.status, &again.text), (StatusCode::ACCEPTED, &first.text));
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(fixture.told().len(), 1);
    let other = run_with_key(&fixture, "k1", r#"{"format":"csv"}"#).await;
    assert_eq!(other.status, StatusCode::CONFLICT, "{}", other.text);
    assert_eq!(run_with_key(&fixture, "k2", "{}").await.status, StatusCode::ACCEPTED);
    assert_eq!(fixture.told().len(), 2);
    assert_eq!(run_with_key(&fixture, &"k".repeat(201), "{}").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_refusal_may_be_tried_again_with_the_same_key() {
    let fixture = Fixture::new().await;
    let refuse = r#"{"params":{"refuse":""}}"#;
    assert_eq!(run_with_key(&fixture, "k1", refuse).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(run_with_key(&fixture, "k1", refuse).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(fixture.told().len(), 2);
}

#[tokio::test]
async fn mistakes_are_named_and_nothing_happens() {
    let fixture = Fixture::new().await;
    let cases = [
        ("/v1/exports/shop/run", "{\"params\":{\"a\":1}}", 400, "line 1, column 16, field params.a"),
        ("/v1/exports/shop/run", "{\"path\":\"/etc\"}", 400, "unknown field `path`"),
        ("/v1/exports/shop/run?x=1", "", 400, "unknown parameter \"x\": this path takes none"),
        ("/v1/exports/shap/run", "", 404, "there is no export \"shap\""),
        ("/v1/tasks/2026-nope/pause", "", 404, "there is no task \"2026-nope\""),
        ("/v1/tasks/2/pause", "", 404, "there is no task \"2\""),
    ];
    for (path, body, status, message) in cases {
        let got = fixture.ask(Some(Access::Admin), "POST", path, body).await;
        assert_eq!(got.status.as_u16(), status, "{path}: {}", got.text);
        assert!(got.body["error"]["message"].as_str().unwrap().contains(message), "{path}: {}", got.text);
    }
    assert!(fixture.told().is_empty());
    for path in
        ["/v1/tasks?state=gone", "/v1/tasks?limit=1001", "/v1/events?since=-", "/v1/exports/shop/files?latest=x"]
    {
        assert_eq!(fixture.get(path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn the_start_of_an_id_is_enough_while_it_is_unique() {
    let fixture = Fixture::new().await;
    let task = fixture.task().await;
    let start = &task.as_str()[..20];
    assert_eq!(fixture.get(&format!("/v1/tasks/{start}")).await.body["result"]["task"]["id"], task.as_str());
    let other = fixture.task().await;
    let got = fixture.get(&format!("/v1/tasks/{}", &task.as_str()[..8])).await;
    assert_eq!(got.status, StatusCode::CONFLICT, "{}", got.text);
    assert!(got.body["error"]["hint"].as_str().unwrap().contains(other.as_str()), "{}", got.text);
    assert_eq!(fixture.get(&format!("/v1/tasks/{task}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn status_and_exports_say_what_the_ledger_holds() {
    let fixture = Fixture::new().await;
    let task = fixture.task().await;
    give_lanes(&fixture, &task).await;
    fixture.task().await;
    fixture.state.ledger.set_export_paused("shop", true, "uid 7 (tester)").await.unwrap();
    let status = fixture.get("/v1/status").await.body["result"].clone();
    assert_eq!(status["tasks"], json!({ "running": 0, "paused": 1, "queued": 1 }));
    assert_eq!(status["open"][0]["id"], task.as_str());
    assert_eq!(status["ledger"], json!({ "healthy": true }));
    assert_eq!(status["caller"], json!({ "actor": "uid 7 (tester)", "access": "admin" }));
    let exports = fixture.get("/v1/exports").await.body["result"].clone();
    assert_eq!(exports[0]["streams"], json!(["orders"]));
    assert_eq!(exports[0]["paused"], true);
    assert_eq!(exports[0]["params"]["region"], json!({ "type": "string" }));
    assert_eq!(exports[0]["last_success"], Value::Null);
    let tasks = fixture.get("/v1/tasks?export=shop&state=paused&limit=5").await.body["result"].clone();
    assert_eq!(tasks.as_array().unwrap().len(), 1);
    let unknown = fixture.get("/v1/tasks?export=shap").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.text);
    assert_eq!(unknown.body["error"]["hint"], "there are: shop");
    assert_eq!(fixture.get("/v1/tasks?export=shop&state=failed").await.body["result"], json!([]));
    let queued = fixture.get("/v1/tasks?state=pending").await.body["result"][0].clone();
    assert!(queued["waiting"]["reason"].as_str().unwrap().contains("exportctl resume shop"), "{queued}");
}

#[tokio::test]
async fn a_wait_ends_with_the_task_or_with_its_time() {
    let fixture = Fixture::new().await;
    let task = fixture.task().await;
    let path = format!("/v1/tasks/{task}/wait?timeout=0");
    assert_eq!(fixture.get(&path).await.body["result"]["task"]["state"], "pending");
    let ledger = fixture.state.ledger.clone();
    let id = task.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ledger.task_event(&id, TaskEvent::Cancel, Change::default()).await.unwrap();
    });
    let path = format!("/v1/tasks/{task}/wait?timeout=60");
    let got = tokio::time::timeout(Duration::from_secs(10), fixture.get(&path)).await.expect("in time");
    assert_eq!(got.body["result"]["task"]["state"], "cancelled");
}

#[tokio::test]
async fn events_replay_from_any_position() {
    let fixture = Fixture::new().await;
    let task = fixture.task().await;
    give_lanes(&fixture, &task).await;
    let all = fixture.get("/v1/events").await;
    assert_eq!(all.headers["content-type"], "application/x-ndjson");
    let events: Vec<Value> = all.text.lines().map(|line| from_str(line).unwrap()).collect();
    let last = events.last().unwrap();
    assert_eq!(
        (&last["action"], &last["to"], &last["task"]),
        (&json!("pause"), &json!("paused"), &json!(task.as_str()))
    );
    let since = &events[events.len() - 2]["seq"];
    assert_eq!(fixture.get(&format!("/v1/events?since={since}")).await.text.lines().count(), 1);
    assert_eq!(fixture.get(&format!("/v1/events?since={}", last["seq"])).await.text, "");
}

#[tokio::test]
async fn who_follows_sees_what_comes() {
    let fixture = Fixture::new().await;
    let request = Request::get("/v1/events?follow").body(Full::<Bytes>::default()).unwrap();
    let admin = caller(Some(Access::Admin));
    let stop = fixture.stop.clone();
    let mut body = respond(fixture.state.clone(), admin, stop, Limits::default(), request).await.into_body();
    let task = fixture.task().await;
    let mut seen = String::new();
    while !seen.contains(task.as_str()) {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("an event").unwrap();
        seen.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    fixture.stop.cancel();
    while tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("the end").is_some() {}
}

#[tokio::test]
async fn offsets_are_set_with_the_document_that_was_read() {
    let fixture = Fixture::new().await;
    let task = fixture.task().await;
    give_lanes(&fixture, &task).await;
    let path = format!("/v1/tasks/{task}/offsets");
    let read = fixture.get(&path).await.body["result"].clone();
    assert_eq!(read["streams"]["orders"]["lanes"][1]["offset"]["partition"], 1);
    assert_eq!(fixture.get("/v1/exports/shop/offsets").await.body["result"], read);
    let put = async |document: &Value| fixture.ask(Some(Access::Admin), "PUT", &path, &document.to_string()).await;
    assert_eq!(put(&read).await.body["result"], read, "what stands stays");
    let wrong = |pointer: &str, value: Value| {
        let mut document = read.clone();
        *document.pointer_mut(pointer).unwrap() = value;
        document
    };
    let cases = [
        ("/task", json!("20200101T000000Z-00000000"), 409),
        ("/streams/orders/lanes/0/revision", json!(9), 409),
        ("/streams/orders/lanes/0/lane", json!(7), 404),
        ("/streams/orders/lanes/0/offset/cursor", json!({ "token": "never seen" }), 409),
        ("/streams/orders/lanes/0/offset/cursor", json!("middle"), 400),
    ];
    for (pointer, value, status) in cases {
        let got = put(&wrong(pointer, value)).await;
        assert_eq!(got.status.as_u16(), status, "{pointer}: {}", got.text);
    }
    assert_eq!(fixture.get(&path).await.body["result"], read, "a refusal moves nothing");
    let mut back = read.clone();
    back["streams"]["orders"]["lanes"][0]["offset"] = serde_json::to_value(Offset::start(0)).unwrap();
    let moved = put(&back).await.body["result"].clone();
    let expected = json!({ "lane": 0, "revision": 1, "offset": back["streams"]["orders"]["lanes"][0]["offset"] });
    assert_eq!(moved["streams"]["orders"]["lanes"][0], expected);
    assert_eq!(put(&back).await.status, StatusCode::CONFLICT, "the revision is another one now");
    let reset = fixture.ask(Some(Access::Admin), "DELETE", &format!("{path}?stream=orders"), "").await;
    assert_eq!(reset.body["result"]["streams"]["orders"]["lanes"][0]["revision"], 2, "{}", reset.text);
    let unknown = fixture.ask(Some(Access::Admin), "DELETE", &format!("{path}?stream=none"), "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.text);
}

#[tokio::test]
async fn a_verification_is_told_and_audited() {
    let fixture = Fixture::new().await;
    let task = fixture.task().await;
    let path = format!("/v1/tasks/{task}/verify");
    let good = fixture.ask(Some(Access::Operate), "POST", &path, "").await;
    assert_eq!(good.body["result"]["ok"], true);
    let bad = fixture.ask(Some(Access::Operate), "POST", &format!("{path}?destination=lake"), "").await;
    assert_eq!(bad.body["result"]["problems"][0]["problem"], "it is gone");
    let audit = fixture.state.ledger.audit_since(0, 100).await.unwrap();
    let reasons: Vec<_> = audit.iter().filter(|row| row.action == "verify").map(|row| row.reason.as_str()).collect();
    assert_eq!(reasons, ["3 files as the ledger says", "1 of 3 files is not what the ledger says"]);
}

#[tokio::test]
async fn while_the_ledger_is_unwell_writes_are_refused_and_looking_goes_on() {
    let fixture = Fixture::new().await;
    fixture.state.ledger.close().await.unwrap();
    let got = fixture.ask(Some(Access::Admin), "POST", "/v1/pause", "").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.body["error"]["message"].as_str().unwrap().starts_with("the ledger takes no writes: "), "{}", got.text);
    assert!(fixture.told().is_empty());
    assert_eq!(fixture.get("/v1").await.status, StatusCode::OK);
    assert_eq!(fixture.get("/v1/config/check").await.body["result"]["ok"], false);
}

/// Reads the lanes of a task to their end, and delivers what they hold.
pub async fn extract(ledger: &Ledger, task: &TaskId) {
    ledger.task_event(task, TaskEvent::Resume, Change::default()).await.unwrap();
    ledger.task_event(task, TaskEvent::Start, Change::default()).await.unwrap();
    for (lane, from) in [(0, segment().delta.to), (1, Offset::start(1))] {
        let to = Offset { cursor: PageCursor::End, ..from.clone() };
        ledger
            .finish_lane(task, "orders", lane, Tail { delta: CheckpointDelta { from, to }, counts: Counts::default() })
            .await
            .unwrap();
    }
    ledger.delivery_verified(task, &segment().id, "lake").await.unwrap();
    ledger.stream_extracted(task, "orders").await.unwrap();
    ledger.task_extracted(task, vec![]).await.unwrap();
}

async fn compose(ledger: &Ledger, task: &TaskId) {
    ledger.compose_manifest(task, "orders", "lake", b"{}".to_vec()).await.unwrap();
}

#[tokio::test]
async fn a_task_that_cannot_be_read_does_not_hide_the_others() {
    let fixture = Fixture::new().await;
    let ledger = &fixture.state.ledger;
    let good = fixture.task().await;
    // Of an older daemon, say: its configuration is not understood.
    let key = RequestKey::new("shop", &[("old".into(), String::new())], "csv", "");
    let old = NewTask { key, config: "{\"version\": 1, \"gone\": {}}".into(), ..task_of("x") };
    let bad = ledger.create_task(old).await.unwrap().0;
    let got = fixture.get("/v1/exports/shop/files").await;
    assert_eq!(got.body["result"]["files"], json!([]), "one that published nothing is not looked at: {}", got.text);
    for task in [&good, &bad] {
        give_lanes(&fixture, task).await;
        extract(ledger, task).await;
        compose(ledger, task).await;
        ledger.manifest_published(task, "orders", "lake").await.unwrap();
    }
    let got = fixture.get("/v1/exports/shop/files").await;
    assert_eq!(got.body["result"]["files"][0]["task"], good.as_str(), "{}", got.text);
    assert!(got.body["result"]["notes"][0].as_str().unwrap().contains(bad.as_str()), "{}", got.text);
}

#[tokio::test]
async fn files_are_those_of_published_manifests() {
    let fixture = Fixture::new().await;
    let ledger = &fixture.state.ledger;
    let task = fixture.task().await;
    give_lanes(&fixture, &task).await;
    extract(ledger, &task).await;
    let path = format!("/v1/tasks/{task}/files");
    assert_eq!(fixture.get(&path).await.body["result"]["files"], json!([]), "not published yet");
    compose(ledger, &task).await;
    assert_eq!(fixture.get(&path).await.body["result"]["files"], json!([]), "not published yet");
    ledger.manifest_published(&task, "orders", "lake").await.unwrap();
    let expected = json!([{
        "task": task.as_str(),
        "stream": "orders",
        "destination": "lake",
        "name": "part-0-000000.csv",
        "path": format!("/srv/exports/shop/orders/{task}/part-0-000000.csv"),
        "bytes": 300,
        "rows": 20,
        "sha256": "ab".repeat(32),
    }]);
    for path in [&path, "/v1/exports/shop/files", "/v1/exports/shop/files?latest"] {
        let got = fixture.get(path).await;
        assert_eq!(got.body["result"]["files"], expected, "{path}: {}", got.text);
        assert_eq!(got.body["result"]["destinations"], json!(["lake"]));
    }
    let published = fixture.get(&format!("/v1/tasks/{task}")).await.body["result"]["manifests"][0].clone();
    assert!(published["published_at"].is_string(), "{published}");
}

#[tokio::test]
async fn schemas_are_looked_at_and_compared() {
    let fixture = Fixture::new().await;
    let got = fixture.get("/v1/exports/shop/schema?stream=orders&format=csv&param.region=eu").await;
    let stream = &got.body["result"]["streams"][0];
    assert_eq!((stream["stream"].as_str(), stream["notes"][0].as_str()), (Some("orders"), Some(r#"{"region": "eu"}"#)));
    assert_eq!(fixture.get("/v1/exports/shop/schema?params.region=eu").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(fixture.get("/v1/exports/none/schema").await.status, StatusCode::NOT_FOUND);

    let got = fixture.get("/v1/exports/shop/schema/diff").await;
    assert_eq!(got.status, StatusCode::NOT_FOUND, "{}", got.text);
    let task = fixture.task().await;
    let got = fixture.get(&format!("/v1/tasks/{task}/schema/diff/{task}")).await;
    assert_eq!(got.body["result"]["older"], got.body["result"]["newer"], "{}", got.text);
    assert_eq!(fixture.get(&format!("/v1/tasks/{task}/schema/diff/nobody")).await.status, StatusCode::NOT_FOUND);
}
