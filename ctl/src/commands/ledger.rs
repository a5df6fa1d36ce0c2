//! `ledger`: snapshots of the ledger, whether it is as it should be, and how it is brought back.

mod offline;

use super::{fetch, typed};
use crate::args::{Backup, Ledger};
use crate::client::{Client, encode};
use crate::download;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use crate::table::Table;
use hyper::Method;
use jiff::Timestamp;
use saas_export_api::{LedgerBackup, LedgerCheck, LedgerSnapshot, size};
use serde_json::Value;
use std::path::Path;

/// Takes care of the ledger.
pub async fn ledger(args: Ledger, client: &Client, out: Out) -> Result<Exit, Failure> {
    match args {
        Ledger::Backup(args) => backup(args, client, out).await,
        Ledger::Snapshots => snapshots(client, out).await,
        Ledger::Check => check(client, out).await,
        Ledger::Restore(offline) => offline::become_daemon("restore", offline.args, out),
        Ledger::Rebuild(offline) => offline::become_daemon("rebuild", offline.args, out),
    }
}

async fn backup(args: Backup, client: &Client, out: Out) -> Result<Exit, Failure> {
    if let Some(to) = &args.output {
        // Before the daemon works for nothing.
        download::must_be_free(to)?;
    }
    let document: Value = client.patient(Method::POST, "/v1/ledger/snapshots", None).await?;
    let taken: LedgerBackup = typed(document.clone())?;
    if let Some(to) = &args.output {
        copy(&taken, to, client).await?;
    }
    if out.json {
        out.document(&document)?;
        return Ok(Exit::Ok);
    }
    let path = args.output.as_ref().map_or(taken.path.clone(), |to| to.display().to_string());
    out.data(&format!("{}\n", human::clean(&path)))?;
    let (bytes, seconds) = (size(taken.bytes), taken.seconds);
    out.say(&format!(
        "{}, {bytes} in {seconds:.1} s, SHA-256 {}",
        human::clean(&taken.name),
        human::clean(&taken.sha256)
    ));
    Ok(Exit::Ok)
}

/// Downloads the snapshot that was just taken.
async fn copy(taken: &LedgerBackup, to: &Path, client: &Client) -> Result<(), Failure> {
    let path = format!("/v1/ledger/snapshots/{}", encode(&taken.name));
    let mut part = download::Part::create(to, 0o600)?;
    let got = part.fill(client, &path, to).await?;
    if got.sha256 != taken.sha256 {
        let message = format!("{} came with SHA-256 {} instead of {}", taken.name, got.sha256, taken.sha256);
        return Err(Failure::new(Exit::Mismatch, message).hint("nothing was kept; repeat the command"));
    }
    part.finish(to)
}

async fn snapshots(client: &Client, out: Out) -> Result<Exit, Failure> {
    let Some(all) = fetch::<Vec<LedgerSnapshot>>(client, "/v1/ledger/snapshots", out).await? else {
        return Ok(Exit::Ok);
    };
    let mut table = Table::new(&["NAME", "TAKEN", "AGE", "SIZE>"]);
    let now = Timestamp::now();
    for one in &all {
        table.row([
            human::clean(&one.name).into(),
            human::moment(&one.taken_at).into(),
            human::ago(&one.taken_at, now).into(),
            size(one.bytes).into(),
        ]);
    }
    if table.is_empty() {
        out.say("no snapshots; exportctl ledger backup takes one");
    } else {
        out.data(&table.render(out.colours, out.width))?;
    }
    Ok(Exit::Ok)
}

async fn check(client: &Client, out: Out) -> Result<Exit, Failure> {
    let document = client.patient(Method::GET, "/v1/ledger/check", None).await;
    let document: Value = document.map_err(|failure| match failure.exit {
        Exit::Unreachable => failure.hint("without a running daemon: saas-export-daemon ledger check"),
        _ => failure,
    })?;
    let report: LedgerCheck = typed(document.clone())?;
    if out.json {
        out.document(&document)?;
    } else {
        out.data(&lines(&report, out.colours))?;
        let problems = report.steps.iter().map(|step| step.problems.len() as u64).sum::<u64>();
        out.say(&match report.ok {
            true => format!("the ledger is as it should be; looked for {:.1} s", report.seconds),
            false => format!("{} found", human::many(problems, "problem")),
        });
    }
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}

/// A line for each step, its problems and what to do below it.
fn lines(report: &LedgerCheck, colours: bool) -> String {
    let mut text = String::new();
    for step in &report.steps {
        let (word, colour) = if step.problems.is_empty() { ("ok", Colour::Green) } else { ("fail", Colour::Red) };
        let word = colour.paint(&format!("{word:<4}"), colours);
        text.push_str(&format!("{word}  {:<10}  {}\n", human::clean(&step.name), human::clean(&step.looked_at)));
        for problem in &step.problems {
            text.push_str(&format!("        {}\n", human::clean(problem)));
        }
        if let Some(remedy) = &step.remedy {
            text.push_str(&format!("      → {}\n", human::clean(remedy)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use saas_export_api::LedgerStep;

    #[test]
    fn problems_stand_below_what_was_looked_at() {
        let step = |name: &str, problems: &[&str]| LedgerStep {
            name: name.into(),
            looked_at: format!("the {name}"),
            problems: problems.iter().map(|&problem| problem.into()).collect(),
            remedy: (!problems.is_empty()).then(|| "mend it".into()),
        };
        let steps = vec![step("file", &[]), step("audit", &["row 3 is wrong", "row 9\u{1b} too"])];
        let report = LedgerCheck { ledger: "/l".into(), ok: false, seconds: 1.0, steps };
        let expected = "ok    file        the file\nfail  audit       the audit\n        row 3 is wrong\n        row 9\u{fffd} \
                        too\n      → mend it\n";
        assert_eq!(lines(&report, false), expected);
    }
}
