//! The budget against simulated servers, in simulated time: how much of what is allowed is used, how much is refused.

use super::hints::Hint;
use super::pace::{Held, Pace, Told, Why};
use crate::base::clock;
use crate::config::settings::Rate;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// How a simulated server counts.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    /// So many a second, and so many saved up.
    Bucket(f64, f64),
    /// So many in each window of so many milliseconds.
    Fixed(u32, u64),
    /// Everything is welcome.
    Open,
    /// One of so many is refused, whatever the rate.
    Moody(u32),
}

/// A run: a server, how it speaks, and the clients.
#[derive(Clone, Debug)]
pub struct Run {
    pub server: Server,
    /// What Retry-After says.
    pub retry_after: Option<Duration>,
    /// Whether answers tell the window (a fixed one only).
    pub hints: bool,
    /// Least and most milliseconds of an answer.
    pub latency: (u64, u64),
    pub rate: Rate,
    pub seconds: u64,
    /// The most milliseconds that a client starts later than it may.
    pub late: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Result {
    pub accepted: u64,
    pub refused: u64,
    /// Refused within the first ten seconds.
    pub refused_early: u64,
}

impl Result {
    /// The part of the answers that were refusals.
    pub fn refused_part(&self) -> f64 {
        self.refused as f64 / (self.accepted + self.refused).max(1) as f64
    }

    /// The part of so many requests a second that were accepted.
    pub fn used(&self, per_second: f64, seconds: u64) -> f64 {
        self.accepted as f64 / (per_second * seconds as f64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client wants to send.
    Want,
    /// A request arrives at the server; when it was sent, and when the answer is back.
    Arrive(Instant, Instant),
    /// An answer is back: when it was sent, whether it is a refusal, what is left of the window and for how long.
    Back(Instant, bool, u64, Duration),
}

struct Judge {
    server: Server,
    tokens: f64,
    at: Instant,
    begun: Instant,
    used: u32,
}

impl Judge {
    fn accepts(&mut self, now: Instant) -> (bool, u64, Duration) {
        match self.server {
            Server::Open => (true, 0, Duration::ZERO),
            Server::Moody(one_of) => {
                self.used += 1;
                (!self.used.is_multiple_of(one_of), 0, Duration::ZERO)
            }
            Server::Bucket(rate, most) => {
                self.tokens = (self.tokens + (now - self.at).as_secs_f64() * rate).min(most);
                self.at = now;
                let accepts = self.tokens >= 1.0;
                self.tokens -= if accepts { 1.0 } else { 0.0 };
                (accepts, self.tokens as u64, Duration::ZERO)
            }
            Server::Fixed(limit, ms) => {
                let length = Duration::from_millis(ms);
                while self.begun + length <= now {
                    (self.begun, self.used) = (self.begun + length, 0);
                }
                let accepts = self.used < limit;
                self.used += u32::from(accepts);
                (accepts, u64::from(limit - self.used), self.begun + length - now)
            }
        }
    }
}

/// Chance that follows from a seed.
struct Dice(u64);

impl Dice {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        least + (self.0 >> 33) % (most - least + 1)
    }
}

/// Simulates.
pub fn simulate(run: &Run) -> Result {
    let start = clock::monotonic();
    let end = start + Duration::from_secs(run.seconds);
    let mut pace = Pace::new(start, &run.rate);
    let most = if let Server::Bucket(_, most) = run.server { most } else { 0.0 };
    let mut judge = Judge { server: run.server, tokens: most, at: start, begun: start, used: 0 };
    let mut dice = Dice(7);
    let mut events: BinaryHeap<Reverse<(Instant, u64, Event)>> = BinaryHeap::new();
    let mut count = 0;
    let mut push = |events: &mut BinaryHeap<_>, at: Instant, event: Event| {
        count += 1;
        events.push(Reverse((at, count, event)));
    };
    (0..run.rate.concurrency).for_each(|_| push(&mut events, start, Event::Want));
    let mut result = Result::default();
    while let Some(Reverse((now, _, event))) = events.pop() {
        if now >= end {
            break;
        }
        match event {
            Event::Want => match pace.take(now) {
                Err(held) => {
                    let late = Duration::from_millis(dice.between(0, run.late));
                    push(&mut events, held.until + late, Event::Want);
                }
                Ok(()) => {
                    let latency = dice.between(run.latency.0 * 1000, run.latency.1 * 1000);
                    let back = now + Duration::from_micros(latency);
                    push(&mut events, now + Duration::from_micros(latency / 2), Event::Arrive(now, back));
                }
            },
            Event::Arrive(sent, back) => {
                let (accepts, left, reset) = judge.accepts(now);
                push(&mut events, back, Event::Back(sent, !accepts, left, reset));
            }
            Event::Back(sent, refused, left, reset) => {
                let hints = match run.server {
                    Server::Fixed(limit, _) if run.hints => vec![hint(limit, left, reset)],
                    _ => Vec::new(),
                };
                pace.answered(now, sent, &Told { refused, hints });
                if !refused {
                    result.accepted += 1;
                    push(&mut events, now, Event::Want);
                    continue;
                }
                result.refused += 1;
                result.refused_early += u64::from(now < start + Duration::from_secs(10));
                let wait = match run.retry_after {
                    Some(wait) => {
                        let wait = wait + Duration::from_millis(dice.between(0, 60));
                        pace.pause(Held { until: now + wait, why: Why::Asked });
                        Duration::ZERO
                    }
                    None => Duration::from_millis(dice.between(0, 500)),
                };
                push(&mut events, now + wait, Event::Want);
            }
        }
    }
    result
}

/// Whole seconds, rounded up, as servers tell them.
fn hint(limit: u32, left: u64, reset: Duration) -> Hint {
    let reset = Duration::from_secs(reset.as_millis().div_ceil(1000) as u64);
    Hint { name: "x".into(), limit: Some(limit.into()), left: Some(left), reset: Some(reset), length: None }
}
