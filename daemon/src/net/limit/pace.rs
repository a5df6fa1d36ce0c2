//! When the next request of a source may start: the configured budget, the server's hints and what was learnt, together.
//!
//! A pure state machine: time comes in, and nothing waits here.

use super::adaptive::Adaptive;
use super::bucket::{Spacing, Window};
use super::hints::Hint;
use super::meter::Meter;
use super::windows::{Shown, Windows};
use crate::config::settings::Rate;
use std::time::{Duration, Instant};

/// The rate that people see is that of the last seconds.
const SHOWN: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Why a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its turn at an even pace has not come.
    Turn,
    /// The server asked for a wait (Retry-After).
    Asked,
    /// The server refused requests without saying for how long.
    Refused,
    /// The server says that its window is used up.
    Server,
    /// `rate.per_minute` is used up.
    PerMinute(u32),
    /// `rate.per_hour` is used up.
    PerHour(u32),
}

/// Until when no request may start, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Until when.
    pub until: Instant,
    /// Why.
    pub why: Why,
}

/// Where the limit in force comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `rate` of the source.
    Configured,
    /// The server's own headers.
    Server,
    /// Refused requests.
    Learnt,
}

/// What an answer says about haste.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Whether the request was refused because there are too many.
    pub refused: bool,
    /// The server's windows.
    pub hints: Vec<Hint>,
}

/// The budget of a source as it stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Requests a second, lately.
    pub rate: f64,
    /// Requests without an answer.
    pub under_way: u32,
    /// The most at the same time.
    pub concurrency: u32,
    /// The lowest limit in force, in requests a second, and where it comes from.
    pub limit: Option<(f64, Origin)>,
    /// The server's own window.
    pub window: Option<Shown>,
    /// Requests so far.
    pub requests: u64,
    /// Requests that were refused for haste so far.
    pub refused: u64,
    /// Why nothing may start.
    pub held: Option<Held>,
}

/// The budget of a source.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    spacing: Spacing,
    minute: Option<Window>,
    hour: Option<Window>,
    adaptive: Option<Adaptive>,
    windows: Windows,
    pause: Option<Held>,
    under_way: u32,
    sent: Meter,
    refused: u64,
}

impl Pace {
    /// A budget of which nothing is used.
    pub fn new(now: Instant, rate: &Rate) -> Self {
        Self {
            rate: rate.clone(),
            spacing: Spacing::default(),
            minute: rate.per_minute.map(|limit| Window::new(limit, MINUTE)),
            hour: rate.per_hour.map(|limit| Window::new(limit, HOUR)),
            adaptive: rate.adaptive.then(|| Adaptive::new(now, rate.per_second)),
            windows: Windows::default(),
            pause: None,
            under_way: 0,
            sent: Meter::new(now),
            refused: 0,
        }
    }

    /// Other figures from now on. What was counted stays; what was learnt stays unless the rate or the switch changed.
    pub fn set(&mut self, now: Instant, rate: &Rate) {
        let windows = [(&mut self.minute, rate.per_minute, MINUTE), (&mut self.hour, rate.per_hour, HOUR)];
        for (window, limit, length) in windows {
            match (window.as_mut(), limit) {
                (Some(window), Some(limit)) => window.set(limit),
                _ => *window = limit.map(|limit| Window::new(limit, length)),
            }
        }
        if (rate.adaptive, rate.per_second) != (self.rate.adaptive, self.rate.per_second) {
            self.adaptive = rate.adaptive.then(|| Adaptive::new(now, rate.per_second));
            self.windows = Windows::default();
        }
        self.rate = rate.clone();
    }

    /// The lowest limit in force, in requests a second.
    fn limit(&self) -> Option<(f64, Origin)> {
        self.lowest(self.adaptive.as_ref().and_then(Adaptive::pace))
    }

    /// The same with this pace as what was learnt.
    fn lowest(&self, paced: Option<f64>) -> Option<(f64, Origin)> {
        let hinted = self.windows.pace().filter(|_| self.rate.adaptive);
        let limits = [
            self.rate.per_second.map(|rate| (rate, Origin::Configured)),
            hinted.map(|rate| (rate, Origin::Server)),
            paced.map(|rate| (rate, Origin::Learnt)),
        ];
        limits.into_iter().flatten().min_by(|one, other| one.0.total_cmp(&other.0))
    }

    /// The pace of the next request. One after the other is nobody's burst: while nothing was refused, a request that would be
    /// alone waits for no pace that was only assumed.
    fn next(&self) -> Option<f64> {
        let adaptive = self.adaptive.as_ref();
        let pace =
            if self.under_way == 0 { adaptive.and_then(Adaptive::learnt) } else { adaptive.and_then(Adaptive::pace) };
        self.lowest(pace).map(|(rate, _)| rate)
    }

    /// Why no request may start now, if so; the longest wait counts.
    pub fn held(&self, now: Instant) -> Option<Held> {
        let turn = self.spacing.ready(now, self.next());
        let server = if self.rate.adaptive { self.windows.ready(now, u64::from(self.under_way)) } else { now };
        let window = |window: &Option<Window>, why: fn(u32) -> Why| {
            window.as_ref().map(|window| Held { until: window.ready(now), why: why(window.limit()) })
        };
        let all = [
            Some(Held { until: turn, why: Why::Turn }),
            Some(Held { until: server, why: Why::Server }),
            window(&self.minute, Why::PerMinute),
            window(&self.hour, Why::PerHour),
            self.pause,
        ];
        all.into_iter().flatten().filter(|held| held.until > now).max_by_key(|held| held.until)
    }

    /// Starts a request, if one may start now.
    pub fn take(&mut self, now: Instant) -> Result<(), Held> {
        if let Some(held) = self.held(now) {
            if let Some(adaptive) = self.adaptive.as_mut().filter(|_| held.why == Why::Turn) {
                adaptive.wanted(now);
            }
            return Err(held);
        }
        self.spacing.take(now, self.next());
        for window in [&mut self.minute, &mut self.hour].into_iter().flatten() {
            window.take(now);
        }
        self.pause = None;
        self.under_way += 1;
        self.sent.add(now);
        Ok(())
    }

    /// A request that was sent at `sent` was answered.
    pub fn answered(&mut self, now: Instant, sent: Instant, told: &Told) {
        self.lost();
        self.windows.learn(now, &told.hints);
        self.refused += u64::from(told.refused);
        let Some(adaptive) = &mut self.adaptive else { return };
        if !told.refused {
            adaptive.accepted(now);
        } else if let Some(wait) = adaptive.refused(now, sent) {
            self.pause(Held { until: now + wait, why: Why::Refused });
        }
    }

    /// A request ended without an answer.
    pub fn lost(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Holds every request back; a longer pause stays.
    pub fn pause(&mut self, held: Held) {
        if self.pause.is_none_or(|pause| pause.until < held.until) {
            self.pause = Some(held);
        }
        if held.why == Why::Asked
            && let Some(adaptive) = &mut self.adaptive
        {
            adaptive.silent(held.until);
        }
    }

    /// Requests at a time.
    pub fn concurrency(&self) -> u32 {
        self.rate.concurrency.max(1)
    }

    /// The budget as it stands.
    pub fn standing(&self, now: Instant) -> Standing {
        // Before anything was refused the pace grows, and is nobody's limit.
        let learning = self.adaptive.as_ref().is_some_and(|adaptive| adaptive.learnt().is_none());
        let paced = self.limit().filter(|(_, origin)| !(learning && *origin == Origin::Learnt));
        let over = |window: &Option<Window>, length: Duration| {
            window.as_ref().map(|window| (f64::from(window.limit()) / length.as_secs_f64(), Origin::Configured))
        };
        let limits = [paced, over(&self.minute, MINUTE), over(&self.hour, HOUR)];
        let limit = limits.into_iter().flatten().min_by(|one, other| one.0.total_cmp(&other.0));
        Standing {
            rate: self.sent.rate(now, SHOWN),
            under_way: self.under_way,
            concurrency: self.concurrency(),
            limit,
            window: self.windows.tightest(now).filter(|_| self.rate.adaptive),
            requests: self.sent.total(),
            refused: self.refused,
            held: self.held(now).filter(|held| held.why != Why::Turn),
        }
    }
}
