//! `pause`, `resume`, `cancel`, `retry`.

use super::{resolve, show};
use crate::args::{Act, Cancel};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;
use saas_export_api::Acted;

/// Pauses or resumes.
pub async fn act(verb: &str, args: Act, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = match &args.target {
        Some(target) => format!("{}/{verb}", resolve(target, client).await?),
        None => format!("/v1/{verb}"),
    };
    send(verb, &path, client, out).await
}

/// Cancels; everything only with `--yes`.
pub async fn cancel(args: Cancel, client: &Client, out: Out) -> Result<Exit, Failure> {
    if args.act.all && !args.yes {
        return Err(Failure::usage("cancel --all ends every open task").hint("exportctl cancel --all --yes"));
    }
    act("cancel", args.act, client, out).await
}

/// Runs a failed or cancelled task again.
pub async fn retry(task: &str, client: &Client, out: Out) -> Result<Exit, Failure> {
    send("retry", &format!("/v1/tasks/{}/retry", encode(task)), client, out).await
}

async fn send(verb: &str, path: &str, client: &Client, out: Out) -> Result<Exit, Failure> {
    let Some(acted): Option<Acted> = show(client.post(path, None).await?, out)? else { return Ok(Exit::Ok) };
    for task in &acted.tasks {
        out.data(&format!("{task}\n"))?;
    }
    let done = match verb {
        "pause" => "paused",
        "resume" => "resumed",
        "cancel" => "cancelled",
        _ => "queued again",
    };
    match acted.tasks.len() {
        0 => out.say("done; no task had to change"),
        1 => out.say(&format!("1 task {done}")),
        many => out.say(&format!("{many} tasks {done}")),
    }
    Ok(Exit::Ok)
}
