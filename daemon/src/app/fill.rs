//! What a back-fill needs: a destination of the configuration, and the files of the task somewhere.

use super::engine::AppEngine;
use crate::base::blocking::aside;
use crate::base::error::Chain;
use crate::base::fsio;
use crate::base::ids::{Name, TaskId};
use crate::config::settings::{Config, Destination as Settings};
use crate::destinations::local::PRIVATE;
use crate::destinations::{Destination, object_key};
use crate::ledger::input::AddDestination;
use crate::ledger::rows::{FreedSegment, SegmentRow, TaskRow};
use crate::ledger::{Ledger, LedgerError};
use crate::model::task::TaskState;
use crate::queue::handle::Refusal;
use crate::transfer::spool::{self, Spool};
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Files that are looked for at the same time.
const AT_ONCE: usize = 8;

/// What the ledger needs to fill a destination of the configuration back from a task.
pub async fn back_fill(
    engine: &AppEngine,
    ledger: &Ledger,
    task: &TaskRow,
    (to, actor): (&str, String),
) -> Result<AddDestination, Refusal> {
    let (config, _) = engine.in_force();
    let Some((name, settings)) = config.destinations.get_key_value(to) else {
        let names: Vec<&str> = config.destinations.keys().map(Name::as_str).collect();
        let names = names.join(", ");
        return Err(Refusal::NotFound(format!(
            "there is no destination {to:?} in the configuration; there are: {names}"
        )));
    };
    if task.state != TaskState::Succeeded {
        let message = format!(
            "task {} is {}: only a task that has succeeded can be delivered to one more destination",
            task.id, task.state
        );
        return Err(Refusal::Conflict(message));
    }
    // A mistake in the settings is told now, not in the log.
    engine
        .destinations()
        .open(settings)
        .map_err(|error| Refusal::Unavailable(format!("failed to {}", Chain(&error))))?;
    let source = Source::of(engine, task)?;
    let moved = source.moved(name.as_str(), settings, &task.id)?;
    source.has_everything(ledger, task, moved.then_some(name.as_str())).await?;
    let settings = serde_json::to_value(settings).map_err(|error| Refusal::Unavailable(error.to_string()))?;
    Ok(AddDestination { name: name.to_string(), settings, moved, actor })
}

/// Removes files that nobody waits for any more.
pub fn free(engine: &AppEngine, task: &TaskRow, segments: &[FreedSegment]) -> Result<(), Refusal> {
    let source = Source::of(engine, task)?;
    for segment in segments {
        let path = source.spool.segment(&segment.stream, &segment.name);
        fsio::remove(&path)
            .map_err(|error| Refusal::Unavailable(format!("failed to remove {}: {error}", path.display())))?;
    }
    engine.room().freed();
    Ok(())
}

/// Where the files of a task may still be.
struct Source {
    /// The task's own destinations, as it stored them.
    stored: BTreeMap<Name, Settings>,
    destinations: BTreeMap<String, Arc<dyn Destination>>,
    spool: Spool,
}

impl Source {
    fn of(engine: &AppEngine, task: &TaskRow) -> Result<Self, Refusal> {
        let broken = |why: String| {
            Refusal::Unavailable(format!("failed to use the stored configuration of task {}: {why}", task.id))
        };
        let stored = serde_json::from_str(&task.config).map_err(|error| broken(error.to_string()))?;
        let config = Config::from_effective(&stored).map_err(|why| broken(why.to_string()))?;
        let home = spool::home(&config, task.home.as_deref());
        let state_dir = engine.in_force().0.daemon.state_dir.clone();
        let base = home.map_or(state_dir.clone(), |(_, home)| home.root.join(PRIVATE));
        let opener = engine.destinations();
        // One that cannot be opened any more may still be filled back from the others.
        let opened =
            config.destinations.iter().filter_map(|(name, place)| Some((name.to_string(), opener.open(place).ok()?)));
        let destinations = opened.collect();
        Ok(Self { destinations, spool: Spool::new(&base, &state_dir, &task.id, 0o640), stored: config.destinations })
    }

    /// Whether the name means another place now than the task stored. Refused where the place is another destination's of it.
    fn moved(&self, name: &str, settings: &Settings, task: &TaskId) -> Result<bool, Refusal> {
        let there = |(other, place): &(&Name, &Settings)| other.as_str() != name && place.place() == settings.place();
        if let Some((other, _)) = self.stored.iter().find(there) {
            return Err(Refusal::Conflict(format!("{name} is the place that task {task} knows as {other}")));
        }
        Ok(self.stored.get(name).is_some_and(|stored| stored.place() != settings.place()))
    }

    /// Refuses where a file is nowhere any more. A destination that does not answer says nothing: the delivery waits for it.
    /// What lies at `moved` alone, a name that means another place now, could not be fetched once that is forgotten.
    async fn has_everything(&self, ledger: &Ledger, task: &TaskRow, moved: Option<&str>) -> Result<(), Refusal> {
        let failed = |error: LedgerError| Refusal::Unavailable(format!("failed to {}", Chain(&error)));
        for stream in ledger.streams(&task.id).await.map_err(failed)? {
            let segments = ledger.segments(&task.id, &stream.stream).await.map_err(failed)?;
            let looks = segments.into_iter().filter(SegmentRow::listed).map(|segment| async move {
                let (here, there) = self.has(ledger, task, &segment, moved).await.map_err(failed)?;
                match (here, there) {
                    (true, _) => Ok(()),
                    (false, Some(name)) => Err(Refusal::Conflict(format!(
                        "{} of stream {} of task {} lies where {name} was before it moved, and nowhere else: give the new \
                         place a name of its own, and {name} its old settings",
                        segment.name, segment.id.stream, task.id
                    ))),
                    (false, None) => Err(Refusal::Conflict(format!(
                        "{} of stream {} is gone everywhere: neither the spool nor a destination of task {} has it",
                        segment.name, segment.id.stream, task.id
                    ))),
                }
            });
            futures_util::stream::iter(looks).buffered(AT_ONCE).try_collect::<Vec<()>>().await?;
        }
        Ok(())
    }

    /// Whether a segment is in the spool or at a destination; and the name of the one that moved, if it may be there.
    async fn has<'a>(
        &self,
        ledger: &Ledger,
        task: &TaskRow,
        segment: &SegmentRow,
        moved: Option<&'a str>,
    ) -> Result<(bool, Option<&'a str>), LedgerError> {
        let spooled = self.spool.segment(&segment.id.stream, &segment.name);
        if aside(|| spooled.exists()) {
            return Ok((true, None));
        }
        let key = object_key(&task.export, &segment.id.stream, &task.id, &segment.name);
        let mut left = None;
        for name in ledger.verified_at(&task.id, &segment.id).await? {
            if let Some(moved) = moved.filter(|moved| *moved == name) {
                left = Some(moved);
                continue;
            }
            let Some(destination) = self.destinations.get(&name) else { continue };
            match destination.head(&key).await {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return Ok((true, None)),
            }
        }
        Ok((false, left))
    }
}
