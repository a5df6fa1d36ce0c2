//! `exports` and `run`.

use super::fetch;
use crate::args::Run;
use crate::client::{Client, encode, json};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{Follow, outcome};
use crate::human;
use crate::out::{Colour, Out};
use crate::table::{Cell, Table};
use jiff::Timestamp;
use saas_export_api::{Export, Submit, Submitted, TaskRef};
use std::collections::BTreeMap;

/// The configured exports.
pub async fn list(client: &Client, out: Out) -> Result<Exit, Failure> {
    let Some(exports) = fetch::<Vec<Export>>(client, "/v1/exports", out).await? else { return Ok(Exit::Ok) };
    let mut table = Table::new(&["EXPORT", "SOURCE", "STREAMS", "TO", "FORMAT", "LAST TASK", "LAST SUCCESS", "NOTE"]);
    let now = Timestamp::now();
    for export in &exports {
        let note = if export.paused { Cell::coloured("paused", Colour::Yellow) } else { Cell::default() };
        table.row([
            human::clean(&export.name).into(),
            human::clean(&export.source).into(),
            human::clean(&export.streams.join(",")).into(),
            human::clean(&export.to.join(",")).into(),
            human::clean(&export.format).into(),
            last(export.last_task.as_ref(), now),
            export.last_success.as_ref().map_or_else(|| "never".to_owned(), |task| when(task, now)).into(),
            note,
        ]);
    }
    out.data(&table.render(out.colours, out.width))?;
    Ok(Exit::Ok)
}

fn last(task: Option<&TaskRef>, now: Timestamp) -> Cell {
    match task {
        None => "none".into(),
        Some(task) => {
            Cell::coloured(format!("{} {}", task.state.word(), when(task, now)), Colour::of_state(task.state))
        }
    }
}

fn when(task: &TaskRef, now: Timestamp) -> String {
    human::ago(task.ended_at.as_deref().unwrap_or(&task.created_at), now)
}

/// Runs an export; with `--wait` to the end.
pub async fn run(args: Run, client: &Client, out: Out) -> Result<Exit, Failure> {
    let mut params = BTreeMap::new();
    for (name, value) in args.params {
        if params.insert(name.clone(), value).is_some() {
            return Err(Failure::usage(format!("parameter {name:?} is given twice")));
        }
    }
    let body = json(&Submit {
        params,
        format: args.format,
        full: args.full,
        from: args.from,
        to: args.to,
        streams: args.streams,
        notify: args.notify,
    })?;
    let submitted: Submitted = client.post(&format!("/v1/exports/{}/run", encode(&args.export)), body).await?;
    if !submitted.created {
        out.say("an equal request is still open: this is its task");
    }
    if !args.wait {
        if out.json {
            out.document(&submitted)?;
        } else {
            out.data(&format!("{}\n", submitted.task))?;
            out.say(&format!("watch it with: exportctl watch {}", submitted.task));
        }
        return Ok(Exit::Ok);
    }
    if !out.json {
        out.data(&format!("{}\n", submitted.task))?;
    }
    let follow = Follow { client, out, cancel_on_interrupt: args.cancel_on_interrupt, timeout: args.timeout };
    let detail = follow.until_it_ends(&submitted.task, |_| Ok(())).await?;
    if out.json {
        out.document(&detail)?;
    }
    outcome(&detail.task, out)
}
