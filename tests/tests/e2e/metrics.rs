//! Metrics over the socket and the loopback listener, freshness, and the lines that a journal collects.

use crate::compare::assert_exact;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::openmetrics::Metrics;
use saas_export_tests::sample::{Fault, Kind};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A request to the listener; the whole answer.
fn tcp(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(port: u16, path: &str, head: &str) -> String {
    tcp(port, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{head}\r\n\r\n"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn counters_are_those_of_the_task_over_the_socket_and_the_listener() {
    let mut bed = Bed::with_records(1500);
    let port = free_port();
    bed.config["daemon"]["metrics"] = json!({ "listen": format!("127.0.0.1:{port}") });
    bed.config["exports"]["shop"]["freshness"] = json!("26h");
    bed.api.set_faults(vec![Fault::status(503).at(&[3])]);
    let daemon = bed.start();
    let before = Metrics::parse(&bed.ctl(&["metrics"]).expect(0).stdout).unwrap();
    assert_eq!(before.get("saas_export_tasks", &[("state", "processing")]), Some(0.0));
    assert_eq!(before.get("saas_export_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), Some(1.0));
    assert_eq!(before.get("saas_export_stream_last_success_timestamp_seconds", &[]), None);
    let id = daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    std::thread::sleep(Duration::from_millis(1100)); // A text is kept for a second.
    let answer = get(port, "/metrics", &format!("Host: 127.0.0.1:{port}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains(TYPE), "{head}");
    let after = Metrics::parse(body).unwrap();
    let task = daemon.get(&format!("/v1/tasks/{id}"));
    let counts = &task["streams"][0]["counts"];
    let of = [("export", "shop"), ("stream", "cursor")];
    for (metric, field) in
        [("read", "read"), ("written", "written"), ("rejected", "rejected"), ("filtered", "filtered")]
    {
        let name = format!("saas_export_records_{metric}_total");
        assert_eq!(after.get(&name, &of), counts[field].as_f64(), "{name}: {counts}");
    }
    let requests =
        |code| after.get("saas_export_requests_total", &[("source", "shop"), ("export", "shop"), ("code", code)]);
    assert_eq!(requests("5xx"), Some(1.0));
    assert_eq!(requests("2xx"), Some(bed.api.truth().requests as f64 - 1.0));
    assert_eq!(after.get("saas_export_request_retries_total", &[("source", "shop"), ("export", "shop")]), Some(1.0));
    assert_eq!(after.get("saas_export_tasks_ended_total", &[("export", "shop"), ("state", "succeeded")]), Some(1.0));
    assert_eq!(after.get("saas_export_last_task_failed", &[("export", "shop")]), Some(0.0));
    assert_eq!(after.get("saas_export_stream_stale", &of), Some(0.0));
    let lake = [("destination", "lake")];
    assert_eq!(after.get("saas_export_destination_reachable", &lake), Some(1.0));
    assert_eq!(after.get("saas_export_pending_segments", &lake), Some(0.0));
    assert_eq!(after.get("saas_export_delivered_segments_total", &lake), after.get("saas_export_segments_total", &of));
    let success = after.get("saas_export_stream_last_success_timestamp_seconds", &of).unwrap();
    drop(daemon);

    // Facts outlive a restart, counters do not.
    let _daemon = bed.start();
    let again = Metrics::parse(&bed.ctl(&["metrics"]).expect(0).stdout).unwrap();
    assert_eq!(again.get("saas_export_stream_last_success_timestamp_seconds", &of), Some(success));
    assert_eq!(again.get("saas_export_records_read_total", &of), None);
    let text = bed.ctl_json(&["metrics"])["text"].as_str().unwrap().to_owned();
    Metrics::parse(&text).unwrap();
}

#[test]
fn the_listener_gives_metrics_to_programs_on_this_machine_alone() {
    let mut bed = Bed::with_records(10);
    let port = free_port();
    bed.config["daemon"]["metrics"] = json!({ "listen": format!("127.0.0.1:{port}") });
    let _daemon = bed.start();
    for (path, head, status) in [
        ("/metrics", "Host: localhost", "200"),
        ("/metrics", "Host: evil.example", "403"),
        ("/metrics", "Host: localhost\r\nOrigin: http://localhost", "403"),
        ("/", "Host: localhost", "404"),
        ("/v1/status", "Host: localhost", "404"),
    ] {
        let answer = get(port, path, head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} {head}: {answer}");
    }
    let answer =
        tcp(port, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405") && answer.to_lowercase().contains("allow: get"), "{answer}");
    // Whoever holds connections open keeps nobody out for long, and the control socket not at all.
    let held: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    bed.ctl(&["status"]).expect(0);
    drop(held);
    assert!(get(port, "/metrics", "Host: localhost").starts_with("HTTP/1.1 200"));

    for bad in ["0.0.0.0:9464", "192.0.2.7:9464", "[::]:9464", "localhost:9464", "127.0.0.1"] {
        bed.config["daemon"]["metrics"] = json!({ "listen": bad });
        let ended = bed.daemon(&["--check-config"]).expect(78);
        assert!(ended.stdout.contains("daemon.metrics.listen"), "{bad}: {}", ended.stdout);
    }
}

#[test]
fn a_taken_port_does_not_keep_the_daemon_from_exporting() {
    let mut bed = Bed::with_records(200);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    bed.config["daemon"]["metrics"] = json!({ "listen": taken.local_addr().unwrap().to_string() });
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert!(daemon.stderr().contains("failed to listen for metrics"), "{}", daemon.stderr());
}

#[test]
fn a_stream_becomes_stale_and_fresh_again() {
    let mut bed = Bed::with_records(200);
    bed.config["exports"]["shop"]["freshness"] = json!("1s");
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let end = Instant::now() + Duration::from_secs(20);
    while daemon.get("/v1/status")["stale"].is_null() {
        assert!(Instant::now() < end, "{}", daemon.get("/v1/status"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let stale = daemon.get("/v1/status")["stale"][0].clone();
    assert_eq!(
        (&stale["export"], &stale["stream"], &stale["freshness"]),
        (&json!("shop"), &json!("cursor"), &json!(1))
    );
    assert!(bed.ctl(&["status"]).expect(0).stdout.contains("STALE shop/cursor"));
    let of = [("export", "shop"), ("stream", "cursor")];
    let metrics = Metrics::parse(&bed.ctl(&["metrics"]).expect(0).stdout).unwrap();
    assert_eq!(metrics.get("saas_export_stream_stale", &of), Some(1.0));
    assert_eq!(metrics.get("saas_export_stream_freshness_limit_seconds", &of), Some(1.0));
    bed.config["exports"]["shop"]["freshness"] = json!("26h");
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    assert!(daemon.get("/v1/status")["stale"].is_null());
}

#[test]
fn a_storm_of_429s_is_one_line_and_each_line_has_its_priority() {
    let bed = Bed::with_records(2000);
    bed.api.set_faults(vec![Fault::new(Kind::Throttle).at(&[2, 4, 6])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    let said = daemon.stderr();
    let refused: Vec<&str> = said.lines().filter(|line| line.contains("429")).collect();
    assert_eq!(refused.len(), 1, "{said}");
    assert!(refused[0].starts_with("<4>") && refused[0].contains(&format!("EXPORT_TASK={id}")), "{}", refused[0]);
    assert!(refused[0].contains("EXPORT_SOURCE=shop") && refused[0].contains("EXPORT_ERROR_CLASS="), "{}", refused[0]);
    let states: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("EXPORT_STATE=")?.1.split(' ').next()).collect();
    assert_eq!(states, ["pending", "processing", "succeeded"], "{said}");
    assert!(!said.contains("MESSAGE_ID"), "{said}");
}

#[test]
fn a_long_task_says_how_far_it_is() {
    let mut bed = Bed::with_records(3000);
    bed.config["daemon"]["progress_every"] = json!("1s");
    bed.api.set_faults(vec![Fault::rate(10.0)]);
    let daemon = bed.start();
    daemon.run("shop");
    let end = Instant::now() + Duration::from_secs(20);
    while !daemon.stderr().contains(" has read ") {
        assert!(Instant::now() < end, "{}", daemon.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A program of the name journalctl that prints what it is told.
fn journalctl(bed: &Bed) -> String {
    let dir = bed.path("bin");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("journalctl");
    std::fs::write(&file, "#!/bin/sh\nfor word in \"$@\"; do echo \"$word\"; done\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", dir.display())
}

#[test]
fn logs_asks_journalctl_for_the_right_lines() {
    use saas_export_tests::harness::programs::{finish, program};
    let bed = Bed::with_records(100);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let path = journalctl(&bed);
    let logs = |path: &str, args: &[&str]| {
        let mut command = std::process::Command::new(program("exportctl"));
        command.arg("--socket").arg(bed.socket()).arg("logs").args(args).env("PATH", path);
        finish(&mut command, PATIENCE)
    };
    let lines = |args: &[&str]| logs(&path, args).expect(0).stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    let unit = "_SYSTEMD_UNIT=saas-export-daemon.service";
    assert_eq!(lines(&[]), ["--lines=100", "--unit=saas-export-daemon.service"]);
    assert_eq!(lines(&["shop", "-f"]), ["--follow", "--no-tail", unit, "EXPORT_NAME=shop"]);
    // The start of an id is enough.
    let task = format!("EXPORT_TASK={id}");
    assert_eq!(lines(&[&id[..15], "-n", "5", "-x"]), ["--lines=5", "--catalog", unit, &task]);
    assert_eq!(
        lines(&["shop", "--json", "--since", "-2h", "-p", "warning"])[..2],
        ["--since=-2h", "--priority=warning"]
    );
    logs(&path, &["nothing"]).expect(4);
    logs(&path, &["shop+x"]).expect(2);
    logs(&path, &["shop", "-p", "loud"]).expect(2);
    let none = logs("/nonexistent", &["shop"]).expect(1);
    assert!(none.stderr.contains("there is no journalctl"), "{}", none.stderr);
    drop(daemon);
    // Also while the daemon is down: then least of all one can do without.
    assert_eq!(lines(&[&id])[1], task);
}
