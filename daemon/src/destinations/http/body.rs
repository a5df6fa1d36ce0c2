//! What a request carries: nothing, a few bytes, or a file that is read while it is sent.

use crate::base::clock;
use crate::destinations::DestinationError;
use crate::destinations::pace::Pace;
use bytes::Bytes;
use reqwest::Body;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// Bytes of a file that are handed over at once.
const PIECE: u64 = 128 << 10;

/// When the last byte was handed over.
#[derive(Debug)]
pub struct Watch(Mutex<Instant>);

impl Default for Watch {
    fn default() -> Self {
        Self(Mutex::new(clock::monotonic()))
    }
}

impl Watch {
    /// When the last byte was handed over, or the request began.
    pub fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = clock::monotonic();
    }
}

/// What a request carries; it can be sent again.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Nothing.
    None,
    /// A few bytes.
    Bytes(Bytes),
    /// A file of so many bytes.
    File(PathBuf, u64),
}

impl Payload {
    /// The body, and its size.
    pub async fn open(&self, pace: &Arc<Pace>, watch: &Arc<Watch>) -> Result<Option<(Body, u64)>, DestinationError> {
        match self {
            Self::None => Ok(None),
            Self::Bytes(bytes) => {
                let size = bytes.len() as u64;
                pace.take(size).await;
                watch.touch();
                Ok(Some((bytes.clone().into(), size)))
            }
            Self::File(path, size) => {
                let file = File::open(path).await.map_err(|source| match source.kind() {
                    io::ErrorKind::NotFound => DestinationError::Gone { path: path.clone() },
                    _ => DestinationError::Io { action: "open", path: path.clone(), source },
                })?;
                let sending = Sending { file, left: *size, pace: pace.clone(), watch: watch.clone() };
                let pieces = futures_util::stream::try_unfold(sending, Sending::next);
                Ok(Some((Body::wrap_stream(pieces), *size)))
            }
        }
    }
}

struct Sending {
    file: File,
    left: u64,
    pace: Arc<Pace>,
    watch: Arc<Watch>,
}

impl Sending {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let size = self.left.min(PIECE);
        if size == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; size as usize];
        self.file.read_exact(&mut piece).await?;
        self.pace.take(size).await;
        self.watch.touch();
        self.left -= size;
        Ok(Some((piece.into(), self)))
    }
}
