//! `pause`, `resume`, `cancel`, `retry`.

use super::{resolve, show};
use crate::args::{Act, Cancel};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::Out;
use saas_export_api::Acted;

/// Pauses or resumes.
pub async fn act(verb: &str, args: Act, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = match &args.target {
        Some(target) => resolve(target, client).await?,
        None => "/v1".to_owned(),
    };
    let export = args.target.filter(|_| path.starts_with("/v1/exports/"));
    let Some(tasks) = send(verb, &path, client, out).await? else { return Ok(Exit::Ok) };
    match (export, verb) {
        // The export itself changes too, whatever its tasks do.
        (Some(export), "pause" | "resume") => {
            let hint = if verb == "pause" { "; new runs wait until it is resumed" } else { "" };
            out.say(&format!("export {} {}{hint}; {}", human::clean(&export), done(verb), changed(verb, tasks)));
        }
        _ => out.say(&changed(verb, tasks)),
    }
    Ok(Exit::Ok)
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
    if let Some(tasks) = send("retry", &format!("/v1/tasks/{}", encode(task)), client, out).await? {
        out.say(&changed("retry", tasks));
    }
    Ok(Exit::Ok)
}

/// Sends the command and prints the tasks that changed; their number, unless it is printed as JSON.
async fn send(verb: &str, path: &str, client: &Client, out: Out) -> Result<Option<usize>, Failure> {
    let acted: Option<Acted> = show(client.post(&format!("{path}/{verb}"), None).await?, out)?;
    let Some(acted) = acted else { return Ok(None) };
    for task in &acted.tasks {
        out.data(&format!("{task}\n"))?;
    }
    Ok(Some(acted.tasks.len()))
}

fn done(verb: &str) -> &'static str {
    match verb {
        "pause" => "paused",
        "resume" => "resumed",
        "cancel" => "cancelled",
        _ => "queued again",
    }
}

fn changed(verb: &str, tasks: usize) -> String {
    match tasks {
        0 => "no task had to change".to_owned(),
        some => format!("{} {}", human::many(some as u64, "task"), done(verb)),
    }
}
