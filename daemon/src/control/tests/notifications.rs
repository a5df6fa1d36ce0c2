//! Notifications over the API: the list, another try, and a test.

use super::*;
use crate::control::access::Access::Admin;
use crate::ledger::Attempt;

#[tokio::test]
async fn what_was_told_is_listed_and_tried_again() {
    let fixture = Fixture::new().await;
    let ledger = &fixture.state.ledger;
    assert_eq!(fixture.get("/v1/notifications").await.body["result"], json!([]));
    assert!(fixture.get("/v1/status").await.body["result"]["notifications"].is_null());
    let id = give_notice(ledger, "a").await;
    ledger.notice_attempted(&id, Attempt::GivenUp("the server refuses".into())).await.unwrap();
    let listed = fixture.get("/v1/notifications?state=given_up&recipient=ops").await.body["result"][0].clone();
    assert_eq!(listed["id"], id.as_str());
    assert_eq!((&listed["event"], &listed["error"]), (&json!("first_failure"), &json!("the server refuses")));
    assert!(listed["next_at"].is_null() && listed["settled_at"].is_string(), "{listed}");
    let trouble = fixture.get("/v1/status").await.body["result"]["notifications"].clone();
    assert_eq!(trouble, json!({ "late": 0, "given_up": 1 }));

    let path = format!("/v1/notifications/{id}/retry");
    let again = fixture.ask(Some(Admin), "POST", &path, "").await.body["result"].clone();
    assert_eq!((&again["state"], &again["attempts"]), (&json!("waiting"), &json!(0)), "{again}");
    ledger.notice_attempted(&id, Attempt::Sent(None)).await.unwrap();
    assert_eq!(fixture.ask(Some(Admin), "POST", &path, "").await.status, StatusCode::CONFLICT);
    let unknown = fixture.ask(Some(Admin), "POST", "/v1/notifications/msg_none/retry", "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(fixture.get("/v1/notifications?state=lost").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_recipient_is_tested() {
    let fixture = Fixture::new().await;
    let done = fixture.ask(Some(Admin), "POST", "/v1/recipients/ops/test", "").await.body["result"].clone();
    assert_eq!(done, json!({ "recipient": "ops", "done": "the server took it" }));
    let unknown = fixture.ask(Some(Admin), "POST", "/v1/recipients/opss/test", "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.text);
}
