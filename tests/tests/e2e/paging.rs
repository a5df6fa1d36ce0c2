//! Every way of paging with every kind of credentials: complete, in order, each page asked for once.

use crate::compare::{assert_complete, assert_exact};
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::sample::View;

const PAGERS: [&str; 7] = ["cursor", "next-url", "link", "paged", "offset", "search", "all"];

#[test]
fn every_paginator_with_every_login() {
    let mut bed = Bed::with_records(730);
    for (login, prefix, auth) in config::logins() {
        bed.config["sources"][login] = config::source(&bed.api.origin(), prefix, &auth, &config::streams());
        for pager in PAGERS {
            bed.export(&format!("{pager}-{login}"), config::export(login, pager, "ndjson", "100kB"));
        }
    }
    let daemon = bed.start();
    for (login, _, _) in config::logins() {
        bed.api.reset();
        for pager in PAGERS {
            let export = format!("{pager}-{login}");
            daemon.run_to_success(&export);
            assert_exact(&bed, &export);
            let truth = bed.api.truth();
            assert!(truth.served_whole(pager, View::ALL, 730), "{export}");
        }
        let truth = bed.api.truth();
        assert_eq!((truth.unauthorized, truth.misdirected), (0, 0), "{login}");
        // A page or offset paginator may ask for one page behind the last, never for one twice.
        assert_eq!(truth.repeated_requests(), 0, "{login}: {:?}", truth.pages);
    }
}

#[test]
fn a_size_that_fills_the_last_page_and_an_empty_collection() {
    for records in [0, 1, 100, 200] {
        let mut bed = Bed::with_records(records);
        for pager in PAGERS {
            let mut export = config::export("shop", pager, "csv", "1MB");
            export["allow_empty"] = (records == 0).into();
            bed.export(pager, export);
        }
        let daemon = bed.start();
        for pager in PAGERS {
            let id = daemon.run_to_success(pager);
            let read = &daemon.task(&id)["streams"][0]["counts"]["read"];
            assert_eq!(read, records, "{pager}");
            if records > 0 {
                assert_exact(&bed, pager);
            }
        }
    }
}

#[test]
fn nothing_is_no_success_unless_allowed() {
    let bed = Bed::with_records(0);
    let daemon = bed.start();
    let id = daemon.run("shop");
    let detail = daemon.wait_for(&id, &["failed"], std::time::Duration::from_secs(60));
    assert!(detail["task"]["reason"].as_str().unwrap().contains("allow_empty"), "{detail}");
    assert!(!bed.lake().join("shop/cursor/latest.json").exists());
}

#[test]
fn partitions_are_read_in_order() {
    let mut bed = Bed::with_records(910);
    bed.stream("regions", config::regions(1));
    bed.export("regions", config::export("shop", "regions", "ndjson", "64kB"));
    let daemon = bed.start();
    daemon.run_to_success("regions");
    assert_complete(&bed, "regions");
    let ids = crate::compare::published_ids(&bed, "regions");
    let in_order: Vec<u64> = ["eu", "us", "ap"].iter().flat_map(|r| View::region(r).unwrap().ids(910)).collect();
    assert_eq!(ids, in_order, "one partition after the other");
}

#[test]
fn answers_may_be_compressed_and_connections_are_kept() {
    let options = saas_export_tests::sample::Options { records: 2000, gzip: true, ..Default::default() };
    let bed = Bed::new(options);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    let truth = bed.api.truth();
    assert!(truth.requests >= 20 && truth.connections <= 4, "{} connections", truth.connections);
}

#[test]
fn a_wrong_credential_fails_at_once_and_says_what_to_do() {
    let mut bed = Bed::with_records(300);
    let (_, prefix, auth) = config::logins().remove(1);
    bed.config["sources"]["shop"] = config::source(&bed.api.origin(), prefix, &auth, &config::streams());
    bed.auth_env = bed.auth_env.replace("SHOP_TOKEN=", "SHOP_TOKEN=canary-wrong-");
    let daemon = bed.start();
    let id = daemon.run("shop");
    let detail = daemon.wait_for(&id, &["failed"], std::time::Duration::from_secs(20));
    let reason = detail["task"]["reason"].as_str().unwrap();
    assert!(reason.contains("401"), "{reason}");
    assert_eq!(detail["task"]["error_class"], "auth");
    assert_eq!(bed.api.truth().unauthorized, 1, "a refused credential is not tried again");
    // The secret is nowhere: not in the answer, the log, the ledger or the output.
    let ended = bed.ctl(&["show", &id]);
    assert!(!(detail.to_string() + &ended.stdout + &ended.stderr + &daemon.stderr()).contains("canary-wrong"));
    for file in crate::compare::walk(bed.dir()).iter().filter(|path| !path.ends_with("auth.env")) {
        let bytes = std::fs::read(file).unwrap_or_default();
        assert!(!bytes.windows(12).any(|window| window == b"canary-wrong"), "{}", file.display());
    }
}
