//! Against real servers, where they were started (tests/stores/http.sh), and against one that misbehaves as it is told.

use super::*;
use crate::auth::Place;
use crate::base::error::Classify as _;
use crate::base::secret::Secret;
use crate::destinations::conformance::{content, pattern, put, skipped, suite};
use crate::destinations::faulty::wild;
use crate::destinations::upload::InMemory;
use crate::net::http::tests::server::{Got, Reply, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

/// Gives `$TOKEN`'s value for `${TOKEN}`.
struct Token(String);

impl Resolve for Token {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text.replace("${TOKEN}", &self.0)))
    }
}

fn open(url: &str, token: &str, more: Value) -> HttpPut {
    let mut settings = json!({ "url": url, "auth": { "bearer": { "token": "${TOKEN}" } } });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    HttpPut::new(&serde_json::from_value(settings).unwrap(), &Token(token.to_owned()), None).unwrap()
}

/// What `SAAS_EXPORT_TEST_HTTP` says.
fn started() -> Option<Value> {
    let Ok(text) = std::env::var("SAAS_EXPORT_TEST_HTTP") else {
        skipped("HTTP PUT: no server was started (tests/stores/http.sh)");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn real(started: &Value, server: &str, path: &str, more: Value) -> HttpPut {
    let url = format!("{}{path}", started[server].as_str().unwrap());
    open(&url, started["token"].as_str().unwrap(), more)
}

#[tokio::test]
async fn a_server_that_knows_no_conditions_conforms() {
    let Some(servers) = started() else { return };
    let dir = tempfile::tempdir().unwrap();
    let nginx = real(&servers, "nginx", "/conforms/{key}", json!({}));
    let notes = nginx.probe().await.unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("overwrites in spite of If-None-Match"), "{notes:?}");
    suite(&nginx, dir.path(), 3_000_000).await;
    suite(&real(&servers, "nginx", "/sized/{key}", json!({ "verify": "size" })), dir.path(), 300_000).await;
}

#[tokio::test]
async fn a_server_that_knows_conditions_conforms() {
    let Some(servers) = started() else { return };
    let dir = tempfile::tempdir().unwrap();
    let apache = real(&servers, "apache", "/{key}", json!({}));
    assert_eq!(apache.probe().await.unwrap().notes, [""; 0]);
    assert!(apache.is_conditional());
    suite(&apache, dir.path(), 3_000_000).await;
    suite(&wild(&apache), dir.path(), 3_000_000).await;
}

#[tokio::test]
async fn a_server_that_lets_nobody_read_needs_a_word() {
    let Some(servers) = started() else { return };
    let dir = tempfile::tempdir().unwrap();
    let silent = real(&servers, "nginx", "/write-only/{key}", json!({}));
    let error = silent.probe().await.unwrap_err();
    assert!(error.class() == ErrorClass::Config && error.to_string().contains("verify: none"), "{error}");
    let told = real(&servers, "nginx", "/write-only/{key}", json!({ "verify": "none" }));
    let notes = told.probe().await.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("not verified")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("nothing can be deleted")), "{notes:?}");
    put(&told, dir.path(), "e/part", &pattern(100, 1)).await.unwrap();
    let written = Path::new(servers["nginx_root"].as_str().unwrap()).join("write-only/e/part");
    assert_eq!(std::fs::read(written).unwrap(), pattern(100, 1));
    assert_eq!(told.read_small("e/latest.json", 10).await.unwrap(), None);
    told.replace("e/latest.json", "1".into(), None).await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_and_a_redirect_are_told() {
    let Some(servers) = started() else { return };
    let url = format!("{}/x/{{key}}", servers["nginx"].as_str().unwrap());
    let error = open(&url, "wrong", json!({})).probe().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Auth, "{error}");
    let moved = real(&servers, "nginx", "/moved?file={key}", json!({}));
    let error = put(&moved, tempfile::tempdir().unwrap().path(), "part", b"x").await.unwrap_err();
    assert!(error.class() == ErrorClass::Config && error.to_string().contains("22081"), "{error}");
}

/// A server that keeps what it is sent, and does with the n-th PUT of an object what `fault` says.
struct Store {
    server: Server,
    kept: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

/// What is kept of a PUT.
#[derive(PartialEq)]
enum Kept {
    Not,
    Whole,
    Damaged,
}
use Kept::{Damaged, Not, Whole};

/// What a fault makes of the n-th PUT: what is kept, and the answer.
type Fault = fn(usize) -> Option<(Kept, Reply)>;

fn answer(status: u16) -> Reply {
    Reply::status(status, &[], "")
}

impl Store {
    async fn start(fault: Fault) -> Self {
        let kept: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
        let (objects, puts) = (kept.clone(), Mutex::new(0));
        let handler = move |got: &Got, _| {
            let mut objects = objects.lock().unwrap();
            let there = objects.get(&got.path).cloned();
            match (got.method.as_str(), there) {
                ("HEAD", Some(_)) => answer(200),
                ("GET", Some(bytes)) => Reply::Answer { status: 200, headers: vec![], body: bytes },
                ("PUT", there) => {
                    let mut puts = puts.lock().unwrap();
                    *puts += 1;
                    let (keep, reply) = match (fault(*puts), there) {
                        (Some(fault), _) => fault,
                        (None, Some(_)) => (Not, answer(412)),
                        (None, None) => (Whole, answer(201)),
                    };
                    if keep != Not {
                        let mut bytes = got.body.clone();
                        bytes.iter_mut().take(1).filter(|_| keep == Damaged).for_each(|byte| *byte ^= 1);
                        objects.insert(got.path.clone(), bytes);
                    }
                    reply
                }
                ("DELETE", _) => {
                    objects.remove(&got.path);
                    answer(204)
                }
                _ => answer(404),
            }
        };
        Self { server: Server::start(handler).await, kept }
    }

    fn destination(&self, more: Value) -> HttpPut {
        open(&format!("{}/in/{{key}}", self.server.url), "t0ken", more)
    }
}

/// Puts an object until that succeeds, as a worker would; how many attempts failed.
async fn stubbornly(place: &HttpPut, dir: &Path, bytes: &[u8]) -> usize {
    let from = dir.join("spooled");
    std::fs::write(&from, bytes).unwrap();
    let (expected, log) = (Expected::of(bytes), InMemory::default());
    for tries in 0..5 {
        match place.put_file(Put { key: "e/part", from: &from, expected: &expected, log: &log }).await {
            Ok(()) => return tries,
            Err(error) => assert!(error.class().retryable(), "{error}"),
        }
    }
    panic!("it never arrived");
}

#[tokio::test]
async fn whatever_a_server_answers_the_object_is_there_once_and_whole() {
    let faults: [(&str, Fault, usize); 9] = [
        ("500 without storing", |n| (n == 1).then(|| (Not, answer(500))), 1),
        ("500 after storing", |n| (n == 1).then(|| (Whole, answer(500))), 1),
        ("503 with a wait", |n| (n == 1).then(|| (Not, answer(503).header("Retry-After", "1"))), 1),
        ("409 after storing", |n| (n == 1).then(|| (Whole, answer(409))), 0),
        ("412 after storing", |n| (n == 1).then(|| (Whole, answer(412))), 0),
        ("a reset after storing", |n| (n == 1).then_some((Whole, Reply::Reset)), 1),
        ("silence after storing", |n| (n == 1).then_some((Whole, Reply::Stall)), 1),
        ("silence without storing", |n| (n == 1).then_some((Not, Reply::Stall)), 1),
        ("success after damage", |n| (n == 1).then(|| (Damaged, answer(201))), 1),
    ];
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(400_000, 9);
    for (what, fault, failures) in faults {
        let store = Store::start(fault).await;
        let place = store.destination(json!({ "keep_alive": { "read_timeout": "500ms" } }));
        assert_eq!(stubbornly(&place, dir.path(), &bytes).await, failures, "{what}");
        assert!(store.kept.lock().unwrap().values().eq([&bytes]), "{what}");
        assert!(content(&place, "e/part").await.unwrap() == bytes, "{what}");
    }
}

#[tokio::test]
async fn a_probe_that_arrives_damaged_is_no_trouble_for_the_next_one() {
    let store = Store::start(|n| (n == 1).then(|| (Damaged, answer(201)))).await;
    let place = store.destination(json!({}));
    let error = place.probe().await.unwrap_err();
    assert!(matches!(error, DestinationError::Corrupt { .. }), "{error}");
    assert_eq!(place.probe().await.unwrap().notes, [""; 0]);
}

#[tokio::test]
async fn what_a_request_says() {
    let store = Store::start(|_| None).await;
    let dir = tempfile::tempdir().unwrap();
    let place = store.destination(json!({ "headers": { "X-Team": "data" } }));
    put(&place, dir.path(), "e/a b/part", b"hello").await.unwrap();
    let got = store.server.got();
    let put = got.iter().find(|got| got.method == "PUT").unwrap();
    assert_eq!(put.path, "/in/e/a%20b/part");
    let header = |name: &str| put.headers.get(name).map(String::as_str);
    assert_eq!(header("content-length"), Some("5"));
    assert_eq!(header("transfer-encoding"), None);
    assert_eq!(header("if-none-match"), Some("*"));
    assert_eq!(header("content-digest"), Some("sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"));
    assert_eq!(header("authorization"), Some("Bearer t0ken"));
    assert_eq!(header("x-team"), Some("data"));
    let get = got.iter().find(|got| got.method == "GET").unwrap();
    assert_eq!(get.headers.get("accept-encoding"), None, "what is stored comes back as it is");
}

#[tokio::test]
async fn a_token_is_renewed_once_it_is_refused_and_never_leaves_its_origin() {
    let seen = Arc::new(Mutex::new(0));
    let count = seen.clone();
    let issuer = Server::start(move |_, _| {
        let mut count = count.lock().unwrap();
        *count += 1;
        Reply::json(&json!({ "access_token": format!("token-{count}"), "token_type": "Bearer", "expires_in": 3600 }))
    })
    .await;
    let kept: Mutex<Option<Vec<u8>>> = Mutex::default();
    let files = Server::start(move |got: &Got, _| {
        let mut kept = kept.lock().unwrap();
        match (got.headers.get("authorization").map(String::as_str), got.method.as_str(), kept.clone()) {
            (Some("Bearer token-2"), "PUT", None) => {
                *kept = Some(got.body.clone());
                answer(201)
            }
            (Some("Bearer token-2"), "GET", Some(bytes)) => Reply::Answer { status: 200, headers: vec![], body: bytes },
            (Some("Bearer token-2"), _, None) => answer(404),
            _ => answer(401),
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new(Place { state_dir: dir.path().to_owned(), state_key: None });
    let settings = json!({
        "url": format!("{}/{{key}}", files.url),
        "auth": { "oauth2": { "token_url": issuer.url, "client_id": "me", "client_secret": "${TOKEN}" } },
    });
    let settings = serde_json::from_value(settings).unwrap();
    let place = HttpPut::new(&settings, &Token("s3cret".to_owned()), Some(&registry)).unwrap();
    put(&place, dir.path(), "part", &pattern(1000, 1)).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), 2, "one token, and another for the one that was refused");
    assert!(files.got().iter().all(|got| !got.text().contains("s3cret")));
    assert!(issuer.got().iter().all(|got| !got.text().contains("token-")));
}
