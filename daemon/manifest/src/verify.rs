//! Reads every byte of a published directory and compares it with its manifest.

use crate::digest::Digests;
use crate::manifest::{Manifest, Segment, crc32c_hex, is_plain_name, sha256sums};
use crate::signature::{PublicKey, SIGNATURE_BYTES, SignatureError};
use crate::{MANIFEST_NAME, SEGMENT_PREFIX, SIGNATURE_NAME, SUMS_NAME};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file that is being read.
    pub file: &'a str,
    /// Bytes read so far, over all files.
    pub bytes: u64,
    /// Bytes of all files by the manifest.
    pub total: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files that are as the manifest says.
    pub good: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Everything that differs: segments in the order of the manifest, unexpected ones, then manifest and checksums.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether the directory holds exactly what the manifest says.
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A file that is not as the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the file.
    pub name: String,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What is wrong with a file; its text fits after the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// The manifest's name would leave the directory; it was not opened.
    #[error("is not a plain file name")]
    UnsafeName,
    /// Not there.
    #[error("is missing")]
    Missing,
    /// A directory, a symbolic link or another thing that is no file; it was not opened.
    #[error("is not a regular file")]
    NotAFile,
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Another length.
    #[error("has {found} bytes instead of {expected}")]
    Size {
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// Another content by SHA-256.
    #[error("has SHA-256 {found} instead of {expected}")]
    Sha256 {
        /// By the manifest.
        expected: String,
        /// As computed.
        found: String,
    },
    /// The content is right by SHA-256, but the manifest's CRC-32C is not that content's.
    #[error("has CRC-32C {found} instead of {expected}")]
    Crc32c {
        /// By the manifest.
        expected: String,
        /// As computed.
        found: String,
    },
    /// A signature that is none of this manifest.
    #[error("{0}")]
    Signature(SignatureError),
    /// A segment that the manifest does not list; who reads by pattern would read it too.
    #[error("is not in the manifest")]
    Unexpected,
}

/// Why a directory could not be verified at all.
#[derive(Debug, thiserror::Error)]
#[error("read the directory {dir}")]
pub struct VerifyError {
    /// The directory.
    pub dir: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Verifies a published directory as a whole: its segments against `manifest`, and that the manifest in it has the
/// published bytes `composed`, and `SHA256SUMS` those that go with them.
pub fn verify_published(
    dir: &Path,
    manifest: &Manifest,
    composed: &[u8],
    progress: impl FnMut(Progress<'_>),
) -> Result<VerifyReport, VerifyError> {
    let mut report = verify_dir(dir, manifest, progress)?;
    let sums = sha256sums(manifest, composed);
    for (name, bytes) in [(MANIFEST_NAME, composed), (SUMS_NAME, sums.as_bytes())] {
        let digests = Digests::of(bytes);
        let crc32c = crc32c_hex(digests.crc32c);
        let expected = Expected { bytes: digests.bytes, sha256: &digests.sha256, crc32c: &crc32c };
        match verify_file(&dir.join(name), &expected, |length| report.bytes += length) {
            Ok(()) => report.good += 1,
            Err(kind) => report.problems.push(Problem { name: name.to_owned(), kind }),
        }
    }
    Ok(report)
}

/// Verifies the segments in `dir` against `manifest`. `progress` is called after each piece that was read. A directory
/// that is not there lacks all of them.
pub fn verify_dir(
    dir: &Path,
    manifest: &Manifest,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<VerifyReport, VerifyError> {
    let unexpected =
        unexpected_segments(dir, manifest).map_err(|source| VerifyError { dir: dir.to_owned(), source })?;
    let total = manifest.segments.iter().fold(0u64, |sum, segment| sum.saturating_add(segment.bytes));
    let mut report = VerifyReport::default();
    for segment in &manifest.segments {
        let mut bytes = report.bytes;
        let result = verify_segment(dir, segment, |length| {
            bytes += length;
            progress(Progress { file: &segment.name, bytes, total });
        });
        report.bytes = bytes;
        match result {
            Ok(()) => report.good += 1,
            Err(kind) => report.problems.push(Problem { name: segment.name.clone(), kind }),
        }
    }
    report.problems.extend(unexpected.into_iter().map(|name| Problem { name, kind: ProblemKind::Unexpected }));
    Ok(report)
}

/// Verifies the signature beside a manifest whose bytes are `composed`. With `key` it must be there and be that key's;
/// without one it must be there where the manifest says that it is signed. Gives the bytes of the signature, if there is
/// one that can be used.
pub fn verify_signature(
    dir: &Path,
    manifest: &Manifest,
    composed: &[u8],
    key: Option<&PublicKey>,
) -> Result<Option<Vec<u8>>, Problem> {
    if key.is_none() && manifest.signature.is_none() {
        return Ok(None);
    }
    let checked = read_signature(&dir.join(SIGNATURE_NAME)).and_then(|signature| {
        let verified = key.map_or(Ok(()), |key| key.verify(composed, &signature));
        verified.map(|()| Some(signature)).map_err(ProblemKind::Signature)
    });
    checked.map_err(|kind| Problem { name: SIGNATURE_NAME.to_owned(), kind })
}

fn read_signature(path: &Path) -> Result<Vec<u8>, ProblemKind> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ProblemKind::Missing,
        _ => ProblemKind::Unreadable(error.to_string()),
    };
    let meta = fs::symlink_metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(ProblemKind::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIGNATURE_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() != SIGNATURE_BYTES {
        let found = usize::try_from(meta.len()).unwrap_or(usize::MAX);
        return Err(ProblemKind::Signature(SignatureError::Length(found)));
    }
    Ok(bytes)
}

fn verify_segment(dir: &Path, segment: &Segment, progress: impl FnMut(u64)) -> Result<(), ProblemKind> {
    if !is_plain_name(&segment.name) {
        return Err(ProblemKind::UnsafeName);
    }
    let expected = Expected { bytes: segment.bytes, sha256: &segment.sha256, crc32c: &segment.crc32c };
    verify_file(&dir.join(&segment.name), &expected, progress)
}

/// What a file must be.
struct Expected<'a> {
    bytes: u64,
    sha256: &'a str,
    crc32c: &'a str,
}

fn verify_file(path: &Path, expected: &Expected<'_>, progress: impl FnMut(u64)) -> Result<(), ProblemKind> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ProblemKind::Missing,
        _ => ProblemKind::Unreadable(error.to_string()),
    };
    let meta = fs::symlink_metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(ProblemKind::NotAFile);
    }
    if meta.len() != expected.bytes {
        return Err(ProblemKind::Size { expected: expected.bytes, found: meta.len() });
    }
    let found = File::open(path).and_then(|file| Digests::read(file, progress)).map_err(unreadable)?;
    if found.bytes != expected.bytes {
        return Err(ProblemKind::Size { expected: expected.bytes, found: found.bytes });
    }
    if found.sha256 != expected.sha256 {
        return Err(ProblemKind::Sha256 { expected: expected.sha256.to_owned(), found: found.sha256 });
    }
    let crc = crc32c_hex(found.crc32c);
    if crc != expected.crc32c {
        return Err(ProblemKind::Crc32c { expected: expected.crc32c.to_owned(), found: crc });
    }
    Ok(())
}

/// Names in `dir` that look like segments, or like the single file of the stream, and are not in the manifest, sorted; none
/// where there is no such directory.
pub fn unexpected_segments(dir: &Path, manifest: &Manifest) -> io::Result<Vec<String>> {
    let listed: HashSet<&str> = manifest.segments.iter().map(|segment| segment.name.as_str()).collect();
    let mut names = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let own = name.strip_prefix(&manifest.stream).is_some_and(|rest| rest.starts_with(['.', '-']));
        if (own || name.starts_with(SEGMENT_PREFIX)) && !listed.contains(name.as_str()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
