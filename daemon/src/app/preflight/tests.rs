//! The whole check, against a server of the test and a directory.

use super::*;
use crate::config::{self, Secrets};
use saas_export_api::{PreflightStep, StepResult};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server that gives one answer to everything, and how often it was asked.
fn serve(status: &'static str, body: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 8192];
            // The step `tcp` connects and says nothing.
            if stream.read(&mut bytes).unwrap_or(0) == 0 {
                continue;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}");
            let _ = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes());
        }
    });
    (origin, asked)
}

/// A configuration of one source with these streams, and an export of each.
fn preflight(origin: &str, root: &Path, streams: &str) -> Preflight {
    let text = format!(
        "version: 1\nsources:\n  shop: {{ rest: {{ base_url: \"{origin}\", auth: {{ bearer: {{ token: \"${{T}}\" }} }}, \
         streams: {streams} }} }}\ndestinations: {{ lake: {{ local: {{ root: {} }} }} }}\n\
         exports: {{ one: {{ source: shop, to: [lake] }} }}\n",
        root.display()
    );
    let secret = crate::base::secret::Secret::new("s3cr3t-t0ken");
    let secrets = Secrets::new([("T".to_owned(), secret)].into(), Path::new("auth.env"));
    Preflight::alone(config::parse(&text, "config.yaml").unwrap(), secrets, None)
}

fn step<'a>(report: &'a api::Preflight, subject: &str, name: &str) -> &'a PreflightStep {
    let found = report.steps.iter().find(|step| step.subject == subject && step.name == name);
    found.unwrap_or_else(|| panic!("no step {name} of {subject} in {report:#?}"))
}

const STREAMS: &str = "{ orders: { path: /orders, records: \"$.data[*]\", primary_key: [id], total: $.total, \
                       paginate: { cursor: { from: $.next, param: cursor } } } }";

#[tokio::test]
async fn everything_that_works_is_told_and_nothing_is_left() {
    let (origin, asked) = serve("200 OK", r#"{"data": [{"id": 1, "a": "x"}, {"id": 2}], "next": "c2", "total": 9}"#);
    let dir = tempfile::tempdir().unwrap();
    let report = preflight(&origin, dir.path(), STREAMS).run(None, &Params::new()).await.unwrap();
    assert!(report.ok, "{report:#?}");
    let names: Vec<&str> = report.steps.iter().map(|step| step.name.as_str()).collect();
    let expected = ["dns", "tcp", "tls", "auth", "first_page", "schema", "shift_protection", "write", "room"];
    assert_eq!(names, expected);
    assert_eq!(step(&report, "source shop", "auth").message, "bearer: accepted");
    let page = step(&report, "stream one/orders", "first_page");
    assert_eq!(page.message, "2 records at $.data[*]; a cursor leads on; the source says 9 in all");
    let schema = step(&report, "stream one/orders", "schema");
    assert_eq!(schema.message, "2 columns: id integer, a string");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one page is asked for");
    let mut left = Vec::new();
    for entry in std::fs::read_dir(dir.path().join(".saas-export/incoming")).unwrap() {
        left.push(entry.unwrap().file_name());
    }
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn refused_credentials_are_told_once_and_no_other_stream_is_tried() {
    let (origin, asked) = serve("401 Unauthorized", r#"{"message": "bad token"}"#);
    let dir = tempfile::tempdir().unwrap();
    let streams = "{ a: { path: /a }, b: { path: /b } }";
    let report = preflight(&origin, dir.path(), streams).run(Some("one"), &Params::new()).await.unwrap();
    assert!(!report.ok);
    let auth = step(&report, "source shop", "auth");
    assert_eq!((auth.result, auth.message.as_str()), (StepResult::Fail, "bearer: not accepted"));
    assert_eq!(step(&report, "stream one/a", "first_page").result, StepResult::Fail);
    let other = step(&report, "stream one/b", "first_page");
    assert_eq!((other.result, other.message.as_str()), (StepResult::Skip, "the credentials are not accepted"));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let text = format!("{report:?}");
    assert!(!text.contains("s3cr3t-t0ken"), "{text}");
}

#[tokio::test]
async fn what_is_wrong_with_a_page_is_told() {
    let cases = [
        ("404 Not Found", "{}", StepResult::Fail, "404"),
        (
            "201 Created",
            r#"{"data": [{"id": 1}]}"#,
            StepResult::Fail,
            "this request makes something new; is it a search?",
        ),
        ("500 Oops", "{}", StepResult::Fail, "500"),
        ("200 OK", r#"{"items": []}"#, StepResult::Fail, "nothing at $.data[*]"),
        ("200 OK", r#"{"data": []}"#, StepResult::Warn, "0 records at $.data[*]"),
        ("200 OK", r#"{"data": [{"id": 1}], "total": 7}"#, StepResult::Warn, "the last page: nothing at $.next"),
        ("200 OK", "<html>", StepResult::Fail, "as JSON"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (status, body, result, words) in cases {
        let (origin, asked) = serve(status, body);
        let report = preflight(&origin, dir.path(), STREAMS).run(None, &Params::new()).await.unwrap();
        let page = step(&report, "stream one/orders", "first_page");
        assert_eq!(page.result, result, "{page:?}");
        assert!(page.message.contains(words) && page.hint.is_some(), "{page:?}");
        assert_eq!(step(&report, "source shop", "auth").result, StepResult::Ok, "{report:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{status}: it is tried once");
    }
}

#[tokio::test]
async fn records_that_do_not_fit_and_keys_that_are_missing_are_told() {
    let dir = tempfile::tempdir().unwrap();
    for (body, words) in [
        (r#"{"data": [1, {"id": 2}]}"#, "1 of 2 records would be rejected, the first because it is no JSON object"),
        (r#"{"data": [{"key": 2}]}"#, "1 column: key integer"),
    ] {
        let (origin, _) = serve("200 OK", body);
        let report = preflight(&origin, dir.path(), STREAMS).run(None, &Params::new()).await.unwrap();
        let schema = step(&report, "stream one/orders", "schema");
        assert_eq!(schema.result, StepResult::Warn);
        assert!(schema.message.contains(words), "{schema:?}");
    }
}

#[tokio::test]
async fn what_comes_behind_a_failure_is_skipped_with_its_reason() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let report = preflight(&format!("http://{free}"), file.path(), STREAMS).run(None, &Params::new()).await.unwrap();
    assert_eq!(step(&report, "source shop", "tcp").result, StepResult::Fail);
    for (subject, name, why) in [
        ("source shop", "tls", "tcp failed"),
        ("source shop", "auth", "tcp failed"),
        ("stream one/orders", "first_page", "tcp of source shop failed"),
        ("destination lake", "room", "write failed"),
    ] {
        let skipped = step(&report, subject, name);
        assert_eq!((skipped.result, skipped.message.as_str()), (StepResult::Skip, why));
    }
    let write = step(&report, "destination lake", "write");
    assert!(write.result == StepResult::Fail && write.hint.as_ref().unwrap().contains("another root"), "{write:?}");
}

#[tokio::test]
async fn unknown_exports_and_missing_parameters() {
    let dir = tempfile::tempdir().unwrap();
    let mut preflight = preflight("http://127.0.0.1:9", dir.path(), "{ a: { path: /a } }");
    assert!(matches!(preflight.run(Some("two"), &Params::new()).await, Err(Refusal::NotFound(_))));
    let given = Params::from([("q".to_owned(), "x".to_owned())]);
    assert!(matches!(preflight.run(Some("one"), &given).await, Err(Refusal::Invalid(_))));
    let (origin, _) = serve("200 OK", "[]");
    let config = Arc::make_mut(&mut preflight.config);
    let settings::Source::Rest(rest) = config.sources.values_mut().next().unwrap();
    rest.base_url = origin;
    rest.streams.values_mut().next().unwrap().path = "/{{ param.p }}".into();
    let param = serde_json::from_value(serde_json::json!({ "type": "string" })).unwrap();
    config.exports.values_mut().next().unwrap().params.insert(Name::new("p").unwrap(), param);
    let report = preflight.run(Some("one"), &Params::new()).await.unwrap();
    let page = step(&report, "stream one/a", "first_page");
    assert_eq!(page.message, "parameter p has no default: give --param p=VALUE");
    let given = Params::from([("p".to_owned(), "x".to_owned())]);
    let report = preflight.run(Some("one"), &given).await.unwrap();
    assert_eq!(step(&report, "stream one/a", "first_page").result, StepResult::Warn, "{report:?}");
}
