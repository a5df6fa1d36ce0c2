//! `names`: what completion scripts offer. It asks for little, and says nothing else.

use crate::client::Client;
use crate::completions::Kind;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::Out;
use saas_export_api::{Export, TaskSummary};
use std::time::Duration;

/// The longest that a person waits at a tabulator.
const LIMIT: Duration = Duration::from_secs(2);
/// Tasks that are offered, newest first.
const TASKS: u32 = 100;

/// Prints names, a line each; none where the daemon does not answer in time.
pub async fn names(kind: Kind, client: &Client, out: Out) -> Result<Exit, Failure> {
    let ask = async {
        let mut names = Vec::new();
        if kind != Kind::Tasks {
            names.extend(client.get::<Vec<Export>>("/v1/exports").await?.into_iter().map(|export| export.name));
        }
        if kind != Kind::Exports {
            let tasks: Vec<TaskSummary> = client.get(&format!("/v1/tasks?limit={TASKS}")).await?;
            names.extend(tasks.into_iter().map(|task| task.id));
        }
        Ok::<_, Failure>(names)
    };
    let names = tokio::time::timeout(LIMIT, ask).await.unwrap_or_else(|_| Ok(Vec::new()))?;
    out.data(&names.iter().map(|name| format!("{}\n", human::clean(name))).collect::<String>())?;
    Ok(Exit::Ok)
}
