//! Reads the parts of a spooled file, with their checksums, off the async threads.

use super::DestinationError;
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes on their way, with what proves that they arrived.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The bytes.
    pub bytes: Bytes,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// Their CRC-32C.
    pub crc32c: u32,
}

impl Piece {
    /// Bytes and their checksums; takes a while for large ones.
    pub fn of(bytes: Bytes) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        Self { sha256, crc32c: crc32c::crc32c(&bytes), bytes }
    }

    /// A part of a file.
    pub async fn read(path: &Path, at: u64, length: u64) -> Result<Self, DestinationError> {
        let path = path.to_owned();
        let read = move || {
            let failed = |source| DestinationError::Io { action: "read", path: path.clone(), source };
            let mut bytes = vec![0; usize::try_from(length).map_err(|_| failed(io::ErrorKind::FileTooLarge.into()))?];
            let read = std::fs::File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, at));
            match read {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DestinationError::Gone { path }),
                Err(error) => Err(failed(error)),
                Ok(()) => Ok(Self::of(bytes.into())),
            }
        };
        tokio::task::spawn_blocking(read).await?
    }
}

/// Whether a spooled file is still there.
pub async fn is_there(path: &Path) -> bool {
    tokio::fs::try_exists(path).await.unwrap_or(true)
}
