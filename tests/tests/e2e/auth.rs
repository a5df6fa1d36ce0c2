//! Credentials that are got, renewed and kept: each kind exports completely, whatever happens to its tokens, and shows up nowhere.

mod login;

use crate::compare::{assert_complete, assert_exact, walk};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config::{self, oauth2, refresh_token as refresh};
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::sample::issuer::{
    ASSERTION_ISSUER, CLIENT_SECRET, FIRST_REFRESH, Rotation, SESSION_PASSWORD, SESSION_USER, Trouble,
};
use saas_export_tests::sample::{ACCOUNT, Fault, Kind, Options, SampleApi};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

const RSA: &str = include_str!("../../fixtures/keys/rsa.pem");
const P256: &str = include_str!("../../fixtures/keys/p256.pem");

/// What auth.env holds beside the usual: the keys in the two ways in which a text of several lines can be written.
fn secrets() -> String {
    let (rsa, p256) = (RSA.replace('\n', "\\n"), P256.replace('\n', "\\n"));
    format!(
        "{}SESSION_PASSWORD='{SESSION_PASSWORD}'\nRSA='{rsa}'\nP256=\"{p256}\"\nACCOUNT={ACCOUNT}\n",
        config::token_secrets()
    )
}

fn jwt(api: &SampleApi, key: &str, algorithm: &str) -> Value {
    json!({ "jwt_bearer": {
        "token_url": format!("{}/_issuer/token", api.issuer_origin()),
        "key": key, "algorithm": algorithm, "issuer": ASSERTION_ISSUER, "subject": "admin@sample.example",
        "lifetime": "1h",
    } })
}

fn session(token: &str, carrier: Value) -> Value {
    let mut session = json!({
        "login": {
            "path": "/login",
            "body": { "login": { "user": SESSION_USER, "password": "${SESSION_PASSWORD}" } },
        },
        "token": token,
    });
    for (key, value) in carrier.as_object().unwrap() {
        session[key] = value.clone();
    }
    json!({ "session": session })
}

/// A bed whose source `shop` wants tokens, for the export `shop` of `stream`.
fn bed(records: u64, stream: &str, auth: impl Fn(&SampleApi) -> Value) -> Bed {
    let mut bed = Bed::new(Options { records, page_size: 20, ..Options::default() });
    let mut streams = config::streams();
    streams["paged"]["paginate"]["page"]["size"] = 20.into();
    bed.config["sources"]["shop"] = config::source(&bed.api.origin(), "/oauth", &auth(&bed.api), &streams);
    bed.export("shop", config::export("shop", stream, "ndjson", "64kB"));
    bed.auth_env += &secrets();
    bed
}

/// No secret is in any file but auth.env, in the log, or in any answer of the control API.
#[track_caller]
fn assert_secret(bed: &Bed, daemon: &Daemon) {
    let mut needles = vec!["canary".to_owned(), STANDARD.encode("canary"), RSA.lines().nth(3).unwrap().to_owned()];
    needles.extend(bed.api.issuer().seen.clone());
    let mut texts = vec![("the log".to_owned(), daemon.stderr().into_bytes())];
    for path in ["/v1", "/v1/status", "/v1/tasks", "/v1/exports", "/v1/config/check"] {
        texts.push((path.to_owned(), daemon.ask("GET", path, "").unwrap().body));
    }
    for task in daemon.get("/v1/tasks").as_array().unwrap() {
        let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
        for path in [path.clone(), format!("{path}/offsets"), format!("{path}/files")] {
            texts.push((path.clone(), daemon.ask("GET", &path, "").unwrap().body));
        }
    }
    for path in walk(bed.dir()).into_iter().filter(|path| !path.ends_with("auth.env")) {
        texts.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
    }
    assert!(texts.len() > 8, "there is something to look through");
    for (place, bytes) in &texts {
        for needle in &needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{place} holds {needle}");
        }
    }
}

/// Why the newest task failed, and the class of that.
#[track_caller]
fn failure(daemon: &Daemon) -> (String, String) {
    let id = daemon.run("shop");
    let task = daemon.wait_for(&id, &["failed"], PATIENCE)["task"].clone();
    let text = |key: &str| task[key].as_str().unwrap_or_default().to_owned();
    (text("error_class"), text("reason"))
}

#[test]
fn each_kind_exports_completely() {
    let mut bed = Bed::new(Options { records: 200, page_size: 20, ..Options::default() });
    bed.auth_env += &secrets();
    let api = &bed.api;
    let kinds = [
        ("client", "/oauth", "cursor", oauth2(api, json!({ "scopes": ["read", "write"] }))),
        ("client-body", "/oauth", "cursor", oauth2(api, json!({ "client_auth": "body" }))),
        ("refresh", "/oauth", "cursor", refresh(api)),
        ("rs256", "/oauth", "cursor", jwt(api, "${RSA}", "RS256")),
        ("es256", "/oauth", "cursor", jwt(api, "${P256}", "ES256")),
        ("bearer-session", "/oauth", "cursor", session("$.data.session", json!({}))),
        ("header-session", "/session-header", "link", session("header X-Session", json!({ "header": "X-Session" }))),
        // The API repeats the token in its next URLs.
        ("query-session", "/session-query", "next-url", session("$.data.session", json!({ "query": "session" }))),
        ("cookie-session", "/session-cookie", "paged", session("cookie sid", json!({ "cookie": "sid" }))),
        (
            "headers",
            "/headers",
            "cursor",
            json!({ "headers": { "X-Api-Key": "${SHOP_KEY}", "X-Account": "${ACCOUNT}" } }),
        ),
    ];
    let origin = bed.api.origin();
    for (name, prefix, stream, auth) in kinds.clone() {
        bed.config["sources"][name] = config::source(&origin, prefix, &auth, &config::streams());
        bed.export(name, config::export(name, stream, "ndjson", "64kB"));
    }
    bed.api.issuer().rotation = Rotation::Strict;
    let daemon = bed.start();
    for (name, ..) in &kinds {
        daemon.run_to_success(name);
        assert_exact(&bed, name);
    }
    assert_eq!(bed.api.truth().unauthorized, 0);
    {
        let issuer = bed.api.issuer();
        let client = |n: usize| (issuer.asked[n].client, issuer.asked[n].scope.as_str());
        assert_eq!(
            [client(0), client(1), client(2), client(3)],
            [("basic", "read write"), ("body", ""), ("basic", ""), ("none", "")]
        );
        assert_eq!((issuer.asked.len(), issuer.granted("session")), (9, 4));
    }
    assert_secret(&bed, &daemon);
}

#[test]
fn a_token_that_expires_in_the_middle_is_renewed_before() {
    let bed = bed(1200, "cursor", |api| oauth2(api, json!({})));
    bed.api.issuer().lifetime = Some(Duration::from_secs(1));
    bed.api.set_faults(vec![Fault::rate(25.0)]);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    assert!(bed.api.issuer().granted("client_credentials") >= 3);
    assert_eq!(bed.api.truth().unauthorized, 0, "no request was sent with a token that had expired");
    // The next task has what is still good.
    let before = bed.api.issuer().asked.len();
    bed.api.issuer().lifetime = None;
    bed.api.set_faults(Vec::new());
    daemon.run_to_success("shop");
    daemon.run_to_success("shop");
    assert!(bed.api.issuer().asked.len() <= before + 1, "one provider for all tasks of a source");
}

#[test]
fn a_token_that_is_refused_in_the_middle_is_renewed_once_for_all() {
    for (stream, concurrency, pages, uses) in [("cursor", 1, 40, 7), ("paged", 8, 80, 25)] {
        let mut bed = bed(pages * 20, stream, |api| oauth2(api, json!({})));
        bed.config["sources"]["shop"]["rest"]["rate"] = json!({ "concurrency": concurrency });
        bed.api.issuer().uses = Some(uses);
        let daemon = bed.start();
        daemon.run_to_success("shop");
        assert_exact(&bed, "shop");
        let (granted, refused) = (bed.api.issuer().asked.len() as u64, bed.api.truth().unauthorized);
        assert!(granted >= pages / uses, "{granted} tokens for {pages} pages");
        assert!(granted <= 1 + refused, "{stream}: {granted} tokens for {refused} refusals");
        if concurrency == 1 {
            assert_eq!(granted, 1 + refused);
        }
        assert_secret(&bed, &daemon);
    }
}

#[test]
fn a_fresh_token_that_is_refused_is_an_error_of_credentials() {
    let bed = bed(200, "cursor", |api| oauth2(api, json!({})));
    bed.api.issuer().uses = Some(0);
    let daemon = bed.start();
    let (class, reason) = failure(&daemon);
    assert_eq!(class, "auth");
    assert!(reason.contains("401") && reason.contains("sources.shop.rest.auth"), "{reason}");
    assert_eq!(bed.api.issuer().asked.len(), 2, "renewed once");
    assert_eq!(bed.api.truth().unauthorized, 2);
}

#[test]
fn a_token_that_expires_during_a_long_wait_is_not_sent() {
    let bed = bed(200, "cursor", |api| oauth2(api, json!({})));
    bed.api.issuer().lifetime = Some(Duration::from_millis(800));
    bed.api.set_faults(vec![Fault::new(Kind::Throttle).seconds(1).at(&[4])]);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    assert!(bed.api.issuer().granted("client_credentials") >= 2);
    assert_eq!(bed.api.truth().unauthorized, 0);
}

#[test]
fn a_token_server_that_is_ill_is_asked_again() {
    let bed = bed(200, "cursor", |api| oauth2(api, json!({})));
    bed.api.issuer().trouble = [Trouble::Status(503), Trouble::Throttle(1), Trouble::Status(500)].into();
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    assert_eq!(bed.api.issuer().asked.len(), 4);
}

#[test]
fn a_token_server_leads_nowhere_else() {
    let other = SampleApi::start(Options::default()).unwrap();
    let bed = bed(200, "cursor", refresh);
    bed.api.issuer().trouble = [Trouble::Redirect(format!("{}/_issuer/token", other.origin()))].into();
    let daemon = bed.start();
    let (class, reason) = failure(&daemon);
    assert!(class == "config" && reason.contains("redirect"), "{class}: {reason}");
    assert_eq!((other.truth().connections, other.issuer().asked.len()), (0, 0));
    assert_secret(&bed, &daemon);
}

#[test]
fn what_a_token_server_says_is_told_without_the_secrets_in_it() {
    let mut bed = bed(200, "cursor", refresh);
    bed.api.issuer().replace_refresh("canary-refresh-other");
    let daemon = bed.start();
    let (class, reason) = failure(&daemon);
    assert_eq!(class, "auth");
    assert!(reason.contains("invalid_grant") && reason.contains("saas-export-daemon auth login shop"), "{reason}");
    assert_secret(&bed, &daemon);
    drop(daemon);
    // A wrong secret: the server repeats the right one, which nobody here knows, and is asked once for all lanes.
    bed.auth_env = bed.auth_env.replace(CLIENT_SECRET, "canary-wrong");
    let daemon = bed.start();
    let before = bed.api.issuer().asked.len();
    let (class, reason) = failure(&daemon);
    assert!(class == "auth" && reason.contains("client_secret"), "{class}: {reason}");
    assert_eq!(bed.api.issuer().asked.len(), before + 1);
}

#[test]
fn a_rotated_refresh_token_survives_a_kill() {
    for point in ["token.received", "token.written", "token.stored"] {
        let bed = bed(200, "cursor", refresh);
        bed.api.issuer().rotation = Rotation::Graceful;
        let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
        let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
        let (status, said) = daemon.ended(Duration::from_secs(20));
        assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
        finishes(&bed);
    }
}

/// The last moment that a server without grace leaves: what is stored is used, before anything else is.
#[test]
fn a_stored_refresh_token_is_enough() {
    let bed = bed(200, "cursor", refresh);
    bed.api.issuer().rotation = Rotation::Strict;
    let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "token.stored")]);
    let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
    let (status, _) = daemon.ended(Duration::from_secs(20));
    assert_eq!(status.signal(), Some(9));
    assert_eq!(bed.api.truth().requests, 0, "nothing was asked before the token was safe");
    finishes(&bed);
    // And again, in a process that never saw the first one.
    finishes(&bed);
}

#[track_caller]
fn finishes(bed: &Bed) {
    let daemon = bed.start();
    let known = daemon.get("/v1/tasks").as_array().and_then(|tasks| tasks.first()?["id"].as_str().map(str::to_owned));
    let closed = |id: &String| ["succeeded", "failed"].map(Value::from).contains(&daemon.task(id)["task"]["state"]);
    let open = known.filter(|id| !closed(id));
    let id = open.unwrap_or_else(|| daemon.run("shop"));
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_complete(bed, "shop");
    assert_secret(bed, &daemon);
}

#[test]
fn a_changed_value_in_auth_env_wins() {
    let mut bed = bed(200, "cursor", refresh);
    bed.api.issuer().rotation = Rotation::Strict;
    drop(bed.start().run_to_success("shop"));
    let kept = bed.path("state/secrets/shop");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&kept).unwrap()) & 0o777, 0o600);
    bed.api.issuer().replace_refresh("canary-refresh-by-hand");
    let daemon = bed.start();
    assert_eq!(failure(&daemon).0, "auth", "what is kept is no longer good");
    drop(daemon);
    bed.auth_env = bed.auth_env.replace(FIRST_REFRESH, "canary-refresh-by-hand");
    finishes(&bed);
    // What that one was rotated to is kept in turn.
    finishes(&bed);
}

#[test]
fn a_session_is_begun_again_and_ended_with_the_daemon() {
    let mut bed = bed(400, "cursor", |_| Value::Null);
    // The sessions of this API are begun at another origin.
    let login = format!("{}/_issuer/login", bed.api.issuer_origin());
    let mut auth = session("$.data.session", json!({ "header": "X-Session" }));
    let begin = auth["session"]["login"].as_object_mut().unwrap();
    begin.remove("path");
    begin.insert("url".into(), login.as_str().into());
    auth["session"]["logout"] = json!({ "url": login, "method": "DELETE" });
    bed.config["sources"]["shop"] = config::source(&bed.api.origin(), "/session-header", &auth, &config::streams());
    bed.api.issuer().uses = Some(9);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    assert!(bed.api.issuer().granted("session") >= 3);
    assert_secret(&bed, &daemon);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.ended(Duration::from_secs(20));
    assert_eq!(bed.api.issuer().logouts, 1);
}
