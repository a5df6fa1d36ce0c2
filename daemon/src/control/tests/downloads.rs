//! Downloads and links: only what a manifest lists, on record with who took it, and pruning.

use super::answers::{extract, give_lanes};
use super::*;
use crate::control::server::Limits;
use saas_export_manifest::{Digests, Manifest};
use serde_json::json;

const OPERATOR: Option<Access> = Some(Access::Operate);

/// A task that published one file of 300 bytes at `lake`.
pub async fn published(fixture: &Fixture) -> TaskId {
    let ledger = &fixture.state.ledger;
    let task = fixture.task().await;
    give_lanes(fixture, &task).await;
    extract(ledger, &task).await;
    ledger.compose_manifest(&task, "orders", "lake", manifest(&task)).await.unwrap();
    ledger.manifest_published(&task, "orders", "lake").await.unwrap();
    task
}

/// The same with a file that has no end in sight, `part-0-000009.csv`.
pub async fn published_endless(fixture: &Fixture) -> TaskId {
    let (ledger, task) = (&fixture.state.ledger, fixture.task().await);
    give_lanes(fixture, &task).await;
    extract(ledger, &task).await;
    let mut large = Manifest::parse(&manifest(&task)).unwrap();
    large.segments[0].name = "part-0-000009.csv".into();
    large.segments[0].bytes = 1 << 60;
    ledger.compose_manifest(&task, "orders", "lake", large.to_bytes().unwrap()).await.unwrap();
    ledger.manifest_published(&task, "orders", "lake").await.unwrap();
    task
}

fn manifest(task: &TaskId) -> Vec<u8> {
    let manifest: Manifest = serde_json::from_value(json!({
        "version": 1, "export": "shop", "stream": "orders", "task": task.as_str(), "created_at": "2026-01-01T00:00:00Z",
        "mode": "full", "format": "csv", "schema": {}, "schema_version": 1, "primary_key": [], "cursor_field": null,
        "shift_protection": "none", "chain": { "id": task.as_str(), "position": 0 }, "offsets": [],
        "marks": { "before": null, "after": null },
        "counts": { "read": 20, "written": 20, "rejected": 0, "duplicate": 0, "filtered": 0, "over_limit": 0, "rescued": 0 },
        "pages": 2, "source_bytes": 1000, "daemon_version": "0",
        "segments": [{
            "name": "part-0-000000.csv", "rows": 20, "bytes": 300, "sha256": "ab".repeat(32), "crc32c": "00000007",
            "lane": 0, "n": 0, "revision": 0, "first_offset": null, "last_offset": null,
        }],
    }))
    .unwrap();
    manifest.to_bytes().unwrap()
}

async fn audited(fixture: &Fixture, action: &str) -> Vec<crate::ledger::rows::AuditRow> {
    let mut rows = fixture.state.ledger.audit_since(0, 1000).await.unwrap();
    rows.retain(|row| row.action == action);
    rows
}

#[tokio::test]
async fn a_file_comes_as_it_is_with_what_it_must_be() {
    let fixture = Fixture::new().await;
    let task = published(&fixture).await;
    for whose in [task.as_str(), "shop"] {
        let path = format!("/v1/tasks/{whose}/files/orders/part-0-000000.csv");
        let got = fixture.ask(OPERATOR, "GET", &path, "").await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.text);
        assert_eq!(got.headers["x-sha256"], "ab".repeat(32).as_str());
        assert_eq!(got.headers["content-type"], "application/octet-stream");
        assert_eq!(got.text.len(), 301, "enough to show that it is too long, and no more");
    }
    let rows = audited(&fixture, "download").await;
    let row = rows.last().unwrap();
    assert_eq!((rows.len(), row.actor.as_str(), row.task.as_deref()), (2, "uid 7 (tester)", Some(task.as_str())));
    assert_eq!(row.reason, "orders/part-0-000000.csv at lake");
    let detail: Value = serde_json::from_str(row.detail.as_deref().unwrap()).unwrap();
    assert_eq!(detail["bytes"], 300);
}

#[tokio::test]
async fn a_signature_is_known_and_no_longer_than_it_is() {
    let fixture = Fixture::new().await;
    let (ledger, task) = (&fixture.state.ledger, fixture.task().await);
    give_lanes(&fixture, &task).await;
    extract(ledger, &task).await;
    let signature = vec![7; 64];
    let composed = crate::ledger::rows::Composed { bytes: manifest(&task), signature: Some(signature.clone()) };
    ledger.compose_signed(&task, "orders", "lake", composed).await.unwrap();
    ledger.manifest_published(&task, "orders", "lake").await.unwrap();
    // The object never ends.
    let path = format!("/v1/tasks/{task}/files/orders/_manifest.json.sig");
    let got = tokio::time::timeout(std::time::Duration::from_secs(10), fixture.ask(OPERATOR, "GET", &path, "")).await;
    assert_eq!(got.unwrap().headers["x-sha256"], Digests::of(&signature).sha256.as_str());
}

#[tokio::test]
async fn only_what_a_published_manifest_lists_is_given() {
    let fixture = Fixture::new().await;
    let task = published(&fixture).await;
    let cases = [
        ("orders/part-0-000001.csv", 404, "has no file"),
        ("orders/..%2F..%2Fsecret", 404, "has no file"),
        ("orders/part-0-000000.csv?destination=elsewhere", 404, "it has lake"),
        ("orders/part-0-000000.csv?path=/etc", 400, "unknown parameter"),
        ("users/part-0-000000.csv", 404, "has published no stream"),
        ("orders/_manifest.json.sig", 404, "has no file"),
        ("orders/_manifest.json", 409, "/srv/exports/shop/orders"),
    ];
    for (file, status, message) in cases {
        let got = fixture.ask(OPERATOR, "GET", &format!("/v1/tasks/{task}/files/{file}"), "").await;
        assert_eq!(got.status.as_u16(), status, "{file}: {}", got.text);
        assert!(got.text.contains(message), "{file}: {}", got.text);
    }
    assert!(audited(&fixture, "download").await.is_empty(), "nothing was given");
    let viewer = Some(Access::Read);
    let got = fixture.ask(viewer, "GET", &format!("/v1/tasks/{task}/files/orders/part-0-000000.csv"), "").await;
    assert_eq!(got.status, StatusCode::FORBIDDEN, "data leave the machine: looking is not enough");
}

#[tokio::test]
async fn an_answer_breaks_off_where_its_destination_does() {
    let fixture = Fixture::new().await;
    let task = published(&fixture).await;
    let request =
        Request::get(format!("/v1/tasks/{task}/files/orders/SHA256SUMS")).body(Full::<Bytes>::default()).unwrap();
    let stop = fixture.stop.clone();
    let response = respond(fixture.state.clone(), caller(OPERATOR), stop, Limits::default(), request).await;
    let manifest: Manifest = Manifest::parse(&manifest(&task)).unwrap();
    let sums = saas_export_manifest::sha256sums(&manifest, &super::downloads::manifest(&task));
    assert_eq!(response.headers()["x-sha256"], Digests::of(sums.as_bytes()).sha256.as_str());
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(body.frame().await.unwrap().is_err(), "so that nobody takes it for the whole");
}

#[tokio::test]
async fn a_download_ends_when_the_daemon_goes_down() {
    let fixture = Fixture::new().await;
    let task = published(&fixture).await;
    let path = format!("/v1/tasks/{task}/files/orders/part-0-000000.csv");
    let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
    let stop = fixture.stop.clone();
    let mut body = respond(fixture.state.clone(), caller(OPERATOR), stop, Limits::default(), request).await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    fixture.stop.cancel();
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_link_is_told_once_and_kept_nowhere() {
    let fixture = Fixture::new().await;
    let task = published(&fixture).await;
    let path = format!("/v1/tasks/{task}/links/orders/part-0-000000.csv");
    let got = fixture.ask(OPERATOR, "GET", &format!("{path}?expires=600"), "").await;
    let url = got.body["result"]["url"].as_str().unwrap();
    assert!(url.ends_with("secret=hunter2&expires=600"), "{}", got.text);
    assert_eq!(got.headers["cache-control"], "no-store");
    let rows = fixture.state.ledger.audit_since(0, 1000).await.unwrap();
    let row = rows.iter().find(|row| row.action == "link").unwrap();
    assert_eq!(row.actor, "uid 7 (tester)");
    assert!(row.detail.as_deref().unwrap().contains(r#""expires_seconds":600"#));
    assert!(!format!("{rows:?}").contains("hunter2"));
    for expires in ["0", "604801", "1h"] {
        let got = fixture.ask(OPERATOR, "GET", &format!("{path}?expires={expires}"), "").await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{}", got.text);
    }
    let got = fixture.ask(OPERATOR, "GET", &format!("/v1/tasks/{task}/links/orders/SHA256SUMS"), "").await;
    assert_eq!(got.status, StatusCode::CONFLICT, "{}", got.text);
    assert!(
        got.body["error"]["hint"].as_str().unwrap().contains(&format!("exportctl get {task} -o DIR")),
        "{}",
        got.text
    );
    assert_eq!(fixture.ask(Some(Access::Read), "GET", &path, "").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_was_pruned_is_not_offered() {
    let fixture = Fixture::new().await;
    let ledger = &fixture.state.ledger;
    let old = published(&fixture).await;
    ledger
        .task_event(&old, crate::model::task::TaskEvent::Succeed, crate::ledger::input::Change::default())
        .await
        .unwrap();
    let new = published(&fixture).await;
    ledger
        .task_event(&new, crate::model::task::TaskEvent::Succeed, crate::ledger::input::Change::default())
        .await
        .unwrap();
    let chain = ledger.chains_there(None).await.unwrap().remove(0);
    assert_eq!(chain.chain, old.as_str());
    assert!(ledger.begin_prune(&chain, "", "too many").await.unwrap());
    let got = fixture.ask(OPERATOR, "GET", &format!("/v1/tasks/{old}/files/orders/part-0-000000.csv"), "").await;
    assert_eq!(got.status, StatusCode::CONFLICT);
    assert!(got.text.contains("was pruned at"), "{}", got.text);
    let listed = fixture.get(&format!("/v1/tasks/{old}/files")).await;
    assert_eq!(listed.status, StatusCode::CONFLICT);
    assert!(listed.text.contains("were pruned at"), "{}", listed.text);
    let shown = fixture.get(&format!("/v1/tasks/{old}")).await.body["result"]["manifests"][0].clone();
    assert!(shown["pruned_at"].is_string() && shown["published_at"].is_string(), "{shown}");
    let all = fixture.get("/v1/exports/shop/files").await.body["result"]["files"].clone();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["task"]), (1, &json!(new.as_str())));
    assert_eq!(fixture.get("/v1/tasks/shop").await.body["result"]["task"]["id"], new.as_str());
}

#[tokio::test]
async fn a_plan_is_for_everybody_and_its_execution_for_administrators() {
    let fixture = Fixture::new().await;
    let plan = fixture.ask(Some(Access::Read), "GET", "/v1/exports/shop/prune", "").await;
    assert_eq!(
        (&plan.body["result"]["dry_run"], &plan.body["result"]["chains"][0]["fate"]),
        (&json!(true), &json!("due"))
    );
    assert_eq!(fixture.ask(OPERATOR, "POST", "/v1/prune", "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        fixture.ask(Some(Access::Admin), "POST", "/v1/exports/shap/prune", "").await.status,
        StatusCode::NOT_FOUND
    );
    let done = fixture.ask(Some(Access::Admin), "POST", "/v1/prune", "").await;
    assert_eq!(done.body["result"]["chains"][0]["fate"], "pruned");
    let rows = audited(&fixture, "prune").await;
    assert_eq!((rows[0].actor.as_str(), rows[0].reason.as_str()), ("uid 7 (tester)", "1 chain removed"));
}
