//! The manifest of a stream in a task: which segments hold its data, and everything needed to verify them.

use crate::MANIFEST_NAME;
use crate::digest::Digests;
use crate::signature::Signed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;

/// The version of the format written here.
const VERSION: u32 = 1;
/// The longest name of a file that common file systems take.
const MAX_FILE_NAME: usize = 255;

/// The manifest of a stream in a task. Its JSON is deterministic: the order of the fields is the one below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Manifest {
    /// Version of this format; always 1.
    pub version: u32,
    /// Name of the export.
    pub export: String,
    /// Name of the stream.
    pub stream: String,
    /// Id of the task.
    pub task: String,
    /// When the task was created (RFC 3339, UTC).
    pub created_at: String,
    /// Whether the segments are the whole stream or what changed.
    pub mode: Mode,
    /// Word of the file format.
    pub format: String,
    /// Compression of the files, where it is not none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// How the files are encrypted as a whole, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Whether Parquet's own encryption protects what is in the files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parquet_encryption: bool,
    /// The columns that have keys of their own there; with none of them, the footer's key protects every column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encrypted_columns: Vec<String>,
    /// Whose signature lies beside the manifest, where it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signed>,
    /// The logical schema of the records.
    pub schema: Value,
    /// Version of the schema within export and stream, from 1.
    pub schema_version: u32,
    /// Fields that identify a record.
    pub primary_key: Vec<String>,
    /// Field that incremental tasks follow.
    pub cursor_field: Option<String>,
    /// How a shift of the source's pages would have been noticed: `whole` (one answer), `source` (a cursor of its own),
    /// `overlap` (each page begins with the last record of the page before it), `total` (pages are compared when the number
    /// of records changes), `repeats` (keys that come again); `none` where it could not.
    pub shift_protection: String,
    /// The limit of the export that ended the stream before its source did: `max_rows` or `max_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,
    /// The place in its chain.
    pub chain: ChainPosition,
    /// What each lane read.
    pub offsets: Vec<LaneOffsets>,
    /// The stream's mark before and after the task.
    pub marks: Marks,
    /// What became of the records.
    pub counts: Counts,
    /// Pages read.
    pub pages: u64,
    /// JSON bytes of the records read.
    pub source_bytes: u64,
    /// The files, in the order of the data: by lane, then by position.
    pub segments: Vec<Segment>,
    /// Version of the daemon that wrote the segments.
    pub daemon_version: String,
}

/// Encryption of whole files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Encryption {
    /// `age` (age-encryption.org/v1).
    pub format: String,
    /// The public keys that the files were encrypted to; any one of the identities decrypts them.
    pub recipients: Vec<String>,
}

/// Whether a manifest's segments are the whole stream or what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The whole stream; starts a chain.
    Full,
    /// What changed since the manifest before it in the chain.
    Incremental,
}

impl Mode {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }

    /// The mode of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Full, Self::Incremental].into_iter().find(|mode| mode.word() == word)
    }
}

/// The place of a manifest in its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChainPosition {
    /// Id of the full task that started the chain.
    pub id: String,
    /// 0 for that task, then one more for each incremental one.
    pub position: u64,
}

/// Where a lane started and ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LaneOffsets {
    /// Lane number.
    pub lane: u32,
    /// Its offset before the first page.
    pub first: Value,
    /// Its offset after the last page.
    pub last: Value,
}

/// The mark of a stream around a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Marks {
    /// Where the task started; null for the beginning.
    pub before: Option<Value>,
    /// Where the next incremental task starts; null without incremental reading.
    pub after: Option<Value>,
    /// Digest of what the stream is (path, paginator, key, cursor field): the mark counts for a stream with the same alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The newest records, which the next task may be given once more: for each the bytes of its cursor value, behind them
    /// digests of its key and of the record (16 bytes each), as base64, in order. Left out where the files are encrypted, and where
    /// there are more than 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Vec<String>>,
}

/// The most records of a boundary that a manifest lists.
pub const MAX_BOUNDARY: usize = 1000;
/// The digests at the end of each of them.
const BOUNDARY_DIGESTS: usize = 32;

/// A record of a boundary: the bytes of its cursor value, and the digests of its key and content.
pub type BoundaryRecord = (Vec<u8>, [u8; BOUNDARY_DIGESTS]);

impl Marks {
    /// Lists the newest records, unless they are too many. The same records give the same list, in whatever order they come.
    #[must_use]
    pub fn with_boundary(mut self, records: &[BoundaryRecord]) -> Self {
        let text = |(cursor, digests): &BoundaryRecord| STANDARD.encode([cursor.as_slice(), digests].concat());
        let mut sorted: Vec<&BoundaryRecord> = records.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        self.boundary = (sorted.len() <= MAX_BOUNDARY).then(|| sorted.into_iter().map(text).collect());
        self
    }

    /// The newest records, where they are listed. The error names the place in the list.
    pub fn boundary(&self) -> Result<Option<Vec<BoundaryRecord>>, String> {
        let record = |(i, text): (usize, &String)| {
            let bytes = STANDARD.decode(text).ok();
            let split = bytes.as_deref().and_then(|bytes| bytes.split_last_chunk::<BOUNDARY_DIGESTS>());
            let (cursor, digests) = split.ok_or_else(|| format!("marks.boundary[{i}] is no record of a boundary"))?;
            Ok((cursor.to_vec(), *digests))
        };
        self.boundary.as_ref().map(|list| list.iter().enumerate().map(record).collect()).transpose()
    }
}

/// What became of the records: `read = written + rejected + duplicate + filtered + over_limit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counts {
    /// Records the source gave.
    pub read: u64,
    /// Records in the segments.
    pub written: u64,
    /// Records in the quarantine.
    pub rejected: u64,
    /// Records dropped as exact repetitions.
    pub duplicate: u64,
    /// Records dropped by a filter.
    pub filtered: u64,
    /// Records beyond a limit of the export.
    pub over_limit: u64,
    /// Values kept in `_rescued` (not part of the sum).
    pub rescued: u64,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Segment {
    /// Plain file name, beside the manifest.
    pub name: String,
    /// Records in it.
    pub rows: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, 64 lower-case hex digits.
    pub sha256: String,
    /// CRC-32C of the file, 8 lower-case hex digits.
    pub crc32c: String,
    /// SHA-256 of what is encrypted in the file, 64 lower-case hex digits; left out where it is not encrypted as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_sha256: Option<String>,
    /// Length in bytes of what is encrypted in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
    /// Lane it belongs to.
    pub lane: u32,
    /// Position in the lane, from 0.
    pub n: u64,
    /// How often the lane had been sent back before it was written; left out where that is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u32,
    /// The lane's offset before it.
    pub first_offset: Value,
    /// The lane's offset after it.
    pub last_offset: Value,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Why bytes are not a manifest, or not a list of manifests.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    /// Not the JSON that it should be.
    #[error("read the {what}, line {line}, column {column}: {message}")]
    Json {
        /// `manifest` or `list of manifests`.
        what: &'static str,
        /// Line, from 1; 0 where the whole is at fault.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was expected.
        message: String,
    },
    /// Written by a newer version.
    #[error("read the {what}: it has version {found}, this program knows up to version {VERSION}")]
    Newer {
        /// `manifest` or `list of manifests`.
        what: &'static str,
        /// The version in it.
        found: u64,
    },
    /// A value that cannot be.
    #[error("read the {what}: {problem}")]
    Invalid {
        /// `manifest` or `list of manifests`.
        what: &'static str,
        /// Which value, and what is wrong with it.
        problem: String,
    },
}

impl Manifest {
    /// The bytes of `_manifest.json`: indented JSON with a newline at the end.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        to_bytes(self)
    }

    /// Reads and checks a manifest. Fields it does not know are ignored, a newer version is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        const WHAT: &str = "manifest";
        let manifest: Self = parse(WHAT, bytes)?;
        manifest.check().map_err(|problem| ParseError::Invalid { what: WHAT, problem })?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        for (i, segment) in self.segments.iter().enumerate() {
            if !is_plain_name(&segment.name) {
                return Err(format!("segments[{i}].name is not a plain file name"));
            }
            let name = &segment.name;
            if !names.insert(name) {
                return Err(format!("segments[{i}].name {name} is there twice"));
            }
            if !is_hex(&segment.sha256, 64) {
                return Err(format!("segments[{i}].sha256 of {name} is not 64 lower-case hex digits"));
            }
            if !is_hex(&segment.crc32c, 8) {
                return Err(format!("segments[{i}].crc32c of {name} is not 8 lower-case hex digits"));
            }
            if segment.plain_sha256.as_ref().is_some_and(|digest| !is_hex(digest, 64)) {
                return Err(format!("segments[{i}].plain_sha256 of {name} is not 64 lower-case hex digits"));
            }
        }
        let rows = self.segments.iter().try_fold(0u64, |sum, segment| sum.checked_add(segment.rows));
        if rows != Some(self.counts.written) {
            return Err(format!("counts.written is {}, but the rows of the segments differ", self.counts.written));
        }
        let c = &self.counts;
        let parts = [c.written, c.rejected, c.duplicate, c.filtered, c.over_limit];
        if parts.iter().try_fold(0u64, |sum, part| sum.checked_add(*part)) != Some(c.read) {
            return Err(format!("counts.read is {}, but its parts do not add up to it", c.read));
        }
        if self.marks.boundary.as_ref().is_some_and(|list| list.len() > MAX_BOUNDARY) {
            return Err(format!("marks.boundary has more than {MAX_BOUNDARY} records"));
        }
        self.marks.boundary()?;
        Ok(())
    }
}

/// The text of `SHA256SUMS`, as `sha256sum --check` takes it: a line for each segment, and one for the manifest, whose
/// published bytes are `composed`.
pub fn sha256sums(manifest: &Manifest, composed: &[u8]) -> String {
    let lines = manifest.segments.iter().map(|segment| format!("{}  {}\n", segment.sha256, segment.name));
    let own = format!("{}  {MANIFEST_NAME}\n", Digests::of(composed).sha256);
    lines.chain(std::iter::once(own)).collect()
}

/// A CRC-32C as it stands in a manifest.
pub fn crc32c_hex(crc: u32) -> String {
    format!("{crc:08x}")
}

/// Whether a name is one file in its directory on every system: ASCII letters, digits, `.`, `_`, `-`, no leading dot.
pub fn is_plain_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= MAX_FILE_NAME && !name.starts_with(['.', '-']) && name.chars().all(good)
}

pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a document with a `version`. The version is looked at first: a newer document may differ in everything else.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, ParseError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    let json = |error: serde_json::Error| {
        // The library ends its sentence with the place, which we name ourselves.
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(head, _)| head).to_owned();
        ParseError::Json { what, line: error.line(), column: error.column(), message }
    };
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(json)?;
    match versioned.version {
        0 => Err(ParseError::Invalid { what, problem: "version 0 does not exist".into() }),
        found if found > u64::from(VERSION) => Err(ParseError::Newer { what, found }),
        _ => serde_json::from_slice(bytes).map_err(json),
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
pub(crate) mod tests;
