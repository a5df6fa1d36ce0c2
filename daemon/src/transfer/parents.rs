//! The partitions of a stream: what it needs of its parents, and the list that is stored before it is dealt to lanes.

use super::error::TransferError;
use super::family::{Family, Taken, too_many};
use super::restart::MAX_SHIFTS;
use super::{StreamPlan, TaskRun};
use crate::base::crash;
use crate::base::error::ErrorClass;
use crate::base::ids::Name;
use crate::model::offset::{LaneId, Offset};
use crate::model::partitions::{Partitions, TooMany};
use crate::sources::{Cut, Parent, Range};
use saas_export_api::plural;
use saas_export_manifest::Mode;
use std::sync::Arc;

/// Values of a parent that are stored at once.
const BATCH: u32 = 10_000;

/// The partitions of a stream. They are made once, from what its parents hold and from the task's creation time, and stored.
pub async fn partitions(
    task: &TaskRun,
    stream: &StreamPlan,
    range: Option<Range>,
) -> Result<Partitions, TransferError> {
    let (id, name) = (&task.row.id, stream.name.as_str());
    if let Some(stored) = task.ledger.partitions(id, name).await? {
        return Ok(stored);
    }
    let family = Family::of(task)?;
    read_outside_parents(task, &family, &stream.name).await?;
    let cut = Cut { range, ..cut(task, &stream.name, name).await? };
    let failed = |source| TransferError::Source { stream: name.to_owned(), source };
    let listed = task.until_stopped(task.source.partitions(&stream.name, &cut)).await?.map_err(failed)?;
    if listed.is_empty() {
        let note = "there was nothing to ask for: no time to cut into windows, or no records of its parent";
        task.ledger.add_note(id, name, note).await?;
    }
    let stored = task.ledger.store_partitions(id, name, listed).await?;
    crash::point("partitions.stored");
    Ok(stored)
}

/// What is known when `stream` is cut into partitions, all its parents having been read. `told` is the stream whose report
/// gets the remarks.
async fn cut(task: &TaskRun, stream: &Name, told: &str) -> Result<Cut, TransferError> {
    let mut cut = Cut::at(task.row.created_at);
    let failed = |source| TransferError::Source { stream: stream.to_string(), source };
    for parent in task.source.parents(stream).map_err(failed)? {
        let rows = rows(task, &parent, told).await?;
        cut.parents.insert(parent.stream, rows);
    }
    Ok(cut)
}

/// What the gathering of a parent's values has come to.
struct Gathered {
    taken: Taken,
    places: Vec<String>,
    /// Whether some records lack a value.
    missing: bool,
    /// The first place where a value is a list or an object.
    nested: Option<String>,
    too_many: Option<TooMany>,
}

impl Gathered {
    /// Adds what a part of the parent's records says; whether more of it is wanted.
    fn add(&mut self, values: &Partitions) -> bool {
        let column = |place: &String| values.keys().iter().position(|key| key == place);
        let columns: Vec<_> = self.places.iter().map(column).collect();
        for index in 0..values.len() {
            let row: Vec<&str> = values.row(index).collect();
            let text = |column: &Option<usize>| column.and_then(|column| row.get(column)).copied().unwrap_or_default();
            let row: Vec<&str> = columns.iter().map(text).collect();
            if row.contains(&"") {
                self.missing = true;
                continue;
            }
            if let Some(at) = row.iter().position(|text| *text == "[]") {
                self.nested = self.places.get(at).cloned();
                return false;
            }
            if let Err(error) = self.taken.add(row.into_iter()) {
                self.too_many = Some(error);
                return false;
            }
        }
        true
    }
}

/// The different values of a parent's records, in the order in which they came.
async fn rows(task: &TaskRun, parent: &Parent, told: &str) -> Result<Partitions, TransferError> {
    let name = &parent.stream;
    let id = &task.row.id;
    if task.streams.iter().any(|stream| stream.name == *name) {
        let rows = task.ledger.streams(id).await?;
        let row = rows.iter().find(|row| row.stream == name.as_str());
        if row.is_some_and(|row| row.error.is_some() || !row.extracted) {
            let message = format!("read stream {told}: its parent {name} was not read to its end");
            return Err(TransferError::Broken { message, class: ErrorClass::Data });
        }
    }
    let places = parent.places.clone();
    let empty = Gathered { taken: Taken::new(places.clone()), places, missing: false, nested: None, too_many: None };
    let mut gathered = task.ledger.parent_values(id, name.as_str(), empty, Gathered::add).await?;
    if let Some(place) = gathered.nested {
        let message =
            format!("read stream {told}: {place} of its parent {name} is a list or an object in some records");
        return Err(TransferError::Broken { message, class: ErrorClass::Config });
    }
    if let Some(error) = gathered.too_many {
        return Err(too_many(name, error));
    }
    if gathered.missing {
        let note = format!("records of {name} without a value at {} were not asked for", parent.places.join(" or "));
        task.ledger.add_note(id, told, &note).await?;
    }
    Ok(gathered.taken.take())
}

/// Reads the ancestors of a stream that the export does not have, once per task. A crash or pause in the middle begins again.
async fn read_outside_parents(task: &TaskRun, family: &Family, stream: &Name) -> Result<(), TransferError> {
    // A parent that was read only for what is new does not have all the records that have children.
    let rows = task.ledger.streams(&task.row.id).await?;
    let part = |name: &Name| rows.iter().any(|row| row.stream == name.as_str() && row.mode == Some(Mode::Incremental));
    let mut wanted = vec![stream.clone()];
    let mut done = 0;
    while let Some(name) = wanted.get(done).cloned() {
        done += 1;
        let failed = |source| TransferError::Source { stream: name.to_string(), source };
        for parent in task.source.parents(&name).map_err(failed)? {
            let inside = task.streams.iter().any(|stream| stream.name == parent.stream) && !part(&parent.stream);
            if !inside && !wanted.contains(&parent.stream) {
                wanted.push(parent.stream);
            }
        }
    }
    let ancestors = wanted.get(1..).unwrap_or_default();
    for name in family.order().iter().filter(|name| ancestors.contains(name)) {
        if !task.ledger.has_outside_parent(&task.row.id, name.as_str()).await? {
            read_outside(task, family, name, stream.as_str()).await?;
        }
    }
    Ok(())
}

/// Reads an ancestor whole; again from its start where its pages have shifted.
async fn read_outside(task: &TaskRun, family: &Family, name: &Name, told: &str) -> Result<(), TransferError> {
    for _ in 0..MAX_SHIFTS {
        match read_outside_once(task, family, name, told).await {
            Err(TransferError::Source { source, .. }) if source.shifted().is_some() => {
                let why = source.shifted().map_or("", |(_, reason)| reason);
                let note = format!("its parent {name} was read again from its start: {why}");
                task.ledger.add_note(&task.row.id, told, &note).await?;
            }
            other => return other,
        }
    }
    read_outside_once(task, family, name, told).await
}

async fn read_outside_once(task: &TaskRun, family: &Family, name: &Name, told: &str) -> Result<(), TransferError> {
    let (id, text) = (&task.row.id, name.as_str());
    let Some(picker) = family.picker(name)? else { return Ok(()) };
    let failed = |source| TransferError::Source { stream: text.to_owned(), source };
    let cut = cut(task, name, told).await?;
    let partitions = task.until_stopped(task.source.partitions(name, &cut)).await?.map_err(failed)?;
    let lane = LaneId { lane: 0, of: 1 };
    let pages = task.source.open(name, Arc::new(partitions), lane, Offset::start(0)).map_err(failed)?;
    let mut pages = pages.within(task.page_buffer);
    task.ledger.begin_outside_parent(id, text).await?;
    let (mut taken, mut batch) = (picker.taken(), 0);
    while let Some(page) = task.until_stopped(pages.next()).await?.map_err(failed)? {
        if let Some((came, total)) = page.shortfall() {
            let note = format!(
                "its parent {text} ended after {came} {}, but the source said {total}: compare",
                plural(came, "record")
            );
            task.ledger.add_note(id, told, &note).await?;
        }
        let pick = picker.clone();
        let values = task.cpu.run(move |_| pick.pick(&page)).await?;
        values.and_then(|values| taken.add_all(&values)).map_err(|error| picker.too_many(error))?;
        if taken.rows() >= BATCH {
            task.ledger.add_outside_values(id, text, batch, taken.take()).await?;
            batch += 1;
        }
    }
    task.ledger.add_outside_values(id, text, batch, taken.take()).await?;
    crash::point("parent.values_stored");
    task.ledger.close_outside_parent(id, text, taken.count()).await?;
    crash::point("parent.read");
    Ok(())
}
