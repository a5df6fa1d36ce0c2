//! What is adopted in which order: what was seen, by task and stream, so that each chain grows from its start.

use super::error::AdoptError;
use super::look::{Look, Seen, Sight};
use crate::app::engine::streams_of;
use crate::base::ids::{RequestKey, TaskId};
use crate::config::settings::Config;
use crate::ledger::adopt::{AdoptedStream, Adoption};
use crate::ledger::input::NewTask;
use crate::ledger::rows::TaskRow;
use crate::ledger::{Ledger, LedgerError};
use crate::model::scope::Scope;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// The adoptions of everything that was seen, in the order in which the ledger is to take them.
pub async fn orders(
    look: &Look<'_>,
    ledger: &Ledger,
    (sight, actor): (Sight, &str),
) -> Result<Vec<Adoption>, AdoptError> {
    let mut tasks: BTreeMap<TaskId, Vec<Seen>> = BTreeMap::new();
    for seen in sight.seen {
        tasks.entry(seen.task.clone()).or_default().push(seen);
    }
    let mut orders = Vec::new();
    for (id, seen) in tasks {
        let row = ledger.task(&id).await?;
        orders.push(order(look, row.as_ref(), (id, seen), actor)?);
    }
    let mut ranks: BTreeMap<TaskId, Timestamp> = orders.iter().map(|order| (order.id.clone(), order.new.at)).collect();
    rank(&mut ranks, &sight.chains);
    orders.sort_by_key(|order| (ranks.get(&order.id).copied(), order.id.clone()));
    Ok(orders)
}

/// Puts every task behind those before it in its chains: the clock may have been put back between two of them.
fn rank(ranks: &mut BTreeMap<TaskId, Timestamp>, chains: &[Vec<TaskId>]) {
    // Each round puts one more link right, at least.
    for _ in 0..=ranks.len() {
        let mut moved = false;
        for chain in chains {
            let mut before = Timestamp::MIN;
            for task in chain {
                let Some(at) = ranks.get_mut(task) else { continue };
                if *at <= before {
                    *at = before.checked_add(SignedDuration::from_micros(1)).unwrap_or(before);
                    moved = true;
                }
                before = *at;
            }
        }
        if !moved {
            return;
        }
    }
}

fn order(
    look: &Look<'_>,
    row: Option<&TaskRow>,
    (id, seen): (TaskId, Vec<Seen>),
    actor: &str,
) -> Result<Adoption, AdoptError> {
    let mut places: Vec<&str> = seen.iter().map(|seen| seen.destination.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    let reason = format!("adopted: its manifests are published at {}", places.join(" and "));
    let (export, format, created_at) = match seen.first() {
        Some(first) => {
            (first.manifest.export.clone(), first.manifest.format.clone(), created(&id, &first.manifest.created_at)?)
        }
        None => return Err(LedgerError::Refused(format!("adopt the task {id}: nothing of it was seen")).into()),
    };
    let (config, spots) = (look.config(), look.spots());
    let mut new = match (row, spots.then(&export)) {
        (Some(row), _) => known(config, row, actor),
        // What the configuration does not have any more, a task of it has stored.
        (None, Some(then)) if !config.exports.contains_key(export.as_str()) => {
            usual(&then.config, (&export, format, created_at), actor)?
        }
        (None, _) => usual(config, (&export, format, created_at), actor)?,
    };
    new.config = spots.with_destinations(&new.config, (&export, &places));
    let mut streams: BTreeMap<String, AdoptedStream> = BTreeMap::new();
    for Seen { destination, manifest, composed, .. } in seen {
        let place = (destination, composed);
        match streams.get_mut(&manifest.stream) {
            None => {
                streams.insert(manifest.stream.clone(), AdoptedStream { manifest, places: vec![place] });
            }
            Some(other) if other.manifest.segments != manifest.segments => {
                let (one, two) = (other.places.first().map_or("", |(name, _)| name), &place.0);
                let why = format!("{one} and {two} have different files of its stream {}", manifest.stream);
                return Err(LedgerError::Refused(format!("adopt the task {id}: {why}; leave one out by --skip")).into());
            }
            Some(other) => {
                if other.manifest.marks.boundary.is_none() {
                    other.manifest = manifest;
                }
                other.places.push(place);
            }
        }
    }
    Ok(Adoption { id, new, streams: streams.into_values().collect(), reason })
}

/// An open task of which the ledger itself knows that it is published somewhere.
pub fn published(config: &Config, row: &TaskRow, actor: &str) -> Adoption {
    let reason = "adopted: it was published before the ledger was restored".to_owned();
    Adoption { id: row.id.clone(), new: known(config, row, actor), streams: Vec::new(), reason }
}

fn created(id: &TaskId, text: &str) -> Result<Timestamp, AdoptError> {
    text.parse().map_err(|_| {
        LedgerError::Refused(format!("adopt the task {id}: its manifest says that it was created at {text:?}")).into()
    })
}

/// What a request for an export without parameters makes.
fn usual(config: &Config, (name, format, at): (&str, String, Timestamp), actor: &str) -> Result<NewTask, AdoptError> {
    let effective = config.effective_for(name);
    let (Some(export), Some(effective)) = (config.exports.get(name), effective) else {
        return Err(LedgerError::Refused(format!("adopt the tasks of export {name}: it is not configured")).into());
    };
    Ok(NewTask {
        export: name.to_owned(),
        key: RequestKey::new(name, &[], &format, ""),
        params: Vec::new(),
        scope: Scope::default(),
        chained: true,
        format,
        config: effective.to_string(),
        streams: streams_of(export, config).iter().map(ToString::to_string).collect(),
        notify: Vec::new(),
        actor: actor.to_owned(),
        at,
    })
}

/// What a task that the ledger knows was made of.
fn known(config: &Config, row: &TaskRow, actor: &str) -> NewTask {
    let now = usual(config, (&row.export, row.format.clone(), row.created_at), actor).ok();
    NewTask {
        export: row.export.clone(),
        key: row.key.clone(),
        params: row.params.clone(),
        scope: row.scope.clone(),
        chained: row.chained,
        format: row.format.clone(),
        config: now.as_ref().map_or_else(|| row.config.clone(), |now| now.config.clone()),
        streams: now.map(|now| now.streams).unwrap_or_default(),
        notify: Vec::new(),
        actor: actor.to_owned(),
        at: row.created_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_keeps_its_order_whatever_the_clock_said() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let id = |text: &str| TaskId::known(text);
        let mut ranks: BTreeMap<TaskId, Timestamp> =
            [("a", 100), ("b", 90), ("c", 95), ("d", 99)].map(|(name, second)| (id(name), at(second))).into();
        let chains = [vec![id("a"), id("b"), id("c")], vec![id("c"), id("x"), id("d")]];
        rank(&mut ranks, &chains);
        let mut order: Vec<_> = ranks.into_iter().map(|(name, rank)| (rank, name.to_string())).collect();
        order.sort();
        assert_eq!(order.into_iter().map(|(_, name)| name).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }
}
