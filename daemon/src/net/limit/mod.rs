//! One budget of requests per source, shared by all its tasks: so many at a time, so many per second, minute and hour, no
//! more than the server allows, none while paused.
//!
//! ```text
//! acquire ─▶ slot (concurrency) ─▶ turn: pace.take ─▶ send ─▶ answered: pace learns
//!                                         │
//!                     bucket (configured) │ windows (told) │ adaptive (learnt) │ pause (Retry-After)
//! ```

mod adaptive;
mod bucket;
pub mod hints;
mod meter;
mod pace;
mod windows;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use pace::{Held, Origin, Standing, Told, Why};
pub use windows::Shown;

use crate::base::clock;
use crate::config::settings::Rate;
use pace::Pace;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The shared budget. It lives as long as the source is configured; a reload sets new figures under running tasks.
#[derive(Debug)]
pub struct Limiter {
    pace: Mutex<Pace>,
    slots: Arc<Semaphore>,
    debt: AtomicU32,
    /// Whoever holds it is next: first come, first served.
    door: tokio::sync::Mutex<()>,
    changed: Notify,
}

/// The right to have one request under way; given back when dropped.
#[derive(Debug)]
pub struct RequestPermit {
    limiter: Arc<Limiter>,
    slot: Option<OwnedSemaphorePermit>,
    /// When the request under way was sent, until it is answered.
    sent: Mutex<Option<Instant>>,
}

impl Limiter {
    /// A budget of which nothing is used.
    pub fn new(rate: &Rate) -> Self {
        Self {
            pace: Mutex::new(Pace::new(clock::monotonic(), rate)),
            slots: Arc::new(Semaphore::new(rate.concurrency.max(1) as usize)),
            debt: AtomicU32::new(0),
            door: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets new figures; requests under way are not disturbed.
    pub fn set(&self, rate: &Rate) {
        let mut pace = self.pace();
        let before = pace.concurrency();
        pace.set(clock::monotonic(), rate);
        let concurrency = pace.concurrency();
        if concurrency >= before {
            let owed = self.repay(concurrency - before);
            self.slots.add_permits((concurrency - before - owed) as usize);
        } else {
            let gone = self.slots.forget_permits((before - concurrency) as usize);
            let left = before - concurrency - u32::try_from(gone).unwrap_or(u32::MAX);
            self.debt.fetch_add(left, Ordering::SeqCst);
        }
        drop(pace);
        self.changed.notify_waiters();
    }

    /// Takes up to `most` off the permits that are still to vanish; says how many it took.
    fn repay(&self, most: u32) -> u32 {
        let taken = self.debt.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |debt| Some(debt - debt.min(most)));
        taken.unwrap_or(0).min(most)
    }

    /// Requests at a time, as configured now.
    pub fn concurrency(&self) -> u32 {
        self.pace().concurrency()
    }

    /// Holds every request of the source back for `wait` from now, because the server asked for it; a longer pause stays.
    pub fn pause(&self, wait: Duration) {
        self.pace().pause(Held { until: clock::monotonic() + wait, why: Why::Asked });
    }

    /// Why no request may start now, if so.
    pub fn held(&self) -> Option<Held> {
        self.pace().held(clock::monotonic())
    }

    /// The budget as it stands.
    pub fn standing(&self) -> Standing {
        self.pace().standing(clock::monotonic())
    }

    /// Waits for the right to send one request: first come, first served.
    pub async fn acquire(self: &Arc<Self>) -> RequestPermit {
        let slot = self.slots.clone().acquire_owned().await.ok();
        let permit = RequestPermit { limiter: self.clone(), slot, sent: Mutex::default() };
        permit.turn().await;
        permit
    }

    /// Waits for the right to send one request on behalf of one that has a slot already, such as that for its token.
    pub async fn turn(self: &Arc<Self>) -> RequestPermit {
        let permit = RequestPermit { limiter: self.clone(), slot: None, sent: Mutex::default() };
        permit.turn().await;
        permit
    }

    /// Waits until the next request may start, and starts it.
    async fn next(&self) -> Instant {
        let _door = self.door.lock().await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = clock::monotonic();
            let Err(held) = self.pace().take(now) else { return now };
            tokio::select! {
                () = tokio::time::sleep_until(held.until.into()) => {}
                () = changed => {}
            }
        }
    }
}

impl RequestPermit {
    /// Waits for a request's turn. Whoever holds a permit asks for each request that it sends after the first one, such as
    /// that of a redirect; the one before counts as ended.
    pub async fn turn(&self) {
        self.ended();
        let sent = self.limiter.next().await;
        *self.sent() = Some(sent);
    }

    fn sent(&self) -> MutexGuard<'_, Option<Instant>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request was answered.
    pub fn answered(&self, told: &Told) {
        if let Some(sent) = self.sent().take() {
            self.limiter.pace().answered(clock::monotonic(), sent, told);
        }
    }

    fn ended(&self) {
        if self.sent().take().is_some() {
            self.limiter.pace().lost();
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.ended();
        if self.slot.is_some()
            && self.limiter.repay(1) == 1
            && let Some(slot) = self.slot.take()
        {
            slot.forget();
        }
    }
}
