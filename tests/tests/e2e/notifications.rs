//! Notifications: mails to a real mail server and signed webhooks; once, in order, and also where the daemon dies on its way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::programs::skipped;
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

/// The mail server that `tests/stores/smtp.sh` started.
struct Post {
    settings: Value,
    /// A part of the addresses of this test alone.
    tag: String,
}

impl Post {
    fn started(name: &str) -> Option<Self> {
        let Ok(text) = std::env::var("SAAS_EXPORT_TEST_SMTP") else {
            skipped("e-mail: no mail server was started (tests/stores/smtp.sh)");
            return None;
        };
        let tag = format!("{name}-{}", std::process::id());
        Some(Self { settings: serde_json::from_str(&text).unwrap(), tag })
    }

    fn text(&self, key: &str) -> &str {
        self.settings[key].as_str().unwrap()
    }

    fn address(&self, who: &str) -> String {
        format!("{who}@{}.example.com", self.tag)
    }

    /// A recipient with these addresses.
    fn recipient(&self, to: &[&str], more: Value) -> Value {
        let to: Vec<String> = to.iter().map(|who| self.address(who)).collect();
        let mut email = json!({
            "host": "localhost", "port": self.settings["starttls"], "tls": { "ca_file": self.text("ca_file") },
            "username": "exports", "password": "${SMTP_PASSWORD}", "from": "Exports <exports@example.com>", "to": to,
            "retry": { "initial": "100ms", "max": "300ms" },
        });
        email.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "email": email })
    }

    /// The mails to an address that arrived, oldest first.
    fn mails(&self, who: &str) -> Vec<String> {
        let to = format!("Envelope-to: {}\n", self.address(who));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.text("mail")).unwrap().map_while(Result::ok) {
            let Ok(mail) = std::fs::read_to_string(entry.path()) else { continue };
            if mail.contains(&to) {
                found.push((entry.metadata().unwrap().modified().unwrap(), mail));
            }
        }
        found.sort();
        found.into_iter().map(|(_, mail)| mail).collect()
    }

    #[track_caller]
    fn wait_for(&self, who: &str, count: usize, daemon: &Daemon) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let mails = self.mails(who);
            if mails.len() >= count {
                return mails;
            }
            let state = || format!("{}\n{}", daemon.get("/v1/notifications"), daemon.stderr());
            assert!(Instant::now() < end, "{} of {count} mails to {who} came: {}", mails.len(), state());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

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
fn a_success_mail_arrives_once_with_what_there_is_to_know() {
    let Some(post) = Post::started("success") else { return };
    let template = json!({ "subject": "{{ export }} für {{ recipient }}: {{ state }}" });
    let recipients = json!({ "ops": post.recipient(&["ops", "anne"], template), "tls": post.recipient(&["tls"], json!({ "security": "implicit", "port": post.settings["implicit"] })) });
    let bed = bed(recipients, json!([{ "to": "ops", "on": ["success"] }, { "to": "tls", "on": ["success"] }]));
    let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "notify.before_send")]);
    let id = daemon.run("shop");
    let (status, _) = daemon.ended(Duration::from_secs(60));
    assert_eq!(status.signal(), Some(9));
    let daemon = bed.start();
    for who in ["ops", "anne", "tls"] {
        let mails = post.wait_for(who, 1, &daemon);
        let mail = mails[0].replace("=\n", "");
        for part in
            ["Export shop has succeeded.", &id, "Records:  300", "exportctl get", "Auto-Submitted: auto-generated"]
        {
            assert!(mail.contains(part), "{part} is not in\n{mail}");
        }
        assert!(mail.contains("From: Exports <exports@example.com>") || mail.contains("From: \"Exports\""), "{mail}");
        assert!(mail.contains("/shop/cursor/"), "the paths of the files\n{mail}");
    }
    settled(&daemon, "ops", "sent");
    std::thread::sleep(Duration::from_millis(500));
    let (ops, anne) = (post.mails("ops"), post.mails("anne"));
    assert_eq!((ops.len(), anne.len()), (1, 1), "each address gets it once");
    assert!(ops[0].contains("Subject: shop =?utf-8?b?"), "{}", ops[0]);
    let line = |mail: &str| mail.lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned();
    let sent = settled(&daemon, "ops", "sent");
    assert!(line(&ops[0]).contains(sent["id"].as_str().unwrap()), "{}", line(&ops[0]));
    assert_ne!(line(&ops[0]), line(&anne[0]));
}

#[test]
fn a_wrong_password_is_told_and_shown_nowhere() {
    let Some(post) = Post::started("wrong") else { return };
    let recipients = json!({ "ops": post.recipient(&["ops"], json!({ "password": "${WRONG_PASSWORD}" })) });
    let mut bed = bed(recipients, json!([{ "to": "ops", "on": ["success"] }]));
    let daemon = bed.start();
    run_to(&daemon, "succeeded");
    let end = Instant::now() + Duration::from_secs(30);
    let waiting = loop {
        let waiting = settled(&daemon, "ops", "waiting");
        if waiting["attempts"].as_u64() > Some(1) || Instant::now() > end {
            break waiting;
        }
    };
    let error = waiting["error"].as_str().unwrap();
    assert!(error.contains("log in to the mail server") && error.contains("535"), "{error}");
    let test = bed.ctl(&["notifications", "test", "ops"]);
    assert!(test.code != Some(0) && test.stderr.contains("535"), "{test:?}");
    let said = format!("{}{}{}", daemon.stderr(), daemon.get("/v1/notifications"), test.stderr);
    let plain = STANDARD.encode(format!("\0exports\0{WRONG}"));
    for canary in [WRONG, &STANDARD.encode(WRONG), &plain] {
        assert!(!said.contains(canary), "{canary} is in\n{said}");
    }
    // It is mended by a reload, and the message goes out.
    bed.config["notify"]["ops"] = post.recipient(&["ops"], json!({}));
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    post.wait_for("ops", 1, &daemon);
    settled(&daemon, "ops", "sent");
    drop(daemon);
    let ledger = std::fs::read(bed.path("state/ledger.db")).unwrap();
    assert!(!ledger.windows(WRONG.len()).any(|part| part == WRONG.as_bytes()));
}

#[test]
fn one_address_that_refuses_keeps_nobody_else_from_it() {
    let Some(post) = Post::started("refused") else { return };
    // An address of this process alone that is put off until it is taken off the list.
    let later = format!("later{}", std::process::id());
    std::fs::write(post.text("deferred"), format!("{later}\n")).unwrap();
    let recipients = json!({
        "some": post.recipient(&["bounce", "ops", &later], json!({})),
        "none": post.recipient(&["bounce"], json!({})),
    });
    let bed = bed(recipients, json!([{ "to": "some", "on": ["success"] }, { "to": "none", "on": ["success"] }]));
    let daemon = bed.start();
    run_to(&daemon, "succeeded");
    post.wait_for("ops", 1, &daemon);
    let none = settled(&daemon, "none", "given_up");
    assert!(none["error"].as_str().unwrap().contains("550") && none["attempts"] == 1, "{none}");
    let waiting = settled(&daemon, "some", "waiting");
    assert!(post.mails(&later).is_empty(), "{waiting}");
    std::fs::write(post.text("deferred"), "").unwrap();
    post.wait_for(&later, 1, &daemon);
    let sent = settled(&daemon, "some", "sent");
    assert!(sent["error"].as_str().unwrap().contains("bounce@") && sent["attempts"].as_u64() > Some(1), "{sent}");
    assert_eq!(post.mails("ops").len(), 1, "who has it does not get it again");
    let said = daemon.stderr();
    assert!(said.contains("gave up") && said.contains("550"), "{said}");
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

/// Needs a real S3 server: a link that nobody can use would prove nothing.
#[test]
fn a_success_mail_has_links_that_expire() {
    let Some(post) = Post::started("links") else { return };
    let Ok(settings) = std::env::var("SAAS_EXPORT_TEST_S3") else {
        skipped("links in mails: no S3 server (SAAS_EXPORT_TEST_S3)");
        return;
    };
    let settings: Value = serde_json::from_str(&settings).unwrap();
    let mut bed = bed(
        json!({ "ops": post.recipient(&["ops"], json!({ "links": "1h" })) }),
        json!([{ "to": "ops", "on": ["success"] }]),
    );
    let mut s3 = settings["s3"].clone();
    let key = |name: &str| s3["credentials"]["static"][name].as_str().unwrap().to_owned();
    bed.auth_env += &format!("S3_ID={}\nS3_KEY={}\n", key("access_key_id"), key("secret_access_key"));
    s3["prefix"] = post.tag.clone().into();
    s3["credentials"] = json!({ "static": { "access_key_id": "${S3_ID}", "secret_access_key": "${S3_KEY}" } });
    bed.config["destinations"]["offsite"] = json!({ "s3": s3 });
    bed.config["exports"]["shop"]["to"] = json!(["lake", "offsite"]);
    let daemon = bed.start();
    let id = run_to(&daemon, "succeeded");
    let mail = post.wait_for("ops", 1, &daemon).remove(0).replace("=\n", "").replace("=3D", "=");
    assert!(mail.contains("Whoever has one of these links can read the file, until "), "{mail}");
    let url =
        mail.lines().map(str::trim).find(|line| line.starts_with("http") && line.contains("part-")).expect("a link");
    let got = std::process::Command::new("curl").args(["-sf", "--max-time", "20", url]).output().unwrap();
    assert!(got.status.success(), "{url}");
    let lake = bed.lake().join("shop/cursor").join(&id);
    let name = url.split(['/', '?']).find(|part| part.starts_with("part-")).unwrap();
    assert_eq!(got.stdout, std::fs::read(lake.join(name)).unwrap());
    let signature = url.split("X-Amz-Signature=").nth(1).expect("a signed link");
    assert!(!daemon.stderr().contains(signature), "a link is no line of the journal");
    let audit = daemon.ask("GET", "/v1/events", "").unwrap();
    assert!(String::from_utf8_lossy(&audit.body).contains("for the notification of ops"));
    drop(daemon);
    let ledger = std::fs::read(bed.path("state/ledger.db")).unwrap();
    assert!(!ledger.windows(signature.len()).any(|part| part == signature.as_bytes()), "a link is not kept");
}
