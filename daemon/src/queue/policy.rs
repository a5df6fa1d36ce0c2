//! Which tasks start next: a pure function of the queue, the slots and the time.

use crate::base::ids::TaskId;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// A pending task, as far as the choice depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The task.
    pub id: TaskId,
    /// Its export.
    pub export: String,
    /// Whether the run has no parameters: only such a task moves the export's mark, so two never extract together.
    pub plain: bool,
    /// When it may be tried again.
    pub not_before: Option<Timestamp>,
}

/// What the slots hold now.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// Tasks that may extract at the same time.
    pub parallel: usize,
    /// Slots in use.
    pub used: usize,
    /// Exports with a plain task that extracts.
    pub plain_exports: BTreeSet<String>,
    /// Exports that an operator has paused.
    pub paused: BTreeSet<String>,
    /// Tasks that are still putting things away.
    pub stopping: BTreeSet<TaskId>,
}

/// What to do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Start these, in this order.
    pub start: Vec<TaskId>,
    /// Look again then, if nothing happens before.
    pub wake: Option<Timestamp>,
}

/// First in, first out: the candidates come in queue order; one that may not start now does not hold up the next.
pub fn choose(candidates: &[Candidate], mut slots: Slots, now: Timestamp) -> Choice {
    let mut choice = Choice::default();
    for candidate in candidates {
        if slots.used >= slots.parallel {
            break;
        }
        let blocked = slots.paused.contains(&candidate.export)
            || slots.stopping.contains(&candidate.id)
            || (candidate.plain && slots.plain_exports.contains(&candidate.export));
        if blocked {
            continue;
        }
        if let Some(later) = candidate.not_before.filter(|at| *at > now) {
            choice.wake = Some(choice.wake.map_or(later, |wake| wake.min(later)));
            continue;
        }
        slots.used += 1;
        if candidate.plain {
            slots.plain_exports.insert(candidate.export.clone());
        }
        choice.start.push(candidate.id.clone());
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(n: u8, export: u8, plain: bool, later: bool) -> Candidate {
        Candidate {
            id: TaskId::known(format!("t{n}")),
            export: format!("e{export}"),
            plain,
            not_before: later.then(|| Timestamp::from_second(100).unwrap()),
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_slots_and_never_two_plain_tasks_of_an_export(
            queue in prop::collection::vec((0u8..4, any::<bool>(), any::<bool>()), 0..20),
            parallel in 1usize..5,
            used in 0usize..5,
        ) {
            let queue: Vec<_> = queue.iter().enumerate().map(|(n, (e, p, l))| candidate(n as u8, *e, *p, *l)).collect();
            let slots = Slots { parallel, used, ..Slots::default() };
            let now = Timestamp::from_second(50).unwrap();
            let choice = choose(&queue, slots, now);
            prop_assert!(used + choice.start.len() <= parallel.max(used));
            let started: Vec<_> = queue.iter().filter(|c| choice.start.contains(&c.id)).collect();
            for c in &started {
                prop_assert!(c.not_before.is_none());
                prop_assert!(!c.plain || started.iter().filter(|o| o.plain && o.export == c.export).count() == 1);
            }
            // First in, first out: what was passed over could not have started.
            if used + choice.start.len() < parallel {
                for c in queue.iter().filter(|c| !choice.start.contains(&c.id)) {
                    prop_assert!(c.not_before.is_some() || (c.plain && started.iter().any(|o| o.plain && o.export == c.export)));
                }
            }
        }
    }

    #[test]
    fn a_waiting_task_wakes_the_loop_and_does_not_hold_up_the_next() {
        let queue = [candidate(0, 0, true, true), candidate(1, 1, true, false)];
        let slots = Slots { parallel: 1, ..Slots::default() };
        let choice = choose(&queue, slots, Timestamp::from_second(50).unwrap());
        assert_eq!(choice.start, [TaskId::known("t1")]);
        assert_eq!(choice.wake, Some(Timestamp::from_second(100).unwrap()));
    }
}
