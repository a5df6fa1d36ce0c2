//! Finds the rate that a server allows without being told: grows until a request is refused, then stays just below.
//!
//! ```text
//! Ramp ──429──▶ Search ──429 close to the measured rate──▶ Hold ──a minute later──▶ probe ──429──▶ Hold
//!   (doubles)     (grows)                                  (0.95 … 0.99 of it)        └──none──▶ Search
//! ```
//! After every refusal the pace is 0.95 × the rate of answers measured last. What is measured counts from the refusal
//! before, because then a bucket at the server was as empty as it is now: the burst that it allowed in between is its own
//! rate, and what it had saved up before does not count. A measured rate is believed, and is the ceiling, when the pace
//! was close to it; a pace far above says that the server let a burst through, or that somebody else took its share.

use super::meter::Meter;
use std::time::{Duration, Instant};

/// The pace of a source of which nothing is known, in requests a second.
const FIRST: f64 = 50.0;
/// The pace doubles in this time, while requests are answered and nothing is refused: a fast API is at its full speed after a
/// quarter of a second.
const DOUBLING: Duration = Duration::from_millis(50);
/// From here on the pace is no limit.
const UNLIMITED: f64 = 20_000.0;
/// The slowest pace: what grows again must first be asked at all.
const SLOWEST: f64 = 0.1;
/// What is left of the measured rate after a refusal.
const CUT: f64 = 0.95;
/// The pace that is held, as part of the ceiling; a bucket at the server fills again meanwhile.
const HELD: f64 = 0.99;
/// How fast the pace comes back from [`CUT`] to [`HELD`], as part of the ceiling per second.
const RECOVERY: f64 = 0.01;
/// It comes back only after this time without a refusal.
const QUIET: Duration = Duration::from_secs(4);
/// Growth per second while the limit is searched for.
const SEARCH: f64 = 0.25;
/// A measured rate is believed when the pace was at most this many times as high.
const CLOSE: f64 = 1.25;
/// It is believed, too, when it is this close to the one before.
const SAME: f64 = 0.08;
/// A pace so many times the measured rate calls for a silence, so that what is under way comes home first.
const FAR: f64 = 2.0;
/// Time between two looks above the ceiling.
const PROBE_EVERY: Duration = Duration::from_secs(60);
/// How far above the ceiling a probe goes, and for how long.
const PROBE: f64 = 1.05;
const PROBE_FOR: Duration = Duration::from_secs(5);
/// Rates are measured over at least and at most this long.
const MEASURE_MIN: Duration = Duration::from_millis(250);
const MEASURE_MAX: Duration = Duration::from_secs(5);
/// From so few answers no rate is measured, and the pace is halved instead.
const FEW: u64 = 3;
/// From so many on, the last seconds alone count.
const MANY: u64 = 20;
/// A server that counts in windows is measured by the last second; so much of it is sure.
const LATELY: Duration = Duration::from_secs(1);
const MOSTLY: f64 = 0.95;
/// How far growth looks back for whether the pace is used at all.
const USED: Duration = Duration::from_millis(250);
/// For so long a request that had to wait says that the pace is used.
const WANTED: Duration = Duration::from_millis(500);
/// The first wait of the whole source after a refusal far above the measured rate, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where the search for the limit stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing was refused so far.
    Ramp,
    /// Something was; the limit is not known well.
    Search,
    /// The ceiling is known.
    Hold {
        /// When to look above it.
        probe: Instant,
    },
    /// A look above the ceiling.
    Probe {
        /// Until when.
        until: Instant,
    },
}

/// The pace of one source.
#[derive(Debug)]
pub struct Adaptive {
    phase: Phase,
    pace: f64,
    ceiling: f64,
    accepted: Meter,
    /// When the pace was changed last.
    changed: Instant,
    /// When the pace was cut last, and how many answers there were until then.
    cut: Option<(Instant, u64)>,
    /// Until when the server asked for silence: time in which it may not have saved anything up.
    silent: Option<Instant>,
    /// Refusals in a row, with no answer between them.
    streak: u32,
    /// When a request last had to wait for its turn.
    wanted: Option<Instant>,
}

impl Adaptive {
    /// Nothing is known yet. `told` is the rate that an operator configured: it is believed until something is refused.
    pub fn new(now: Instant, told: Option<f64>) -> Self {
        Self {
            phase: Phase::Ramp,
            pace: told.unwrap_or(FIRST),
            ceiling: f64::INFINITY,
            accepted: Meter::new(now),
            changed: now,
            cut: None,
            silent: None,
            streak: 0,
            wanted: None,
        }
    }

    /// The pace in force, in requests a second; none while it is no limit.
    pub fn pace(&self) -> Option<f64> {
        (self.pace < UNLIMITED).then_some(self.pace)
    }

    /// The rate that was learnt, once something was refused.
    pub fn learnt(&self) -> Option<f64> {
        (self.phase != Phase::Ramp).then_some(self.pace)
    }

    /// A request was answered, and not refused for haste.
    pub fn accepted(&mut self, now: Instant) {
        self.accepted.add(now);
        self.streak = 0;
        let passed = now.saturating_duration_since(self.changed);
        self.changed = now;
        match self.phase {
            Phase::Ramp => {
                let doublings = passed.min(DOUBLING).as_secs_f64() / DOUBLING.as_secs_f64();
                self.grow(now, doublings.exp2());
            }
            Phase::Search => self.grow(now, 1.0 + SEARCH * passed.as_secs_f64().min(1.0)),
            Phase::Hold { probe } if now >= probe && self.is_used(now) => {
                self.pace = self.ceiling * PROBE;
                self.phase = Phase::Probe { until: now + PROBE_FOR };
            }
            Phase::Hold { .. } if self.cut.is_none_or(|(cut, _)| cut + QUIET > now) => {}
            Phase::Hold { .. } => {
                let recovered = self.pace + self.ceiling * RECOVERY * passed.as_secs_f64();
                self.pace = recovered.min(self.ceiling * HELD).max(self.pace);
            }
            Phase::Probe { until } if now >= until => self.phase = Phase::Search,
            Phase::Probe { .. } => {}
        }
    }

    /// Raises the pace, unless it is so little used that a higher one would say nothing.
    fn grow(&mut self, now: Instant, factor: f64) {
        let most = (self.accepted.rate(now, USED) * 4.0).max(FIRST.min(self.pace));
        let used = self.phase == Phase::Ramp || self.is_used(now);
        if used {
            self.pace = (self.pace * factor).min(most.max(self.pace));
        }
    }

    /// Whether the pace holds requests back, or as many are answered as it allows. On a busy machine requests start late,
    /// and fewer are answered though more are wanted.
    fn is_used(&self, now: Instant) -> bool {
        let wait = WANTED.max(Duration::from_secs_f64(2.0 / self.pace.max(SLOWEST)));
        let wanted = self.wanted.is_some_and(|wanted| wanted + wait > now);
        wanted || self.accepted.rate(now, LATELY) >= self.pace * 0.7
    }

    /// A request is ready, and has to wait for its turn.
    pub fn wanted(&mut self, now: Instant) {
        self.wanted = Some(now);
    }

    /// A request that was sent at `sent` was refused for haste: the time for which the whole source should be silent, if
    /// any. Refusals of what was sent before the last cut say nothing new.
    pub fn refused(&mut self, now: Instant, sent: Instant) -> Option<Duration> {
        if self.cut.is_some_and(|(cut, _)| sent < cut) {
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        if self.streak > 1 {
            return self.again(now);
        }
        let measured = self.measured(now);
        let rate = measured.unwrap_or(self.pace / 2.0);
        let same = (rate / self.ceiling - 1.0).abs() <= SAME;
        let close = measured.is_some() && (self.pace <= rate * CLOSE || same);
        let far = measured.is_none() || self.pace > rate * FAR;
        self.ceiling = rate;
        self.pace = (rate * CUT).max(SLOWEST);
        self.phase = match self.phase {
            Phase::Hold { probe } if close => Phase::Hold { probe },
            _ if close => Phase::Hold { probe: now + PROBE_EVERY },
            _ => Phase::Search,
        };
        self.cut = Some((now, self.accepted.total()));
        self.changed = now;
        far.then_some(FIRST_PAUSE)
    }

    /// The server asked for silence until then.
    pub fn silent(&mut self, until: Instant) {
        self.silent = self.silent.max(Some(until));
    }

    /// Refused again, and nothing was answered since: each silence is twice as long as the one before.
    fn again(&mut self, now: Instant) -> Option<Duration> {
        let total = self.accepted.total();
        self.cut = self.cut.map(|_| (now, total));
        let doublings = (self.streak - 1).min(16);
        Some(FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE))
    }

    /// Answers a second since the last cut, when a bucket at the server was as empty as it is now; but not much less than
    /// lately, because a server that counts in windows saves nothing up. Never more than the pace: that was a rest. None
    /// where there were too few to tell.
    fn measured(&self, now: Instant) -> Option<f64> {
        let lately = self.accepted.rate(now, LATELY);
        let (cut, before) = self.cut.unwrap_or((now, 0));
        let count = self.accepted.total() - before;
        let begun = self.silent.map_or(cut, |silent| silent.max(cut)).min(now);
        let passed = now.saturating_duration_since(begun);
        if count < FEW && passed < MEASURE_MAX {
            return None;
        }
        let since = if passed < MEASURE_MIN {
            lately
        } else if passed > MEASURE_MAX && count > MANY {
            self.accepted.rate(now, MEASURE_MAX)
        } else {
            count as f64 / passed.as_secs_f64()
        };
        let sure = if passed > LATELY { lately * MOSTLY } else { 0.0 };
        Some(since.max(sure).min(self.pace))
    }
}
