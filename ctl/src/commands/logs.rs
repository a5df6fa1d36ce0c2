//! `logs` and `metrics`: the journal through journalctl, and the figures of the moment.

use crate::args::Logs;
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;
use http_body_util::BodyExt as _;
use hyper::Method;
use saas_export_api::Answer;
use serde_json::{Value, json};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The unit of the daemon.
const UNIT: &str = "saas-export-daemon.service";
/// Where journals are (systemd-journald.service(8)).
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// Lines shown of the whole daemon.
const LINES: u32 = 100;
/// The longest target that is passed on.
const MAX_TARGET: usize = 200;

/// Becomes journalctl; comes back only if that is not possible.
pub async fn logs(args: Logs, client: &Client, out: Out) -> Result<Exit, Failure> {
    let matched = match &args.target {
        None => None,
        Some(target) => Some(find(target, client).await?),
    };
    let journals = JOURNALS.map(|dir| (dir, readable(Path::new(dir))));
    let closed = journals.iter().find(|(_, readable)| *readable == Some(false));
    if let Some((dir, _)) = closed.filter(|_| !journals.iter().any(|(_, readable)| *readable == Some(true))) {
        return Err(Failure::new(Exit::Forbidden, format!("you may not read the journal in {dir}"))
            .hint("use sudo, or join a group that may and log in again: usermod -aG systemd-journal USER"));
    }
    let error = Command::new("journalctl").args(arguments(&args, matched, out.json)).exec();
    Err(match error.kind() {
        ErrorKind::NotFound => Failure::new(Exit::Failed, "there is no journalctl on this machine").hint(
            "without systemd the daemon writes its log to its standard error: look where whatever starts it puts that",
        ),
        _ => Failure::new(Exit::Failed, format!("failed to start journalctl: {error}")),
    })
}

/// What journalctl is told. Each value is within one argument that begins with a word of ours, so that none is an option.
fn arguments(args: &Logs, matched: Option<Match>, json: bool) -> Vec<String> {
    let mut told = Vec::new();
    if args.follow {
        told.push("--follow".into());
    }
    if let Some(lines) = args.lines.or_else(|| matched.is_none().then_some(LINES)) {
        told.push(format!("--lines={lines}"));
    } else if args.follow {
        // It would begin with the last ten lines.
        told.push("--no-tail".into());
    }
    if let Some(since) = &args.since {
        told.push(format!("--since={since}"));
    }
    if let Some(priority) = &args.priority {
        told.push(format!("--priority={priority}"));
    }
    if args.explain {
        told.push("--catalog".into());
    }
    if json {
        told.push("--output=json".into());
    }
    match matched {
        // Also what systemd says about the unit.
        None => told.push(format!("--unit={UNIT}")),
        Some(Match { field, value }) => {
            told.push(format!("_SYSTEMD_UNIT={UNIT}"));
            told.push(format!("{field}={value}"));
        }
    }
    told
}

/// A field of the journal and what it must be.
struct Match {
    field: &'static str,
    value: String,
}

/// The task or export of this name. Where the daemon does not answer, what it is can be seen by its form: the journal is what
/// one reads when it does not.
async fn find(target: &str, client: &Client) -> Result<Match, Failure> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if target.is_empty() || target.len() > MAX_TARGET || target.starts_with('-') || !target.chars().all(name) {
        return Err(Failure::usage(format!("{target:?} is neither a task nor an export"))
            .hint("exportctl exports and exportctl tasks list them"));
    }
    let export = Match { field: "EXPORT_NAME", value: target.to_owned() };
    match client.get::<Value>(&format!("/v1/exports/{}", encode(target))).await {
        Ok(_) => return Ok(export),
        Err(failure) if failure.exit == Exit::Unreachable && is_task(target) => {
            return Ok(Match { field: "EXPORT_TASK", value: target.to_owned() });
        }
        Err(failure) if failure.exit == Exit::Unreachable => return Ok(export),
        Err(failure) if failure.exit == Exit::NotFound => {}
        Err(failure) => return Err(failure),
    }
    let task: Value =
        client.get(&format!("/v1/tasks/{}", encode(target))).await.map_err(|failure| match failure.exit {
            Exit::NotFound => Failure::new(Exit::NotFound, format!("there is no export and no task {target:?}")).hint(
                "exportctl exports and exportctl tasks list them; journalctl EXPORT_NAME=… finds those of the past",
            ),
            _ => failure,
        })?;
    let id = task["task"]["id"].as_str().unwrap_or(target).to_owned();
    Ok(Match { field: "EXPORT_TASK", value: id })
}

/// Whether it is a whole id of a task: `20261121T024501Z-9f86d081`.
fn is_task(text: &str) -> bool {
    let Some((time, key)) = text.split_once('-') else { return false };
    let digits = |part: &str, most: usize| part.len() == most && part.chars().all(|c| c.is_ascii_digit());
    let hex = key.len() >= 8 && key.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let whole = time.strip_suffix('Z').and_then(|time| time.split_once('T'));
    hex && whole.is_some_and(|(day, clock)| digits(day, 8) && digits(clock, 6))
}

/// Whether the system's journal in a directory can be read; none where there is none.
fn readable(dir: &Path) -> Option<bool> {
    let machines = match std::fs::read_dir(dir) {
        Ok(machines) => machines,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(_) => return Some(false),
    };
    let opened = machines.flatten().filter_map(|machine| match File::open(machine.path().join("system.journal")) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(false),
        Err(_) => None,
    });
    opened.max()
}

/// The metrics as they are; in JSON as a text with its type.
pub async fn metrics(client: &Client, out: Out) -> Result<Exit, Failure> {
    let response = client.send(Method::GET, "/v1/metrics", None).await?;
    let good = response.status().is_success();
    let kind =
        response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| Failure::new(Exit::Unreachable, format!("the connection to the daemon broke: {error}")))?;
    let body = body.to_bytes();
    if !good {
        return Err(match serde_json::from_slice::<Answer<Value>>(&body) {
            Ok(Answer::Error { error }) => error.into(),
            _ => Failure::new(Exit::Failed, "the daemon's answer is not understood"),
        });
    }
    match out.json {
        true => out.document(&json!({ "content_type": kind, "text": String::from_utf8_lossy(&body) }))?,
        false => out.raw(&body)?,
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Logs {
        Logs { target: None, follow: false, lines: None, since: None, priority: None, explain: false }
    }

    #[test]
    fn what_journalctl_is_told() {
        assert_eq!(arguments(&plain(), None, false), ["--lines=100", "--unit=saas-export-daemon.service"]);
        let task = || Some(Match { field: "EXPORT_TASK", value: "20261121T024501Z-9f86d081".into() });
        let unit = "_SYSTEMD_UNIT=saas-export-daemon.service";
        assert_eq!(arguments(&plain(), task(), true), ["--output=json", unit, "EXPORT_TASK=20261121T024501Z-9f86d081"]);
        let (since, priority) = (Some("--root=/ x".into()), Some("warning".into()));
        let all = Logs { target: None, follow: true, lines: Some(5), since, priority, explain: true };
        let told = arguments(&all, task(), false);
        let wanted = ["--follow", "--lines=5", "--since=--root=/ x", "--priority=warning", "--catalog", unit];
        assert_eq!(told[..6], wanted);
    }

    #[test]
    fn ids_are_known_by_their_form() {
        assert!(is_task("20261121T024501Z-9f86d081") && is_task("20261121T024501Z-9f86d081-2"));
        for not in ["shop", "shop-nightly", "2026-9f86d081", "20261121T024501Z", "20261121T024501Z-nothex!!"] {
            assert!(!is_task(not), "{not}");
        }
    }

    #[tokio::test]
    async fn nothing_but_names_is_passed_on() {
        let client = Client::new("/nonexistent/socket".into());
        for bad in ["", "-f", "a b", "x\n+", "shop=1", "ü", &"x".repeat(300)] {
            let failure = find(bad, &client).await.err();
            assert_eq!(failure.map(|failure| failure.exit), Some(Exit::Usage), "{bad:?}");
        }
        assert_eq!(find("shop", &client).await.ok().map(|found| found.field), Some("EXPORT_NAME"));
        assert_eq!(find("20261121T024501Z-9f86d081", &client).await.ok().map(|found| found.field), Some("EXPORT_TASK"));
    }

    #[test]
    fn a_journal_that_is_there_can_be_read_or_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(readable(&dir.path().join("none")), None);
        assert_eq!(readable(dir.path()), None, "nothing in it");
        std::fs::create_dir(dir.path().join("machine")).unwrap();
        std::fs::write(dir.path().join("machine/system.journal"), "").unwrap();
        assert_eq!(readable(dir.path()), Some(true));
    }
}
