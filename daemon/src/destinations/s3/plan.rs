//! How a file is cut into parts, which parts need not be sent again, and what their checksums make together; pure.

use super::api::{Listed, crc_of};
use crate::model::upload::{Part, Upload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;

/// The smallest part that stores take, but for the last one.
pub const SMALLEST: u64 = 5 << 20;
/// The most parts that an object has.
const MOST: u64 = 10_000;

/// Bytes of a part where so many travel at a time and nothing else is known.
pub fn part_size(in_flight: u64, connections: u32) -> u64 {
    (in_flight / u64::from(connections.max(1))).max(SMALLEST)
}

/// Bytes of the parts of a file of `bytes`: as usual, or larger where it would have too many.
pub fn part_size_of(bytes: u64, usual: u64) -> u64 {
    usual.max(bytes.div_ceil(MOST)).max(1)
}

/// Number, first byte and size of each part of a file.
pub fn cut(bytes: u64, part_size: u64) -> impl Iterator<Item = (u32, u64, u64)> {
    let size = part_size.max(1);
    let starts = (0..bytes.div_ceil(size)).map(move |n| n * size);
    (1..).zip(starts).map(move |(number, at)| (number, at, size.min(bytes - at)))
}

/// The parts of an upload that both the log and the store have, and that are the same there.
pub fn trusted(noted: &Upload, listed: &Listed, bytes: u64) -> Vec<Part> {
    let there: BTreeMap<u32, &Part> = listed.parts.iter().map(|part| (part.number, part)).collect();
    let same = |part: &&Part| {
        let at = u64::from(part.number.saturating_sub(1)) * noted.part_size;
        let fits = part.number > 0 && part.bytes > 0 && part.bytes == noted.part_size.min(bytes.saturating_sub(at));
        fits && there.get(&part.number).is_some_and(|there| {
            let (checksum, etag) = (there.checksum == part.checksum, there.etag == part.etag);
            // What the store does not tell proves nothing, so that one of the two must be told.
            there.bytes == part.bytes
                && (checksum || there.checksum.is_empty())
                && (etag || there.etag.is_empty())
                && (checksum || etag)
        })
    };
    noted.parts.iter().filter(same).cloned().collect()
}

/// The CRC-32C of the whole, from those of its parts in order; `None` where one cannot be read.
pub fn whole(parts: &[Part]) -> Option<u32> {
    parts.iter().try_fold(0, |all, part| {
        let bytes = usize::try_from(part.bytes).ok()?;
        Some(crc32c::crc32c_combine(all, crc_of(&part.checksum)?, bytes))
    })
}

/// The checksum that a store gives an object in parts: the CRC-32C of the parts' CRC-32C, and how many there are.
pub fn composite(parts: &[Part]) -> Option<String> {
    let mut bytes = Vec::with_capacity(parts.len() * 4);
    for part in parts {
        bytes.extend_from_slice(&crc_of(&part.checksum)?.to_be_bytes());
    }
    Some(format!("{}-{}", BASE64.encode(crc32c::crc32c(&bytes).to_be_bytes()), parts.len()))
}

#[cfg(test)]
mod tests {
    use super::super::api::crc_text;
    use super::*;
    use proptest::prelude::*;

    fn part(number: u32, bytes: u64, etag: &str) -> Part {
        Part { number, bytes, checksum: crc_text(number), etag: etag.into() }
    }

    #[test]
    fn parts_fill_what_may_be_in_flight() {
        assert_eq!(part_size(32_000_000, 4), 8_000_000);
        assert_eq!(part_size(6_000_000, 4), SMALLEST);
        assert_eq!(part_size_of(80_000_000_000, 8_000_000), 8_000_000);
        assert_eq!(part_size_of(80_000_000_001, 8_000_000), 8_000_001);
    }

    #[test]
    fn a_part_is_trusted_where_log_and_store_agree() {
        let noted = Upload {
            id: "u".into(),
            part_size: 10,
            parts: vec![part(1, 10, "a"), part(2, 10, "b"), part(3, 5, "c"), part(4, 10, "d"), part(5, 10, "e")],
        };
        let mut listed = Listed { parts: noted.parts.clone(), whole: false };
        assert_eq!(trusted(&noted, &listed, 25).len(), 3, "the parts behind the end are another file's");
        listed.parts[0].etag = "x".into();
        listed.parts[1].checksum = crc_text(99);
        assert_eq!(trusted(&noted, &listed, 25), [part(3, 5, "c")]);
        listed.parts.retain(|part| part.number != 3);
        assert_eq!(trusted(&noted, &listed, 25), []);
        let silent = Part { checksum: String::new(), ..part(1, 10, "a") };
        let listed = Listed { parts: vec![silent], whole: false };
        assert_eq!(trusted(&noted, &listed, 25), [part(1, 10, "a")], "not every store tells checksums");
        let mute = Part { checksum: String::new(), ..part(1, 10, "") };
        assert_eq!(trusted(&noted, &Listed { parts: vec![mute], whole: false }, 25), []);
        let listed = Listed { parts: vec![part(1, 10, "")], whole: false };
        assert_eq!(trusted(&noted, &listed, 25), [part(1, 10, "a")], "nor do they all tell ETags");
    }

    #[test]
    fn a_composite_checksum_is_that_of_the_checksums() {
        // CRC-32C of "123456789" is e3069283 (CRC catalogue).
        let one = Part { number: 1, bytes: 9, checksum: crc_text(0xe306_9283), etag: String::new() };
        let expected = crc_text(crc32c::crc32c(&[0xe3, 0x06, 0x92, 0x83]));
        assert_eq!(composite(&[one]), Some(format!("{expected}-1")));
        let bad = Part { number: 1, bytes: 9, checksum: "?".into(), etag: String::new() };
        assert_eq!((composite(std::slice::from_ref(&bad)), whole(&[bad])), (None, None));
    }

    proptest! {
        #[test]
        fn every_byte_is_in_one_part(bytes in 0u64..1_000_000, size in 1u64..100_000) {
            let mut next = 0;
            for (index, (number, at, length)) in cut(bytes, size).enumerate() {
                prop_assert_eq!((number as usize, at), (index + 1, next));
                prop_assert!(length > 0 && length <= size);
                next += length;
            }
            prop_assert_eq!(next, bytes);
        }

        #[test]
        fn the_parts_make_the_whole(data in prop::collection::vec(any::<u8>(), 0..2000), size in 1u64..700) {
            let parts: Vec<Part> = cut(data.len() as u64, size).map(|(number, at, bytes)| {
                let checksum = crc_text(crc32c::crc32c(&data[at as usize..(at + bytes) as usize]));
                Part { number, bytes, checksum, etag: String::new() }
            }).collect();
            prop_assert_eq!(whole(&parts), Some(crc32c::crc32c(&data)));
        }

        #[test]
        fn no_object_has_too_many_parts(bytes in 0u64..(5 << 40), usual in SMALLEST..100_000_000) {
            let size = part_size_of(bytes, usual);
            prop_assert!(bytes.div_ceil(size) <= 10_000 && size >= usual);
        }
    }
}
