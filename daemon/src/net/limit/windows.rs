//! What a server says about its windows: how much of each is left, when it ends, and the pace that uses it up evenly.
//!
//! A window is used as fast as requests come, and when it is used up everything waits for its end: to spread what is left
//! over the time left would end no export sooner, and would end those later that fit into what is left. Short windows are
//! the exception. Their end is told in whole seconds, so that waiting for it could lose a second of every few; an even
//! pace loses nothing, and never comes to the end of what is left.

use super::hints::Hint;
use std::time::{Duration, Instant};

/// Windows that are remembered; a server that names more forgets the oldest.
const MAX_WINDOWS: usize = 8;
/// Windows of up to this length get an even pace.
const SPREAD: Duration = Duration::from_secs(60);
/// The part of a short window that is used: the last of it is for requests that come late or twice.
const USED: f64 = 0.98;
/// The end of a window as short as this is told too coarsely to wait for.
const COARSE: Duration = Duration::from_secs(2);
/// Two ends this close are one: both are rounded.
const SAME: Duration = Duration::from_secs(2);
/// The longest wait for the end of a window; then one request asks again.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long the length of a window is remembered behind its end.
const REMEMBERED: Duration = Duration::from_secs(120);
/// How soon to look again while everything that is left is under way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A window of the server's.
#[derive(Debug)]
struct Known {
    name: String,
    limit: Option<u64>,
    left: Option<u64>,
    end: Instant,
    /// As told, or the longest time left that was seen.
    length: Option<Duration>,
    told: bool,
}

/// A window as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Requests in a window, where the server says so.
    pub limit: Option<u64>,
    /// What is left of it.
    pub left: u64,
    /// When it ends.
    pub end: Instant,
}

/// The windows of one server.
#[derive(Debug, Default)]
pub struct Windows {
    known: Vec<Known>,
}

impl Windows {
    /// Learns from an answer.
    pub fn learn(&mut self, now: Instant, hints: &[Hint]) {
        self.known.retain(|known| known.end + REMEMBERED > now);
        for known in &mut self.known {
            if !hints.iter().any(|hint| hint.name == known.name) {
                known.left = known.left.map(|left| left.saturating_sub(1));
            }
        }
        for hint in hints {
            self.learn_one(now, hint);
        }
    }

    fn learn_one(&mut self, now: Instant, hint: &Hint) {
        let end = now + hint.reset.unwrap_or_default().min(LONGEST);
        let found = self.known.iter().position(|known| known.name == hint.name);
        let index = found.unwrap_or_else(|| {
            if self.known.len() >= MAX_WINDOWS {
                self.known.remove(0);
            }
            let name = hint.name.clone();
            self.known.push(Known { name, limit: None, left: None, end, length: None, told: false });
            self.known.len() - 1
        });
        let Some(known) = self.known.get_mut(index) else { return };
        let apart = if end > known.end { end - known.end } else { known.end - end };
        let same = known.end > now && apart <= SAME;
        known.limit = hint.limit.or(known.limit);
        known.left = match (known.left, hint.left) {
            // Answers may come in another order than they were given in: of one window the least counts.
            (Some(before), Some(left)) if same => Some(before.min(left)),
            (_, left) => left,
        };
        known.end = if same { known.end.max(end) } else { end };
        if let Some(length) = hint.length {
            (known.length, known.told) = (Some(length), true);
        } else if !known.told {
            known.length = known.length.max(hint.reset.filter(|reset| !reset.is_zero()));
        }
    }

    /// When the next request may start, while `under_way` others are not answered yet.
    pub fn ready(&self, now: Instant, under_way: u64) -> Instant {
        let wait = |known: &Known| {
            let left = known.left?;
            let counts = known.end > now && known.length.is_some_and(|length| length > COARSE);
            match left {
                _ if !counts || left > under_way => None,
                0 => Some(known.end),
                _ => Some(known.end.min(now + LOOK_AGAIN)),
            }
        };
        self.known.iter().filter_map(wait).max().unwrap_or(now)
    }

    /// The pace, in requests a second, that uses short windows up evenly.
    pub fn pace(&self) -> Option<f64> {
        let pace = |known: &Known| {
            let length = known.length.filter(|length| *length <= SPREAD)?;
            Some(known.limit.filter(|limit| *limit > 0)? as f64 / length.as_secs_f64() * USED)
        };
        self.known.iter().filter_map(pace).min_by(f64::total_cmp)
    }

    /// The window that ends the requests first: the one with the smallest part left.
    pub fn tightest(&self, now: Instant) -> Option<Shown> {
        let live = self.known.iter().filter(|known| known.end > now);
        let shown = live.filter_map(|known| Some(Shown { limit: known.limit, left: known.left?, end: known.end }));
        shown.min_by_key(|shown| shown.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;

    fn hint(limit: u64, left: u64, reset: u64) -> Hint {
        let (limit, left, reset) = (Some(limit), Some(left), Some(Duration::from_secs(reset)));
        Hint { name: "x".into(), limit, left, reset, length: None }
    }

    #[test]
    fn what_is_used_up_waits_for_the_end() {
        let now = clock::monotonic();
        let mut windows = Windows::default();
        windows.learn(now, &[hint(5000, 2, 1800)]);
        assert_eq!(windows.ready(now, 1), now, "one is left beside the one under way");
        assert_eq!(windows.ready(now, 2), now + LOOK_AGAIN, "what is left is under way");
        windows.learn(now, &[hint(5000, 0, 1800)]);
        assert_eq!(windows.ready(now, 0), now + Duration::from_secs(1800));
        let then = now + Duration::from_secs(1801);
        assert_eq!(windows.ready(then, 0), then, "the window is over");
        assert_eq!(windows.pace(), None, "a long window is not spread");
    }

    #[test]
    fn an_answer_that_comes_late_gives_nothing_back() {
        let now = clock::monotonic();
        let mut windows = Windows::default();
        for left in [4, 1, 3] {
            windows.learn(now, &[hint(5000, left, 1800)]);
        }
        assert_eq!(windows.tightest(now).unwrap().left, 1);
        windows.learn(now, &[]);
        assert_eq!(windows.tightest(now).unwrap().left, 0, "an answer that says nothing was one, too");
        windows.learn(now, &[hint(5000, 4999, 5400)]);
        assert_eq!(windows.tightest(now).unwrap().left, 4999, "another window");
    }

    #[test]
    fn a_short_window_gives_a_pace_and_no_waits() {
        let now = clock::monotonic();
        let mut windows = Windows::default();
        windows.learn(now, &[hint(50, 49, 1)]);
        windows.learn(now, &[hint(50, 0, 1)]);
        assert_eq!(windows.pace(), Some(49.0));
        assert_eq!(windows.ready(now, 4), now);
        windows.learn(now, &[Hint { length: Some(Duration::from_secs(10)), ..hint(50, 9, 3) }]);
        assert_eq!(windows.pace(), Some(4.9), "a told length counts");
    }

    proptest! {
        #[test]
        fn no_hint_holds_longer_than_an_hour(
            hints in prop::collection::vec((0..3_u64, 0..100_u64, 0..10_000_000_u64, "[a-c]"), 0..40),
            under_way in 0..10_u64,
        ) {
            let now = clock::monotonic();
            let mut windows = Windows::default();
            for (limit, left, reset, name) in hints {
                windows.learn(now, &[Hint { name, ..hint(limit, left, reset) }]);
            }
            let ready = windows.ready(now, under_way);
            prop_assert!(ready >= now && ready <= now + LONGEST);
            prop_assert!(windows.pace().is_none_or(|pace| pace > 0.0));
            prop_assert!(windows.known.len() <= MAX_WINDOWS);
        }
    }
}
