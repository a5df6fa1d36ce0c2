//! Reads exported files back, with readers that share nothing with the daemon's writers.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// The text of a CSV, NDJSON or JSON file, decompressed by the ending of its name.
pub fn text(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match path.extension().and_then(|end| end.to_str()) {
        Some("gz") => {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("a gzip file");
            plain
        }
        Some("zst") => zstd::decode_all(&bytes[..]).expect("a zstd file"),
        _ => bytes,
    }
}

/// The ids of a file, in its order.
pub fn ids(path: &Path) -> Vec<u64> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.contains(".parquet") {
        let batches = parquet(path);
        batches
            .iter()
            .flat_map(|batch| column(batch, "id").as_primitive::<Int64Type>().values().to_vec())
            .map(|id| id as u64)
            .collect()
    } else if name.contains(".avro") {
        avro(path)
            .iter()
            .flat_map(|batch| column(batch, "id").as_primitive::<Int64Type>().values().to_vec())
            .map(|id| id as u64)
            .collect()
    } else if name.contains(".csv") {
        csv(path).iter().map(|row| row["id"].parse().expect("an id")).collect()
    } else {
        json(path).iter().map(|record| record["id"].as_u64().expect("an id")).collect()
    }
}

/// A column of texts or whole numbers of a file, as text, in its order; `None` where there is no value.
pub fn values(path: &Path, column: &str) -> Vec<Option<String>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let batches = match name {
        name if name.contains(".parquet") => parquet(path),
        name if name.contains(".avro") => avro(path),
        name if name.contains(".csv") => {
            return csv(path).iter_mut().map(|row| row.remove(column).filter(|text| !text.is_empty())).collect();
        }
        _ => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return json(path).iter().map(|record| record.get(column).map(text)).collect();
        }
    };
    let of = |batch: &RecordBatch| -> Vec<Option<String>> {
        let Some(array) = batch.column_by_name(column) else { return vec![None; batch.num_rows()] };
        let value = |row| match array.data_type() {
            DataType::Int64 => integer(array, row).map(|number| number.to_string()),
            _ => string(array, row),
        };
        (0..batch.num_rows()).map(value).collect()
    };
    batches.iter().flat_map(of).collect()
}

/// The records of an NDJSON file or a JSON array.
pub fn json(path: &Path) -> Vec<Value> {
    let text = text(path);
    if path.to_string_lossy().contains(".ndjson") {
        lines(&text).map(|line| serde_json::from_slice(line).expect("a JSON line")).collect()
    } else {
        serde_json::from_slice(&text).expect("a JSON array")
    }
}

/// The lines of a file that ends with a line feed.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    assert!(text.is_empty() || text.ends_with(b"\n"), "the last line has no end");
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The rows of a CSV file, by the names of its header.
pub fn csv(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = text(path);
    let mut rows = records(&text).into_iter();
    let header = rows.next().expect("a header");
    rows.map(|row| {
        assert_eq!(row.len(), header.len(), "a row has as many fields as the header");
        header.iter().cloned().zip(row).collect()
    })
    .collect()
}

fn records(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut rows, mut input) = (Vec::new(), text);
    let (mut output, mut ends) = (vec![0; 1 << 20], vec![0; 4096]);
    loop {
        let (result, read, _, fields) = reader.read_record(input, &mut output, &mut ends);
        input = &input[read..];
        match result {
            csv_core::ReadRecordResult::Record => {
                let starts = [0].into_iter().chain(ends.iter().copied());
                let spans = starts.zip(ends.iter().copied()).take(fields);
                rows.push(
                    spans.map(|(from, to)| String::from_utf8(output[from..to].to_vec()).expect("UTF-8")).collect(),
                );
            }
            csv_core::ReadRecordResult::InputEmpty if input.is_empty() => {}
            csv_core::ReadRecordResult::End => return rows,
            other => panic!("{other:?}"),
        }
    }
}

/// The batches of a Parquet file.
pub fn parquet(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    reader.build().expect("a Parquet file").map(|batch| batch.expect("a whole row group")).collect()
}

/// The batches of an Avro file without compression, or with Zstandard; tests/readers has the other codecs.
pub fn avro(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = arrow_avro::reader::ReaderBuilder::new().build(std::io::BufReader::new(file)).expect("an Avro file");
    reader.map(|batch| batch.expect("a whole block")).collect()
}

/// A column by name.
pub fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name} in {:?}", batch.schema()))
}

/// A text value of any of Arrow's text types.
pub fn string(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        other => panic!("{other} is no text"),
    })
}

/// A float.
pub fn float(array: &dyn Array, row: usize) -> Option<f64> {
    array.is_valid(row).then(|| array.as_primitive::<Float64Type>().value(row))
}

/// An integer.
pub fn integer(array: &dyn Array, row: usize) -> Option<i64> {
    array.is_valid(row).then(|| array.as_primitive::<Int64Type>().value(row))
}

/// An instant in microseconds.
pub fn instant(array: &dyn Array, row: usize) -> Option<i64> {
    array.is_valid(row).then(|| array.as_primitive::<TimestampMicrosecondType>().value(row))
}
