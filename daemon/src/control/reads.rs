//! What handlers ask the ledger and the configuration, with refusals in sentences.

use super::ControlState;
use super::reply::Failure;
use super::wire;
use crate::base::clock;
use crate::base::ids::{Name, TaskId};
use crate::config::settings::{Config, Export};
use crate::ledger::rows::{DeliverySum, FoundTask, Look, ManifestRow, StreamRow, Sums, TaskFilter, TaskRow};
use crate::model::progress::Progress;
use crate::model::task::TaskState;
use saas_export_api as api;
use saas_export_api::{
    ErrorCode, FileEntry, LedgerHealth, OffsetsDoc, SourceRate, StreamOffsets, TaskDetail, TaskSummary,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// States of a task that is not over.
pub const OPEN: [TaskState; 3] = [TaskState::Processing, TaskState::Paused, TaskState::Pending];

/// More open tasks than any queue holds.
const OPEN_MOST: u32 = 10_000;

/// How long the ledger may take to answer before it counts as unwell.
pub const LEDGER_PATIENCE: Duration = Duration::from_secs(2);

/// Shortest start of an id that is looked for: its date.
const PREFIX: usize = 4;

/// The task of an id, or of the unique start of one.
pub async fn task(state: &ControlState, text: &str) -> Result<TaskRow, Failure> {
    let unknown =
        || Failure::new(ErrorCode::NotFound, format!("there is no task {text:?}")).hint("exportctl tasks lists them");
    if text.len() < PREFIX {
        return Err(unknown().hint(format!("give at least the first {PREFIX} characters of its id")));
    }
    match state.ledger.find_task(text).await.map_err(wire::ledger_error)? {
        FoundTask::None => Err(unknown()),
        FoundTask::One(row) => Ok(*row),
        FoundTask::Many(ids) => {
            let ids: Vec<&str> = ids.iter().map(TaskId::as_str).collect();
            Err(Failure::new(ErrorCode::Conflict, format!("more than one task starts with {text:?}"))
                .hint(format!("the newest are {}", ids.join(", "))))
        }
    }
}

/// The task of an id or of the unique start of one; or of the name of an export, its newest task of which all is published at
/// one destination at least, and still there: a part must not pass for the export. For what only looks at published data.
pub async fn task_or_export(state: &ControlState, text: &str) -> Result<TaskRow, Failure> {
    if export(&state.config(), text).is_err() {
        return task(state, text).await;
    }
    if let Some(newest) = state.ledger.newest_whole(text).await.map_err(wire::ledger_error)? {
        return Ok(newest);
    }
    let part = state.ledger.published_tasks(text, 1).await.map_err(wire::ledger_error)?.into_iter().next();
    Err(match part {
        Some(part) => {
            Failure::new(ErrorCode::NotFound, format!("no task of the export {text} is published as a whole"))
                .hint(format!("give the id of a task for what it has published: {} is the newest one", part.id))
        }
        None => Failure::new(ErrorCode::NotFound, format!("nothing of the export {text} is published"))
            .hint(format!("exportctl run {text} --wait")),
    })
}

/// A configured export.
pub fn export<'a>(config: &'a Config, name: &str) -> Result<(&'a Name, &'a Export), Failure> {
    config.exports.get_key_value(name).ok_or_else(|| {
        let names: Vec<&str> = config.exports.keys().map(Name::as_str).collect();
        Failure::new(ErrorCode::NotFound, format!("there is no export {name:?} in the configuration"))
            .hint(format!("there are: {}", names.join(", ")))
    })
}

/// Refuses the name of an export that is neither configured nor in the ledger.
pub async fn known_export(state: &ControlState, name: &str) -> Result<(), Failure> {
    let Err(unknown) = export(&state.config(), name).map(drop) else { return Ok(()) };
    let recent = state.ledger.recent(vec![name.to_owned()]).await.map_err(wire::ledger_error)?;
    if recent.iter().any(|export| export.newest.is_some()) { Ok(()) } else { Err(unknown) }
}

/// The newest open task of an export.
pub async fn newest_open(state: &ControlState, export: &Name) -> Result<Option<TaskRow>, Failure> {
    let filter = TaskFilter { export: Some(export.to_string()), states: OPEN.to_vec(), limit: 1 };
    Ok(state.ledger.tasks(&filter).await.map_err(wire::ledger_error)?.into_iter().next())
}

/// The open tasks: those that run, then those that are paused, then the queue in its order; the first `shown` with figures.
pub async fn open_tasks(state: &ControlState, shown: usize) -> Result<Look, Failure> {
    let filter = TaskFilter { export: None, states: OPEN.to_vec(), limit: OPEN_MOST };
    let order = |rows: &mut Vec<TaskRow>| {
        rows.sort_by_key(|row| (OPEN.iter().position(|state| *state == row.state), row.queue_pos));
    };
    state.ledger.look(&filter, order, shown).await.map_err(wire::ledger_error)
}

/// Notifications that do not go out as they should, if there are any.
pub fn notifications(look: &Look) -> Option<api::NotificationTrouble> {
    let (late, given_up) = (look.late, look.given_up);
    (late + given_up > 0).then_some(api::NotificationTrouble { late, given_up })
}

/// Names of the paused exports, in order.
pub async fn paused(state: &ControlState) -> Result<Vec<String>, Failure> {
    state.ledger.paused_exports().await.map_err(wire::ledger_error)
}

/// Tasks with their figures: `live` ones of those that run, the ledger's sums of the others.
pub fn summaries(state: &ControlState, look: Look, mut live: BTreeMap<String, Progress>) -> Vec<TaskSummary> {
    let config = state.config();
    let tasks = look.tasks.into_iter().map(|(row, figures)| {
        let open = !row.state.closed();
        // Of a run that has ended since they were asked for, the ledger knows better.
        let live = live.remove(row.id.as_str()).filter(|_| open);
        let destinations = if open { destinations(&row, &figures.sums, live.as_ref()) } else { Vec::new() };
        let live = live.filter(|live| !live.carried);
        let task = with_hold(wire::summary(&row, live.as_ref(), figures.read), &look.paused, &config);
        TaskSummary { destinations, ..task }
    });
    tasks.collect()
}

/// A queued task of an export that is paused, or outside of its windows, says so: nothing else would tell why it does not
/// start.
fn with_hold(mut task: TaskSummary, paused: &[String], config: &Config) -> TaskSummary {
    if task.state != api::TaskState::Pending || task.waiting.is_some() {
        return task;
    }
    if paused.contains(&task.export) {
        let reason = format!("its export is paused; exportctl resume {} lets it go on", task.export);
        task.waiting = Some(api::Waiting { reason, until: None });
    } else if let Some(export) = config.exports.get(task.export.as_str()) {
        task.waiting = export.closed(clock::now()).as_ref().map(wire::waiting);
    }
    task
}

/// A task with its streams and manifests.
pub async fn detail(state: &ControlState, row: TaskRow) -> Result<TaskDetail, Failure> {
    let detail = state.ledger.detail(&row.id).await.map_err(wire::ledger_error)?;
    let live = state.queue.progress().remove(row.id.as_str());
    let destinations = destinations(&row, &detail.sums, live.as_ref());
    let (live, read) = (live.filter(|live| !live.carried), Sums::over(detail.streams.iter().map(StreamRow::read)));
    let task = with_hold(wire::summary(&row, live.as_ref(), read), &detail.paused, &state.config());
    Ok(TaskDetail {
        task: TaskSummary { destinations, ..task },
        streams: detail.streams.iter().map(wire::stream).collect(),
        manifests: detail.manifests.iter().map(wire::published).collect(),
    })
}

/// How far a task is at each of its destinations. `live` are the figures of what delivers for it now.
fn destinations(row: &TaskRow, sums: &[DeliverySum], live: Option<&Progress>) -> Vec<api::TaskDestination> {
    // What was stored by another version may not be read any more: then what the ledger has.
    let mut names = wire::stored(row).to;
    names.extend(
        sums.iter().map(|sum| sum.destination.clone()).filter(|name| !names.contains(name)).collect::<Vec<_>>(),
    );
    let of = |name: &String| {
        let sum = sums.iter().find(|sum| sum.destination == *name);
        wire::task_destination(name, sum, live.and_then(|live| live.destinations.get(name)))
    };
    names.iter().map(of).collect()
}

/// A task's published manifests that are still there.
pub async fn published(state: &ControlState, row: &TaskRow) -> Result<Vec<ManifestRow>, Failure> {
    let mut manifests = state.ledger.manifests(&row.id).await.map_err(wire::ledger_error)?;
    manifests.retain(ManifestRow::there);
    Ok(manifests)
}

/// Refuses a task whose files were published, and removed since.
pub async fn not_pruned(state: &ControlState, row: &TaskRow) -> Result<(), Failure> {
    let manifests = state.ledger.manifests(&row.id).await.map_err(wire::ledger_error)?;
    match manifests.iter().find_map(|found| found.pruned_at) {
        None => Ok(()),
        Some(when) => {
            let message = format!("the files of task {} were pruned at {}", row.id, wire::time(when));
            let hint = format!("exportctl files {} lists what is still there", row.export);
            Err(Failure::new(ErrorCode::Conflict, message).hint(hint))
        }
    }
}

/// The data files in manifests of a task; `places` are its destinations with their directories.
pub async fn files(
    state: &ControlState,
    row: &TaskRow,
    manifests: &[ManifestRow],
    places: &wire::Places,
) -> Result<Vec<FileEntry>, Failure> {
    let mut files = Vec::new();
    for manifest in manifests {
        let segments = state.ledger.segments(&row.id, &manifest.stream).await.map_err(wire::ledger_error)?;
        for segment in segments.iter().filter(|segment| segment.listed()) {
            files.push(wire::file(row, segment, &manifest.destination, places)?);
        }
    }
    Ok(files)
}

/// Where every lane of a task stands.
pub async fn offsets(state: &ControlState, row: &TaskRow) -> Result<OffsetsDoc, Failure> {
    let mut streams = BTreeMap::new();
    for stream in state.ledger.streams(&row.id).await.map_err(wire::ledger_error)? {
        let lanes = state.ledger.lanes(&row.id, &stream.stream).await.map_err(wire::ledger_error)?;
        let lanes = lanes.iter().map(wire::lane).collect();
        streams.insert(stream.stream, StreamOffsets { mark: None, lanes });
    }
    Ok(OffsetsDoc { export: row.export.clone(), task: Some(row.id.to_string()), streams })
}

/// The marks of an export, and the offsets of its newest open task.
pub async fn marks(state: &ControlState, export: &Name) -> Result<OffsetsDoc, Failure> {
    let mut document = match newest_open(state, export).await? {
        Some(row) => offsets(state, &row).await?,
        None => OffsetsDoc { export: export.to_string(), task: None, streams: BTreeMap::new() },
    };
    for row in state.ledger.marks(export.as_str()).await.map_err(wire::ledger_error)? {
        document.streams.entry(row.stream).or_default().mark = Some(wire::mark(&row.mark));
    }
    Ok(document)
}

/// How fast the sources of open tasks are asked. One that was not asked since the start is not there.
pub fn sources<'a>(state: &ControlState, open: impl Iterator<Item = &'a TaskRow>) -> Vec<SourceRate> {
    let config = state.config();
    // A task keeps the configuration that it was made with, where its export may have had another source.
    let of = |row: &TaskRow| {
        wire::stored(row)
            .source
            .or_else(|| config.exports.get(row.export.as_str()).map(|export| export.source.to_string()))
    };
    let names: BTreeSet<String> = open.filter_map(of).collect();
    let budgets = state.hooks.budgets();
    let asked = budgets.iter().filter(|(name, _)| names.contains(name.as_str()));
    asked.map(|(name, standing)| wire::source_rate(name, standing)).collect()
}

/// Whether the ledger's writer gets on with its work.
pub fn ledger_health(state: &ControlState) -> LedgerHealth {
    let reason = match state.ledger.busy() {
        Ok(busy) if busy < LEDGER_PATIENCE => None,
        Ok(busy) => Some(format!("its writer has not answered for {} s", busy.as_secs())),
        Err(error) => Some(wire::ledger_error(error).error.message),
    };
    LedgerHealth { healthy: reason.is_none(), reason }
}
