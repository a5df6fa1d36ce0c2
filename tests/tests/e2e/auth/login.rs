//! `auth login`: a person agrees, and the token that comes of it is kept for the daemon.

use super::{assert_secret, bed, oauth2};
use crate::compare::assert_exact;
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::http::call;
use saas_export_tests::harness::programs::wait;
use saas_export_tests::sample::SampleApi;
use saas_export_tests::sample::issuer::Rotation;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

fn grant(api: &SampleApi, key: &str, endpoint: &str) -> Value {
    let url = format!("{}/_issuer/{endpoint}", api.issuer_origin());
    oauth2(api, json!({ "grant": { "refresh_token": {} }, "scopes": ["read", "offline_access"], (key): url }))
}

/// Exports by what the login left, twice: the second time by what that was rotated to.
fn exports(bed: &Bed) {
    for _ in 0..2 {
        let daemon = bed.start();
        daemon.run_to_success("shop");
        assert_exact(bed, "shop");
        assert_secret(bed, &daemon);
    }
}

/// A login under way; it does not outlive its test.
struct Login(Child);

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn by_a_code_on_another_device() {
    let bed = bed(200, "cursor", |api| grant(api, "device_url", "device"));
    bed.api.issuer().rotation = Rotation::Strict;
    let ended = bed.daemon(&["auth", "login", "shop"]).expect(0);
    assert!(ended.stdout.contains("https://sample.example/device") && ended.stdout.contains("WDJB-MJHT"), "{ended:?}");
    assert!(!ended.stdout.contains("canary") && !ended.stderr.contains("canary"), "{ended:?}");
    let polls: Vec<u16> = bed.api.issuer().asked.iter().map(|asked| asked.status).collect();
    assert_eq!(polls, [400, 200], "asked until somebody agreed");
    exports(&bed);
}

#[test]
fn by_a_browser_on_this_machine() {
    let bed = bed(200, "cursor", |api| grant(api, "authorize_url", "authorize?prompt=consent"));
    bed.api.issuer().rotation = Rotation::Strict;
    bed.write();
    let mut command = bed.daemon_command();
    command.args(["auth", "login", "shop"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut login = Login(command.spawn().unwrap());
    let child = &mut login.0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let shown = lines.find(|line| line.contains("/_issuer/authorize?")).expect("the URL is shown");
    let url = url::Url::parse(shown.trim()).unwrap();
    let query: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!((query["prompt"].as_str(), query["scope"].as_str()), ("consent", "read offline_access"));
    // What any other page in the browser could send changes nothing.
    let back = url::Url::parse(&query["redirect_uri"]).unwrap();
    let here: SocketAddr = format!("127.0.0.1:{}", back.port().unwrap()).parse().unwrap();
    let forged = format!("{}?code=forged&state=guessed", back.path());
    assert_eq!(call(here, "GET", &forged, &[], b"").unwrap().status, 404);
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    let agreed = call(bed.api.issuer_addr, "GET", &target, &[], b"").unwrap();
    assert_eq!(agreed.status, 302);
    let location = url::Url::parse(agreed.header("location").unwrap()).unwrap();
    let target = format!("{}?{}", location.path(), location.query().unwrap());
    assert_eq!(call(here, "GET", &target, &[], b"").unwrap().status, 200);
    let status = wait(child, Duration::from_secs(20));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{said}");
    assert!(!said.contains("canary") && !lines.any(|line| line.contains("canary")));
    exports(&bed);
}

#[test]
fn what_cannot_be_logged_in_to_is_told() {
    let bed = bed(200, "cursor", |api| oauth2(api, json!({})));
    let ended = bed.daemon(&["auth", "login", "shop"]).expect(2);
    assert!(ended.stderr.contains("uses no refresh token"), "{}", ended.stderr);
    let ended = bed.daemon(&["auth", "login", "shopp"]).expect(4);
    assert!(ended.stderr.contains("there are: shop"), "{}", ended.stderr);
    assert!(bed.api.issuer().asked.is_empty());
}

#[test]
fn a_source_that_was_never_logged_in_to_says_so() {
    let bed = bed(200, "cursor", |api| grant(api, "device_url", "device"));
    let daemon = bed.start();
    let (class, reason) = super::failure(&daemon);
    assert!(class == "auth" && reason.contains("saas-export-daemon auth login shop"), "{class}: {reason}");
    assert_eq!(bed.api.truth().requests, 0);
}
