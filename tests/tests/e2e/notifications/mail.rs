//! Mails to a real mail server: once to each address, with what there is to know and links that expire; refusals are told.

use super::{WRONG, bed, run_to, settled};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::programs::skipped;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

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

/// Waits until a message that still waits was tried so often.
#[track_caller]
fn tried(daemon: &Daemon, recipient: &str, attempts: u64) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let waiting = settled(daemon, recipient, "waiting");
        if waiting["attempts"].as_u64() >= Some(attempts) {
            return waiting;
        }
        assert!(Instant::now() < end, "{waiting}");
        std::thread::sleep(Duration::from_millis(10));
    }
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
    let waiting = tried(&daemon, "ops", 2);
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
    let waiting = tried(&daemon, "some", 1);
    assert!(waiting["error"].as_str().unwrap().contains("451") && post.mails(&later).is_empty(), "{waiting}");
    std::fs::write(post.text("deferred"), "").unwrap();
    post.wait_for(&later, 1, &daemon);
    let sent = settled(&daemon, "some", "sent");
    assert!(sent["error"].as_str().unwrap().contains("bounce@") && sent["attempts"].as_u64() > Some(1), "{sent}");
    assert_eq!(post.mails("ops").len(), 1, "who has it does not get it again");
    let said = daemon.stderr();
    assert!(said.contains("gave up") && said.contains("550"), "{said}");
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
