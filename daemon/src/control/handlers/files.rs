//! Paths of published data files.

use crate::config::settings;
use crate::control::ControlState;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::rows::{ManifestRow, TaskRow};
use saas_export_api::Files;
use std::collections::BTreeMap;

/// How many tasks back published files are looked for.
const TASKS: u32 = 1000;

/// `GET /v1/tasks/{task}/files`.
pub async fn of_task(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let row = reads::task_or_export(&call.state, call.arg(0)).await?;
    let places = wire::places(&row)?;
    let manifests = reads::published(&call.state, &row).await?;
    let files = reads::files(&call.state, &row, &manifests, &places).await?;
    let destinations = places.into_iter().map(|(name, _)| name).collect();
    Reply::sync(Files { export: row.export, destinations, files, notes: Vec::new() })
}

/// `GET /v1/exports/{export}/files?latest`: of every published task, or of the chains that `latest.json` lists, in their order.
pub async fn of_export(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&["latest"])?;
    let latest = call.target.query.flag("latest")?;
    let config = call.state.config();
    let (name, export) = reads::export(&config, call.arg(0))?;
    let rows = call.state.ledger.published_tasks(name.as_str(), TASKS).await.map_err(wire::ledger_error)?;
    let destinations = export.to.iter().map(ToString::to_string).collect();
    let mut found = Files { export: name.to_string(), destinations, files: Vec::new(), notes: Vec::new() };
    if rows.len() == TASKS as usize && !latest {
        found.notes.push(format!("only the files of the newest {TASKS} tasks are listed"));
    }
    let mut chains = Chains::default();
    // Tasks of one configuration follow one another, so each configuration is read about once.
    let mut known: Option<(&str, Vec<(String, settings::Destination)>)> = None;
    for row in rows.iter().filter(|row| !latest || row.chained) {
        let mut manifests = reads::published(&call.state, row).await?;
        if latest {
            manifests = chains.newest(&call.state, row, manifests).await?;
        }
        if manifests.is_empty() {
            continue;
        }
        if known.as_ref().is_none_or(|(config, _)| *config != row.config) {
            match wire::places(row) {
                Ok(places) => known = Some((&row.config, places)),
                // One task that cannot be read must not hide the others, and must not be left out silently.
                Err(failure) => {
                    found.notes.push(failure.error.message);
                    continue;
                }
            }
        }
        let places = known.as_ref().map_or(&[][..], |(_, places)| places);
        let files = reads::files(&call.state, row, &manifests, places).await?;
        if latest {
            // The tasks come newest first, a chain is read from its start.
            found.files.splice(0..0, files);
        } else {
            found.files.extend(files);
        }
    }
    Reply::sync(found)
}

/// The newest chain of each stream at each destination, as far as the tasks, newest first, have shown it.
#[derive(Default)]
struct Chains(BTreeMap<(String, String), String>);

impl Chains {
    /// Those of a task's manifests that belong to a newest chain.
    async fn newest(
        &mut self,
        state: &ControlState,
        row: &TaskRow,
        manifests: Vec<ManifestRow>,
    ) -> Result<Vec<ManifestRow>, Failure> {
        let mut newest = Vec::new();
        for manifest in manifests {
            let link = state.ledger.link(&row.id, &manifest.stream).await.map_err(wire::ledger_error)?;
            let Some(chain) = link.map(|link| link.place.id) else { continue };
            let place = (manifest.stream.clone(), manifest.destination.clone());
            if *self.0.entry(place).or_insert_with(|| chain.clone()) == chain {
                newest.push(manifest);
            }
        }
        Ok(newest)
    }
}
