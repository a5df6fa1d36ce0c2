//! Chance that can be had again: numbers that follow from a seed.

use crate::sample::mix;

/// Seeded numbers.
#[derive(Debug)]
pub struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    /// Numbers of this seed.
    pub fn of(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Numbers of the seed that `TORTURE_SEED` gives, else of the clock; says which, so that a failure can be had again.
    pub fn of_this_run(what: &str) -> Self {
        let given = std::env::var("TORTURE_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| u64::from(since.subsec_nanos()));
        let seed = given.unwrap_or_else(clock);
        println!("torture: {what}: TORTURE_SEED={seed}");
        Self::of(seed)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.drawn += 1;
        mix(self.seed, self.drawn, 0) % end
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        &these[usize::try_from(self.below(these.len() as u64)).unwrap_or(0)]
    }

    /// Another source of numbers, for another thread.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        self.drawn += 1;
        Self::of(mix(self.seed, self.drawn, 1))
    }
}
