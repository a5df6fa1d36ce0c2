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

/// Where the string ends that starts at `at`, if there is nothing special in it and it is not near the end of `bytes`.
#[inline]
pub fn plain_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut rest = bytes.get(at..)?.strip_prefix(b"\"")?;
    let mut end = at + 1;
    loop {
        let (chunk, tail) = rest.split_first_chunk()?;
        let plain = plain_start(chunk);
        end += plain;
        if plain < WIDE {
            return (chunk[plain] == b'"').then_some(end + 1);
        }
        rest = tail;
    }
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
