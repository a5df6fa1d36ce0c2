//! The exportctl binary against a daemon that gives canned answers: output, exit codes, and what it asks for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "cli/completions.rs"]
mod completions;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/schema.rs"]
mod schema;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TASK: &str = "20261121T024501Z-9f86d081";

type Answers = dyn Fn(&str, usize) -> Option<(u16, String)> + Send + Sync;

/// A daemon with canned answers; no answer closes the connection.
struct Daemon {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// `answers` gets `METHOD PATH` and how often that was asked before.
    fn new(answers: impl Fn(&str, usize) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        listen(&dir.path().join("sock"), asked.clone(), Arc::new(answers));
        Self { dir, asked }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn command(&self, args: &[&str]) -> Command {
        exportctl(&self.socket(), args)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn exportctl(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exportctl"));
    command.args(args).env("SAAS_EXPORT_SOCKET", socket).stdin(Stdio::null());
    command
}

fn listen(path: &Path, asked: Arc<Mutex<Vec<String>>>, answers: Arc<Answers>) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                lines.push(line.trim().to_owned());
            }
            let Some(first) = lines.first() else { continue };
            let request = first.trim_end_matches(" HTTP/1.1").to_owned();
            let length =
                lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            let before = {
                let mut asked = asked.lock().unwrap();
                let before = asked.iter().filter(|line| line.starts_with(&request)).count();
                asked.push(format!("{request} {}", String::from_utf8(body).unwrap()).trim().to_owned());
                before
            };
            let Some((status, body)) = answers(&request, before) else { continue };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
}

fn sync(result: &str) -> Option<(u16, String)> {
    Some((200, format!(r#"{{"type":"sync","result":{result}}}"#)))
}

fn error(status: u16, code: &str, message: &str) -> Option<(u16, String)> {
    Some((status, format!(r#"{{"type":"error","error":{{"code":"{code}","message":"{message}","hint":"a hint"}}}}"#)))
}

fn submitted() -> Option<(u16, String)> {
    let result = format!(r#"{{"task":"{TASK}","created":true}}"#);
    Some((202, format!(r#"{{"type":"async","location":"/v1/tasks/{TASK}","result":{result}}}"#)))
}

fn summary(state: &str) -> String {
    format!(
        r#"{{"id":"{TASK}","export":"shop","params":{{}},"format":"csv","state":"{state}","reason":"","attempt":1,
        "actor":"uid 0 (root)","extracted":false,"created_at":"2026-11-21T02:45:01Z","started_at":"2026-11-21T02:45:02Z",
        "ended_at":"2026-11-21T02:49:12Z","progress":{{"records":1000,"source_bytes":9,"bytes":48000000,"pages":1,
        "retries":0,"rate":0.0}}}}"#
    )
}

fn detail(state: &str) -> Option<(u16, String)> {
    sync(&format!(r#"{{"task":{},"streams":[],"manifests":[]}}"#, summary(state)))
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn nobody_there() {
    let dir = tempfile::tempdir().unwrap();
    let output = exportctl(&dir.path().join("none"), &["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("/none: there is no such socket"), "{}", stderr(&output));
    assert!(stderr(&output).contains("systemctl status saas-export-daemon"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    let output = exportctl(&dir.path().join("none"), &["waitready", "--timeout", "300ms"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
}

#[test]
fn refusals_have_their_exit_codes_and_sentences() {
    let cases = [
        (400, "invalid", 2),
        (403, "forbidden", 5),
        (404, "not_found", 4),
        (409, "conflict", 7),
        (500, "internal", 1),
        (503, "unavailable", 1),
    ];
    for (status, code, exit) in cases {
        let daemon = Daemon::new(move |_, _| error(status, code, "anna may not"));
        let output = daemon.run(&["retry", TASK]);
        assert_eq!(output.status.code(), Some(exit), "{code}");
        assert_eq!(stderr(&output), "exportctl: anna may not\n  a hint\n");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn run_prints_the_task_and_nothing_else_on_stdout() {
    let daemon = Daemon::new(|_, _| submitted());
    let output = daemon.run(&["run", "shop", "--param", "region=eu", "--format", "csv"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), format!("{TASK}\n").as_str()));
    assert!(stderr(&output).contains(&format!("exportctl watch {TASK}")), "{}", stderr(&output));
    assert_eq!(daemon.asked(), [r#"POST /v1/exports/shop/run {"params":{"region":"eu"},"format":"csv"}"#]);
    let output = daemon.run(&["run", "shop", "--quiet"]);
    assert_eq!(stderr(&output), "");
    let output = daemon.run(&["run", "shop", "--param", "a=1", "--param", "a=2"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn waiting_ends_with_the_outcome_of_the_task() {
    for (state, exit) in [("succeeded", 0), ("failed", 1), ("cancelled", 8)] {
        let daemon = Daemon::new(move |request, before| match request.contains("/run") {
            true => submitted(),
            false => detail(if before == 0 { "processing" } else { state }),
        });
        let output = daemon.run(&["run", "shop", "--wait"]);
        assert_eq!(output.status.code(), Some(exit), "{}", stderr(&output));
        let told = stderr(&output);
        assert!(told.contains("processing: 1,000 records, 48.0 MB\n"), "{told}");
        assert!(told.contains(&format!("{state}: 1,000 records read, 48.0 MB written, in 4m 10s")), "{told}");
        let output = daemon.run(&["run", "shop", "--wait", "--json"]);
        assert!(stdout(&output).starts_with("{\n  \"task\": {"), "{}", stdout(&output));
    }
}

#[test]
fn waiting_survives_a_restart_of_the_daemon() {
    let daemon = Daemon::new(|request, before| match (request.contains("/run"), before) {
        (true, _) => submitted(),
        (false, 0) => detail("processing"),
        (false, 1) => None,
        (false, 2) => error(503, "unavailable", "the daemon is going down"),
        (false, _) => detail("succeeded"),
    });
    let output = daemon.run(&["run", "shop", "--wait"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("trying again for 60 s\n"), "{}", stderr(&output));
    assert!(stderr(&output).contains("the daemon is back\n"), "{}", stderr(&output));
}

#[test]
fn the_time_to_wait_is_kept() {
    let daemon = Daemon::new(|request, _| {
        if request.contains("/wait") {
            std::thread::sleep(Duration::from_millis(50));
        }
        if request.contains("/run") { submitted() } else { detail("processing") }
    });
    let output = daemon.run(&["run", "shop", "--wait", "--timeout", "500ms"]);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert!(!daemon.asked().iter().any(|line| line.contains("cancel")));
}

#[test]
fn ctrl_c_detaches_or_cancels() {
    for cancels in [false, true] {
        let daemon = Daemon::new(move |request, _| {
            if request.contains("/run") {
                submitted()
            } else if request.contains("/cancel") {
                sync(&format!(r#"{{"tasks":["{TASK}"]}}"#))
            } else {
                std::thread::sleep(Duration::from_millis(50));
                detail("processing")
            }
        });
        let mut args = vec!["run", "shop", "--wait"];
        args.extend(cancels.then_some("--cancel-on-interrupt"));
        let child = daemon.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while daemon.asked().len() < 3 {
            std::thread::sleep(Duration::from_millis(20));
        }
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        if cancels {
            while !daemon.asked().iter().any(|line| *line == format!("POST /v1/tasks/{TASK}/cancel")) {
                std::thread::sleep(Duration::from_millis(20));
            }
            // It now waits for the end of the cancelled task; that the canned one never ends is not its fault.
            assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
            child.wait_with_output().unwrap();
            continue;
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("watch again with: exportctl watch {TASK}")), "{}", stderr(&output));
        assert!(!daemon.asked().iter().any(|line| line.contains("cancel")));
    }
}

#[test]
fn lists_are_tables_or_json_as_the_daemon_sent_it() {
    let daemon = Daemon::new(|_, _| sync(&format!("[{}]", summary("failed"))));
    let output = daemon.run(&["tasks", "--state", "failed", "--export", "a b", "--limit", "3"]);
    assert_eq!(daemon.asked(), ["GET /v1/tasks?limit=3&export=a%20b&state=failed"]);
    let mut lines = stdout(&output).lines();
    assert!(lines.next().unwrap().starts_with("TASK "));
    assert!(lines.next().unwrap().contains("shop    failed    1,000  48.0 MB"), "{}", stdout(&output));
    assert!(!stdout(&output).contains('\x1b'), "no colours in a pipe");
    let output = daemon.run(&["tasks", "--json"]);
    assert!(
        stdout(&output).contains("\"error_class\"").eq(&false) && stdout(&output).contains("\"state\": \"failed\"")
    );
}

#[test]
fn an_export_is_known_by_its_name_and_a_task_by_its_id() {
    let daemon = Daemon::new(|request, _| match request {
        "GET /v1/exports/shop" => sync("{}"),
        request if request.starts_with("GET /v1/tasks/2026") => sync("{}"),
        request if request.starts_with("POST") => sync(r#"{"tasks":["t1","t2"]}"#),
        _ => error(404, "not_found", "no"),
    });
    let output = daemon.run(&["pause", "shop"]);
    let told = "export shop paused; new runs wait until it is resumed; 2 tasks paused\n";
    assert_eq!((stdout(&output), stderr(&output)), ("t1\nt2\n", told));
    daemon.run(&["resume", "2026"]);
    daemon.run(&["pause", "--all"]);
    assert_eq!(daemon.run(&["cancel", "--all"]).status.code(), Some(2), "only with --yes");
    daemon.run(&["cancel", "--all", "--yes"]);
    assert_eq!(daemon.run(&["cancel", "nothing"]).status.code(), Some(4));
    let posts: Vec<_> = daemon.asked().into_iter().filter(|line| line.starts_with("POST")).collect();
    assert_eq!(
        posts,
        ["POST /v1/exports/shop/pause", "POST /v1/tasks/2026/resume", "POST /v1/pause", "POST /v1/cancel"]
    );
}

#[test]
fn verify_exits_9_on_a_mismatch() {
    let report = |ok: bool| {
        let problem = r#"{"destination":"lake","stream":"s","path":"/x/1","problem":"it is gone"}"#;
        let problems = if ok { "" } else { problem };
        format!(r#"{{"task":"{TASK}","ok":{ok},"files":2,"bytes":1500,"problems":[{problems}]}}"#)
    };
    let daemon = Daemon::new(move |request, _| sync(&report(request.contains("destination"))));
    let output = daemon.run(&["verify", TASK]);
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(stdout(&output), "lake /x/1: it is gone\n");
    assert_eq!(daemon.run(&["verify", TASK, "--destination", "lake"]).status.code(), Some(0));
}

#[test]
fn config_check_and_query() {
    let daemon = Daemon::new(|request, _| match request {
        "GET /v1/config/check" => sync(r#"{"config":"c.yaml","ok":false,"problems":["c.yaml:1:1: wrong"]}"#),
        "POST /v1/x" => error(409, "conflict", "no"),
        _ => Some((200, "{\"a\":1}\n{\"b\":2}\n".into())),
    });
    let output = daemon.run(&["config", "check"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), "c.yaml:1:1: wrong\n"));
    assert_eq!(stdout(&daemon.run(&["query", "get", "/v1/events"])), "{\"a\":1}\n{\"b\":2}\n");
    let output = daemon.run(&["query", "POST", "/v1/x", "--data", "{}"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(stdout(&output).contains("\"conflict\""));
}

#[test]
fn version_needs_no_daemon() {
    let none = Path::new("/nonexistent/sock");
    let output = exportctl(none, &["version"]).output().unwrap();
    assert!(stdout(&output).starts_with("exportctl "));
    assert_eq!(output.status.code(), Some(3), "but says that it is not there");
}

#[test]
fn a_refused_reload_shows_every_mistake_on_its_line() {
    let three = r"c.yaml:1:1: one\nc.yaml:2:1: two\nc.yaml:3:1: three \u001b[31m";
    let daemon = Daemon::new(move |_, _| error(400, "invalid", three));
    let output = daemon.run(&["reload"]);
    let lines: Vec<&str> = stderr(&output).lines().collect();
    assert_eq!(lines, ["exportctl: c.yaml:1:1: one", "c.yaml:2:1: two", "c.yaml:3:1: three \u{fffd}[31m", "  a hint"]);
    assert_eq!(output.status.code(), Some(1), "as `config check` of the same file");
}

#[test]
fn the_check_of_the_configuration_without_a_daemon_is_named() {
    let output = exportctl(Path::new("/nonexistent/sock"), &["config", "check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("saas-export-daemon --check-config"), "{}", stderr(&output));
}

#[test]
fn files_as_json_end_as_plain_ones_do() {
    let entry = |destination: &str| {
        format!(
            r#"{{"task":"t","stream":"s","destination":"{destination}","path":"/{destination}/1","bytes":1,"rows":1,"sha256":""}}"#
        )
    };
    let files = |files: &str, notes: &str| {
        sync(&format!(r#"{{"export":"shop","destinations":["lake","copy"],"files":[{files}]{notes}}}"#))
    };
    let both = format!("{},{}", entry("lake"), entry("copy"));
    let daemon = Daemon::new(move |request, _| if request.ends_with("/files") { files(&both, "") } else { sync("{}") });
    let output = daemon.run(&["files", "shop", "--destination", "copy", "--json"]);
    assert!(stdout(&output).contains("/copy/1") && !stdout(&output).contains("/lake/1"), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(0));
    for json in [&["--json"][..], &[]] {
        let run = |args: &[&str]| daemon.run(&[args, json].concat()).status.code();
        assert_eq!(run(&["files", "shop", "--destination", "typo"]), Some(4));
    }
    let daemon = Daemon::new(move |request, _| if request.ends_with("/files") { files("", "") } else { sync("{}") });
    assert_eq!(daemon.run(&["files", "shop", "--json"]).status.code(), Some(4));
    let some = entry("lake");
    let note = r#","notes":["task t9 cannot be read"]"#;
    let daemon =
        Daemon::new(move |request, _| if request.ends_with("/files") { files(&some, note) } else { sync("{}") });
    let output = daemon.run(&["files", "shop"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), "/lake/1\n"));
    assert!(stderr(&output).contains("not complete:\ntask t9 cannot be read"), "{}", stderr(&output));
}
