//! Members and frames that hold their text as it is. Their bytes depend on nothing but the text, on no library's version
//! either, so that they can be told, dropped and put between others when one file is made of several.

use crate::config::settings::TextCompression;
use flate2::Crc;

/// The most bytes of a stored deflate block (RFC 1951, section 3.2.4).
const DEFLATE_BLOCK: usize = 0xffff;
/// The most bytes of a Zstandard block (RFC 8878, section 3.1.1.2.4).
const ZSTD_BLOCK: usize = 128 << 10;

/// The text as a part of a file with this compression.
pub fn stored(compression: TextCompression, text: &[u8]) -> Vec<u8> {
    match compression {
        TextCompression::None => text.to_vec(),
        TextCompression::Gzip => gzip(text),
        TextCompression::Zstd => zstd(text),
    }
}

/// The pieces that a text is cut into, with whether each is the last; at least one.
fn pieces(text: &[u8], most: usize) -> impl Iterator<Item = (&[u8], bool)> {
    let count = text.len().div_ceil(most).max(1);
    (0..count).map(move |n| {
        let piece = text.get(n * most..((n + 1) * most).min(text.len())).unwrap_or_default();
        (piece, n + 1 == count)
    })
}

/// A member (RFC 1952, section 2.3) without name and time, of an unknown system.
fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for (piece, last) in pieces(text, DEFLATE_BLOCK) {
        let length = piece.len() as u16;
        out.push(u8::from(last));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(piece);
    }
    let mut crc = Crc::new();
    crc.update(text);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    // Modulo 2^32, as the specification has it.
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out
}

/// A frame (RFC 8878, section 3.1.1) that says its size, of raw blocks.
fn zstd(text: &[u8]) -> Vec<u8> {
    let mut out = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    // A single segment, so that no window has to be named; eight bytes of size.
    out.push(0b1110_0000);
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    for (piece, last) in pieces(text, ZSTD_BLOCK) {
        let header = u32::from(last) | ((piece.len() as u32) << 3);
        out.extend(header.to_le_bytes().into_iter().take(3));
        out.extend_from_slice(piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn every_length_is_read_back() {
        let text: Vec<u8> = (0..400_000u32).map(|i| (i % 251) as u8).collect();
        for length in [0, 1, 2, 255, 256, 65_534, 65_535, 65_536, 131_071, 131_072, 131_073, 262_144, 400_000] {
            let text = &text[..length];
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(&gzip(text)[..]).read_to_end(&mut read).unwrap();
            assert!(read == text, "gzip, {length}");
            assert!(zstd::decode_all(&super::zstd(text)[..]).unwrap() == text, "zstd, {length}");
            assert_eq!(stored(TextCompression::None, text), text);
        }
    }
}
