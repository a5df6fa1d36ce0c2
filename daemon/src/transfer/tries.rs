//! When a destination is tried again: failures in a row and one wait, of all the files that are on their way there.

use crate::base::clock;
use crate::base::retry::{RetryPolicy, Waits};
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Waits between tries; a destination is never given up on while the source is being read.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, initial: Duration::from_millis(500), max: Duration::from_secs(60) };

/// The wait before a try that only helps if an operator did something.
const BY_OPERATOR: Duration = Duration::from_secs(30);

/// The longest wait that a destination may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The tries at one destination.
#[derive(Debug, Default)]
pub struct Tries(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waits: Option<Waits>,
    in_a_row: u32,
    /// The last failure, and when the next try may be.
    failed: Option<(Instant, Instant)>,
}

impl Tries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A try begins.
    pub fn begin(&self) -> Instant {
        clock::monotonic()
    }

    /// A try worked; whether one before it had failed.
    pub fn worked(&self) -> bool {
        std::mem::take(&mut *self.state()).failed.is_some()
    }

    /// A try that began then failed; `asked` is how long the destination wants to be left alone. The wait before the next one, if this one is the first to learn of the failure: what
    /// was under way at the same time failed of the same.
    pub fn failed(&self, began: Instant, mends_itself: bool, asked: Option<Duration>) -> Option<Duration> {
        let mut state = self.state();
        if state.failed.is_some_and(|(at, _)| began <= at) {
            return None;
        }
        let asked = asked.map(|asked| asked.min(LONGEST_ASKED));
        let wait = match mends_itself {
            true => state.waits.get_or_insert_with(|| RETRY.waits()).next_wait(asked).unwrap_or(RETRY.max),
            false => BY_OPERATOR,
        };
        let now = clock::monotonic();
        state.in_a_row += 1;
        state.failed = Some((now, now + wait));
        Some(wait)
    }

    /// Failures in a row.
    pub fn in_a_row(&self) -> u32 {
        self.state().in_a_row
    }

    /// How long until the next try; nothing where there is nothing to wait for.
    pub fn wait(&self) -> Option<Duration> {
        let (_, until) = self.state().failed?;
        Some(until.saturating_duration_since(clock::monotonic())).filter(|wait| !wait.is_zero())
    }

    /// When the next try is.
    pub fn next_try(&self) -> Option<Timestamp> {
        clock::now().checked_add(self.wait()?).ok()
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
    pub fn lose(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_together_counts_once() {
        let tries = Tries::default();
        let began = tries.begin();
        assert!(tries.failed(began, true, None).is_some());
        assert_eq!(tries.failed(began, true, None), None, "it was under way when the first one failed");
        assert_eq!(tries.in_a_row(), 1);
        std::thread::sleep(Duration::from_millis(2));
        assert!(tries.failed(tries.begin(), false, None).is_some_and(|wait| wait == BY_OPERATOR));
        assert_eq!(tries.in_a_row(), 2);
        assert!(tries.wait().is_some() && tries.next_try().is_some());
        assert!(tries.worked());
        assert!(!tries.worked());
        let minute = Duration::from_secs(60);
        assert!(tries.failed(tries.begin(), true, Some(minute)).is_some_and(|wait| wait >= minute), "as it asked");
        assert!(tries.worked());
        assert_eq!((tries.in_a_row(), tries.wait()), (0, None));
    }

    #[test]
    fn a_run_is_put_aside_when_nobody_gets_anywhere() {
        let crew = Crew::default();
        let (hangs, refuses, done) = (crew.join(), crew.join(), crew.join());
        drop(done);
        assert!(!refuses.lose(), "the other one may still get somewhere");
        refuses.regain();
        refuses.regain();
        assert!(!hangs.lose());
        assert!(refuses.lose() && refuses.lose());
    }
}
