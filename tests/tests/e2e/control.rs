//! The control socket: curl, nonsense, names that try to be paths, and callers without rights.

use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::http::{call_unix, send_unix};
use saas_export_tests::harness::programs::{finish, has, program, root_or_skip, skipped};
use saas_export_tests::sample::Fault;
use serde_json::json;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::process::Command;
use std::time::Duration;

#[test]
fn curl_can_speak_to_it() {
    if !has("curl") {
        return skipped("curl: not installed");
    }
    let bed = Bed::with_records(500);
    let _daemon = bed.start();
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail-with-body", "--unix-socket"]).arg(bed.socket()).args(args);
        finish(&mut command, PATIENCE).expect(0).json()
    };
    assert_eq!(curl(&["http://localhost/v1"])["type"], "sync");
    let started = curl(&["-X", "POST", "-d", "{\"format\":\"csv\"}", "http://localhost/v1/exports/shop/run"]);
    assert_eq!(started["type"], "async", "{started}");
    let location = started["location"].as_str().unwrap();
    let done = curl(&[&format!("http://localhost{location}/wait?timeout=60")]);
    assert!(done.to_string().contains("succeeded"), "{done}");
    let document = curl(&["http://localhost/v1/openapi.json"]);
    let openapi = if document["openapi"].is_string() { &document } else { &document["result"] };
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"), "{openapi}");
    assert!(openapi["paths"]["/v1/exports/{export}/run"]["post"].is_object());
}

#[test]
fn nonsense_is_refused_and_harms_nothing() {
    let bed = Bed::with_records(500);
    let mut daemon = bed.start();
    let head = |line: &str| format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes();
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00 hello\r\n\r\n".to_vec()),
        ("a line without end", vec![b'A'; 200_000]),
        ("no such path", head("GET /v2/tasks HTTP/1.1")),
        ("no such method", head("BREW /v1/status HTTP/1.1")),
        ("wrong method", head("DELETE /v1/exports/shop HTTP/1.1")),
        ("a path as a name", post("/v1/exports/..%2F..%2Fetc%2Fpasswd/run", "")),
        ("dots", post("/v1/exports/../run", "")),
        ("NUL", post("/v1/exports/shop%00/run", "")),
        ("bad escapes", post("/v1/exports/%zz%/run", "")),
        ("not UTF-8", post("/v1/exports/%ff%fe/run", "")),
        ("a very long name", post(&format!("/v1/exports/{}/run", "x".repeat(5000)), "")),
        ("no such export", post("/v1/exports/shopp/run", "")),
        ("no such task", post("/v1/tasks/20260101T000000Z-00000000/pause", "")),
        ("no JSON", post("/v1/exports/shop/run", "{\"format\":")),
        ("deep JSON", post("/v1/exports/shop/run", &"[".repeat(100_000))),
        ("an unknown key", post("/v1/exports/shop/run", "{\"formt\":\"csv\"}")),
        ("a format that is none", post("/v1/exports/shop/run", "{\"format\":\"xlsx\"}")),
        ("a path as a format", post("/v1/exports/shop/run", "{\"format\":\"../csv\"}")),
        ("an undeclared parameter", post("/v1/exports/shop/run", "{\"params\":{\"base_url\":\"http://evil\"}}")),
        ("a huge body", post("/v1/exports/shop/run", &" ".repeat(3_000_000))),
        ("a browser", b"GET /v1 HTTP/1.1\r\nhost: x\r\norigin: http://evil\r\nconnection: close\r\n\r\n".to_vec()),
        (
            "two lengths",
            b"POST /v1/exports/shop/run HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\n{}"
                .to_vec(),
        ),
    ];
    // Closing without an answer is an answer to what is no request; whatever is one gets a sentence.
    let no_request = ["no HTTP", "a line without end", "two lengths"];
    for (what, bytes) in cases {
        match send_unix(&bed.socket(), &bytes) {
            Err(error) => assert!(no_request.contains(&what), "{what}: no answer: {error}"),
            Ok(answer) => {
                let text = String::from_utf8_lossy(&answer.body);
                assert!((400..500).contains(&answer.status), "{what}: {} {text}", answer.status);
                if !no_request.contains(&what) && what != "no such method" {
                    let json = answer.json();
                    assert_eq!(json["type"], "error", "{what}: {json}");
                    assert!(!json["error"]["message"].as_str().unwrap().is_empty(), "{what}");
                }
            }
        }
        assert!(daemon.alive(), "{what}: the daemon is gone");
        assert_eq!(daemon.ask("GET", "/v1", "").unwrap().status, 200, "{what}: the daemon still answers");
    }
    let tasks = daemon.get("/v1/tasks");
    assert_eq!(tasks, json!([]), "nothing was started");
    assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
}

#[test]
fn a_name_with_a_typing_error_gets_a_hint() {
    let bed = Bed::with_records(500);
    let daemon = bed.start();
    let ended = bed.ctl(&["run", "shopp"]).expect(4);
    assert!(ended.stderr.contains("shopp") && ended.stderr.contains("shop"), "{}", ended.stderr);
    let answer = daemon.ask("POST", "/v1/exports/shop/run", "{\"format\":\"parket\"}").unwrap();
    assert!(answer.status == 400 && answer.json().to_string().contains("parquet"), "{}", answer.json());
    bed.ctl(&["show", "20260101T000000Z-00000000"]).expect(4);
    bed.ctl(&["frobnicate"]).expect(2);
}

#[test]
fn many_idle_callers_do_not_lock_the_others_out() {
    let bed = Bed::with_records(500);
    let daemon = bed.start();
    let idle: Vec<_> = (0..20).map(|_| std::os::unix::net::UnixStream::connect(bed.socket()).unwrap()).collect();
    daemon.run_to_success("shop");
    drop(idle);
}

#[test]
fn an_idempotency_key_makes_a_post_repeatable() {
    let bed = Bed::with_records(100);
    let daemon = bed.start();
    let run = |key: &str| {
        let headers = [("idempotency-key", key)];
        call_unix(&bed.socket(), "POST", "/v1/exports/shop/run", &headers, b"").unwrap().json()["result"]["task"]
            .clone()
    };
    let first = run("one");
    daemon.wait_for(first.as_str().unwrap(), &["succeeded"], PATIENCE);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(run("one"), first, "the same key gives the same answer");
    assert_ne!(run("two"), first);
}

#[test]
fn a_daemon_that_is_not_there() {
    let bed = Bed::with_records(100);
    bed.write();
    let ended = bed.ctl(&["status"]).expect(3);
    assert!(ended.stderr.contains(&bed.socket().display().to_string()), "{}", ended.stderr);
}

/// Runs exportctl as another user.
fn as_nobody(bed: &Bed, groups: Option<&str>, args: &[&str]) -> saas_export_tests::harness::programs::Ended {
    let copy = bed.path("exportctl");
    if !copy.exists() {
        std::fs::copy(program("exportctl"), &copy).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534"]);
    match groups {
        Some(groups) => command.arg(format!("--groups={groups}")),
        None => command.arg("--clear-groups"),
    };
    command.arg(copy).arg("--socket").arg(bed.socket()).args(args).env("NO_COLOR", "1");
    finish(&mut command, PATIENCE)
}

#[test]
fn a_caller_without_rights_is_told_which_group_is_missing() {
    if !root_or_skip("access") || !has("setpriv") {
        return;
    }
    let bed = Bed::with_records(100);
    bed.open_to_others();
    let daemon = bed.start();
    let socket = std::fs::metadata(bed.socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o666, "the table decides, not the mode");
    let status = as_nobody(&bed, None, &["status"]).expect(5);
    assert!(status.stderr.contains("saas-export-viewer"), "{}", status.stderr);
    let run = as_nobody(&bed, None, &["run", "shop"]).expect(5);
    assert!(run.stderr.contains("saas-export-operator"), "{}", run.stderr);
    let reload = as_nobody(&bed, None, &["reload"]).expect(5);
    assert!(reload.stderr.contains("saas-export-admin"), "{}", reload.stderr);
    assert_eq!(daemon.get("/v1/tasks"), json!([]), "and nothing was started");
}

#[test]
fn a_supplementary_group_opens_what_its_name_says() {
    if !root_or_skip("access") || !has("setpriv") {
        return;
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let Some(gid) = groups.lines().find_map(|line| line.strip_prefix("saas-export-operator:")?.split(':').nth(1))
    else {
        return skipped("groups: saas-export-operator does not exist (tests/run makes it where CI is set)");
    };
    let bed = Bed::with_records(100);
    bed.open_to_others();
    let _daemon = bed.start();
    as_nobody(&bed, Some(gid), &["run", "shop", "--wait"]).expect(0);
    as_nobody(&bed, Some(gid), &["reload"]).expect(5);
}

#[test]
fn a_single_look_shows_speed_and_end_and_a_paused_export_its_reason() {
    let bed = Bed::with_records(10_000);
    bed.api.set_faults(vec![Fault::rate(20.0)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    // Behind the sample of fifty pages, whose records count when it is complete.
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.requests >= 80));
    let status = daemon.get("/v1/status");
    let progress = &status["open"][0]["progress"];
    assert!(progress["rate"].as_f64().unwrap() > 100.0 && progress["eta_seconds"].is_u64(), "{progress}");
    bed.ctl(&["cancel", &id]).expect(0);
    let paused = bed.ctl(&["pause", "shop"]).expect(0);
    assert!(paused.stderr.contains("export shop paused"), "{}", paused.stderr);
    bed.ctl(&["run", "shop"]).expect(0);
    let status = bed.ctl(&["status"]).expect(0);
    assert!(status.stdout.contains("exportctl resume shop"), "{}", status.stdout);
    assert!(bed.ctl(&["tasks", "--export", "shap"]).expect(4).stderr.contains("there are: shop"));
}
