//! One budget of requests per source, shared by all its tasks: so many at a time, so many per second, none while paused.

use crate::base::clock;
use jiff::Timestamp;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How far behind its schedule a request may start at once: a timer's grain, so that lateness does not add up. Not a burst.
const SLACK: Duration = Duration::from_millis(20);

/// The slowest rate: one request in about eleven days.
const SLOWEST: f64 = 1e-6;

/// The shared budget. It lives as long as the source is configured; a reload sets new figures under running tasks.
#[derive(Debug)]
pub struct Limiter {
    state: Mutex<State>,
    slots: Arc<Semaphore>,
    debt: AtomicU32,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    interval: Option<Duration>,
    next: Instant,
    pause: Option<Pause>,
    concurrency: u32,
}

/// Until when no request of the source may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// By the monotonic clock: what requests go by.
    pub until: Instant,
    /// By the wall clock: what people read.
    pub shown: Timestamp,
}

/// The right to have one request under way; given back when dropped.
#[derive(Debug)]
pub struct RequestPermit {
    limiter: Arc<Limiter>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Limiter {
    /// A budget of `concurrency` requests at a time (at least 1) and `per_second`, evenly spaced.
    pub fn new(per_second: Option<f64>, concurrency: u32) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            state: Mutex::new(State {
                interval: interval(per_second),
                next: clock::monotonic(),
                pause: None,
                concurrency,
            }),
            slots: Arc::new(Semaphore::new(concurrency as usize)),
            debt: AtomicU32::new(0),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets new figures; requests under way are not disturbed.
    pub fn set(&self, per_second: Option<f64>, concurrency: u32) {
        let concurrency = concurrency.max(1);
        let mut state = self.state();
        state.interval = interval(per_second);
        state.next = state.next.min(clock::monotonic());
        let before = std::mem::replace(&mut state.concurrency, concurrency);
        if concurrency >= before {
            let owed = self.repay(concurrency - before);
            self.slots.add_permits((concurrency - before - owed) as usize);
        } else {
            let gone = self.slots.forget_permits((before - concurrency) as usize);
            let left = before - concurrency - u32::try_from(gone).unwrap_or(u32::MAX);
            self.debt.fetch_add(left, Ordering::SeqCst);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes up to `most` off the permits that are still to vanish; says how many it took.
    fn repay(&self, most: u32) -> u32 {
        let taken = self.debt.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |debt| Some(debt - debt.min(most)));
        taken.unwrap_or(0).min(most)
    }

    /// Requests at a time, as configured now.
    pub fn concurrency(&self) -> u32 {
        self.state().concurrency
    }

    /// Holds every request of the source back for `wait` from now; a longer pause stays.
    pub fn pause(&self, wait: Duration) {
        let until = clock::monotonic() + wait;
        let shown = clock::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        let mut state = self.state();
        if state.pause.is_none_or(|pause| pause.until < until) {
            state.pause = Some(Pause { until, shown });
        }
    }

    /// The pause in force.
    pub fn paused(&self) -> Option<Pause> {
        self.state().pause.filter(|pause| pause.until > clock::monotonic())
    }

    /// Waits for the right to send one request: first come, first served.
    pub async fn acquire(self: &Arc<Self>) -> RequestPermit {
        let slot = self.slots.clone().acquire_owned().await.ok();
        let permit = RequestPermit { limiter: self.clone(), slot };
        self.turn().await;
        permit
    }

    /// Waits for a request's turn in the schedule. Whoever holds a permit asks for each request that it sends after the
    /// first one, such as that of a redirect.
    pub async fn turn(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let start = self.state().reserve(clock::monotonic());
            tokio::select! {
                () = tokio::time::sleep_until(start.into()) => {}
                () = changed => continue,
            }
            // Another request may have been told to wait while this one slept.
            if self.state().pause.is_none_or(|pause| pause.until <= start) {
                return;
            }
        }
    }
}

impl State {
    /// The instant at which the next request may start, and is then expected to.
    fn reserve(&mut self, now: Instant) -> Instant {
        let pause = self.pause.map(|pause| pause.until).filter(|until| *until > now);
        let earliest = pause.unwrap_or(now);
        let Some(interval) = self.interval else { return earliest };
        let floor = pause.or_else(|| now.checked_sub(SLACK)).unwrap_or(now);
        let slot = self.next.max(floor);
        self.next = slot + interval;
        slot.max(earliest)
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        if self.limiter.repay(1) == 1
            && let Some(slot) = self.slot.take()
        {
            slot.forget();
        }
    }
}

fn interval(per_second: Option<f64>) -> Option<Duration> {
    per_second.filter(|rate| rate.is_finite()).map(|rate| Duration::from_secs_f64(1.0 / rate.max(SLOWEST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;

    #[test]
    fn the_schedule_is_even_and_does_not_burst_after_idling() {
        let start = clock::monotonic();
        let mut state = State { interval: interval(Some(10.0)), next: start, pause: None, concurrency: 1 };
        let ms = |n| Duration::from_millis(n);
        let starts: Vec<_> = (0..5).map(|_| state.reserve(start) - start).collect();
        assert_eq!(starts, [ms(0), ms(100), ms(200), ms(300), ms(400)]);
        let later = start + Duration::from_secs(60);
        let starts: Vec<_> = (0..3).map(|_| state.reserve(later) - later).collect();
        assert_eq!(starts, [ms(0), ms(80), ms(180)], "an idle minute saves up one timer grain and no more");
    }

    #[test]
    fn after_a_pause_requests_are_spaced_again() {
        let start = clock::monotonic();
        let until = start + Duration::from_secs(5);
        let pause = Some(Pause { until, shown: Timestamp::UNIX_EPOCH });
        let mut state = State { interval: interval(Some(2.0)), next: start, pause, concurrency: 1 };
        assert_eq!(state.reserve(start), until);
        assert_eq!(state.reserve(start), until + Duration::from_millis(500));
    }

    #[tokio::test]
    async fn a_pause_holds_requests_back() {
        let limiter = Arc::new(Limiter::new(None, 4));
        let start = clock::monotonic();
        limiter.pause(Duration::from_millis(120));
        limiter.pause(Duration::from_millis(10));
        assert!(limiter.paused().is_some());
        drop(limiter.acquire().await);
        assert!(clock::since(start) >= Duration::from_millis(120));
        assert_eq!(limiter.paused(), None);
    }

    #[tokio::test]
    async fn concurrency_grows_and_shrinks_under_use() {
        let limiter = Arc::new(Limiter::new(None, 3));
        let (a, b, c) = (limiter.acquire().await, limiter.acquire().await, limiter.acquire().await);
        limiter.set(None, 1);
        drop(a);
        drop(b);
        assert!(poll!(Box::pin(limiter.acquire())).is_pending(), "one request is still under way");
        drop(c);
        let one = limiter.acquire().await;
        assert!(poll!(Box::pin(limiter.acquire())).is_pending());
        limiter.set(None, 2);
        let two = limiter.acquire().await;
        assert!(poll!(Box::pin(limiter.acquire())).is_pending());
        drop((one, two));
    }

    #[tokio::test]
    async fn a_faster_rate_wakes_those_who_wait() {
        let limiter = Arc::new(Limiter::new(Some(0.001), 4));
        drop(limiter.acquire().await);
        let waiting = tokio::spawn({
            let limiter = limiter.clone();
            async move { drop(limiter.acquire().await) }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        limiter.set(None, 4);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    }
}
