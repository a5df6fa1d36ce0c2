//! Credentials go to the configured origin and nowhere else, whatever the source says.

use crate::compare::assert_exact;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Options, SampleApi};
use serde_json::json;

/// A source with each login whose next URLs lead to `other`, and an export for each login.
fn bed(other: &SampleApi, stream: &str) -> Bed {
    let mut bed = Bed::new(Options { records: 500, next_origin: Some(other.origin()), ..Options::default() });
    for (login, prefix, auth) in config::logins().into_iter().skip(1) {
        bed.config["sources"][login] = config::source(&bed.api.origin(), prefix, &auth, &config::streams());
        bed.export(login, config::export(login, stream, "ndjson", "1MB"));
    }
    bed
}

#[test]
fn a_next_url_to_another_origin_is_refused() {
    for stream in ["next-url", "link"] {
        let other = SampleApi::start(Options { records: 500, ..Options::default() }).unwrap();
        let bed = bed(&other, stream);
        let daemon = bed.start();
        for (login, _, _) in config::logins().into_iter().skip(1) {
            let id = daemon.run(login);
            let detail = daemon.wait_for(&id, &["failed"], PATIENCE);
            let reason = detail["task"]["reason"].as_str().unwrap();
            assert!(reason.contains("origin"), "{login}: {reason}");
        }
        let truth = other.truth();
        assert_eq!(
            (truth.connections, truth.with_credentials),
            (0, 0),
            "{stream}: nothing arrives at the other origin"
        );
    }
}

#[test]
fn an_allowed_origin_gets_requests_but_no_credentials() {
    let other = SampleApi::start(Options { records: 500, ..Options::default() }).unwrap();
    let mut bed = bed(&other, "next-url");
    for (login, _, _) in config::logins().into_iter().skip(1) {
        bed.config["sources"][login]["rest"]["allowed_origins"] = json!([other.origin()]);
    }
    let daemon = bed.start();
    for (login, _, _) in config::logins().into_iter().skip(1) {
        let id = daemon.run(login);
        // The other origin wants credentials too, and gets none: 401.
        daemon.wait_for(&id, &["failed"], PATIENCE);
    }
    let truth = other.truth();
    assert!(truth.unauthorized >= 4, "the requests arrived");
    assert_eq!(truth.with_credentials, 0, "and carried nothing");
}

#[test]
fn an_open_page_at_an_allowed_origin_is_followed() {
    let other = SampleApi::start(Options { records: 500, ..Options::default() }).unwrap();
    let mut bed = Bed::new(Options { records: 500, next_origin: Some(other.origin()), ..Options::default() });
    bed.config["sources"]["shop"]["rest"]["allowed_origins"] = json!([other.origin()]);
    bed.export("shop", config::export("shop", "next-url", "ndjson", "1MB"));
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    assert_eq!(other.requests(), 4);
}

#[test]
fn a_redirect_leaves_the_origin_only_if_the_config_lists_it() {
    for allowed in [false, true] {
        let other = SampleApi::start(Options { records: 500, ..Options::default() }).unwrap();
        let mut bed = Bed::with_records(500);
        let (_, prefix, auth) = config::logins().remove(3);
        let mut source = config::source(&bed.api.origin(), prefix, &auth, &config::streams());
        if allowed {
            source["rest"]["allowed_origins"] = json!([other.origin()]);
        }
        bed.config["sources"]["shop"] = source;
        bed.api.set_faults(vec![Fault::redirect(&other.origin()).at(&[2])]);
        let daemon = bed.start();
        let id = daemon.run("shop");
        daemon.wait_for(&id, &["failed"], PATIENCE);
        let truth = other.truth();
        assert_eq!(truth.with_credentials, 0, "credentials stay at home");
        assert_eq!(truth.unauthorized > 0, allowed, "{truth:?}");
    }
}
