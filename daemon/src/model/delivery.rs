//! What the worker of a destination decides: what it does next, when it tries again, and when it leaves a destination for later.
//!
//! Pure functions of what a worker has seen and of a time that it is told, so that they can be simulated.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A destination that failed so often in a row is left for later, once nothing but it is to be done.
const TRIES: u32 = 5;

/// The wait before a try that only helps if an operator did something.
const BY_OPERATOR: Duration = Duration::from_secs(30);

/// The longest wait that a destination may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// What the deliveries of a task know about its extraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extraction {
    Running,
    /// No more segments will come: deliver what is there, and publish.
    Ended,
    /// An operator paused it: deliver what is there, publish nothing.
    Paused,
    /// The task stops: try each segment that is there once more.
    Stopped,
}

/// What a worker does that has begun all that it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Waits for the end of a delivery, a segment, or word of the extraction.
    Wait,
    Publish,
    Leave,
}

impl Extraction {
    /// What comes next while so many deliveries are under way.
    pub fn turn(self, under_way: usize) -> Turn {
        match self {
            _ if under_way > 0 => Turn::Wait,
            Self::Running => Turn::Wait,
            Self::Ended => Turn::Publish,
            Self::Paused | Self::Stopped => Turn::Leave,
        }
    }
}

/// A try that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// When it began.
    pub began: Instant,
    /// Whether another try may help although nobody does anything.
    pub mends_itself: bool,
    /// How long the destination wants to be left alone.
    pub asked: Option<Duration>,
}

/// The tries at one destination, of all the files that are on their way there.
#[derive(Debug, Default)]
pub struct Patience {
    in_a_row: u32,
    /// The last failure, and when the next try may be.
    failed: Option<(Instant, Instant)>,
}

impl Patience {
    /// A try worked; whether one before it had failed.
    pub fn worked(&mut self) -> bool {
        std::mem::take(self).failed.is_some()
    }

    /// A try failed just now. The wait before the next one, if this one is the first to learn of the failure: what was under way at
    /// the same time failed of the same. `next_wait` is given what the destination asks for.
    pub fn failed(
        &mut self,
        failure: Failure,
        now: Instant,
        next_wait: impl FnOnce(Option<Duration>) -> Duration,
    ) -> Option<Duration> {
        if self.failed.is_some_and(|(at, _)| failure.began <= at) {
            return None;
        }
        let wait = match failure.mends_itself {
            true => next_wait(failure.asked.map(|asked| asked.min(LONGEST_ASKED))),
            false => BY_OPERATOR,
        };
        self.in_a_row += 1;
        self.failed = Some((now, now + wait));
        Some(wait)
    }

    /// Failures in a row.
    pub fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// How long until the next try; nothing where there is nothing to wait for.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let (_, until) = self.failed?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Whether a try that failed was the last one. While the source is still being read there is none: a destination never holds up
    /// the source or another destination. Once it is read, what only an operator can mend is left at once.
    pub fn gives_up(&self, extraction: Extraction, mends_itself: bool, hope: &Hope) -> bool {
        match extraction {
            Extraction::Running => false,
            Extraction::Ended | Extraction::Paused if self.in_a_row >= TRIES || !mends_itself => hope.lose(),
            Extraction::Ended | Extraction::Paused => false,
            Extraction::Stopped => true,
        }
    }
}

/// The workers of one run: as long as one of them gets somewhere, or may, the others try again, too; a destination that hangs
/// must not keep another one from coming back.
#[derive(Debug, Default)]
pub struct Crew(Arc<AtomicUsize>);

impl Crew {
    /// One more worker.
    pub fn join(&self) -> Hope {
        self.0.fetch_add(1, SeqCst);
        Hope { crew: self.0.clone(), lost: AtomicBool::new(false) }
    }
}

/// Whether a worker hopes to get somewhere; it ends with the worker.
#[derive(Debug)]
pub struct Hope {
    crew: Arc<AtomicUsize>,
    lost: AtomicBool,
}

impl Hope {
    /// It failed too often. True if nobody has any hope left, so that the run may be put aside.
    fn lose(&self) -> bool {
        if !self.lost.swap(true, SeqCst) {
            self.crew.fetch_sub(1, SeqCst);
        }
        self.crew.load(SeqCst) == 0
    }

    /// It works again.
    pub fn regain(&self) {
        if self.lost.swap(false, SeqCst) {
            self.crew.fetch_add(1, SeqCst);
        }
    }
}

impl Drop for Hope {
    fn drop(&mut self) {
        self.lose();
    }
}
