//! Every format: what goes in comes out again, the same bytes for the same pages, in bounded memory.

use super::*;
use crate::config::settings::{AvroFormat, FileLayout, ParquetCompression, ParquetFormat, TextCompression, TextFormat};
use crate::model::schema::{Field, Schema, Type};
use crate::record::page::Page;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, ArrayRef};
use proptest::prelude::*;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
pub(super) struct Shared(pub(super) Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn schema(fields: &[(&str, &str)]) -> Schema {
    let field = |(name, kind): &(&str, &str)| Field { name: (*name).into(), kind: Type::parse(kind).unwrap() };
    Schema { fields: fields.iter().map(field).collect() }
}

/// The file of some pages, and the counted bytes after each of them.
fn encode(format: &Format, schema: &Schema, chunk_size: u64, pages: &[Vec<String>]) -> (Vec<u8>, Vec<u64>) {
    encode_for((format, FileLayout::Parts), schema, chunk_size, pages)
}

/// The same for a layout.
pub fn encode_for(
    format: (&Format, FileLayout),
    schema: &Schema,
    chunk_size: u64,
    pages: &[Vec<String>],
) -> (Vec<u8>, Vec<u64>) {
    encode_on(&Pool::new(2), format, (schema, chunk_size), pages)
}

/// The same on some threads.
pub fn encode_on(
    pool: &Pool,
    format: (&Format, FileLayout),
    (schema, chunk_size): (&Schema, u64),
    pages: &[Vec<String>],
) -> (Vec<u8>, Vec<u64>) {
    let plan = Plan::new(schema, layout(format.0));
    let file = Shared::default();
    let mut encoder = open(format, &plan, chunk_size, Box::new(file.clone())).unwrap();
    let mut counted = Vec::new();
    for records in pages {
        encoder.write(plan.convert(&Page::of(records), None), pool).unwrap();
        counted.push(encoder.counted_bytes());
    }
    encoder.finish(pool).unwrap();
    let bytes = file.0.lock().unwrap().clone();
    (bytes, counted)
}

fn text(compression: TextCompression) -> TextFormat {
    TextFormat { compression, level: None }
}

fn plain(format: &Format, schema: &Schema, records: &[&str]) -> String {
    let records = records.iter().map(|record| (*record).to_owned()).collect();
    String::from_utf8(encode(format, schema, 1 << 20, &[records]).0).unwrap()
}

#[test]
fn files_without_records_are_valid() {
    let schema = schema(&[("id", "integer"), ("a,b", "list(string)")]);
    let file = |format: &Format| String::from_utf8(encode(format, &schema, 1 << 20, &[]).0).unwrap();
    assert_eq!(file(&Format::Csv(TextFormat::default())), "id,\"a,b\",_rescued\r\n");
    assert_eq!(file(&Format::Ndjson(TextFormat::default())), "");
    assert_eq!(file(&Format::Json(TextFormat::default())), "[]\n");
    let (bytes, counted) = encode(&Format::Avro(AvroFormat::default()), &schema, 1 << 20, &[vec![], vec!["1".into()]]);
    assert_eq!(counted, [bytes.len() as u64; 2], "a header and no block");
    let (bytes, _) = encode(&Format::Parquet(ParquetFormat::default()), &schema, 1 << 20, &[vec![], vec!["1".into()]]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    assert_eq!((reader.schema().fields().len(), reader.metadata().num_row_groups()), (3, 0));
    for compression in [TextCompression::Gzip, TextCompression::Zstd] {
        let (bytes, _) = encode(&Format::Ndjson(text(compression)), &schema, 1 << 20, &[]);
        assert!(!bytes.is_empty());
        assert_eq!(unpack(compression, &bytes), b"");
    }
}

#[test]
fn json_and_ndjson_keep_the_records() {
    let schema = Schema::default();
    let records = [r#"{ "a" : 1.50 , "b":"x y" }"#, "[1]", r#"{"c":1e400}"#];
    let lines = "{\"a\":1.50,\"b\":\"x y\"}\n{\"c\":1e400}\n";
    assert_eq!(plain(&Format::Ndjson(TextFormat::default()), &schema, &records), lines);
    let array = "[\n{\"a\":1.50,\"b\":\"x y\"},\n{\"c\":1e400}\n]\n";
    assert_eq!(plain(&Format::Json(TextFormat::default()), &schema, &records), array);
    let pages = records.map(|record| vec![record.to_owned()]);
    let (bytes, counted) = encode(&Format::Json(TextFormat::default()), &schema, 1, &pages);
    assert_eq!((String::from_utf8(bytes).unwrap().as_str(), counted), (array, vec![22, 22, 35]));
}

#[test]
fn every_value_in_csv() {
    let schema = schema(&[
        ("s", "string"),
        ("i", "integer"),
        ("f", "float"),
        ("b", "boolean"),
        ("t", "timestamp"),
        ("d", "date"),
        ("c", "time"),
        ("m", "decimal(38,3)"),
        ("x", "binary"),
        ("l", "list(integer)"),
    ]);
    let csv = plain(
        &Format::Csv(TextFormat::default()),
        &schema,
        &[
            r#"{"s":"a \"b\",\r\nc","i":-9223372036854775808,"f":1e300,"b":true,"t":"2024-02-29T23:59:59.5-01:00","d":"0000-02-29","c":"01:02:03","m":"-0.05","x":"AQI=","l":[1, null]}"#,
            r#"{"s":"","i":0,"f":0.1,"b":false,"t":"1969-12-31T23:59:59.000001Z","d":"9999-12-31","c":"23:59:59.123","m":"12345678901234567890123456789012345.678","x":"","l":[]}"#,
            r#"{"i":"x","f":3,"m":7}"#,
            "{}",
        ],
    );
    let lines = [
        "s,i,f,b,t,d,c,m,x,l,_rescued",
        "\"a \"\"b\"\",\r\nc\",-9223372036854775808,1e+300,true,2024-03-01T00:59:59.500Z,0000-02-29,01:02:03,-0.050,AQI=,\"[1,null]\",",
        "\"\",0,0.1,false,1969-12-31T23:59:59.000001Z,9999-12-31,23:59:59.123,12345678901234567890123456789012345.678,,[],",
        ",,3.0,,,,,7.000,,,\"{\"\"i\"\":\"\"\\\"\"x\\\"\"\"\"}\"",
        ",,,,,,,,,,",
        "",
    ];
    assert_eq!(csv, lines.join("\r\n"));
    let csv = plain(&Format::Csv(TextFormat::default()), &Schema::default(), &["{}", "{\"a\":1}"]);
    assert_eq!(csv, "_rescued\r\n\"\"\r\n\"{\"\"a\"\":\"\"1\"\"}\"\r\n");
}

/// Reads fields with csv-core; what is quoted is told by the bytes, which csv-core does not do.
fn read_csv(mut bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut records, mut record) = (Vec::new(), Vec::new());
    let mut field = vec![0; bytes.len() + 1];
    loop {
        let (result, read, written) = reader.read_field(bytes, &mut field);
        bytes = &bytes[read..];
        match result {
            csv_core::ReadFieldResult::Field { record_end } => {
                record.push(String::from_utf8(field[..written].to_vec()).unwrap());
                if record_end {
                    records.push(std::mem::take(&mut record));
                }
            }
            csv_core::ReadFieldResult::InputEmpty => assert_eq!(written, 0),
            csv_core::ReadFieldResult::End => return records,
            other => panic!("{other:?}"),
        }
    }
}

pub fn unpack(compression: TextCompression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        TextCompression::None => out = bytes.to_vec(),
        TextCompression::Gzip => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap()),
        TextCompression::Zstd => zstd::stream::copy_decode(bytes, &mut out).unwrap(),
    }
    out
}

#[test]
fn compressed_text_is_counted_at_blocks_of_input() {
    let records = |from: usize, n: usize| {
        (from..from + n).map(|i| format!("{{\"id\":{i},\"h\":{}}}", i * 7919 % 10007)).collect()
    };
    let all: Vec<String> = records(0, 300_000);
    let schema = Schema::default();
    let (plain, counted) = encode(&Format::Ndjson(TextFormat::default()), &schema, 1, std::slice::from_ref(&all));
    assert_eq!(counted, [plain.len() as u64]);
    for compression in [TextCompression::Gzip, TextCompression::Zstd] {
        let format = Format::Ndjson(text(compression));
        let (one, counted_one) = encode(&format, &schema, 1, std::slice::from_ref(&all));
        let pages: Vec<Vec<String>> = all.chunks(777).map(<[String]>::to_vec).collect();
        let (many, counted_many) = encode(&format, &schema, 1, &pages);
        assert!(one == many && counted_one.last() == counted_many.last());
        assert!(unpack(compression, &one) == plain);
        let counted = counted_one[0];
        assert!(counted > 0 && counted < one.len() as u64);
        let closed = unpack(compression, &one[..counted as usize]);
        assert_eq!(closed.len() % (1 << 20), 0);
        assert!(closed.len() + (1 << 20) > plain.len());
    }
}

#[test]
fn parquet_holds_what_the_columns_hold() {
    let mut schema = schema(&[
        ("id", "integer"),
        ("t", "timestamp"),
        ("m", "decimal(12,2)"),
        ("d", "date"),
        ("l", "list(string)"),
        ("f", "float"),
    ]);
    schema.fields.push(Field {
        name: "o".into(),
        kind: Type::Struct(vec![
            Field { name: "e".into(), kind: Type::Struct(vec![]) },
            Field { name: "".into(), kind: Type::Boolean },
        ]),
    });
    schema.fields.push(Field { name: "u".into(), kind: Type::Unknown });
    parquet_holds(&schema, 1 << 20, 2);
    // So many that a row group is encoded when it is whole, and counted when the next one is where segments are large.
    let more = (0..260).map(|n| Field { name: format!("x{n}"), kind: Type::Float });
    schema.fields.splice(3..3, more);
    parquet_holds(&schema, 1 << 20, 2);
    parquet_holds(&schema, super::AHEAD, 5);
}

/// `first` is the page behind which the first row group counts.
fn parquet_holds(schema: &Schema, chunk_size: u64, first: usize) {
    let records: Vec<String> = (0..1000)
        .map(|i| match i % 3 {
            0 => format!(
                r#"{{"id":{i},"t":"2024-01-01T00:00:00.{:03}Z","m":"{i}.25","o":{{"e":{{}},"":true}},"l":["é",null]}}"#,
                i
            ),
            1 => format!(r#"{{"id":{i},"f":{i}.5,"x9":{i}.5,"x8":0.5,"d":"2024-01-31","l":[],"new":[{i}]}}"#),
            _ => "{}".to_owned(),
        })
        .collect();
    let pages: Vec<Vec<String>> = records.chunks(100).map(<[String]>::to_vec).collect();
    for compression in
        [ParquetCompression::None, ParquetCompression::Snappy, ParquetCompression::Gzip, ParquetCompression::Zstd]
    {
        let format = Format::Parquet(ParquetFormat { compression, row_group_rows: 250, ..ParquetFormat::default() });
        let (bytes, counted) = encode(&format, schema, chunk_size, &pages);
        assert_eq!(bytes, encode(&format, schema, chunk_size, &pages).0);
        assert!(counted[first - 1] == 0 && counted[first] > 0);
        assert!(counted[first + 2] == counted[first] && counted[first + 3] > counted[first]);
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes.clone())).unwrap();
        let metadata = reader.metadata().file_metadata();
        assert_eq!(metadata.created_by().unwrap(), concat!("saas-export-daemon version ", env!("CARGO_PKG_VERSION")));
        assert!(metadata.key_value_metadata().is_none());
        let rows: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(rows, [300, 300, 300, 100]);
        let plan = Plan::new(schema, Layout::Columns);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
        let batches: Vec<RecordBatch> = reader.with_batch_size(100).build().unwrap().map(Result::unwrap).collect();
        assert_eq!(batches.len(), pages.len());
        for (read, records) in batches.iter().zip(&pages) {
            let written = batch(plan.convert(&Page::of(records), None), "test").unwrap();
            assert_eq!(read.num_columns(), written.num_columns());
            for (read, written) in read.columns().iter().zip(written.columns()) {
                // The reader calls the same time zone UTC.
                let read: ArrayRef = match read.as_primitive_opt::<TimestampMicrosecondType>() {
                    Some(instants) => Arc::new(instants.clone().with_timezone("+00:00")),
                    None => Arc::clone(read),
                };
                assert_eq!(&read, written);
                assert_eq!(read.null_count(), written.null_count());
            }
        }
    }
}

#[test]
fn row_groups_end_by_source_bytes_too() {
    let schema = schema(&[("s", "string")]);
    let pages = vec![vec![format!("{{\"s\":\"{}\"}}", "x".repeat(30_000))]; 8];
    let groups = |chunk_size| {
        let (bytes, _) = encode(&Format::Parquet(ParquetFormat::default()), &schema, chunk_size, &pages);
        SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap().metadata().num_row_groups()
    };
    assert_eq!((groups(1), groups(30_000), groups(1 << 40)), (3, 2, 1));
}

#[test]
fn errors_keep_their_class_and_no_data() {
    let schema = schema(&[("secret", "string")]);
    let record = vec![format!("{{\"secret\":\"{}\"}}", "s3cret".repeat(1 << 18))];
    let pool = Pool::new(1);
    for format in ["parquet", "avro", "csv", "ndjson", "json"].map(|word| Format::from_word(word).unwrap()) {
        let plan = Plan::new(&schema, layout(&format));
        let mut result = open((&format, FileLayout::Parts), &plan, 1, Box::new(Full)).and_then(|mut encoder| {
            encoder.write(plan.convert(&Page::of(&record), None), &pool)?;
            encoder.finish(&pool)
        });
        assert_eq!(result.as_ref().unwrap_err().class(), ErrorClass::Full, "{format:?}");
        let other = if layout(&format) == Layout::Lines { Layout::Flat } else { Layout::Lines };
        let mut encoder = open((&format, FileLayout::Parts), &plan, 1, Box::new(Shared::default())).unwrap();
        result = encoder.write(Plan::new(&schema, other).convert(&Page::of(&record), None), &pool);
        assert_eq!(result.as_ref().unwrap_err().class(), ErrorClass::Bug);
        assert!(!format!("{:?}", result.unwrap_err()).contains("s3cret"));
    }
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    for (columns, pages, rows) in [(60, 100, 150), (260, 30, 150), (4, 3, 2500)] {
        threads_change_nothing(columns, pages, rows);
    }
}

fn threads_change_nothing(columns: usize, pages: usize, rows: usize) {
    let names: Vec<String> = (0..columns).map(|n| format!("c{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "string")).collect();
    let schema = schema(&fields);
    let record = |n: usize| {
        let members = names.iter().enumerate().map(|(c, name)| format!("\"{name}\":\"{}\"", n * 7919 % (c + 3)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    let pages: Vec<Vec<String>> = (0..pages).map(|page| (0..rows).map(|n| record(page * rows + n)).collect()).collect();
    for format in ["parquet", "avro", "csv", "ndjson", "json"].map(|word| Format::from_word(word).unwrap()) {
        // Several row groups, and more than the largest group of blocks.
        for chunk_size in [1 << 20, 50 << 20] {
            let of =
                |threads| encode_on(&Pool::new(threads), (&format, FileLayout::Parts), (&schema, chunk_size), &pages);
            let alone = of(1);
            assert!(alone.0.len() > 300 * columns, "{format:?}");
            assert!(of(2) == alone && of(5) == alone, "{format:?}");
        }
    }
}

#[test]
fn a_level_makes_a_file_of_its_own_and_the_same_one_each_time() {
    let records: Vec<String> = (0..4000).map(|i| format!("{{\"id\":{i},\"h\":\"{:x}\"}}", i * 7919 % 10007)).collect();
    let schema = schema(&[("id", "integer"), ("h", "string")]);
    let records = std::slice::from_ref(&records);
    for (kind, gzip) in [("ndjson", "gzip"), ("parquet", "gzip"), ("avro", "deflate")] {
        let of = |word: &str, level: Option<u8>| {
            let format = serde_json::json!({ kind: { "compression": word, "level": level } });
            encode(&serde_json::from_value(format).unwrap(), &schema, 1, records).0
        };
        assert!(of(gzip, Some(5)) == of(gzip, None) && of("zstd", Some(1)) == of("zstd", None), "the defaults");
        for (word, low, high) in [(gzip, 1, 9), ("zstd", 1, 19)] {
            let (fast, small) = (of(word, Some(low)), of(word, Some(high)));
            assert!(small.len() < fast.len(), "{word}: {} {}", small.len(), fast.len());
            assert!(small == of(word, Some(high)));
        }
    }
}

proptest! {
    #[test]
    fn csv_comes_back(
        rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of("[a,\"\r\n é=;]{0,6}|.{0,9}"), 3), 0..20),
        names in proptest::collection::btree_set("[a,\"\r\né]{1,5}", 3),
        split in 1usize..5,
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let fields = names.iter().map(|name| Field { name: name.clone(), kind: Type::String }).collect();
        let records: Vec<String> = rows.iter().map(|row| {
            let members: serde_json::Map<_, _> =
                names.iter().zip(row).filter_map(|(n, v)| Some((n.clone(), v.clone()?.into()))).collect();
            serde_json::Value::Object(members).to_string()
        }).collect();
        let pages: Vec<Vec<String>> = records.chunks(split).map(<[String]>::to_vec).collect();
        let schema = Schema { fields };
        let (bytes, counted) = encode(&Format::Csv(TextFormat::default()), &schema, 1, &pages);
        prop_assert_eq!(counted.last().copied().unwrap_or(bytes.len() as u64), bytes.len() as u64);
        let mut expected = vec![names.clone()];
        expected[0].push("_rescued".into());
        for row in &rows {
            let mut row: Vec<String> = row.iter().map(|value| value.clone().unwrap_or_default()).collect();
            row.push(String::new());
            expected.push(row);
        }
        prop_assert_eq!(read_csv(&bytes), expected);
        let empties = rows.iter().flatten().filter(|value| value.as_deref() == Some("")).count();
        let quoted = String::from_utf8(bytes).unwrap();
        prop_assert!(quoted.matches("\"\"").count() >= empties);
    }
}
