//! `get`, `url`, `prune` and the long form of `files`, against canned answers.

use super::*;
use std::fs;

/// SHA-256 of `data`.
const DATA: &str = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7";

fn manifest() -> String {
    format!(
        r#"{{"version":1,"export":"shop","stream":"orders","task":"{TASK}","created_at":"2026-01-01T00:00:00Z","mode":"full",
        "format":"csv","schema":{{}},"schema_version":1,"primary_key":[],"cursor_field":null,"shift_protection":"none",
        "chain":{{"id":"{TASK}","position":0}},"offsets":[],"marks":{{"before":null,"after":null}},
        "counts":{{"read":2,"written":2,"rejected":0,"duplicate":0,"filtered":0,"over_limit":0,"rescued":0}},"pages":1,
        "source_bytes":9,"daemon_version":"0","segments":[{},{}]}}"#,
        segment(0),
        segment(1)
    )
}

fn segment(n: u64) -> String {
    format!(
        r#"{{"name":"part-0-00000{n}.csv","rows":1,"bytes":4,"sha256":"{DATA}","crc32c":"00000000","lane":0,"n":{n},"revision":0,
        "first_offset":null,"last_offset":null}}"#
    )
}

fn detail(manifests: &str) -> Option<(u16, String)> {
    sync(&format!(r#"{{"task":{},"streams":[],"manifests":[{manifests}]}}"#, summary("succeeded")))
}

fn published() -> Option<(u16, String)> {
    detail(r#"{"stream":"orders","destination":"lake","published_at":"2026-11-21T03:00:00Z"}"#)
}

/// A daemon that has the task; its second file is as `second` says.
fn daemon(second: fn(usize) -> Option<(u16, String)>) -> Daemon {
    Daemon::new(move |request, before| {
        let name = request.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        match name {
            "_manifest.json" => Some((200, manifest())),
            "SHA256SUMS" => Some((200, "sums\n".into())),
            "part-0-000000.csv" => Some((200, "data".into())),
            "part-0-000001.csv" => second(before),
            _ => published(),
        }
    })
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_download_is_whole_and_its_repetition_asks_for_little() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("out").display().to_string();
    // The first answer breaks off.
    let daemon = daemon(|before| if before == 0 { None } else { Some((200, "data".into())) });
    let output = daemon.run(&["get", "shop", "-o", &to]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let orders = dir.path().join("out/orders");
    let all = ["SHA256SUMS", "_manifest.json", "part-0-000000.csv", "part-0-000001.csv"];
    assert_eq!(names(&orders), all);
    assert_eq!(fs::read_to_string(orders.join("_manifest.json")).unwrap(), manifest());
    let last = stdout(&output).lines().last().unwrap().to_owned();
    assert!(last.ends_with("out/orders/_manifest.json"), "the manifest comes last: {last}");
    assert!(stderr(&output).contains("4 files written"), "{}", stderr(&output));
    let asked = daemon.asked().len();
    let output = daemon.run(&["get", "shop", "-o", &to, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let again: Vec<String> = daemon.asked().split_off(asked);
    assert!(!again.iter().any(|line| line.contains("part-")), "{again:?}");
    assert!(stdout(&output).contains("\"kept\": true") && !stdout(&output).contains("\"kept\": false"));
}

#[test]
fn a_task_that_is_not_whole_there_is_told_and_what_is_there_stays() {
    let daemon = Daemon::new(|request, _| {
        match request.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default() {
            "_manifest.json" => Some((200, manifest())),
            "SHA256SUMS" => Some((200, "sums\n".into())),
            name if name.starts_with("part-") => Some((200, "data".into())),
            _ => two_streams(),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().display().to_string();
    let output = daemon.run(&["get", TASK, "-o", &to]);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("users") && !told.contains("broken") && told.contains("exportctl show"), "{told}");
    assert_eq!(names(&dir.path().join("orders")).len(), 4, "what there is is whole");
    let output = daemon.run(&["get", TASK, "-o", &to, "orders/part-0-000000.csv"]);
    assert_eq!(output.status.code(), Some(0), "one that was named is all that was asked for: {}", stderr(&output));
}

/// A task with a stream that is published, one that is not, and one that ended with an error.
fn two_streams() -> Option<(u16, String)> {
    let stream = |name: &str, error: &str| {
        format!(
            r#"{{"name":"{name}","counts":{{"read":0,"written":0,"rejected":0,"duplicate":0,"filtered":0,"over_limit":0,"rescued":0}},
            "pages":0,"source_bytes":0,"bytes":0,"segments":0,"extracted":true,"notes":[]{error}}}"#
        )
    };
    let streams = [stream("orders", ""), stream("users", ""), stream("broken", r#","error":"404""#)].join(",");
    let there = r#"{"stream":"orders","destination":"lake","published_at":"2026-11-21T03:00:00Z"}"#;
    sync(&format!(r#"{{"task":{},"streams":[{streams}],"manifests":[{there}]}}"#, summary("processing")))
}

#[test]
fn what_is_not_as_the_manifest_says_is_not_kept() {
    for wrong in ["date", "dat", "datadata"] {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().display().to_string();
        let tampered: fn(usize) -> Option<(u16, String)> = match wrong {
            "date" => |_| Some((200, "date".into())),
            "dat" => |_| Some((200, "dat".into())),
            _ => |_| Some((200, "datadata".into())),
        };
        let output = daemon(tampered).run(&["get", TASK, "-o", &to]);
        assert_eq!(output.status.code(), Some(9), "{}", stderr(&output));
        assert!(stderr(&output).contains("orders/part-0-000001.csv has "), "{}", stderr(&output));
        assert_eq!(
            names(&dir.path().join("orders")),
            ["SHA256SUMS", "part-0-000000.csv"],
            "no manifest: it is not whole"
        );
    }
}

#[test]
fn another_file_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let orders = dir.path().join("orders");
    fs::create_dir_all(&orders).unwrap();
    fs::write(orders.join("part-0-000001.csv"), "mine").unwrap();
    let to = dir.path().display().to_string();
    let output = daemon(|_| Some((200, "data".into()))).run(&["get", TASK, "-o", &to]);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(orders.join("part-0-000001.csv")).unwrap(), "mine");
}

#[test]
fn single_files_are_named_with_or_without_their_stream() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().display().to_string();
    let daemon = daemon(|_| Some((200, "data".into())));
    let output =
        daemon.run(&["get", TASK, "orders/part-0-000001.csv", "SHA256SUMS", "-o", &to, "--destination", "lake"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(names(&dir.path().join("orders")), ["SHA256SUMS", "part-0-000001.csv"]);
    assert!(daemon.asked().iter().any(|line| line.ends_with("part-0-000001.csv?destination=lake")));
    assert_eq!(daemon.run(&["get", TASK, "none.csv", "-o", &to]).status.code(), Some(4));
    assert_eq!(daemon.run(&["get", TASK, "-o", &to, "--destination", "typo"]).status.code(), Some(4));
    let gone = Daemon::new(|_, _| {
        detail(
            r#"{"stream":"orders","destination":"lake","published_at":"2026-11-21T03:00:00Z","pruned_at":"2026-12-21T03:00:00.5Z"}"#,
        )
    });
    let output = gone.run(&["get", TASK, "-o", &to]);
    assert_eq!(output.status.code(), Some(7));
    assert!(stderr(&output).contains("were pruned at 2026-12-21T03:00:00Z"), "{}", stderr(&output));
    assert!(stdout(&gone.run(&["show", TASK])).contains("2026-11-21T03:00:00Z, pruned at 2026-12-21T03:00:00Z"));
}

#[test]
fn a_link_is_all_that_is_on_stdout() {
    let link = r#"{"task":"t","stream":"orders","name":"a.csv","destination":"s3","url":"https://s3.example/a.csv?sig=x",
        "expires_at":"2026-11-21T04:00:00Z"}"#;
    let daemon = Daemon::new(move |request, _| if request.contains("/links/") { sync(link) } else { one_stream() });
    for file in ["orders/a.csv", "a.csv"] {
        let output = daemon.run(&["url", TASK, file, "--expires", "15m"]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), "https://s3.example/a.csv?sig=x\n"));
        assert!(stderr(&output).contains("until 2026-11-21T04:00:00Z"), "{}", stderr(&output));
    }
    let asked = format!("GET /v1/tasks/{TASK}/links/orders/a.csv?expires=900");
    assert_eq!(daemon.asked().iter().filter(|line| **line == asked).count(), 2);
    let output = Daemon::new(|_, _| error(409, "conflict", "cannot make links")).run(&["url", TASK, "orders/a.csv"]);
    assert_eq!(output.status.code(), Some(7));
}

fn one_stream() -> Option<(u16, String)> {
    let counts = r#"{"read":1,"written":1,"rejected":0,"duplicate":0,"filtered":0,"over_limit":0,"rescued":0}"#;
    let stream = format!(
        r#"{{"name":"orders","counts":{counts},"pages":1,"source_bytes":1,"bytes":1,"segments":1,"extracted":true,"notes":[]}}"#
    );
    sync(&format!(r#"{{"task":{},"streams":[{stream}],"manifests":[]}}"#, summary("succeeded")))
}

fn report(dry_run: bool, fate: &str) -> Option<(u16, String)> {
    let chain = |chain: &str, fate: &str, why: &str| {
        format!(
            r#"{{"export":"shop","stream":"orders","destination":"lake","chain":"{chain}","tasks":["a","b"],
            "published_at":"2026-11-21T03:00:00Z","files":12,"bytes":48000000,"fate":"{fate}","why":"{why}"}}"#
        )
    };
    let (old, new) = (chain("c1", fate, "1 newer one is whole (chains: 1)"), chain("c2", "kept", "it is the newest"));
    sync(&format!(r#"{{"dry_run":{dry_run},"chains":[{old},{new}]}}"#))
}

#[test]
fn pruning_shows_asks_and_tells() {
    let daemon = Daemon::new(|request, _| {
        report(request.starts_with("GET"), if request.starts_with("GET") { "due" } else { "pruned" })
    });
    let output = daemon.run(&["prune", "--dry-run"]);
    let expected = "\
EXPORT  STREAM  DESTINATION  CHAIN  TASKS  FILES     SIZE  FATE  WHY
shop    orders  lake         c1         2     12  48.0 MB  goes  1 newer one is whole (chains: 1)
shop    orders  lake         c2         2     12  48.0 MB  kept  it is the newest
";
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), expected));
    assert_eq!(stderr(&output), "1 chain with 12 files (48.0 MB) would go; 1 chain with 12 files (48.0 MB) kept\n");
    let output = daemon.run(&["prune", "shop"]);
    assert_eq!(output.status.code(), Some(2), "without a terminal only --yes is an answer");
    let output = daemon.run(&["prune", "shop", "--yes"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "1 chain with 12 files (48.0 MB) removed; 1 chain with 12 files (48.0 MB) kept\n");
    assert_eq!(stdout(&output).lines().count(), 2, "what stays is no news");
    assert_eq!(daemon.asked(), ["GET /v1/prune", "GET /v1/exports/shop/prune", "POST /v1/exports/shop/prune"]);
    let output = Daemon::new(|_, _| report(false, "waits")).run(&["prune", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("could not be removed; the daemon tries again"), "{}", stderr(&output));
    let output = Daemon::new(|_, _| report(true, "kept")).run(&["prune"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), "nothing is to be removed\n"));
}

#[test]
fn files_have_a_long_form() {
    let file = r#"{"task":"t","stream":"orders","destination":"lake","name":"a.csv","path":"/lake/a.csv","bytes":1500,"rows":7,"sha256":""}"#;
    let files = format!(r#"{{"export":"shop","destinations":["lake"],"files":[{file}]}}"#);
    let daemon = Daemon::new(move |request, _| if request.ends_with("/files") { sync(&files) } else { sync("{}") });
    let expected = "TASK  STREAM  NAME   RECORDS    SIZE  PATH\nt     orders  a.csv        7  1.5 kB  /lake/a.csv\n";
    assert_eq!(stdout(&daemon.run(&["files", "shop", "--long"])), expected);
}

#[test]
fn what_an_interrupted_download_left_is_never_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().display().to_string();
    let daemon = daemon(|_| Some((200, "data".into())));
    assert_eq!(daemon.run(&["get", TASK, "-o", &to]).status.code(), Some(0));
    let orders = dir.path().join("orders");
    // Killed between the two names of a file.
    for name in ["SHA256SUMS", "part-0-000000.csv"] {
        fs::hard_link(orders.join(name), orders.join(format!(".{name}.part"))).unwrap();
    }
    assert_eq!(daemon.run(&["get", TASK, "-o", &to]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(orders.join("SHA256SUMS")).unwrap(), "sums\n");
    assert_eq!(fs::read_to_string(orders.join("part-0-000000.csv")).unwrap(), "data");
    assert_eq!(names(&orders).len(), 4);
}
