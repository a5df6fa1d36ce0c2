//! What attempts mean, how bodies are signed, and what a message says.

use super::compose::of_facts;
use super::outcome::{Refused, follows};
use super::webhook::{body, signature};
use crate::base::ids::TaskId;
use crate::config::keys::webhook_key;
use crate::config::message::{BODY, MAX_BODY, fill};
use crate::config::settings::NotifyRetry;
use crate::ledger::Attempt;
use crate::ledger::rows::{NoticeRow, NoticeState};
use crate::model::notice::{Before, Facts, StreamFacts};
use crate::model::segment::Counts;
use crate::model::task::TaskState;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn facts() -> Facts {
    let counts = Counts { read: 12, written: 10, rejected: 2, ..Counts::default() };
    let orders =
        StreamFacts { name: "orders".into(), counts, bytes: 1234, files: 1, error: Some("it ended early".into()) };
    Facts {
        task: "20261121T024501Z-9f86d081".into(),
        export: "shop".into(),
        params: BTreeMap::new(),
        format: "csv".into(),
        state: TaskState::Failed,
        reason: "reach api.shop.example".into(),
        error_class: Some("transient".into()),
        attempt: 3,
        actor: "uid 7 (anna)".into(),
        created_at: at(0),
        started_at: Some(at(1)),
        ended_at: at(62),
        total: orders.clone(),
        streams: vec![orders],
        before: Some(Before {
            task: "20261120T024501Z-9f86d081".into(),
            state: TaskState::Succeeded,
            ended_at: at(-9),
        }),
    }
}

fn row(attempts: u32) -> NoticeRow {
    NoticeRow {
        seq: 1,
        id: "msg_1".into(),
        task: TaskId::known("20261121T024501Z-9f86d081"),
        export: "shop".into(),
        recipient: "ops".into(),
        event: "first_failure".into(),
        facts: facts(),
        state: NoticeState::Waiting,
        created_at: at(62),
        since: at(62),
        attempts,
        next_at: at(62),
        settled_at: None,
        done: BTreeMap::new(),
        error: None,
    }
}

#[test]
fn refusals_for_good_are_given_up_and_others_tried_again() {
    let retry = NotifyRetry::default();
    let after = |sent| follows(&row(0), &retry, sent, at(100));
    assert_eq!(after(Ok(None)), Attempt::Sent(None));
    assert_eq!(after(Err(Refused::ForGood("no".into()))), Attempt::GivenUp("no".into()));
    let Attempt::Later(next, why) = after(Err(Refused::ForNow("later".into(), None))) else { panic!("it waits") };
    assert!(next >= at(115) && next <= at(131), "between half of the first ceiling and the whole: {next}");
    assert_eq!(why, "later");
    let asked = Some(Duration::from_secs(7200));
    let Attempt::Later(next, _) = after(Err(Refused::ForNow("later".into(), asked))) else { panic!("it waits") };
    assert!(next >= at(7300), "what the server asks for is kept: {next}");
}

#[test]
fn after_three_days_it_is_given_up() {
    let retry = NotifyRetry::default();
    let now = at(62).checked_add(SignedDuration::from_hours(72)).unwrap();
    let Attempt::GivenUp(why) = follows(&row(80), &retry, Err(Refused::ForNow("silent".into(), None)), now) else {
        panic!("it is given up");
    };
    assert_eq!(why, "silent; tried for 72h");
}

proptest! {
    #[test]
    fn waits_grow_and_stay_below_their_ceiling(attempts in 0_u32..10_000, asked in prop::option::of(0_u64..100_000)) {
        let retry = NotifyRetry::default();
        let refused = Refused::ForNow(String::new(), asked.map(Duration::from_secs));
        if let Attempt::Later(next, _) = follows(&row(attempts), &retry, Err(refused), at(62)) {
            let wait = next.duration_since(at(62)).as_secs();
            prop_assert!(wait >= 15 && wait <= 3600 + 450 + i64::try_from(asked.unwrap_or(0)).unwrap());
        }
    }
}

/// The example of the specification's own libraries.
#[test]
fn bodies_are_signed_as_others_verify_them() {
    let key = webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    for bad in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%"] {
        assert!(webhook_key(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_webhook_says_what_happened() {
    let message = of_facts(&facts(), "first_failure");
    let body: Value = serde_json::from_str(&body(&message)).unwrap();
    assert_eq!(body["type"], "task.failed");
    assert_eq!(body["timestamp"], "2027-01-15T08:01:02Z");
    let data = &body["data"];
    assert_eq!((&data["event"], &data["state"]), (&json!("first_failure"), &json!("failed")));
    assert_eq!((&data["records"], &data["rejected"], &data["bytes"]), (&json!(10), &json!(2), &json!(1234)));
    assert_eq!(data["streams"][0]["error"], "it ended early");
    assert_eq!((&data["seconds"], &data["previous_state"]), (&json!(61), &json!("succeeded")));
}

#[test]
fn a_mail_says_what_happened() {
    let text = fill(BODY, &of_facts(&facts(), "first_failure"), MAX_BODY).unwrap();
    for line in [
        "Export shop has begun to fail.",
        "Why:      it failed to reach api.shop.example [transient]",
        "Records:  10, and 2 rejected",
        "Size:     1.2 kB in 1 files (csv)",
        "Stream orders: it ended early",
        "exportctl show 20261121T024501Z-9f86d081 tells more.",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
