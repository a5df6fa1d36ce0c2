//! Seeded schedules for simulations: so many of them in every run of the tests, or one that is told step by step.
//!
//! ```text
//! SIMULATE=4711 cargo test -p saas-export-daemon --lib simulation     one schedule, told step by step
//! SIMULATE_TO=10000000 cargo test …                                   so many instead of 100,000
//! ```

/// Schedules that every run of the tests tries.
const SCHEDULES: u64 = 100_000;

/// Chance that is the same each time: xorshift64* (Vigna, 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Chance that begins with a seed.
    pub fn new(seed: u64) -> Self {
        // Multiplied, so that neighbours do not begin alike.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `most`.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % most.max(1)
    }
}

/// Plays the schedules of the seeds; `play` is told whether it shall tell its steps, counts something that happened, and gives what
/// was broken. One in `thinned` of them is enough where each takes long.
pub fn all(what: &str, thinned: u64, play: impl Fn(u64, bool) -> Result<u64, String>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SIMULATE") {
        play(seed, true).unwrap_or_else(|broken| panic!("schedule {seed}: {broken}"));
        return;
    }
    let schedules = number("SIMULATE_TO").unwrap_or(SCHEDULES).div_ceil(thinned);
    let mut happened = 0;
    for seed in 0..schedules {
        match play(seed, false) {
            Ok(count) => happened += count,
            Err(broken) => panic!("schedule {seed}: {broken}; SIMULATE={seed} tells it step by step"),
        }
    }
    println!("torture: {schedules} schedules of {what}, {happened} came to their end, no promise broken");
    assert!(happened > 0);
}
