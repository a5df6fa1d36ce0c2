//! `check`, with and without the daemon: what works, what does not, and that nothing is left behind.

use crate::compare::walk;
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::sample::{BEARER_TOKEN, Fault};
use serde_json::{Value, json};

/// The result and the message of a step.
#[track_caller]
fn step<'a>(report: &'a Value, subject: &str, name: &str) -> (&'a str, &'a str) {
    let steps = report["steps"].as_array().unwrap();
    let found = steps.iter().find(|step| step["subject"] == subject && step["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no step {name} of {subject} in {report:#}"));
    (found["result"].as_str().unwrap(), found["message"].as_str().unwrap())
}

#[test]
fn a_check_finds_everything_in_order_and_keeps_nothing() {
    let mut bed = Bed::with_records(500);
    bed.export("pages", config::export("shop", "paged", "parquet", "64kB"));
    let daemon = bed.start();
    let events = daemon.ask("GET", "/v1/events?since=0", "").unwrap().body.len();
    let report = bed.ctl_json(&["check"]);
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(report["exports"], json!(["pages", "shop"]));
    assert_eq!(step(&report, "source shop", "tcp").0, "ok");
    assert_eq!(step(&report, "stream shop/cursor", "first_page").0, "ok");
    let (_, page) = step(&report, "stream shop/cursor", "first_page");
    assert_eq!(page, "100 records at $.data[*]; a cursor leads on; the source says 500 in all");
    assert!(step(&report, "stream shop/cursor", "shift_protection").1.starts_with("source:"));
    let (shift, words) = step(&report, "stream pages/paged", "shift_protection");
    assert!(shift == "warn" && words.starts_with("total:") && words.ends_with("no order is asked for"), "{words}");
    assert_eq!(step(&report, "destination lake", "write").0, "ok");
    let steps = report["steps"].as_array().unwrap();
    for name in ["dns", "tcp", "tls", "auth", "write"] {
        assert_eq!(steps.iter().filter(|step| step["name"] == name).count(), 1, "{name} once for both exports");
    }
    assert_eq!(bed.api.requests(), 2, "one page for each stream");
    assert_eq!(daemon.get("/v1/tasks"), json!([]));
    assert_eq!(daemon.ask("GET", "/v1/events?since=0", "").unwrap().body.len(), events, "nothing is on record");
    let left: Vec<_> = walk(&bed.lake()).into_iter().collect();
    assert!(left.is_empty(), "{left:?}");
    let one = bed.ctl(&["check", "shop"]).expect(0);
    assert!(one.stdout.contains("ok    first_page") && !one.stdout.contains("stream pages"), "{}", one.stdout);
    assert!(one.stderr.contains("everything works"), "{}", one.stderr);
}

#[test]
fn wrong_credentials_end_the_check_and_are_never_shown() {
    let mut bed = Bed::with_records(300);
    let login = json!({ "bearer": { "token": "${SHOP_TOKEN}" } });
    let origin = bed.api.origin();
    bed.config["sources"]["shop"] = config::source(&origin, "/bearer", &login, &config::streams());
    bed.auth_env = "SHOP_TOKEN=wr0ng-t0ken-canary\n".into();
    let daemon = bed.start();
    let ended = bed.ctl(&["check", "--json"]).expect(1);
    let report = ended.json();
    assert_eq!(report["ok"], false);
    assert_eq!(step(&report, "source shop", "auth"), ("fail", "bearer: not accepted"));
    assert_eq!(step(&report, "stream shop/cursor", "schema").0, "skip");
    assert_eq!(step(&report, "destination lake", "write").0, "ok", "the other half is looked at all the same");
    let all = format!("{}{}{}", ended.stdout, ended.stderr, daemon.stderr());
    assert!(!all.contains("canary") && !all.contains(BEARER_TOKEN), "{all}");
    assert_eq!(bed.api.truth().unauthorized, 1, "credentials that are refused are tried once");
}

#[test]
fn without_a_daemon_the_same_is_said() {
    let mut bed = Bed::with_records(300);
    let ended = bed.daemon(&["check"]).expect(0);
    assert!(
        ended.stdout.contains("stream shop/cursor\n") && ended.stdout.contains("  ok    write"),
        "{}",
        ended.stdout
    );
    assert!(!bed.path("state").exists(), "no ledger is opened");
    bed.daemon(&["check", "shopp"]).expect(4);
    bed.daemon(&["check", "shop", "--param", "x=y"]).expect(2);
    bed.api.set_faults(vec![Fault::status(404)]);
    let ended = bed.daemon(&["check", "shop", "--json"]).expect(1);
    let report = ended.json();
    assert!(step(&report, "stream shop/cursor", "first_page").1.contains("404"), "{report:#}");
    bed.config["sources"]["shop"]["rest"]["base_url"] = "http://127.0.0.1:1/v2".into();
    let report = bed.daemon(&["check", "--json"]).expect(1).json();
    assert_eq!(step(&report, "source shop", "tcp").0, "fail");
    assert_eq!(step(&report, "stream shop/cursor", "first_page"), ("skip", "tcp of source shop failed"));
}

#[test]
fn parameters_are_filled_as_a_run_would() {
    let mut bed = Bed::with_records(300);
    bed.stream("regions", json!({ "path": "/regions/{{ param.region }}/orders", "records": "$.data[*]" }));
    let mut export = config::export("shop", "regions", "csv", "64kB");
    export["params"] = json!({ "region": { "type": "string" } });
    bed.export("shop", export);
    let _daemon = bed.start();
    let report = bed.ctl_json(&["check", "shop"]);
    let missing = "parameter region has no default: give --param region=VALUE";
    assert_eq!(step(&report, "stream shop/regions", "first_page"), ("skip", missing));
    let report = bed.ctl_json(&["check", "shop", "--param", "region=eu"]);
    assert_ne!(step(&report, "stream shop/regions", "first_page").0, "skip");
    bed.ctl(&["check", "shop", "--param", "nope=1"]).expect(2);
}
