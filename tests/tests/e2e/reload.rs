//! Reload: shown before it is done, applied whole or not at all, and never at the cost of a task.

use crate::compare::assert_exact;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::skipped;
use saas_export_tests::sample::table::Change;
use saas_export_tests::sample::{Fault, Kind, Options};
use serde_json::{Value, json};

/// What a reload prints, a line each.
#[track_caller]
fn lines(bed: &Bed, args: &[&str]) -> Vec<String> {
    bed.ctl(args).expect(0).stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_line(lines: &[String], parts: &[&str]) {
    let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no line with {parts:?} in\n{}", lines.join("\n"));
}

#[test]
fn a_dry_run_shows_what_the_reload_then_does() {
    let mut bed = Bed::with_records(300);
    let daemon = bed.start();
    assert!(bed.ctl(&["reload", "--dry-run"]).expect(0).stderr.contains("nothing would change"));
    assert!(bed.ctl(&["reload"]).expect(0).stderr.contains("neither file has changed"));
    bed.config["daemon"]["parallel"] = 5.into();
    bed.config["daemon"]["threads"] = 2.into();
    bed.config["sources"]["shop"]["rest"]["rate"] = json!({ "per_second": 900 });
    let source = config::source(&bed.api.origin(), "/bearer", &config::logins()[1].2, &config::streams());
    bed.config["sources"]["other"] = source;
    bed.export("added", config::export("other", "cursor", "csv", "64kB"));
    bed.auth_env += "ANOTHER='not a value to show'\n";
    bed.write();
    let shown = lines(&bed, &["reload", "--dry-run"]);
    assert_line(&shown, &["daemon.parallel: 3 → 5"]);
    assert_line(&shown, &["sources.shop.rest.rate.per_second added: 900"]);
    assert_line(&shown, &["sources.other added"]);
    assert_line(&shown, &["exports.added added"]);
    assert_line(&shown, &["auth.env: ANOTHER added"]);
    assert_line(&shown, &["needs a restart: daemon.threads: 0 → 2"]);
    assert!(!shown.join("\n").contains("not a value to show"), "{shown:?}");
    bed.ctl(&["run", "added"]).expect(4);
    assert_eq!(lines(&bed, &["reload"]), shown, "the reload does what was shown");
    assert!(daemon.stderr().contains("5 applied, 1 need a restart: daemon.parallel: 3 → 5; "), "{}", daemon.stderr());
    daemon.run_to_success("added");
    assert_exact(&bed, "added");
    // What is read once stays as it was, and so it is told again.
    assert_eq!(lines(&bed, &["reload", "--dry-run"]), ["needs a restart: daemon.threads: 0 → 2"]);
    let report = bed.ctl_json(&["reload", "--dry-run"]);
    assert_eq!(report, json!({ "applied": [], "needs_restart": ["daemon.threads: 0 → 2"] }));
}

#[test]
fn a_mistake_anywhere_refuses_everything() {
    let mut bed = Bed::with_records(300);
    let daemon = bed.start();
    bed.config["daemon"]["parallel"] = 9.into();
    let export = bed.config["exports"]["shop"].clone();
    bed.export("added", export);
    let good = bed.config.clone();
    let mistakes: [(&str, Value, &str); 3] = [
        ("/exports/shop/to", json!(["lake", "nowhere"]), "nowhere"),
        ("/sources/shop/rest/rate", json!({ "per_secnod": 3 }), "per_second"),
        ("/sources/shop/rest/auth", json!({ "bearer": { "token": "${NOT_THERE}" } }), "NOT_THERE"),
    ];
    for (place, wrong, told) in mistakes {
        bed.config = good.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        bed.config.pointer_mut(parent).unwrap()[key] = wrong;
        bed.write();
        for args in [&["reload", "--dry-run"][..], &["reload"], &["config", "check"]] {
            let refused = bed.ctl(args).expect(1);
            let said = refused.stdout.clone() + &refused.stderr;
            assert!(said.contains("config.yaml:") && said.contains(told), "{args:?}: {said}");
        }
        let hint = bed.ctl(&["reload"]).expect(1).stderr;
        assert!(hint.contains("nothing has changed"), "{hint}");
        bed.ctl(&["run", "added"]).expect(4);
    }
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    bed.config = good;
    bed.write();
    assert_line(&lines(&bed, &["reload"]), &["daemon.parallel: 3 → 9"]);
    daemon.run_to_success("added");
}

#[test]
fn a_removed_export_runs_to_its_end_also_over_a_crash() {
    let mut bed = Bed::new(Options { records: 6000, page_size: 50, ..Options::default() });
    bed.export("other", config::export("shop", "cursor", "csv", "64kB"));
    let whole = bed.config.clone();
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[90])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.faults.contains_key(&Kind::Stall)));
    let paused = daemon.run("other");
    bed.ctl(&["pause", &paused]).expect(0);
    bed.config["exports"].as_object_mut().unwrap().remove("shop");
    bed.write();
    for args in [&["reload", "--dry-run"][..], &["reload"]] {
        let shown = lines(&bed, args);
        assert_line(&shown, &["exports.shop removed"]);
        assert_line(&shown, &["note: export shop is gone", "runs to its end", &id]);
        assert!(!shown.join("\n").contains(&paused), "what did not change is not told of: {shown:?}");
    }
    bed.ctl(&["run", "shop"]).expect(4);
    assert_eq!(daemon.task(&id)["task"]["state"], "processing");
    daemon.kill();
    bed.api.set_faults(Vec::new());
    let daemon = bed.start();
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    bed.ctl(&["verify", &id]).expect(0);
    bed.config = whole;
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    assert_exact(&bed, "shop");
}

#[test]
fn a_changed_rate_counts_at_once_and_what_a_task_reads_does_not() {
    let mut bed = Bed::with_records(3000);
    // Thirty pages would take five minutes.
    bed.config["sources"]["shop"]["rest"]["rate"] = json!({ "per_minute": 6, "concurrency": 1 });
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.requests >= 1));
    bed.config["sources"]["shop"]["rest"]["rate"] = json!({ "per_second": 1000 });
    bed.write();
    let shown = lines(&bed, &["reload", "--dry-run"]);
    assert!(!shown.join("\n").contains("note"), "a rate is no reason to tell of tasks: {shown:?}");
    bed.config["exports"]["shop"]["format"] = json!({ "csv": {} });
    bed.write();
    assert_line(&lines(&bed, &["reload"]), &["note: export shop: what is open keeps the configuration", &id]);
    let ended = daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_eq!(ended["task"]["format"], "ndjson", "the format that it began with");
    let next = daemon.run_to_success("shop");
    assert_eq!(daemon.task(&next)["task"]["format"], "csv");
}

#[test]
fn a_mended_secret_of_a_source_counts_for_the_next_attempt() {
    let mut bed = Bed::with_records(300);
    let (_, prefix, auth) = config::logins().swap_remove(1);
    bed.config["sources"]["shop"] = config::source(&bed.api.origin(), prefix, &auth, &config::streams());
    let good = bed.auth_env.clone();
    let token = good.lines().find(|line| line.starts_with("SHOP_TOKEN=")).unwrap().to_owned();
    bed.auth_env = good.replace(&token, "SHOP_TOKEN=expired-canary");
    let daemon = bed.start();
    let id = daemon.run("shop");
    daemon.wait_for(&id, &["failed"], PATIENCE);
    bed.auth_env = good;
    bed.write();
    assert_eq!(lines(&bed, &["reload"]), ["auth.env: SHOP_TOKEN changed"]);
    bed.ctl(&["retry", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    assert!(!daemon.stderr().contains("expired-canary"));
}

#[test]
fn a_mended_secret_of_a_destination_lets_its_deliveries_go_on() {
    let Ok(settings) = std::env::var("SAAS_EXPORT_TEST_S3") else {
        return skipped("reload: no S3 server was started (tests/stores/server.sh)");
    };
    let mut settings: Value = serde_json::from_str(&settings).unwrap();
    let keys = &mut settings["s3"]["credentials"]["static"];
    let secret = std::mem::replace(&mut keys["secret_access_key"], "${S3_SECRET}".into());
    settings["s3"]["prefix"] = format!("e2e-reload-{}", std::process::id()).into();
    let mut bed = Bed::with_records(500);
    bed.config["destinations"]["far"] = settings;
    bed.config["exports"]["shop"]["to"] = json!(["lake", "far"]);
    let known = bed.auth_env.clone();
    bed.auth_env = format!("{known}S3_SECRET=wrong-canary\n");
    let daemon = bed.start();
    let id = daemon.run("shop");
    let end = std::time::Instant::now() + PATIENCE;
    while !daemon.stderr().contains("delivery to far failed") {
        assert!(std::time::Instant::now() < end, "the destination refuses: {}", daemon.stderr());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    bed.auth_env = format!("{known}S3_SECRET='{}'\n", secret.as_str().unwrap());
    bed.write();
    let shown = lines(&bed, &["reload"]);
    assert_line(&shown, &["auth.env: S3_SECRET changed"]);
    assert_line(&shown, &["note: auth.env", "pause and resume"]);
    bed.ctl(&["pause", &id]).expect(0);
    bed.ctl(&["resume", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    bed.ctl(&["verify", &id, "--destination", "far", "--deep"]).expect(0);
    assert!(!daemon.stderr().contains("wrong-canary"));
}

#[test]
fn a_stream_that_cannot_go_on_from_its_mark_is_named() {
    let mut bed = Bed::new(Options { records: 0, ..Options::default() });
    let time = |second: u64| format!("2024-01-01T00:00:{second:02}Z");
    let stream = json!({
        "path": "/table/page/items",
        "records": "$.data[*]",
        "primary_key": ["id"],
        "paginate": config::table_pager("page"),
        "incremental": { "cursor_field": "updated_at", "param": "updated_since", "start": time(0) },
    });
    bed.stream("items", stream);
    bed.export("shop", config::export("shop", "items", "ndjson", "64kB"));
    bed.api.table().change((1..=9).map(|id| Change::Put(id, time(id), "first".to_owned())));
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let stream = &mut bed.config["sources"]["shop"]["rest"]["streams"]["items"];
    stream["path"] = "/table/cursor/items".into();
    stream["paginate"] = config::table_pager("cursor");
    bed.write();
    for args in [&["reload", "--dry-run"][..], &["reload"]] {
        let named = ["note: stream items of export shop cannot go on", "exportctl run shop --full"];
        assert_line(&lines(&bed, args), &named);
    }
    let id = daemon.run("shop");
    daemon.wait_for(&id, &["failed"], PATIENCE);
    bed.ctl(&["run", "shop", "--full", "--wait"]).expect(0);
    daemon.run_to_success("shop");
}
