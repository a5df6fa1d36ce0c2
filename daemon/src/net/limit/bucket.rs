//! Budgets of requests as pure functions of time: evenly spaced ones, and so many in any window of a length.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far behind its schedule a request may start at once: a timer's grain, so that lateness does not add up. Not a burst.
const SLACK: Duration = Duration::from_millis(20);

/// The slowest rate: one request in about eleven days.
const SLOWEST: f64 = 1e-6;

/// Parts that a window is counted in. What is in the oldest part counts until the whole part is out of the window, so that
/// a budget is never exceeded; at a steady rate that costs one part in sixty.
const PARTS: u32 = 60;

/// Requests at an even distance. The rate may change from one request to the next.
#[derive(Debug, Default)]
pub struct Spacing {
    last: Option<Instant>,
}

impl Spacing {
    /// When the next request may start, at `rate` requests a second; none is no limit.
    pub fn ready(&self, now: Instant, rate: Option<f64>) -> Instant {
        let next = self.last.zip(interval(rate)).map(|(last, interval)| last + interval);
        next.map_or(now, |next| next.max(now))
    }

    /// A request starts now.
    pub fn take(&mut self, now: Instant, rate: Option<f64>) {
        let floor = now.checked_sub(SLACK).unwrap_or(now);
        let due = self.last.zip(interval(rate)).map(|(last, interval)| last + interval);
        self.last = Some(due.map_or(now, |due| due.clamp(floor, now)));
    }
}

fn interval(rate: Option<f64>) -> Option<Duration> {
    rate.filter(|rate| rate.is_finite()).map(|rate| Duration::from_secs_f64(1.0 / rate.max(SLOWEST)))
}

/// At most so many requests in any window of a length, as fast as they come.
#[derive(Debug)]
pub struct Window {
    limit: u32,
    length: Duration,
    /// When a part began, and the requests in it; oldest first, at most [`PARTS`] + 1.
    parts: VecDeque<(Instant, u32)>,
}

impl Window {
    /// A window in which nothing has started yet. `limit` is at least 1.
    pub fn new(limit: u32, length: Duration) -> Self {
        Self { limit: limit.max(1), length, parts: VecDeque::new() }
    }

    /// The most requests in a window.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Another limit from now on; what was counted stays.
    pub fn set(&mut self, limit: u32) {
        self.limit = limit.max(1);
    }

    fn part(&self) -> Duration {
        self.length / PARTS
    }

    /// When the next request may start.
    pub fn ready(&self, now: Instant) -> Instant {
        let out = |begun: Instant| begun + self.part() + self.length;
        let mut inside: u32 = self.parts.iter().filter(|(begun, _)| out(*begun) > now).map(|(_, count)| count).sum();
        let mut ready = now;
        for (begun, count) in self.parts.iter().filter(|(begun, _)| out(*begun) > now) {
            if inside < self.limit {
                break;
            }
            inside -= count;
            ready = out(*begun);
        }
        ready
    }

    /// A request starts now.
    pub fn take(&mut self, now: Instant) {
        let (part, length) = (self.part(), self.length);
        self.parts.retain(|(begun, _)| *begun + part + length > now);
        match self.parts.back_mut() {
            Some((begun, count)) if *begun + part > now => *count = count.saturating_add(1),
            _ => self.parts.push_back((now, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Starts of `n` requests that all want to start at `from`.
    fn starts(spacing: &mut Spacing, from: Instant, rate: f64, n: usize) -> Vec<Duration> {
        let mut now = from;
        let start = |_| {
            now = spacing.ready(now, Some(rate));
            spacing.take(now, Some(rate));
            now - from
        };
        (0..n).map(start).collect()
    }

    #[test]
    fn the_schedule_is_even_and_does_not_burst_after_idling() {
        let start = clock::monotonic();
        let mut spacing = Spacing::default();
        assert_eq!(starts(&mut spacing, start, 10.0, 5), [ms(0), ms(100), ms(200), ms(300), ms(400)]);
        let later = start + Duration::from_secs(60);
        let after = starts(&mut spacing, later, 10.0, 3);
        assert_eq!(after, [ms(0), ms(80), ms(180)], "an idle minute saves up one timer grain and no more");
    }

    #[test]
    fn a_faster_rate_counts_at_once() {
        let start = clock::monotonic();
        let mut spacing = Spacing::default();
        spacing.take(start, Some(0.001));
        assert_eq!(spacing.ready(start, Some(0.001)), start + Duration::from_secs(1000));
        assert_eq!(spacing.ready(start, Some(10.0)), start + ms(100));
        assert_eq!(spacing.ready(start, None), start);
    }

    #[test]
    fn a_window_lets_its_budget_go_and_then_waits() {
        let start = clock::monotonic();
        let mut window = Window::new(3, Duration::from_secs(60));
        for n in 0..3 {
            assert_eq!(window.ready(start + ms(n)), start + ms(n));
            window.take(start + ms(n));
        }
        assert_eq!(window.ready(start + ms(3)), start + Duration::from_secs(61), "a part is a second");
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_its_budget(
            limit in 1..40_u32,
            gaps in prop::collection::vec(0..5_000_u64, 1..300),
        ) {
            let length = Duration::from_secs(60);
            let mut window = Window::new(limit, length);
            let mut now = clock::monotonic();
            let mut taken: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += ms(gap);
                let ready = window.ready(now);
                prop_assert!(ready >= now && ready <= now + length + length / PARTS);
                now = ready;
                window.take(now);
                taken.push(now);
                let inside = taken.iter().filter(|at| **at + length > now).count();
                prop_assert!(inside <= limit as usize, "{inside} of {limit}");
                prop_assert!(window.parts.len() <= PARTS as usize + 2);
            }
        }

        #[test]
        fn spacing_never_exceeds_its_rate(rate in 0.5..500.0_f64, gaps in prop::collection::vec(0..200_u64, 2..200)) {
            let mut spacing = Spacing::default();
            let start = clock::monotonic();
            let (mut now, mut count) = (start, 0_u32);
            for gap in gaps {
                now = spacing.ready(now + ms(gap), Some(rate));
                spacing.take(now, Some(rate));
                count += 1;
                let most = (now - start + SLACK).as_secs_f64() * rate + 1.001;
                prop_assert!(f64::from(count) <= most, "{count} of {most}");
            }
        }
    }
}
