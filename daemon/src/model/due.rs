//! Whether a schedule is due: a pure function of the schedule, what was looked at before, and the clock.

use super::timetable::Timetable;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// A slot that came while nobody looked is missed only after so long: a restart takes a moment.
pub const GRACE: SignedDuration = SignedDuration::from_mins(1);
/// What was looked at lies further ahead of the clock than this only where the clock was wrong: then it counts no more.
pub const WRONG_CLOCK: SignedDuration = SignedDuration::from_hours(24);

/// A schedule as it counts on this machine.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its times, the slots.
    pub timetable: Timetable,
    /// How long after a slot it runs.
    pub delay: SignedDuration,
    /// Whether slots that were missed are made up for, by one run.
    pub catch_up: bool,
}

/// How far a schedule has been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was first seen; no slot up to then counts.
    pub since: Timestamp,
    /// The last slot that was decided on.
    pub slot: Option<Timestamp>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// See it for the first time again: the clock has been put back behind everything that is known.
    Anew,
    /// Run for this slot, and for those from `first` on that were missed before it.
    Run {
        /// The slot.
        slot: Timestamp,
        /// The first slot that was not looked at; the same where none was missed.
        first: Timestamp,
    },
    /// Let go of everything up to this slot: it was missed, and is not to be made up for.
    Miss {
        /// The slot.
        slot: Timestamp,
    },
    /// Nothing before this instant; `None`: never again.
    Wait(Option<Timestamp>),
}

impl Plan {
    /// What is to be done at `now`. A slot is never decided on twice, whatever the clock does, and several that have come
    /// together are one run.
    pub fn decide(&self, seen: Seen, now: Timestamp) -> Decision {
        let last = seen.slot.unwrap_or(seen.since);
        let ahead = now.duration_until(last);
        if ahead > WRONG_CLOCK || (seen.slot.is_none() && ahead.is_positive()) {
            return Decision::Anew;
        }
        let Some(first) = self.timetable.next(last) else { return Decision::Wait(None) };
        let due = self.due(first);
        if due > now {
            return Decision::Wait(Some(due));
        }
        let until = now.checked_sub(self.delay).unwrap_or(Timestamp::MIN);
        let slot = self.timetable.latest(last, until).unwrap_or(first);
        if !self.catch_up && self.due(slot).duration_until(now) > GRACE {
            return Decision::Miss { slot };
        }
        Decision::Run { slot, first }
    }

    /// When a slot is run.
    pub fn due(&self, slot: Timestamp) -> Timestamp {
        slot.checked_add(self.delay).unwrap_or(Timestamp::MAX)
    }

    /// The slots that are to come, the next first. Where none was decided on yet, those behind `now`.
    pub fn upcoming(&self, seen: Option<Seen>, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let open = now.checked_sub(self.delay).unwrap_or(now);
        let done = seen.and_then(|seen| seen.slot).filter(|slot| open.duration_until(*slot) <= WRONG_CLOCK);
        let from = done.map_or(open, |slot| slot.max(open));
        std::iter::successors(self.timetable.next(from), |slot| self.timetable.next(*slot))
    }
}

/// The delay of an export on a machine, in whole seconds up to `most`: always the same, and another one for each of them.
pub fn delay(machine: &str, export: &str, most: Duration) -> SignedDuration {
    let mut hash = Sha256::new();
    for part in [machine, export] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let bytes = hash.finalize();
    let number = bytes.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let span = most.as_secs().saturating_add(1);
    SignedDuration::from_secs(i64::try_from(number % span).unwrap_or(0))
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
