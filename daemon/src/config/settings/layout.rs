//! How the records of a stream are laid out in files, and the settings of Avro files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a task's stream becomes files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileLayout {
    /// Files of about `chunk_size`, each delivered as soon as it is written.
    #[default]
    Parts,
    /// One file, named after the stream, which is put together from its parts once all of them are there. It needs room for
    /// the whole file beside them.
    Single,
}

/// Settings of Avro object container files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AvroFormat {
    /// Compression of the blocks (the codec).
    pub compression: AvroCompression,
    /// How hard it compresses: deflate 1 to 9 (default 5), zstd 1 to 19 (default 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 19))]
    pub level: Option<u8>,
}

/// Compression of the blocks of an Avro file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AvroCompression {
    /// Not compressed (`null`).
    None,
    /// Deflate.
    Deflate,
    /// Snappy.
    Snappy,
    /// Zstandard (`zstandard`).
    #[default]
    Zstd,
}

impl AvroCompression {
    /// The word for the manifest; `None` where there is none.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Deflate => Some("deflate"),
            Self::Snappy => Some("snappy"),
            Self::Zstd => Some("zstd"),
        }
    }
}
