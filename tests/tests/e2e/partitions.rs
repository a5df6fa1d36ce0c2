//! Windows of time, parents and children, products: complete, the same bytes each time, and no parent read twice.

use crate::compare::{assert_exact, latest, parts, published_ids};
use crate::read;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind, Options, View};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

const RECORDS: u64 = 3600;
const ACCOUNTS: u64 = 30;

fn bed(accounts: u64) -> Bed {
    let mut bed = Bed::new(Options { records: RECORDS, accounts, page_size: 40, ..Options::default() });
    bed.stream("accounts", accounts_stream());
    bed.stream("children", children(1));
    bed
}

fn accounts_stream() -> Value {
    json!({
        "path": "/accounts", "records": "$.data[*]", "primary_key": ["id"], "total": "$.total",
        "paginate": { "page": { "size_param": "per_page", "size": 7 } },
    })
}

fn children(lanes: u32) -> Value {
    json!({
        "path": "/accounts/{{ parent.slug }}/orders", "records": "$.data[*]", "primary_key": ["id"],
        "paginate": { "cursor": { "from": "$.next_cursor", "param": "cursor" } },
        "partition": { "parent": {
            "stream": "accounts",
            "values": { "slug": "$.owner.slug", "id": "id" },
            "include": { "account_id": "id" },
        } },
        "lanes": lanes,
    })
}

/// Windows over two hours; the data set has one record in each second of the first.
fn windows(step: &str, lanes: u32) -> Value {
    json!({
        "path": "/orders", "records": "$.data[*]", "primary_key": ["id"],
        "query": { "since": "{{ partition.start }}", "until": "{{ partition.end }}" },
        "paginate": { "cursor": { "from": "$.next_cursor", "param": "cursor" } },
        "partition": { "windows": { "start": "2024-01-01", "end": "2024-01-01T02:00:00Z", "step": step } },
        "lanes": lanes,
    })
}

fn export(streams: &[&str], format: &str) -> Value {
    let mut export = config::export("shop", "x", format, "300kB");
    export["streams"] = json!(streams);
    export["attempts"] = 5.into();
    export
}

fn connections(bed: &mut Bed, connections: u64) {
    bed.config["sources"]["shop"]["rest"]["rate"] = json!({ "concurrency": connections });
}

/// The ids of one stream of an export, in order.
fn ids(bed: &Bed, stream: &str) -> Vec<u64> {
    let files = latest(bed, "shop", "lake");
    files.iter().filter(|file| file.stream == stream).flat_map(|file| read::ids(&file.path)).collect()
}

#[track_caller]
fn assert_all_children(bed: &Bed, stream: &str) {
    let mut ids = ids(bed, stream);
    ids.sort_unstable();
    assert_eq!(ids, (1..=RECORDS).collect::<Vec<_>>(), "{stream}");
}

/// How often each page of the accounts was asked for.
fn asked_accounts(bed: &Bed) -> Vec<u64> {
    let truth = bed.api.truth();
    truth.pages.iter().filter(|(key, _)| key.pager == "accounts").map(|(_, page)| page.asked).collect()
}

#[test]
fn any_number_of_connections_gives_the_same_bytes() {
    for lanes in [1, 3] {
        let mut first: Option<BTreeMap<String, String>> = None;
        for count in [1, 4, 16] {
            let mut bed = bed(ACCOUNTS);
            connections(&mut bed, count);
            bed.stream("children", children(lanes));
            bed.stream("windows", windows("10m", lanes));
            bed.export("shop", export(&["children", "windows", "accounts"], "ndjson"));
            bed.api.set_faults(vec![Fault::new(Kind::Delay).ms(6)]);
            let daemon = bed.start();
            daemon.run_to_success("shop");
            assert_all_children(&bed, "children");
            assert_all_children(&bed, "windows");
            let accounts = asked_accounts(&bed);
            assert!(accounts.iter().all(|asked| *asked == 1), "a parent is read once: {accounts:?}");
            assert!(bed.api.truth().most_at_once <= count);
            assert!(count == 1 || bed.api.truth().most_at_once > 1, "partitions are read side by side");
            let parts = parts(&bed, "shop", "lake");
            assert!(parts.keys().filter(|name| name.starts_with("children/")).count() >= 3, "{parts:?}");
            assert_eq!(first.get_or_insert_with(|| parts.clone()), &parts, "{lanes} lanes, {count} connections");
        }
    }
}

#[test]
fn windows_of_every_kind_cover_the_time_once() {
    let mut bed = bed(ACCOUNTS);
    let mut inclusive = windows("25m", 1);
    inclusive["query"] = json!({ "since": "{{ partition.start }}", "to": "{{ partition.end }}" });
    inclusive["partition"]["windows"]["granularity"] = "1s".into();
    inclusive["partition"]["windows"]["format"] = "epoch".into();
    // In a zone whose day begins at another time, and up to the task's creation.
    let mut months = windows("1mo", 1);
    months["partition"]["windows"]["timezone"] = "America/New_York".into();
    months["partition"]["windows"]["start"] = "2023-10-31T12:00:00".into();
    months["partition"]["windows"]["end"] = "now".into();
    // Of a product the regions change faster.
    let mut product = windows("20m", 1);
    product["path"] = "/regions/{{ partition.region }}/orders".into();
    let by_time = product["partition"].take();
    product["partition"] =
        json!({ "product": [by_time, { "list": { "values": ["us", "eu", "ap"], "name": "region" } }] });
    for (name, stream) in [("inclusive", inclusive), ("months", months), ("product", product)] {
        bed.stream(name, stream);
        bed.export(name, export(&[name], "parquet"));
        let daemon = bed.start();
        daemon.run_to_success(name);
        if name == "product" {
            let starts = (0..6).map(|n| 1_704_067_200 + n * 1200);
            let views = starts
                .flat_map(|start| ["us", "eu", "ap"].map(|r| View::region(r).unwrap().between(start, start + 1200)));
            assert_eq!(published_ids(&bed, name), views.flat_map(|view| view.ids(RECORDS)).collect::<Vec<_>>());
        } else {
            assert_exact(&bed, name);
        }
        assert_eq!(bed.api.truth().misdirected, 0, "{name}");
    }
}

#[test]
fn a_parent_that_is_not_exported_is_read_once_for_all_its_children() {
    let mut bed = bed(ACCOUNTS);
    bed.stream("others", children(2));
    bed.export("shop", export(&["children", "others"], "ndjson"));
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    assert_all_children(&bed, "children");
    assert_all_children(&bed, "others");
    let accounts = asked_accounts(&bed);
    assert!(accounts.len() >= 5 && accounts.iter().all(|asked| *asked == 1), "{accounts:?}");
    let streams = daemon.task(&id)["streams"].as_array().unwrap().len();
    assert_eq!(streams, 2, "the parent is no stream of the task");
    // Each record has the field of its parent.
    for file in latest(&bed, "shop", "lake") {
        for record in read::json(&file.path) {
            assert_eq!(record["account_id"], (record["id"].as_u64().unwrap() - 1) % ACCOUNTS + 1);
        }
    }
}

#[test]
fn grandchildren_ask_for_each_value_once() {
    let mut bed = bed(ACCOUNTS);
    bed.stream("regions", {
        let mut regions = config::regions(1);
        regions["path"] = "/regions/{{ parent.region }}/orders".into();
        regions["partition"] = json!({ "parent": { "stream": "children", "values": { "region": "region" } } });
        regions
    });
    // Listed in the wrong order, and with a gap in the middle.
    for streams in [&["regions", "children", "accounts"][..], &["regions", "accounts"], &["regions"]] {
        bed.api.reset();
        bed.export("shop", export(streams, "ndjson"));
        let daemon = bed.start();
        daemon.run_to_success("shop");
        assert_all_children(&bed, "regions");
        let truth = bed.api.truth();
        assert_eq!(truth.repeated_requests(), 0, "{streams:?}");
        let region =
            |name: &str| ids(&bed, "regions").iter().position(|id| *id == View::region(name).unwrap().first + 1);
        assert!(region("eu") < region("us") && region("us") < region("ap"), "in the order of the parent's records");
        drop(daemon);
    }
}

#[test]
fn no_parents_are_no_parts() {
    for allowed in [true, false] {
        let mut bed = bed(0);
        let mut settings = export(&["children"], "csv");
        settings["allow_empty"] = allowed.into();
        settings["attempts"] = 1.into();
        bed.export("shop", settings);
        let daemon = bed.start();
        let id = daemon.run("shop");
        let detail = daemon.wait_for(&id, &[if allowed { "succeeded" } else { "failed" }], PATIENCE);
        assert!(detail.to_string().contains("nothing to ask for"), "{detail}");
        assert!(allowed || detail["task"]["reason"].as_str().unwrap().contains("allow_empty"), "{detail}");
    }
}

/// Every kind at once: a parent in the export, and one outside of it.
fn scene() -> Bed {
    let mut bed = bed(ACCOUNTS);
    bed.config["daemon"]["replay_limit"] = "1s".into();
    bed.stream("outside", accounts_stream());
    let mut others = children(2);
    others["partition"]["parent"]["stream"] = "outside".into();
    bed.stream("others", others);
    bed.stream("windows", windows("20m", 2));
    bed.export("shop", export(&["children", "others", "windows", "accounts"], "ndjson"));
    bed
}

#[test]
fn killed_anywhere_it_goes_on_to_the_same_bytes() {
    let (wanted, time) = {
        let bed = scene();
        let daemon = bed.start();
        let started = Instant::now();
        daemon.run_to_success("shop");
        (parts(&bed, "shop", "lake"), started.elapsed())
    };
    let points = [
        "parent.values_stored",
        "parent.read",
        "partitions.stored:3",
        "segment.before_commit:3",
        "segment.committed:2",
        "stream.extracted:2",
    ];
    let kill = |bed: &Bed, point: Option<&str>, after: Duration| {
        let env: Vec<_> = point.map(|point| ("SAAS_EXPORT_CRASH_AT", point)).into_iter().collect();
        let daemon = bed.start_with(&env);
        let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
        match point {
            Some(point) => {
                let (status, said) = daemon.ended(Duration::from_secs(20));
                assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
            }
            None => {
                std::thread::sleep(after);
                daemon.kill();
            }
        }
    };
    let moments = if crate::torture() { 20 } else { 2 };
    let moments = (1..=moments).map(|n| (None, time.mul_f64(f64::from(n) / f64::from(moments + 1))));
    for (point, after) in points.map(|point| (Some(point), Duration::ZERO)).into_iter().chain(moments) {
        let bed = scene();
        kill(&bed, point, after);
        let daemon = bed.start();
        let tasks = daemon.get("/v1/tasks");
        let id = tasks[0]["id"].as_str().expect("a task").to_owned();
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_eq!(parts(&bed, "shop", "lake"), wanted, "{point:?} {after:?}");
    }
}

#[test]
fn thousands_of_short_partitions_use_every_connection() {
    const MANY: u64 = 2000;
    let mut bed = Bed::new(Options { records: MANY * 2, accounts: MANY, ..Options::default() });
    let mut accounts = accounts_stream();
    accounts["paginate"]["page"]["size"] = 500.into();
    bed.stream("accounts", accounts);
    bed.stream("children", children(1));
    connections(&mut bed, 16);
    bed.export("shop", export(&["children"], "ndjson"));
    let latency = Duration::from_millis(if crate::torture() { 50 } else { 20 });
    bed.api.set_faults(vec![Fault::new(Kind::Stall).ms(latency.as_millis() as u64)]);
    let daemon = bed.start();
    let started = Instant::now();
    daemon.run_to_success("shop");
    let took = started.elapsed();
    assert_eq!(published_ids(&bed, "shop").len() as u64, MANY * 2);
    let truth = bed.api.truth();
    assert_eq!((truth.most_at_once, truth.repeated_requests()), (16, 0));
    // One connection waits for the latency of each request at the least.
    let one = latency * u32::try_from(truth.requests).unwrap();
    println!(
        "{} requests in {took:?}: {:.1} times one connection",
        truth.requests,
        one.as_secs_f64() / took.as_secs_f64()
    );
    assert!(took * 5 < one, "{took:?} with 16 connections, at least {one:?} with one");
}
