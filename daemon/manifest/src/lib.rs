//! What is published last: the types of `_manifest.json` and `latest.json`, the digests in them and their verification.

mod digest;
mod latest;
mod manifest;
#[cfg(test)]
mod manual;
mod names;
mod signature;
mod verify;

pub use digest::{DigestWriter, Digester, Digests};
pub use latest::{Latest, LatestEntry};
pub use manifest::{
    BoundaryRecord, ChainPosition, Counts, Encryption, LaneOffsets, Manifest, Marks, Mode, ParseError, Segment,
    crc32c_hex, is_plain_name, sha256sums,
};
pub use names::beside;
pub use signature::{ALGORITHM, PublicKey, SIGNATURE_BYTES, SignatureError, Signed, SigningKey};
pub use verify::{
    Problem, ProblemKind, Progress, VerifyError, VerifyReport, unexpected_segments, verify_dir, verify_published,
    verify_signature,
};

/// Name of a stream's manifest in the directory of its segments.
pub const MANIFEST_NAME: &str = "_manifest.json";
/// Name of its signature, beside it, where it is signed.
pub const SIGNATURE_NAME: &str = "_manifest.json.sig";
/// Name of the file of digests beside it, in the format of `sha256sum`.
pub const SUMS_NAME: &str = "SHA256SUMS";
/// Name of the file that readers of a stream follow.
pub const LATEST_NAME: &str = "latest.json";
/// What the name of every segment starts with.
pub const SEGMENT_PREFIX: &str = "part-";
