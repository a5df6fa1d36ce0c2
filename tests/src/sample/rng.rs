//! The one source of chance: a mixing function of numbers, so that everything derived from it can be computed again.

/// Mixes a seed, a position and a field into 64 well spread bits (the finaliser of SplitMix64).
pub fn mix(seed: u64, position: u64, field: u64) -> u64 {
    let mut z = seed ^ position.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ field.wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A fraction in 0..1 from mixed bits.
pub fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
