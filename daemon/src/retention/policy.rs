//! Decides which chains of a stream go from a destination: a pure function of what is there, the settings and the time.
//!
//! A chain goes when nothing says that it stays. It stays
//! * while nothing limits how long chains are kept,
//! * while fewer than `chains` newer ones of its data set (at least one) are whole at the destination,
//! * while its newest manifest is younger than `days`,
//! * while something still needs it: an open task, or a delivery to another destination.
//!
//! So what is newest there always stays, whole or not, and so does everything newer than the newest whole chain, which is what
//! `latest.json` leads to.

use crate::config::settings::KeepAt;
use crate::ledger::prunes::ChainAt;
use jiff::{SignedDuration, Timestamp};
use saas_export_api::plural;
use std::collections::BTreeMap;

/// What is to become of a chain, and why, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep(String),
    /// It goes.
    Go(String),
}

/// What is to become of each of these chains, which are those of one stream at one destination.
pub fn judge(chains: &[ChainAt], keep: KeepAt, now: Timestamp) -> Vec<Fate> {
    let mut order: Vec<usize> = (0..chains.len()).collect();
    order.sort_by_key(|index| chains.get(*index).map(|chain| std::cmp::Reverse(chain.seq)));
    // Whole chains of each data set that are newer than the one that is looked at.
    let mut whole: BTreeMap<&str, u32> = BTreeMap::new();
    let mut fates = vec![Fate::Keep(String::new()); chains.len()];
    for index in order {
        let (Some(chain), Some(fate)) = (chains.get(index), fates.get_mut(index)) else { continue };
        let newer = whole.entry(chain.data_set.as_str()).or_default();
        *fate = one(chain, *newer, keep, now);
        *newer += u32::from(chain.whole());
    }
    fates
}

/// The fate of a chain, where `newer` whole chains of its data set are newer.
fn one(chain: &ChainAt, newer: u32, keep: KeepAt, now: Timestamp) -> Fate {
    if let Some(task) = &chain.held_by {
        return Fate::Keep(format!("task {task} still needs it"));
    }
    if newer == 0 {
        return Fate::Keep(if chain.whole() { "it is the newest" } else { "none that is newer is whole" }.into());
    }
    let mut why = Vec::new();
    if let Some(most) = keep.chains {
        if newer < most {
            return Fate::Keep(format!("it is among the newest {most}"));
        }
        why.push(format!("{newer} newer {} whole (chains: {most})", if newer == 1 { "one is" } else { "ones are" }));
    }
    if let Some(days) = keep.days {
        let old = now.duration_since(chain.published_at());
        if old < SignedDuration::from_hours(24 * i64::from(days)) {
            return Fate::Keep(format!("it is younger than {days} {}", plural(i64::from(days), "day")));
        }
        why.push(format!("it is {} days old (days: {days})", old.as_hours() / 24));
    }
    if why.is_empty() {
        return Fate::Keep("nothing limits how long it is kept".into());
    }
    Fate::Go(why.join(", "))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
