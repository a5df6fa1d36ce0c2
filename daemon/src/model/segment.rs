//! A sealed segment, and the step of an offset that travels with it.

use super::offset::Offset;
use serde::{Deserialize, Serialize};

/// Which segment: unique within a task, and the base of its file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SegmentId {
    /// The stream it belongs to.
    pub stream: String,
    /// Lane within the stream.
    pub lane: u32,
    /// Position within the lane, from 0, without gaps.
    pub n: u64,
    /// Revision of the lane; 0 unless the lane had to be read again.
    pub revision: u32,
}

/// The number of the one file of a stream: in lane 0, behind every segment that a lane ever has.
const SINGLE: u64 = 1 << 40;

impl SegmentId {
    /// The one file of a stream; its revision says how many were put together before it and no longer count.
    pub fn single(stream: &str, revision: u32) -> Self {
        Self { stream: stream.to_owned(), lane: 0, n: SINGLE, revision }
    }

    /// The name of the one file of a stream, e.g. `orders.parquet` or `orders-r1.parquet`.
    pub fn single_name(&self, extension: &str) -> String {
        match self.revision {
            0 => format!("{}.{extension}", self.stream),
            r => format!("{}-r{r}.{extension}", self.stream),
        }
    }

    /// The file name, e.g. `part-0-000003.parquet` or `part-0-000003-r1.parquet`.
    pub fn file_name(&self, extension: &str) -> String {
        match self.revision {
            0 => format!("part-{}-{:06}.{extension}", self.lane, self.n),
            r => format!("part-{}-{:06}-r{r}.{extension}", self.lane, self.n),
        }
    }
}

/// Why a segment ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutReason {
    /// It reached `chunk_size`.
    Size,
    /// The lane ended.
    End,
    /// A limit of the export ended it.
    Limit,
}

/// What a segment's file is to those who read the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is delivered, and the manifest lists it.
    #[default]
    File,
    /// It is a part of the one file of its stream, and never leaves the spool by itself.
    Part,
    /// It is the one file of its stream, put together from the parts.
    Single,
}

impl Role {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Part => "part",
            Self::Single => "single",
        }
    }

    /// The role of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::File, Self::Part, Self::Single].into_iter().find(|role| role.word() == word)
    }
}

/// What became of the records of some pages. `read = written + rejected + duplicate + filtered + over_limit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records the source gave.
    pub read: u64,
    /// Records in the file.
    pub written: u64,
    /// Records in the quarantine.
    pub rejected: u64,
    /// Records dropped as exact repetitions.
    pub duplicate: u64,
    /// Records dropped by a filter.
    pub filtered: u64,
    /// Records beyond a limit of the export.
    pub over_limit: u64,
    /// Values kept in `_rescued` (not part of the sum: their records are written).
    pub rescued: u64,
}

impl Counts {
    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.written += other.written;
        self.rejected += other.rejected;
        self.duplicate += other.duplicate;
        self.filtered += other.filtered;
        self.over_limit += other.over_limit;
        self.rescued += other.rescued;
    }

    /// Whether every record read is accounted for (promise 8).
    pub fn balanced(&self) -> bool {
        self.read == self.written + self.rejected + self.duplicate + self.filtered + self.over_limit
    }
}

/// One immutable file of whole pages, synced and verified in the spool: what a ledger row of a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Which segment.
    pub id: SegmentId,
    /// File name in the spool and at every destination.
    pub name: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// CRC-32C (Castagnoli) of the file.
    pub crc32c: u32,
    /// What is encrypted in the file, where it is encrypted as a whole.
    pub plain: Option<Plain>,
    /// Records accounted for.
    pub counts: Counts,
    /// Pages in it.
    pub pages: u64,
    /// JSON bytes that its pages held.
    pub source_bytes: u64,
    /// Why it ended.
    pub cut: CutReason,
    /// From where to where it moves the lane.
    pub delta: CheckpointDelta,
}

/// A file before it was encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// A step of a lane's offset. It says where it expects the lane to stand, so a gap or an overlap is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDelta {
    /// Where the lane must stand.
    pub from: Offset,
    /// Where it stands afterwards.
    pub to: Offset,
}

/// A step that does not start where the lane stands.
#[derive(Debug, thiserror::Error)]
#[error("the lane stands at {stands:?}, the segment starts at {starts:?}")]
pub struct NotContiguous {
    /// Where the ledger says the lane is.
    pub stands: Box<Offset>,
    /// Where the segment starts.
    pub starts: Box<Offset>,
}

impl CheckpointDelta {
    /// The offset after this step, if it starts where the lane stands.
    pub fn try_apply(&self, stands: &Offset) -> Result<Offset, NotContiguous> {
        if &self.from == stands {
            Ok(self.to.clone())
        } else {
            Err(NotContiguous { stands: Box::new(stands.clone()), starts: Box::new(self.from.clone()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_or_an_overlap_is_refused() {
        let a = Offset::start(0);
        let b = Offset { pages: 1, records: 10, ..a.clone() };
        let delta = CheckpointDelta { from: a.clone(), to: b.clone() };
        assert_eq!(delta.try_apply(&a).unwrap(), b);
        assert!(delta.try_apply(&b).is_err());
    }
}
