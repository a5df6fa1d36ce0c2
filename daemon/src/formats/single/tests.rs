//! One file of parts holds what the parts hold, and reads as if it had been written at once.

use super::*;
use crate::config::settings::{
    AvroCompression, AvroFormat, FileLayout, ParquetCompression, ParquetFormat, TextCompression,
};
use crate::formats::random::{data, rows};
use crate::formats::tests::{encode_for, unpack};
use crate::formats::{batch, layout};
use crate::model::schema::{Field, Schema, Type};
use crate::record::page::Page;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::RecordBatch;
use proptest::prelude::*;

/// The one file of parts, each of some pages.
fn assemble(format: &Format, schema: &Schema, parts: &[Vec<Vec<String>>]) -> Result<Vec<u8>, FormatError> {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan::new(schema, layout(format));
    let made = parts.iter().enumerate().map(|(n, pages)| {
        let (bytes, _) = encode_for((format, FileLayout::Single), schema, 1 << 20, pages);
        let path = dir.path().join(n.to_string());
        std::fs::write(&path, &bytes).unwrap();
        Part { path, bytes: bytes.len() as u64, rows: pages.iter().map(|page| page.len() as u64).sum(), seal: None }
    });
    let mut out = Vec::new();
    write(format, &plan, &made.collect::<Vec<_>>(), &mut out)?;
    Ok(out)
}

fn text_formats(settings: TextFormat) -> [Format; 3] {
    [Format::Csv(settings.clone()), Format::Ndjson(settings.clone()), Format::Json(settings)]
}

fn formats() -> Vec<Format> {
    let mut all = Vec::new();
    for compression in [TextCompression::None, TextCompression::Gzip, TextCompression::Zstd] {
        all.extend(text_formats(TextFormat { compression, level: None }));
    }
    for compression in crate::formats::avro::tests::CODECS {
        all.push(Format::Avro(AvroFormat { compression, level: None }));
    }
    for compression in
        [ParquetCompression::None, ParquetCompression::Snappy, ParquetCompression::Gzip, ParquetCompression::Zstd]
    {
        all.push(Format::Parquet(ParquetFormat { compression, row_group_rows: 7, ..ParquetFormat::default() }));
    }
    all
}

/// What readers find in a file.
fn read(format: &Format, schema: &Schema, bytes: &[u8]) -> Vec<String> {
    let plan = Plan::new(schema, layout(format));
    match format {
        Format::Parquet(_) => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes)).unwrap();
            rows(&reader.build().unwrap().map(Result::unwrap).collect::<Vec<RecordBatch>>())
        }
        Format::Avro(settings) => rows(&crate::formats::avro::tests::read(settings, &plan, bytes)),
        Format::Csv(f) | Format::Ndjson(f) | Format::Json(f) => {
            vec![String::from_utf8(unpack(f.compression, bytes)).unwrap()]
        }
    }
}

fn field(name: &str, kind: &str) -> Field {
    Field { name: name.into(), kind: Type::parse(kind).unwrap() }
}

fn records(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|i| format!("{{\"id\":{i},\"s\":\"{i} ü\"}}")).collect()
}

#[test]
fn parts_become_the_file_that_one_segment_would_have_been() {
    let schema = Schema { fields: vec![field("id", "integer"), field("s", "string")] };
    let parts =
        [vec![records(0, 10), records(10, 5)], vec![], vec![records(15, 1)], vec![vec![]], vec![records(16, 30)]];
    for format in formats() {
        let one = assemble(&format, &schema, &parts).unwrap();
        assert!(one == assemble(&format, &schema, &parts).unwrap(), "{format:?}");
        let (whole, _) = encode_for((&format, FileLayout::Parts), &schema, 1 << 20, &[records(0, 46)]);
        assert_eq!(read(&format, &schema, &one), read(&format, &schema, &whole), "{format:?}");
        if format.compression().is_none() && !matches!(format, Format::Parquet(_) | Format::Avro(_)) {
            assert!(one == whole, "{format:?}");
        }
    }
}

#[test]
fn parts_without_records_are_a_valid_file() {
    let schema = Schema { fields: vec![field("a,b", "integer")] };
    for format in formats() {
        for parts in [vec![vec![]], vec![vec![vec![]], vec![]]] {
            let one = assemble(&format, &schema, &parts).unwrap();
            let (whole, _) = encode_for((&format, FileLayout::Parts), &schema, 1 << 20, &[]);
            assert_eq!(read(&format, &schema, &one), read(&format, &schema, &whole), "{format:?}");
        }
    }
}

#[test]
fn a_header_longer_than_a_block_is_one_header() {
    let fields = (0..40_000).map(|n| field(&format!("column {n:032}"), "string")).collect();
    let schema = Schema { fields };
    for compression in [TextCompression::Gzip, TextCompression::Zstd] {
        let format = Format::Csv(TextFormat { compression, level: None });
        let parts = [vec![vec!["{}".to_owned()]], vec![vec!["{}".to_owned()]]];
        let one = assemble(&format, &schema, &parts).unwrap();
        let (whole, _) = encode_for((&format, FileLayout::Parts), &schema, 1, &[vec!["{}".to_owned(); 2]]);
        assert!(unpack(compression, &one) == unpack(compression, &whole));
    }
}

#[test]
fn parquet_keeps_statistics_and_page_locations() {
    let schema = Schema { fields: vec![field("id", "integer"), field("s", "string")] };
    let format = Format::Parquet(ParquetFormat { row_group_rows: 10, ..ParquetFormat::default() });
    let parts = [vec![records(0, 10), records(10, 10)], vec![records(20, 10)]];
    let one = bytes::Bytes::from(assemble(&format, &schema, &parts).unwrap());
    let reader = ::parquet::file::metadata::ParquetMetaDataReader::new();
    let policy = ::parquet::file::metadata::PageIndexPolicy::Required;
    let metadata = reader.with_page_index_policy(policy).parse_and_finish(&one).unwrap();
    assert!(metadata.file_metadata().created_by().unwrap().starts_with("saas-export-daemon version "));
    assert!(metadata.file_metadata().key_value_metadata().is_none());
    assert_eq!(metadata.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [10, 10, 10]);
    let index = metadata.page_index().expect("the pages can be found");
    for (n, group) in metadata.row_groups().iter().enumerate() {
        let statistics = group.column(0).statistics().unwrap();
        assert_eq!(statistics.min_bytes_opt().unwrap(), (n as i64 * 10).to_le_bytes());
        assert_eq!(statistics.max_bytes_opt().unwrap(), (n as i64 * 10 + 9).to_le_bytes());
        let pages = &index.offset_index(n, 0).expect("an offset index").page_locations;
        let (start, length) = group.column(0).byte_range();
        let within = |page: i64| (start..start + length).contains(&(page as u64));
        assert!(!pages.is_empty() && pages.iter().all(|page| within(page.offset)));
    }
}

#[test]
fn a_part_of_another_kind_is_refused_and_an_error_keeps_its_class() {
    use crate::base::error::{Classify as _, ErrorClass};
    let dir = tempfile::tempdir().unwrap();
    let schema = Schema { fields: vec![field("id", "integer")] };
    for format in formats().into_iter().filter(|format| !matches!(format, Format::Ndjson(_))) {
        let plan = Plan::new(&schema, layout(&format));
        let path = dir.path().join("part");
        std::fs::write(&path, [b'x'; 4096]).unwrap();
        let part = |rows| Part { path: path.clone(), bytes: 4096, rows, seal: None };
        let error = write(&format, &plan, &[part(1), part(1)], &mut Vec::new()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Bug, "{format:?}");
        let gone = Part { path: dir.path().join("gone"), bytes: 1, rows: 1, seal: None };
        assert!(matches!(
            write(&format, &plan, &[gone], &mut Vec::new()),
            Err(FormatError::Io(_) | FormatError::Encode { .. })
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_layout_reads_back_as_it_was_written(
        (schema, records) in data(),
        cuts in proptest::collection::vec(0usize..30, 1..4),
        which in 0usize..17,
    ) {
        let format = formats()[which].clone();
        let mut parts: Vec<Vec<Vec<String>>> = Vec::new();
        let mut rest = &records[..];
        for cut in cuts {
            let (part, later) = rest.split_at(cut.min(rest.len()));
            parts.push(part.chunks(4).map(<[String]>::to_vec).collect());
            rest = later;
        }
        parts.push(vec![rest.to_vec()]);
        let one = assemble(&format, &schema, &parts).unwrap();
        let plan = Plan::new(&schema, layout(&format));
        let wanted = match &format {
            Format::Parquet(_) | Format::Avro(_) => {
                rows(&[batch(plan.convert(&Page::of(&records), None), "test").unwrap()])
            }
            _ => read(&format, &schema, &encode_for((&format, FileLayout::Parts), &schema, 1, std::slice::from_ref(&records)).0),
        };
        prop_assert_eq!(read(&format, &schema, &one), wanted);
    }
}

#[test]
fn the_codecs_are_all_tried() {
    assert_eq!(formats().len(), 17);
    assert!(formats().iter().any(|f| matches!(f, Format::Avro(a) if a.compression == AvroCompression::Deflate)));
}
