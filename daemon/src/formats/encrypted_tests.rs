//! Parquet's own encryption: what needs which key, and that nothing is written in plain by mistake.

use super::tests::{Shared, schema};
use super::*;
use crate::base::secret::{Resolve, Secret};
use crate::config::settings::{ParquetCompression, ParquetEncryption};
use crate::config::units::SecretText;
use crate::record::page::Page;
use ::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::encryption::decrypt::FileDecryptionProperties;
use std::collections::BTreeMap;

struct Env;

impl Resolve for Env {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(match text {
            "${FOOT}" => "30313233343536373839303132333435",
            "${COL}" => "YWJjZGVmZ2hpamtsbW5vcGFiY2RlZmdoaWprbG1ub3A=",
            "${SHORT}" => "hunter2",
            _ => return Err(format!("fill {text}")),
        }))
    }
}

const FOOT: &[u8] = b"0123456789012345";
const COL: &[u8] = b"abcdefghijklmnopabcdefghijklmnop";

fn settings(columns: &[&str]) -> ParquetEncryption {
    ParquetEncryption {
        footer_key: SecretText("${FOOT}".into()),
        columns: columns.iter().map(|name| ((*name).to_owned(), SecretText("${COL}".into()))).collect(),
        plaintext_footer: false,
        aad_prefix: None,
    }
}

fn encode(encryption: &ParquetEncryption) -> Result<Vec<u8>, FormatError> {
    let schema = schema(&[("id", "integer"), ("name", "string"), ("tags", "list(string)")]);
    let settings = ParquetFormat {
        compression: ParquetCompression::None,
        encryption: Some(encryption.clone()),
        ..ParquetFormat::default()
    };
    let plan = Plan::new(&schema, Layout::Columns);
    let file = Shared::default();
    let keys = ParquetKeys::resolve(encryption, &Env)?;
    let mut encoder = open_encrypted((&settings, &keys), &plan, 1 << 20, Box::new(file.clone()))?;
    let records = [r#"{"id":1,"name":"canary","tags":["canary"]}"#, r#"{"id":"not a number: canary","name":"b"}"#];
    let page = Page::of(&records.map(str::to_owned));
    let pool = Pool::new(2);
    encoder.write(plan.convert(&page, None), &pool)?;
    encoder.finish(&pool)?;
    let bytes = file.0.lock().unwrap().clone();
    Ok(bytes)
}

fn read(bytes: Vec<u8>, columns: &[&str], prefix: Option<&str>) -> Result<RecordBatch, String> {
    let mut keys = FileDecryptionProperties::builder(FOOT.to_vec());
    for name in columns {
        keys = keys.with_column_key(name, COL.to_vec());
    }
    if columns.contains(&"name") {
        keys = keys.with_column_key("_rescued", FOOT.to_vec());
    }
    if let Some(prefix) = prefix {
        keys = keys.with_aad_prefix(prefix.as_bytes().to_vec());
    }
    let keys = keys.build().map_err(|error| error.to_string())?;
    let options = ArrowReaderOptions::new().with_file_decryption_properties(keys);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes::Bytes::from(bytes), options);
    let mut reader = reader.and_then(|reader| reader.build()).map_err(|error| error.to_string())?;
    reader.next().ok_or("no rows")?.map_err(|error| error.to_string())
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn every_column_needs_the_footers_key_where_none_has_its_own() {
    let bytes = encode(&settings(&[])).unwrap();
    assert!(bytes.starts_with(b"PARE") && !holds(&bytes, "canary") && !holds(&bytes, "name"));
    assert_eq!(read(bytes.clone(), &[], None).unwrap().num_rows(), 2);
    assert!(ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).is_err());
    assert_ne!(encode(&settings(&[])).unwrap(), encode(&settings(&[])).unwrap(), "nonces are random");
}

#[test]
fn columns_have_keys_of_their_own_and_rescued_values_are_never_plain() {
    let bytes = encode(&settings(&["name", "tags"])).unwrap();
    assert!(!holds(&bytes, "canary"), "also not in `_rescued`");
    let batch = read(bytes.clone(), &["name", "tags.list.element"], None).unwrap();
    assert_eq!(batch.num_rows(), 2);
    assert!(read(bytes, &[], None).is_err());
}

#[test]
fn a_plain_footer_shows_the_schema_and_a_prefix_must_be_known() {
    let open = ParquetEncryption { plaintext_footer: true, ..settings(&["name", "tags"]) };
    let bytes = encode(&open).unwrap();
    assert!(bytes.starts_with(b"PAR1") && holds(&bytes, "name") && !holds(&bytes, "canary"));
    let bound = ParquetEncryption { aad_prefix: Some("shop".into()), ..settings(&[]) };
    let bytes = encode(&bound).unwrap();
    assert!(read(bytes.clone(), &[], None).is_err());
    assert!(read(bytes.clone(), &[], Some("other")).is_err());
    assert_eq!(read(bytes, &[], Some("shop")).unwrap().num_rows(), 2);
}

#[test]
fn mistakes_are_told_and_nothing_is_written_plain() {
    let told = |encryption: &ParquetEncryption| match encode(encryption).unwrap_err() {
        FormatError::Keys(error) => (error.class(), error.to_string()),
        other => panic!("{other:?}"),
    };
    let (class, text) = told(&settings(&["nam"]));
    assert!(class == ErrorClass::Config && text.contains("\"nam\""), "{text}");
    let (class, text) = told(&ParquetEncryption { footer_key: SecretText("${SHORT}".into()), ..settings(&[]) });
    assert!(class == ErrorClass::Config && text.contains("footer_key") && !text.contains("hunter2"), "{text}");
    let missing = BTreeMap::from([("name".to_owned(), SecretText("${NONE}".into()))]);
    assert!(told(&ParquetEncryption { columns: missing, ..settings(&[]) }).1.contains("columns.name"));
    let format = Format::Parquet(ParquetFormat { encryption: Some(settings(&[])), ..ParquetFormat::default() });
    let plan = Plan::new(&schema(&[("id", "integer")]), Layout::Columns);
    assert!(open((&format, FileLayout::Parts), &plan, 1 << 20, Box::new(Shared::default())).is_err(), "it has no keys");
}
