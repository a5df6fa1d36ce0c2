//! The commands: each asks the daemon, prints, and says how exportctl ends.

mod act;
mod check;
mod daemon;
mod deliver;
mod exports;
mod files;
mod get;
mod ledger;
mod logs;
mod names;
mod notifications;
mod offline;
mod offsets;
mod prune;
mod query;
mod rates;
mod schedule;
mod schema;
mod tasks;
mod url;

use crate::args::Command;
use crate::client::{Client, encode};
use crate::completions;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Carries out a command.
pub async fn run(command: Command, client: &Client, out: Out) -> Result<Exit, Failure> {
    match command {
        Command::Status => daemon::status(client, out).await,
        Command::Schedule(args) => schedule::schedule(args, client, out).await,
        Command::Exports => exports::list(client, out).await,
        Command::Run(args) => exports::run(args, client, out).await,
        Command::Tasks(args) => tasks::list(args, client, out).await,
        Command::Show(args) => tasks::show(&args.task, client, out).await,
        Command::Watch(args) => tasks::watch(args, client, out).await,
        Command::Logs(args) => logs::logs(args, client, out).await,
        Command::Metrics => logs::metrics(client, out).await,
        Command::Pause(args) => act::act("pause", args, client, out).await,
        Command::Resume(args) => act::act("resume", args, client, out).await,
        Command::Cancel(args) => act::cancel(args, client, out).await,
        Command::Retry(args) => act::retry(&args.task, client, out).await,
        Command::Deliver(args) => deliver::deliver(args, client, out).await,
        Command::Verify(args) => files::verify(args, client, out).await,
        Command::Files(args) => files::files(args, client, out).await,
        Command::Url(args) => url::url(args, client, out).await,
        Command::Get(args) => get::get(args, client, out).await,
        Command::Prune(args) => prune::prune(args, client, out).await,
        Command::Check(args) => check::check(args, client, out).await,
        Command::Offsets(args) => offsets::offsets(args, client, out).await,
        Command::Schema(args) => schema::schema(args, client, out).await,
        Command::Notifications(args) => notifications::notifications(args, client, out).await,
        Command::Ledger(args) => ledger::ledger(args, out),
        Command::Config(crate::args::Config::Check) => daemon::check_config(client, out).await,
        Command::Reload(args) => daemon::reload(args, client, out).await,
        Command::Version => daemon::version(client, out).await,
        Command::Completions { shell } => {
            out.data(&completions::script(shell))?;
            Ok(Exit::Ok)
        }
        Command::Names { kind } => names::names(kind, client, out).await,
        Command::Query(args) => query::query(args, client, out).await,
        Command::Waitready { timeout } => daemon::waitready(timeout, client, out).await,
    }
}

/// Gets a document, prints it as JSON if that is wanted, and otherwise gives it back typed.
async fn fetch<T: DeserializeOwned>(client: &Client, path: &str, out: Out) -> Result<Option<T>, Failure> {
    let document: Value = client.get(path).await?;
    show(document, out)
}

/// Prints a document as JSON if that is wanted, and otherwise gives it back typed.
fn show<T: DeserializeOwned>(document: Value, out: Out) -> Result<Option<T>, Failure> {
    if out.json {
        out.document(&document)?;
        return Ok(None);
    }
    typed(document).map(Some)
}

fn typed<T: DeserializeOwned>(document: Value) -> Result<T, Failure> {
    serde_json::from_value(document).map_err(|error| {
        Failure::new(Exit::Failed, format!("the daemon's answer is not understood: {error}"))
            .hint("are exportctl and the daemon of the same version? exportctl version")
    })
}

/// The path of what a `TASK|EXPORT` names: an export of that name, else the task whose id starts so.
async fn resolve(target: &str, client: &Client) -> Result<String, Failure> {
    for path in [format!("/v1/exports/{}", encode(target)), format!("/v1/tasks/{}", encode(target))] {
        match client.get::<Value>(&path).await {
            Ok(_) => return Ok(path),
            Err(failure) if failure.exit == Exit::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::new(Exit::NotFound, format!("there is no export and no task {target:?}"))
        .hint("exportctl exports and exportctl tasks list them"))
}
