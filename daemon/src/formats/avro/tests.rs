//! Avro files read by a reader that is not ours.

use super::*;
use crate::config::settings::{AvroCompression, FileLayout, Format};
use crate::formats::random::{data, rows};
use crate::formats::tests::encode_for;
use crate::model::schema::{Field, Schema, Type};
use crate::record::convert::Layout;
use crate::record::page::Page;
use arrow_array::RecordBatch;
use proptest::prelude::*;
use std::io::Read as _;

pub const CODECS: [AvroCompression; 4] =
    [AvroCompression::None, AvroCompression::Deflate, AvroCompression::Snappy, AvroCompression::Zstd];

fn settings(compression: AvroCompression) -> AvroFormat {
    AvroFormat { compression, level: None }
}

fn take_long(bytes: &mut &[u8]) -> usize {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    usize::try_from(value >> 1).unwrap()
}

fn unpack(compression: AvroCompression, data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match compression {
        AvroCompression::None => plain.extend_from_slice(data),
        AvroCompression::Deflate => drop(flate2::read::DeflateDecoder::new(data).read_to_end(&mut plain).unwrap()),
        AvroCompression::Snappy => {
            let (data, crc) = data.split_at(data.len() - 4);
            plain = snap::raw::Decoder::new().decompress_vec(data).unwrap();
            let mut sum = flate2::Crc::new();
            sum.update(&plain);
            assert_eq!(sum.sum().to_be_bytes(), crc);
        }
        AvroCompression::Zstd => plain = zstd::decode_all(data).unwrap(),
    }
    plain
}

/// The blocks of a file: records, and bytes without compression.
fn blocks(format: &AvroFormat, plan: &Plan, bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let (header, sync) = header(format, plan).unwrap();
    let mut rest = bytes.strip_prefix(&header[..]).expect("the header");
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (count, length) = (take_long(&mut rest), take_long(&mut rest));
        blocks.push((count, unpack(format.compression, &rest[..length])));
        rest = rest[length..].strip_prefix(&sync).expect("a marker behind each block");
    }
    blocks
}

/// Reads a file with arrow-avro, codecs taken off: it is built without most of them. Others read those in tests/readers.
pub fn read(format: &AvroFormat, plan: &Plan, bytes: &[u8]) -> Vec<RecordBatch> {
    let plain = settings(AvroCompression::None);
    let (mut file, sync) = header(&plain, plan).unwrap();
    for (count, block) in blocks(format, plan, bytes) {
        push_long(&mut file, count as i64);
        push_bytes(&mut file, &block);
        file.extend_from_slice(&sync);
    }
    let reader = arrow_avro::reader::ReaderBuilder::new().build(std::io::Cursor::new(file)).unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn blocks_end_by_records_alone() {
    let schema = Schema { fields: vec![Field { name: "s".into(), kind: Type::String }] };
    let records: Vec<String> = (0..3000).map(|i| format!("{{\"s\":\"{}{i}\"}}", "x".repeat(i % 500))).collect();
    let plan = Plan::new(&schema, Layout::Columns);
    for compression in CODECS {
        let format = Format::Avro(settings(compression));
        let whole = encode_for((&format, FileLayout::Parts), &schema, 1, std::slice::from_ref(&records));
        let pages: Vec<Vec<String>> = records.chunks(7).map(<[String]>::to_vec).collect();
        let paged = encode_for((&format, FileLayout::Parts), &schema, 1, &pages);
        assert!(whole.0 == paged.0, "pages do not show in the file");
        assert!(whole.1.last() == paged.1.last() && paged.1.is_sorted());
        let blocks = blocks(&settings(compression), &plan, &whole.0);
        assert!(blocks.len() >= 3, "{}", blocks.len());
        assert_eq!(blocks.iter().map(|(count, _)| count).sum::<usize>(), records.len());
        let (last, full) = blocks.split_last().unwrap();
        assert!(full.iter().all(|(_, block)| (BLOCK..BLOCK + 600).contains(&block.len())) && last.1.len() < BLOCK);
    }
}

#[test]
fn the_header_says_everything_and_nothing_of_the_task() {
    let schema = Schema {
        fields: [("id", "integer"), ("in-valid", "decimal(12,2)"), ("at", "timestamp"), ("tags", "list(string)")]
            .map(|(name, kind)| Field { name: name.into(), kind: Type::parse(kind).unwrap() })
            .to_vec(),
    };
    let plan = Plan::new(&schema, Layout::Columns);
    let (bytes, sync) = header(&settings(AvroCompression::Zstd), &plan).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(bytes.starts_with(b"Obj\x01") && bytes.ends_with(&sync));
    for wanted in [
        "avro.codec\x12zstandard",
        r#"{"type":"record","name":"Record","fields":[{"name":"id","type":["null","long"],"default":null}"#,
        r#"{"name":"in_valid","type":["null",{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}],"default":null,"original":"in-valid"}"#,
        r#"{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null}"#,
        r#"{"name":"tags","type":["null",{"type":"array","items":["null","string"]}],"default":null}"#,
        r#"{"name":"_rescued","type":["null","string"],"default":null}"#,
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    let other = header(&settings(AvroCompression::Snappy), &plan).unwrap();
    assert_ne!(other.1, sync, "blocks of another codec must not be taken for those of this one");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_is_read((schema, records) in data(), split in 1usize..9, codec in 0usize..4) {
        let format = settings(CODECS[codec]);
        let pages: Vec<Vec<String>> = records.chunks(split).map(<[String]>::to_vec).collect();
        let plan = Plan::new(&schema, Layout::Columns);
        let written: Vec<RecordBatch> =
            pages.iter().map(|page| batch(plan.convert(&Page::of(page), None), "test").unwrap()).collect();
        let (bytes, _) = encode_for((&Format::Avro(format.clone()), FileLayout::Parts), &schema, 1, &pages);
        let read = read(&format, &plan, &bytes);
        prop_assert_eq!(rows(&read), rows(&written));
    }
}
