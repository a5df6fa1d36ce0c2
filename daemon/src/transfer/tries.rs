//! The tries at one destination by the clock of the machine, which all files on their way there share.

use crate::base::clock;
use crate::base::retry::{RetryPolicy, Waits};
use crate::model::delivery::{Extraction, Failure, Hope, Patience};
use jiff::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Waits between tries; a destination is never given up on while the source is being read.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial: Duration::from_millis(500), max: Duration::from_secs(60) };

/// The tries at one destination, and whether its worker still gets somewhere.
#[derive(Debug)]
pub struct Tries {
    state: Mutex<State>,
    hope: Hope,
}

#[derive(Debug, Default)]
struct State {
    patience: Patience,
    waits: Option<Waits>,
}

impl Tries {
    /// Of a worker that has failed at nothing yet.
    pub fn new(hope: Hope) -> Self {
        Self { state: Mutex::default(), hope }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A try begins.
    pub fn begin(&self) -> Instant {
        clock::monotonic()
    }

    /// A try worked; whether one before it had failed.
    pub fn worked(&self) -> bool {
        let mut state = self.state();
        state.waits = None;
        let mended = state.patience.worked();
        if mended {
            self.hope.regain();
        }
        mended
    }

    /// A try failed; the wait before the next one, as in [`Patience::failed`].
    pub fn failed(&self, failure: Failure) -> Option<Duration> {
        let mut state = self.state();
        let State { patience, waits } = &mut *state;
        let next_wait = |asked| waits.get_or_insert_with(|| RETRY.waits()).next_wait(asked).unwrap_or(RETRY.max);
        patience.failed(failure, clock::monotonic(), next_wait)
    }

    /// Whether that was the last one.
    pub fn gives_up(&self, extraction: Extraction, mends_itself: bool) -> bool {
        self.state().patience.gives_up(extraction, mends_itself, &self.hope)
    }

    /// Failures in a row.
    pub fn in_a_row(&self) -> u32 {
        self.state().patience.in_a_row()
    }

    /// How long until the next try; nothing where there is nothing to wait for.
    pub fn wait(&self) -> Option<Duration> {
        self.state().patience.wait(clock::monotonic())
    }

    /// When the next try is.
    pub fn next_try(&self) -> Option<Timestamp> {
        clock::now().checked_add(self.wait()?).ok()
    }
}
