//! The tries of a task at one destination by the clock of the machine, which all its files on their way there share.

use crate::base::clock;
use crate::base::retry::{RetryPolicy, Waits};
use crate::model::delivery::{Crew, Extraction, Failure, Hope, Patience, Rest};
use jiff::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

/// Waits between tries; a destination is never given up on while the source is being read.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial: Duration::from_millis(500), max: Duration::from_secs(60) };

/// The workers of one run.
#[derive(Debug, Default)]
pub struct Workers {
    crew: Crew,
    changed: Arc<Notify>,
}

impl Workers {
    /// The tries of one more worker, which has failed at nothing yet.
    pub fn join(&self) -> Tries {
        Tries { state: Mutex::default(), hope: self.crew.join(), changed: self.changed.clone() }
    }
}

/// The tries of a task at one destination, and whether its worker still gets somewhere.
#[derive(Debug)]
pub struct Tries {
    state: Mutex<State>,
    hope: Hope,
    /// Told to those that rest, at all destinations, when a worker leaves.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    patience: Patience,
    waits: Option<Waits>,
    leaving: bool,
}

impl Tries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A try begins.
    pub fn begin(&self) -> Instant {
        clock::monotonic()
    }

    /// A try that began then worked; whether that mended the destination.
    pub fn worked(&self, began: Instant) -> bool {
        let mut state = self.state();
        let mended = state.patience.worked(began, clock::monotonic(), &self.hope);
        if mended {
            state.waits = None;
        }
        mended
    }

    /// A try failed; the wait before the next one, as in [`Patience::failed`].
    pub fn failed(&self, failure: Failure, extraction: Extraction) -> Option<Duration> {
        let mut state = self.state();
        let State { patience, waits, .. } = &mut *state;
        let next_wait = |asked| waits.get_or_insert_with(|| RETRY.waits()).next_wait(asked).unwrap_or(RETRY.max);
        patience.failed(failure, clock::monotonic(), extraction, next_wait)
    }

    /// Whether that was the last one.
    pub fn gives_up(&self, extraction: Extraction, mends_itself: bool) -> bool {
        self.state().patience.gives_up(extraction, mends_itself, &self.hope)
    }

    /// The worker leaves when what is on its way has ended: nothing more is tried.
    pub fn leave(&self) {
        self.state().leaving = true;
        self.changed.notify_waiters();
    }

    /// What a file does before its next try.
    pub fn rest(&self, extraction: Extraction) -> Rest {
        let state = self.state();
        if state.leaving { Rest::Leave } else { state.patience.rest(clock::monotonic(), extraction, &self.hope) }
    }

    /// Ends when nothing is to be tried any more.
    pub async fn given_up(&self, extraction: &watch::Receiver<Extraction>) {
        loop {
            let changed = self.changed();
            if self.rest(*extraction.borrow()) == Rest::Leave {
                return;
            }
            changed.await;
        }
    }

    /// The next time that a worker leaves.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Failures in a row.
    pub fn in_a_row(&self) -> u32 {
        self.state().patience.in_a_row()
    }

    /// How long until the next try; nothing where there is nothing to wait for.
    pub fn wait(&self, extraction: Extraction) -> Option<Duration> {
        self.state().patience.wait(clock::monotonic(), extraction)
    }

    /// When the next try is.
    pub fn next_try(&self, extraction: Extraction) -> Option<Timestamp> {
        clock::now().checked_add(self.wait(extraction)?).ok()
    }
}

impl Drop for Tries {
    fn drop(&mut self) {
        self.hope.lose();
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_rests_hears_that_the_last_one_left_who_got_anywhere() {
        let workers = Workers::default();
        let (rests, other) = (workers.join(), workers.join());
        let (_sender, extraction) = watch::channel(Extraction::Ended);
        let hour = Failure { began: rests.begin(), mends_itself: false, asked: Some(Duration::from_secs(3600)) };
        rests.failed(hour, Extraction::Ended);
        assert!(!rests.gives_up(Extraction::Ended, false), "the other one may still get somewhere");
        let leaves = async {
            tokio::task::yield_now().await;
            drop(other);
        };
        let hears = tokio::time::timeout(Duration::from_secs(10), rests.given_up(&extraction));
        assert!(tokio::join!(hears, leaves).0.is_ok());
        assert_eq!(rests.rest(Extraction::Ended), Rest::Leave);
    }
}
