//! Notifications: signed webhooks, once, in order, and also where the daemon dies on its way.

mod mail;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::hooks::{Hooks, Received};
use saas_export_tests::sample::Fault;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// The key of webhooks, before base64.
const KEY: &[u8] = b"a canary that is a key of hooks!";
/// A password that no server knows.
const WRONG: &str = "canary-wrong-password-2718";

/// A bed whose export tells `rules`; the recipients are made of the rest.
fn bed(recipients: Value, rules: Value) -> Bed {
    let mut bed = Bed::with_records(300);
    bed.auth_env += &format!("HOOK_SECRET='whsec_{}'\nWRONG_PASSWORD={WRONG}\n", STANDARD.encode(KEY));
    if let Ok(text) = std::env::var("SAAS_EXPORT_TEST_SMTP") {
        let post: Value = serde_json::from_str(&text).unwrap();
        bed.auth_env += &format!("SMTP_PASSWORD='{}'\n", post["password"].as_str().unwrap());
    }
    bed.config["notify"] = recipients;
    bed.config["exports"]["shop"]["notify"] = rules;
    bed.config["exports"]["shop"]["attempts"] = 1.into();
    bed
}

fn hook(hooks: &Hooks) -> Value {
    json!({ "webhook": {
        "url": hooks.url("/exports"), "secret": "${HOOK_SECRET}", "headers": { "X-Team": "data" },
        "retry": { "initial": "100ms", "max": "300ms" },
    } })
}

/// Every source answer fails from now on, or none.
fn broken(bed: &Bed, broken: bool) {
    bed.api.set_faults(if broken { vec![Fault::status(403).every(1)] } else { vec![] });
}

fn run_to(daemon: &Daemon, state: &str) -> String {
    let id = daemon.run("shop");
    daemon.wait_for(&id, &[state], PATIENCE);
    id
}

/// Waits until a message to `recipient` is in a state.
#[track_caller]
fn settled(daemon: &Daemon, recipient: &str, state: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let all = daemon.get(&format!("/v1/notifications?recipient={recipient}&state={state}"));
        if let Some(one) = all.as_array().and_then(|all| all.first()) {
            return one.clone();
        }
        let all = daemon.get("/v1/notifications");
        assert!(Instant::now() < end, "nothing to {recipient} is {state}: {all}\n{}", daemon.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The specification's own way to verify, written a second time.
#[track_caller]
fn verify(received: &Received) -> Value {
    let (id, second) = (received.header("webhook-id"), received.header("webhook-timestamp"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    let tag = STANDARD.decode(received.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&key, format!("{id}.{second}.{}", received.body).as_bytes(), &tag).expect("the signature holds");
    let age = jiff::Timestamp::now().as_second() - second.parse::<i64>().unwrap();
    assert!((0..300).contains(&age), "{age} s old");
    assert_eq!(received.header("content-type"), "application/json");
    received.json()
}

#[test]
fn webhooks_tell_failures_and_recoveries_once_in_order() {
    let hooks = Hooks::start().unwrap();
    let recipients = json!({ "hook": hook(&hooks), "turns": hook(&hooks) });
    let rules =
        json!([{ "to": "hook", "on": ["success", "failure"] }, { "to": "turns", "on": ["first_failure", "recovery"] }]);
    let bed = bed(recipients, rules);
    let daemon = bed.start();
    let mut tasks = vec![run_to(&daemon, "succeeded")];
    broken(&bed, true);
    tasks.extend([run_to(&daemon, "failed"), run_to(&daemon, "failed")]);
    broken(&bed, false);
    tasks.push(run_to(&daemon, "succeeded"));
    let received = hooks.wait_for(6);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(hooks.received().len(), 6, "each goes out once");
    let of = |recipient: &str| -> Vec<Value> {
        let bodies = received.iter().map(|one| {
            assert_eq!((one.line.as_str(), one.header("x-team")), ("POST /exports", "data"));
            verify(one)
        });
        bodies.filter(|body| body["data"]["recipient"] == recipient).collect()
    };
    let events = |all: &[Value]| -> Vec<String> {
        all.iter().map(|body| body["data"]["event"].as_str().unwrap().to_owned()).collect()
    };
    let (hook, turns) = (of("hook"), of("turns"));
    assert_eq!(events(&hook), ["success", "first_failure", "failure", "recovery"]);
    assert_eq!(events(&turns), ["first_failure", "recovery"]);
    let told: Vec<&str> = hook.iter().map(|body| body["data"]["task"].as_str().unwrap()).collect();
    assert_eq!(told, tasks);
    assert_eq!(hook[0]["type"], "task.succeeded");
    assert_eq!((&hook[0]["data"]["records"], &hook[0]["data"]["state"]), (&json!(300), &json!("succeeded")));
    let files = hook[0]["data"]["files"].as_array().unwrap();
    let path = files[0]["path"].as_str().unwrap();
    assert!(Path::new(path).is_file() && files[0]["url"].is_null(), "{files:?}");
    assert_eq!((&hook[1]["type"], &hook[1]["data"]["error_class"]), (&json!("task.failed"), &json!("auth")));
    assert_eq!(hook[2]["data"]["previous_task"], tasks[1].as_str());
    let ids: std::collections::BTreeSet<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
    assert_eq!(ids.len(), 6);
}

#[test]
fn a_server_in_trouble_is_asked_again_and_a_refusal_is_given_up() {
    let hooks = Hooks::start().unwrap();
    let bed = bed(json!({ "hook": hook(&hooks) }), json!([{ "to": "hook", "on": ["success"] }]));
    hooks.answer_with(&["503 Busy", "429 Slow\nretry-after: 1", "307 Moved\nlocation: /elsewhere"]);
    let daemon = bed.start();
    run_to(&daemon, "succeeded");
    let given_up = settled(&daemon, "hook", "given_up");
    let received = hooks.received();
    assert_eq!((received.len(), &given_up["attempts"]), (3, &json!(3)), "{given_up}");
    assert!(given_up["error"].as_str().unwrap().contains("redirects are not followed"), "{given_up}");
    let second = |one: &Received| one.header("webhook-timestamp").parse::<i64>().unwrap();
    assert!(second(&received[2]) > second(&received[1]), "Retry-After is kept");
    assert!(received.iter().all(|one| one.header("webhook-id") == given_up["id"]));
    assert_eq!(daemon.get("/v1/status")["notifications"], json!({ "late": 0, "given_up": 1 }));
    assert!(bed.ctl(&["status"]).expect(0).stdout.contains("1 given up"));

    bed.ctl(&["notifications", "retry", given_up["id"].as_str().unwrap()]).expect(0);
    settled(&daemon, "hook", "sent");
    assert_eq!(hooks.received().len(), 4);
    let table = bed.ctl(&["notifications"]).expect(0).stdout;
    assert!(table.contains("hook") && table.contains("sent"), "{table}");
    verify(&hooks.received()[3]);
}

#[test]
fn a_dead_server_holds_up_nobody() {
    let hooks = Hooks::start().unwrap();
    let dead = json!({ "email": { "host": "127.0.0.1", "port": 1, "security": "none", "from": "a@example.com", "to": ["b@example.com"] } });
    let rules = json!([{ "to": "dead", "on": ["success"] }, { "to": "hook", "on": ["success"] }]);
    let bed = bed(json!({ "dead": dead, "hook": hook(&hooks) }), rules);
    let daemon = bed.start();
    for _ in 0..2 {
        run_to(&daemon, "succeeded");
    }
    hooks.wait_for(2);
    let waiting = settled(&daemon, "dead", "waiting");
    assert!(waiting["error"].is_null() || waiting["error"].as_str().unwrap().contains("mail server"), "{waiting}");
    assert_eq!(daemon.get("/v1/notifications?recipient=dead&state=waiting").as_array().unwrap().len(), 2);
}

#[test]
fn a_run_names_who_is_told() {
    let hooks = Hooks::start().unwrap();
    let bed = bed(json!({ "hook": hook(&hooks) }), json!([{ "to": "hook", "on": ["failure"] }]));
    let daemon = bed.start();
    let unknown = bed.ctl(&["run", "shop", "--notify", "hok"]).expect(2);
    assert!(
        unknown.stderr.contains("no recipient \"hok\"") && unknown.stderr.contains("did you mean \"hook\"?"),
        "{unknown:?}"
    );
    bed.ctl(&["run", "shop", "--wait"]).expect(0);
    bed.ctl(&["run", "shop", "--wait", "--notify", "hook"]).expect(0);
    let received = hooks.wait_for(1);
    assert_eq!(verify(&received[0])["data"]["event"], "success");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(hooks.received().len(), 1, "the run without --notify is told to nobody");
    bed.ctl(&["notifications", "test", "hook"]).expect(0);
    assert_eq!(verify(&hooks.received()[1])["type"], "task.test");
    let unknown = bed.ctl(&["notifications", "test", "nobody"]);
    assert_eq!(unknown.code, Some(4), "{unknown:?}");
    drop(daemon);
}

/// Runs into a crash point behind a task's end, and starts again: the message's ids, in the order they came in.
fn killed_at(point: &str, expected: usize) {
    let hooks = Hooks::start().unwrap();
    let bed = bed(json!({ "hook": hook(&hooks) }), json!([{ "to": "hook", "on": ["success"] }]));
    let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
    let id = daemon.run("shop");
    let (status, said) = daemon.ended(Duration::from_secs(60));
    assert_eq!(status.signal(), Some(9), "{point} is passed: {said}");
    let daemon = bed.start();
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    let sent = settled(&daemon, "hook", "sent");
    std::thread::sleep(Duration::from_millis(400));
    let received = hooks.received();
    assert_eq!(received.len(), expected, "{point}: {received:?}");
    assert!(received.iter().all(|one| one.header("webhook-id") == sent["id"]), "a repetition can be told");
    assert_eq!(daemon.get("/v1/notifications").as_array().unwrap().len(), 1, "one end, one message");
}

#[test]
fn a_message_survives_a_kill_and_goes_out_once() {
    killed_at("task.ended", 1);
    killed_at("notify.before_send", 1);
    // The one instant that nobody can close: the receiver has it, the ledger does not know. The id stays the same.
    killed_at("notify.accepted", 2);
}

#[test]
fn mistakes_are_told_before_anything_is_sent() {
    let recipients = json!({
        "ops": { "email": { "host": "smtp.example.com", "from": "nobody", "to": ["a@example.com\nBcc: eve@example.com"],
            "subject": "{{ exprot }}", "password": "hunter2", "username": "x" } },
        "hook": { "webhook": { "url": "http://hooks.example.com/x", "secret": "whsec_plain" } },
    });
    let bed = bed(recipients, json!([{ "to": "opss", "on": ["failure", "failure"] }]));
    let told = bed.daemon(&["--check-config"]);
    assert_ne!(told.code, Some(0));
    let text = format!("{}{}", told.stdout, told.stderr);
    for part in [
        "notify.ops.email.from: \"nobody\" is no e-mail address",
        "notify.ops.email.to[0]: holds a line end",
        "there is no variable \"exprot\" (did you mean \"export\"?)",
        "notify.ops.email.password: a secret must not be written here",
        "notify.hook.webhook.url: http is only for a server on this machine",
        "notify.hook.webhook.secret: a secret must not be written here",
        "there is no recipient \"opss\" (did you mean \"ops\"?)",
        "is already in the list",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}
