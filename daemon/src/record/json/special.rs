//! Where plain text in a JSON string ends, looked for in many bytes at once.

use wide::u8x16;

/// So many bytes are looked at together.
pub const WIDE: usize = 16;

/// Whether a byte ends a string, starts an escape, or may not stand in one: a quote, a backslash, a control character.
#[inline]
pub fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// How many bytes come before the first special one; all of them where there is none.
#[inline]
pub fn plain_start(bytes: &[u8; WIDE]) -> usize {
    let bytes = u8x16::new(*bytes);
    let equal = |byte| bytes.simd_eq(u8x16::splat(byte));
    let special = equal(b'"') | equal(b'\\') | bytes.simd_lt(u8x16::splat(0x20));
    (special.to_bitmask() | 1 << WIDE).trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_special_byte_is_found(bytes in prop::array::uniform16(prop_oneof![
            8 => any::<u8>(),
            1 => prop::sample::select(b"\"\\\x00\x1f\x20\x7f\x80\xff".to_vec()),
        ])) {
            let wanted = bytes.iter().position(|byte| is_special(*byte)).unwrap_or(WIDE);
            prop_assert_eq!(plain_start(&bytes), wanted);
        }
    }
}
