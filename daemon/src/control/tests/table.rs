//! The route table: who may do what, and that whoever changes something is on record.

use super::*;
use crate::control::routes::ROUTES;
use http::Method;

const LEVELS: [Option<Access>; 4] = [None, Some(Access::Read), Some(Access::Operate), Some(Access::Admin)];

fn filled(path: &str, task: &TaskId, notice: &str) -> String {
    let path = path.replace("{snapshot}", "ledger-20261121T024501Z.db");
    let path = path.replace("{task}", task.as_str()).replace("{export}", "shop");
    path.replace("{notification}", notice).replace("{recipient}", "ops")
}

/// A body that every route takes far enough to be judged.
fn body(path: &str) -> String {
    match path {
        path if path.ends_with("/run") => "{}".into(),
        path if path.ends_with("/deliver") => r#"{"to": "offsite"}"#.into(),
        _ => String::new(),
    }
}

/// Ends a task, as one that has read up to the mark 7.
async fn give_mark(fixture: &Fixture, task: &TaskId) {
    let ledger = &fixture.state.ledger;
    ledger.task_event(task, TaskEvent::Cancel, Change::default()).await.unwrap();
    ledger.give_mark("orders", task).await;
}

#[tokio::test]
async fn each_route_lets_in_exactly_those_it_names() {
    let fixture = Fixture::new().await;
    let task = fixture.task().await;
    let notice = give_notice(&fixture.state.ledger, "told").await;
    for route in ROUTES {
        for access in LEVELS {
            let path = filled(route.path, &task, &notice);
            // A wait would only take its time.
            let path = if path.ends_with("/wait") { format!("{path}?timeout=0") } else { path };
            let got = fixture.ask(access, route.method.as_str(), &path, &body(route.path)).await;
            let refused = got.status == StatusCode::FORBIDDEN;
            assert_eq!(refused, access < Some(route.access), "{} {path} for {access:?}: {}", route.method, got.text);
            if refused {
                let message = got.body["error"]["message"].as_str().unwrap();
                assert!(message.starts_with("uid 7 (tester) may ") && message.contains("saas-export-"), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_changes_something_is_on_record() {
    let writes = ROUTES.iter().filter(|route| route.method != Method::GET);
    for route in writes {
        let fixture = Fixture::new().await;
        let task = fixture.task().await;
        super::answers::give_lanes(&fixture, &task).await;
        let of_marks = route.path == "/v1/exports/{export}/offsets";
        if of_marks {
            give_mark(&fixture, &task).await;
        }
        let notice = give_notice(&fixture.state.ledger, "told").await;
        let before = fixture.state.ledger.audit_since(0, 1000).await.unwrap().len();
        let path = filled(route.path, &task, &notice);
        let text = match route.method {
            Method::PUT => {
                let mut document = fixture.get(&path).await.body["result"].clone();
                let start = serde_json::to_value(crate::model::offset::Offset::start(0)).unwrap();
                match of_marks {
                    true => document["streams"]["orders"]["mark"]["value"] = "1".into(),
                    false => document["streams"]["orders"]["lanes"][0]["offset"] = start,
                }
                document.to_string()
            }
            _ => body(route.path),
        };
        let got = fixture.ask(Some(Access::Admin), route.method.as_str(), &path, &text).await;
        assert!(got.status.is_success(), "{} {path}: {}", route.method, got.text);
        let audit = fixture.state.ledger.audit_since(0, 1000).await.unwrap();
        let audited = audit.iter().skip(before).any(|row| row.actor == "uid 7 (tester)");
        let told = fixture.told().iter().any(|line| line.ends_with("by uid 7 (tester)"));
        assert!(audited || told, "{} {path} leaves no trace", route.method);
    }
}

#[test]
fn everything_that_changes_something_needs_more_than_looking() {
    for route in ROUTES {
        assert!(route.method == Method::GET || route.access >= Access::Operate, "{} {}", route.method, route.path);
        assert!([Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(&route.method));
    }
}

#[test]
fn no_route_hides_another() {
    for (n, route) in ROUTES.iter().enumerate() {
        let segments: Vec<String> = route.path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let found = crate::control::routes::find(&route.method, &segments)
            .unwrap_or_else(|failure| panic!("{}", failure.error.message));
        let index = ROUTES.iter().position(|other| std::ptr::eq(other, found.route)).unwrap();
        assert_eq!(index, n, "{} is hidden by {}", route.path, found.route.path);
    }
}

#[tokio::test]
async fn a_stranger_is_not_told_what_there_is() {
    let fixture = Fixture::new().await;
    for path in ["/", "/v1/status", "/nowhere", "/%zz"] {
        let got = fixture.ask(None, "GET", path, "").await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{path}");
        assert!(got.body["error"]["message"].as_str().unwrap().contains("saas-export-viewer"), "{}", got.text);
    }
    let got = fixture.ask(None, "POST", "/v1/nowhere", "").await;
    assert!(got.body["error"]["message"].as_str().unwrap().contains("saas-export-operator"), "{}", got.text);
}

#[tokio::test]
async fn wrong_paths_and_methods_are_answered_with_the_right_ones() {
    let fixture = Fixture::new().await;
    let got = fixture.get("/v2/status").await;
    assert_eq!((got.status, got.body["error"]["code"].as_str()), (StatusCode::NOT_FOUND, Some("not_found")));
    assert!(got.body["error"]["hint"].as_str().unwrap().contains("/v1/exports/{export}/run"), "{}", got.text);
    let got = fixture.ask(Some(Access::Admin), "PATCH", "/v1/tasks/x/offsets", "").await;
    assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(got.headers["allow"], "GET, PUT, DELETE");
}
