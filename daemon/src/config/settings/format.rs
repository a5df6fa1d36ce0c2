//! The file formats and their settings.

use super::{AvroFormat, ParquetEncryption};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file format: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Apache Parquet.
    Parquet(ParquetFormat),
    /// Apache Avro object container files.
    Avro(AvroFormat),
    /// CSV (RFC 4180) with a header line.
    Csv(TextFormat),
    /// One JSON record per line, as the source wrote it.
    Ndjson(TextFormat),
    /// One JSON array of the records, as the source wrote them.
    Json(TextFormat),
}

impl Default for Format {
    fn default() -> Self {
        Self::Csv(TextFormat::default())
    }
}

impl Format {
    /// The words of all formats, for a person.
    pub const WORDS: &str = "parquet, avro, csv, ndjson or json";

    /// The word for `--format` and the API.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Parquet(_) => "parquet",
            Self::Avro(_) => "avro",
            Self::Csv(_) => "csv",
            Self::Ndjson(_) => "ndjson",
            Self::Json(_) => "json",
        }
    }

    /// The format of a word, with default settings.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "parquet" => Self::Parquet(ParquetFormat::default()),
            "avro" => Self::Avro(AvroFormat::default()),
            "csv" => Self::Csv(TextFormat::default()),
            "ndjson" => Self::Ndjson(TextFormat::default()),
            "json" => Self::Json(TextFormat::default()),
            _ => return None,
        })
    }

    /// The word of the compression, for the manifest; `None` where there is none.
    pub fn compression(&self) -> Option<String> {
        let word = match self {
            Self::Parquet(f) => match f.compression {
                ParquetCompression::None => return None,
                ParquetCompression::Snappy => "snappy",
                ParquetCompression::Gzip => "gzip",
                ParquetCompression::Zstd => "zstd",
            },
            Self::Avro(f) => f.compression.word()?,
            Self::Csv(f) | Self::Ndjson(f) | Self::Json(f) => match f.compression {
                TextCompression::None => return None,
                TextCompression::Gzip => "gzip",
                TextCompression::Zstd => "zstd",
            },
        };
        Some(word.into())
    }

    /// The ending of a segment's file name.
    pub fn extension(&self) -> String {
        match self {
            Self::Parquet(_) => "parquet".into(),
            Self::Avro(_) => "avro".into(),
            Self::Csv(f) | Self::Ndjson(f) | Self::Json(f) => {
                let end = match f.compression {
                    TextCompression::None => "",
                    TextCompression::Gzip => ".gz",
                    TextCompression::Zstd => ".zst",
                };
                format!("{}{end}", self.word())
            }
        }
    }
}

/// Settings of Parquet files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParquetFormat {
    /// Compression of the column chunks.
    pub compression: ParquetCompression,
    /// How hard it compresses: gzip 1 to 9 (default 5), zstd 1 to 19 (default 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 19))]
    pub level: Option<u8>,
    /// Most rows of a row group.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub row_group_rows: u32,
    /// Parquet's own encryption; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<ParquetEncryption>,
}

impl Default for ParquetFormat {
    fn default() -> Self {
        Self { compression: ParquetCompression::Zstd, level: None, row_group_rows: 65_536, encryption: None }
    }
}

/// Compression of Parquet column chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParquetCompression {
    /// Not compressed.
    None,
    /// Snappy.
    Snappy,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Settings of CSV, NDJSON and JSON files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextFormat {
    /// Compression of the whole file.
    pub compression: TextCompression,
    /// How hard it compresses: gzip 1 to 9 (default 5), zstd 1 to 19 (default 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 19))]
    pub level: Option<u8>,
}

/// Compression of a text file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextCompression {
    /// Not compressed.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}
