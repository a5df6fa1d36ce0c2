//! `status`, `version`, `config check`, `reload`, `waitready`.

use super::{deliver, fetch, rates, show, tasks};
use crate::args::Reload;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use hyper::Method;
use jiff::Timestamp;
use saas_export_api::{CheckReport, ReloadReport, StaleStream, Status, Version};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Time between two tries of `waitready`.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// How the daemon is.
pub async fn status(client: &Client, out: Out) -> Result<Exit, Failure> {
    let Some(status) = fetch::<Status>(client, "/v1/status", out).await? else { return Ok(Exit::Ok) };
    let counts = status.tasks;
    let mut text = format!(
        "saas-export-daemon {}, up {}: {} running, {} paused, {} queued\n",
        human::clean(&status.version),
        human::duration(status.uptime_seconds),
        counts.running,
        counts.paused,
        counts.queued
    );
    if !status.ledger.healthy {
        let why = human::clean(status.ledger.reason.as_deref().unwrap_or("it does not say why"));
        text.push_str(&Colour::Red.paint(&format!("the ledger takes no writes: {why}"), out.colours));
        text.push('\n');
    }
    if !status.paused_exports.is_empty() {
        let names = human::clean(&status.paused_exports.join(", "));
        text.push_str(&Colour::Yellow.paint(&format!("paused exports: {names}"), out.colours));
        text.push('\n');
    }
    for stale in &status.stale {
        text.push_str(&Colour::Red.paint(&stale_line(stale), out.colours));
        text.push('\n');
    }
    if let Some(trouble) = &status.notifications {
        let line =
            format!("notifications: {} late, {} given up: exportctl notifications", trouble.late, trouble.given_up);
        text.push_str(&Colour::Yellow.paint(&line, out.colours));
        text.push('\n');
    }
    if !status.open.is_empty() {
        text.push('\n');
        text.push_str(&tasks::open_table(&status.open).render(out.colours, out.width));
    }
    let behind = deliver::behind(&status.open);
    if !behind.is_empty() {
        text.push('\n');
        text.push_str(&behind.render(out.colours, out.width));
    }
    if !status.sources.is_empty() {
        text.push('\n');
        text.push_str(&rates::table(&status.sources, Timestamp::now()).render(out.colours, out.width));
    }
    out.data(&text)?;
    Ok(Exit::Ok)
}

/// `STALE shop/orders: last success 2d 00h ago, and 1d 02h are allowed`.
fn stale_line(stale: &StaleStream) -> String {
    let what = if stale.last_success.is_some() { "its last success was" } else { "no success yet; its first task was" };
    format!(
        "STALE {}/{}: {what} {} ago, more than {} (freshness)",
        human::clean(&stale.export),
        human::clean(&stale.stream),
        human::duration(stale.seconds),
        human::duration(stale.freshness)
    )
}

/// Both versions; the daemon need not answer.
pub async fn version(client: &Client, out: Out) -> Result<Exit, Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let daemon = client.get::<Version>("/v1").await;
    if out.json {
        let answer = daemon.as_ref().ok();
        out.document(&json!({ "exportctl": own, "daemon": answer }))?;
    } else {
        out.data(&format!("exportctl {own}\n"))?;
        if let Ok(daemon) = &daemon {
            let api = daemon.api.join(", ");
            out.data(&format!("{} {} (API {})\n", daemon.name, human::clean(&daemon.version), human::clean(&api)))?;
        }
    }
    daemon.map(|_| Exit::Ok)
}

/// The mistakes in the configuration file as it is now.
pub async fn check_config(client: &Client, out: Out) -> Result<Exit, Failure> {
    let document: Value = client.get("/v1/config/check").await.map_err(|failure| match failure.exit {
        Exit::Unreachable => failure.hint("without a running daemon: saas-export-daemon --check-config"),
        _ => failure,
    })?;
    let report: CheckReport = super::typed(document.clone())?;
    if out.json {
        out.document(&document)?;
    } else {
        for problem in &report.problems {
            out.data(&format!("{}\n", human::clean(problem)))?;
        }
        match report.problems.len() {
            0 => out.say(&format!("{}: no mistakes", human::clean(&report.config))),
            1 => out.say("1 mistake; a reload would change nothing"),
            many => out.say(&format!("{many} mistakes; a reload would change nothing")),
        }
    }
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}

/// Reads the configuration again, or shows what that would change. The answer comes when it is done, with or without
/// `--wait`.
pub async fn reload(args: Reload, client: &Client, out: Out) -> Result<Exit, Failure> {
    let Reload { wait: _, dry_run } = args;
    let method = if dry_run { Method::GET } else { Method::POST };
    // A configuration with mistakes is no wrong usage: the same exit code as that of `config check`.
    let document = client.patient(method, "/v1/reload", None).await.map_err(|failure| match failure.exit {
        Exit::Usage => {
            let hint = failure.hint.unwrap_or_else(|| "nothing has changed: mend it, and reload again".into());
            Failure { exit: Exit::Failed, hint: Some(hint), ..failure }
        }
        _ => failure,
    })?;
    let Some(report) = show::<ReloadReport>(document, out)? else { return Ok(Exit::Ok) };
    for line in &report.applied {
        out.data(&format!("{}\n", human::clean(line)))?;
    }
    let marked = [("needs a restart", &report.needs_restart), ("note", &report.notes)];
    for (mark, lines) in marked {
        for line in lines {
            out.data(&format!("{}: {}\n", Colour::Yellow.paint(mark, out.colours), human::clean(line)))?;
        }
    }
    if report.applied.is_empty() && report.needs_restart.is_empty() {
        out.say(match dry_run {
            true => "nothing would change",
            false => "neither file has changed",
        });
    } else if dry_run {
        out.say("nothing has changed yet: exportctl reload");
    }
    if !report.needs_restart.is_empty() {
        out.say("systemctl restart saas-export-daemon: tasks resume exactly where they stand");
    }
    Ok(Exit::Ok)
}

/// Waits until the daemon answers anything at all.
pub async fn waitready(timeout: Duration, client: &Client, out: Out) -> Result<Exit, Failure> {
    let start = Instant::now();
    loop {
        match client.get::<Value>("/v1").await {
            Ok(document) => {
                if out.json {
                    out.document(&document)?;
                }
                return Ok(Exit::Ok);
            }
            // Whoever says "you may not" is there, and will not say otherwise later.
            Err(failure) if failure.exit == Exit::Forbidden => return Err(failure),
            Err(failure) if start.elapsed() >= timeout => {
                let message = format!("not ready after {} s: {}", timeout.as_secs(), failure.message);
                let hint = failure.hint.unwrap_or_default();
                return Err(Failure::new(Exit::TimedOut, message).hint(hint));
            }
            Err(_) => tokio::time::sleep(TRY_AGAIN.min(timeout)).await,
        }
    }
}
