//! `prune`: what retention would remove, and letting it go now.

use super::typed;
use crate::args::Prune;
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out, complain};
use crate::table::{Cell, Table};
use hyper::Method;
use saas_export_api::{ChainFate, Fate, PruneReport, size};
use serde_json::Value;
use std::io::{IsTerminal as _, stdin};

/// Shows what would go, asks, and lets it go.
pub async fn prune(args: Prune, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = args.export.as_ref().map_or("/v1".to_owned(), |export| format!("/v1/exports/{}", encode(export)));
    let path = format!("{path}/prune");
    if args.dry_run || !args.yes {
        let document: Value = client.get(&path).await?;
        let plan: PruneReport = typed(document.clone())?;
        if args.dry_run {
            return show(&document, &plan, out);
        }
        if !plan.chains.iter().any(|chain| chain.fate == Fate::Due) {
            out.say("nothing is to be removed");
            return Ok(Exit::Ok);
        }
        ask(&plan, out)?;
    }
    let document: Value = client.patient(Method::POST, &path, None).await?;
    let report: PruneReport = typed(document.clone())?;
    show(&document, &report, out)
}

/// Asks whether what is due is to go; without a terminal only `--yes` is an answer.
fn ask(plan: &PruneReport, out: Out) -> Result<(), Failure> {
    if out.json || !stdin().is_terminal() {
        return Err(Failure::usage("prune deletes published files").hint("look with --dry-run, then add --yes"));
    }
    let due = plan.chains.iter().filter(|chain| chain.fate == Fate::Due);
    complain(&table(due).render(out.live && out.colours, None));
    complain("delete these for ever? Type yes:");
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    match read.map(|_| answer.trim()) {
        Ok("yes") => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "nothing was deleted")),
    }
}

fn show(document: &Value, report: &PruneReport, out: Out) -> Result<Exit, Failure> {
    if out.json {
        out.document(document)?;
    } else if report.chains.is_empty() {
        out.say("nothing is published");
    } else {
        // Of what was done only that is news; who wants to see all asks with --dry-run.
        let shown = |chain: &&ChainFate| report.dry_run || chain.fate != Fate::Kept;
        let table = table(report.chains.iter().filter(shown));
        if !table.is_empty() {
            out.data(&table.render(out.colours, out.width))?;
        }
    }
    let sum = |fate: Fate| {
        let chains: Vec<_> = report.chains.iter().filter(|chain| chain.fate == fate).collect();
        let (files, bytes) = chains.iter().fold((0, 0), |(f, b), chain| (f + chain.files, b + chain.bytes));
        (
            chains.len() as u64,
            format!(
                "{} with {} ({})",
                human::many(chains.len() as u64, "chain"),
                human::many(files, "file"),
                size(bytes)
            ),
        )
    };
    match sum(Fate::Waits) {
        (0, _) => {}
        (_, what) => {
            return Err(Failure::new(Exit::Failed, format!("{what} could not be removed; the daemon tries again")));
        }
    }
    let ((due, what), (_, kept), (_, gone)) = (sum(Fate::Due), sum(Fate::Kept), sum(Fate::Pruned));
    out.say(&match (report.dry_run, due) {
        (true, 0) => format!("nothing is to be removed; {kept} kept"),
        (true, _) => format!("{what} would go; {kept} kept"),
        (false, _) => format!("{gone} removed; {kept} kept"),
    });
    Ok(Exit::Ok)
}

fn table<'a>(chains: impl Iterator<Item = &'a ChainFate>) -> Table {
    let mut table =
        Table::new(&["EXPORT", "STREAM", "DESTINATION", "CHAIN", "TASKS>", "FILES>", "SIZE>", "FATE", "WHY"]);
    for chain in chains {
        let params: Vec<String> = chain.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let why = if params.is_empty() { chain.why.clone() } else { format!("{} ({})", chain.why, params.join(" ")) };
        table.row([
            human::clean(&chain.export).into(),
            human::clean(&chain.stream).into(),
            human::clean(&chain.destination).into(),
            human::clean(&chain.chain).into(),
            human::count(chain.tasks.len() as u64).into(),
            human::count(chain.files).into(),
            size(chain.bytes).into(),
            fate(chain.fate),
            human::clean(&why).into(),
        ]);
    }
    table
}

fn fate(fate: Fate) -> Cell {
    match fate {
        Fate::Kept => Cell::coloured("kept", Colour::Green),
        Fate::Due => Cell::coloured("goes", Colour::Yellow),
        Fate::Pruned => Cell::coloured("gone", Colour::Dim),
        Fate::Waits => Cell::coloured("waits", Colour::Red),
    }
}
