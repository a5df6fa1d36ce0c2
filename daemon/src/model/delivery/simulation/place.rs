//! A destination of the simulation, and what its worker has under way.

use crate::model::delivery::{Extraction, Hope, Patience};
use std::collections::BTreeSet;
use std::time::Instant;

/// How a destination answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Works,
    Breaks,
    Refuses,
    /// It asks to be left alone for so many seconds.
    Throttles(u64),
}

/// What a worker does at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Probe,
    Put(u32),
    Publish,
}

/// A step under way, with all its tries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub step: Step,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Until then, until there is word of the extraction, or until a worker leaves.
    Rests { until: Instant, since: Extraction },
    /// Since the one, and until the other.
    Tries { began: Instant, until: Instant },
}

#[derive(Debug)]
pub(super) struct Worker {
    pub patience: Patience,
    pub hope: Hope,
    pub jobs: Vec<Job>,
    /// Whether its destination has answered once.
    pub probed: bool,
    /// It leaves when what is on its way has ended.
    pub leaving: bool,
    /// For the judge: until when the destination is to be left alone, and the extraction since which there was no word.
    pub left_alone: Option<(Instant, Extraction)>,
    /// For the judge: of what its last try failed, if it did; a refusal stays until something works again.
    pub ill: Option<Health>,
}

#[derive(Debug)]
pub(super) struct Place {
    pub health: Health,
    /// A file that somebody must move away first.
    pub conflict: Option<u32>,
    pub connections: usize,
    pub has: BTreeSet<u32>,
    pub published: bool,
    /// Gone where it has left.
    pub worker: Option<Worker>,
}

impl Place {
    /// Of what a step fails, if it does.
    pub fn ails(&self, step: Step) -> Health {
        match step {
            Step::Put(n) if self.conflict == Some(n) => Health::Refuses,
            _ => self.health,
        }
    }
}
