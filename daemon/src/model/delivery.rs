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
    /// The task stops: what is there is sent, until a try fails.
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

/// What a file does before its next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: it is tried now.
    Try,
    Wait(Duration),
    /// Nobody gets anywhere any more: it does not wait, so that the run can be put aside and begun anew.
    Leave,
}

/// The tries of one task at one destination, of all the files that are on their way there.
#[derive(Debug, Default)]
pub struct Patience {
    in_a_row: u32,
    last: Option<Last>,
    /// Until when the destination wants to be left alone.
    asked: Option<Instant>,
}

/// The last failure that counted.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    /// When the next try may be.
    until: Instant,
    /// How far the extraction was.
    extraction: Extraction,
}

impl Patience {
    /// A try that began then worked; whether that mended the destination. It did not where the destination has asked to be left
    /// alone since.
    pub fn worked(&mut self, began: Instant, now: Instant, hope: &Hope) -> bool {
        let Some(last) = self.last else { return false };
        if began <= last.at && self.asked.is_some_and(|until| until > now) {
            return false;
        }
        *self = Self::default();
        hope.regain();
        true
    }

    /// A try failed just now. The wait before the next one, if this one is the first to learn of the failure: what was under way at
    /// the same time failed of the same. `next_wait` is given what the destination asks for.
    pub fn failed(
        &mut self,
        failure: Failure,
        now: Instant,
        extraction: Extraction,
        next_wait: impl FnOnce(Option<Duration>) -> Duration,
    ) -> Option<Duration> {
        let asked = failure.asked.map(|asked| asked.min(LONGEST_ASKED));
        self.asked = self.asked.max(asked.map(|asked| now + asked));
        if let Some(last) = self.last.as_mut().filter(|last| failure.began <= last.at) {
            // What it asks for it asks for now, whatever word there was before.
            last.extraction = if asked.is_some() { extraction } else { last.extraction };
            return None;
        }
        let wait = if failure.mends_itself { next_wait(asked) } else { BY_OPERATOR };
        self.in_a_row += 1;
        self.last = Some(Last { at: now, until: now + wait, extraction });
        self.wait(now, extraction)
    }

    /// Failures in a row.
    pub fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// How long until the next try; nothing where there is nothing to wait for, or where there was word of the extraction since the
    /// last failure: that makes one try urgent.
    pub fn wait(&self, now: Instant, extraction: Extraction) -> Option<Duration> {
        let last = self.last.filter(|last| last.extraction == extraction)?;
        let until = self.asked.map_or(last.until, |asked| asked.max(last.until));
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// What a file does before its next try.
    pub fn rest(&self, now: Instant, extraction: Extraction, hope: &Hope) -> Rest {
        let read = matches!(extraction, Extraction::Ended | Extraction::Paused);
        match self.wait(now, extraction) {
            None => Rest::Try,
            Some(_) if read && hope.gone() => Rest::Leave,
            Some(wait) => Rest::Wait(wait),
        }
    }

    /// Whether a try that failed was the last one. While the source is still being read there is none: a destination never holds up
    /// the source or another destination. Once it is read, a destination that failed too often, or needs an operator, is left when
    /// no other one gets anywhere.
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
    /// It failed too often, or ends. True if nobody has any hope left, so that the run may be put aside.
    pub fn lose(&self) -> bool {
        if !self.lost.swap(true, SeqCst) {
            self.crew.fetch_sub(1, SeqCst);
        }
        self.gone()
    }

    /// Whether nobody has any.
    fn gone(&self) -> bool {
        self.crew.load(SeqCst) == 0
    }

    /// It works again.
    fn regain(&self) {
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
