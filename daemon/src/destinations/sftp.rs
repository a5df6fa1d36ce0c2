//! A directory on an SFTP server: files are sent under a temporary name, checked there, and given their name create-only.

mod channel;
mod failure;
mod host_key;
mod login;
mod pool;
mod receive;
mod send;
mod store;

#[cfg(test)]
mod tests;

pub use host_key::Trust;

use super::local::PRIVATE;
use super::pace::Pace;
use super::{Answer, Content, Destination, DestinationError, Expected, Head, Probed, Put, Small};
use crate::base::error::ErrorClass;
use crate::base::secret::Resolve;
use crate::config::settings::{SftpDestination, SftpVerify};
use bytes::Bytes;
use failure::Failure;
use futures_util::StreamExt as _;
use login::Login;
use pool::{Health, Line, Pool};
use receive::Receiving;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// The least that one file may have unconfirmed; fewer files are sent at a time where that would be too much in all.
const LEAST_WINDOW: u64 = 256 << 10;

/// Bytes of the digest that a temporary file's name is made of.
const NAME_BYTES: usize = 16;

/// An SFTP destination.
pub struct Sftp {
    settings: SftpDestination,
    pool: Arc<Pool>,
    pace: Pace,
    /// Bytes of one file that may be sent and not confirmed.
    window: u64,
}

impl std::fmt::Debug for Sftp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sftp({})", self.settings.location(""))
    }
}

impl Sftp {
    /// The destination of these settings; asks nobody yet.
    pub fn new(settings: &SftpDestination, secrets: &dyn Resolve) -> Result<Self, DestinationError> {
        let login = Login::new(settings, secrets)?;
        let (files, window) = share(settings.transfer.connections, settings.transfer.in_flight.0);
        let pace = Pace::new(settings.transfer.per_second.map(|rate| rate.0));
        Ok(Self { settings: settings.clone(), pool: Arc::new(Pool::new(login, files)), pace, window })
    }

    /// Where files on their way lie.
    fn incoming(&self) -> String {
        self.settings.path(&format!("{PRIVATE}/incoming"))
    }

    /// The temporary name of an object. Whoever sends the same again uses the same, so that nothing is left behind by a
    /// crash that the next attempt does not find.
    fn temporary(&self, key: &str, expected: &Expected) -> String {
        let mut hash = Sha256::new();
        hash.update(key.as_bytes());
        hash.update(b"\n");
        hash.update(expected.sha256.as_bytes());
        let digest = hash.finalize();
        let name = crate::base::ids::hex(digest.get(..NAME_BYTES).unwrap_or(&digest));
        format!("{}/{name}", self.incoming())
    }

    /// Does something on a channel, which is used again where the last answer was one.
    async fn with<T>(
        &self,
        action: &'static str,
        key: &str,
        work: impl AsyncFnOnce(&Line) -> Result<T, Failure>,
    ) -> Result<T, DestinationError> {
        let line = self.pool.line().await?;
        let done = work(&line).await;
        line.done(Health::of(&done)).await;
        done.map_err(|failure| failure.at(action, &self.settings.location(key)))
    }
}

/// How many files may be on their way, and how many unconfirmed bytes each may have.
fn share(connections: u32, in_flight: u64) -> (usize, u64) {
    let files = u64::from(connections).min(in_flight / LEAST_WINDOW).max(1);
    (files as usize, (in_flight / files).max(1))
}

impl Destination for Sftp {
    fn probe(&self) -> Answer<'_, Probed> {
        Box::pin(self.look())
    }

    fn put_file<'a>(&'a self, put: Put<'a>) -> Answer<'a, ()> {
        Box::pin(async move { self.store_file(&put).await })
    }

    fn put_bytes<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(self.store_bytes(key, bytes))
    }

    fn read_small<'a>(&'a self, key: &'a str, limit: u64) -> Answer<'a, Option<Small>> {
        Box::pin(async move {
            let path = self.settings.path(key);
            let read = self.with("read", key, async |line| {
                let Some(mut reading) = Receiving::open(line, &path).await? else { return Ok(None) };
                let mut all = Vec::new();
                while let Some(bytes) = reading.next().await? {
                    all.extend_from_slice(&bytes);
                    if all.len() as u64 > limit {
                        break;
                    }
                }
                reading.close().await?;
                Ok(Some(all))
            });
            let Some(all) = read.await? else { return Ok(None) };
            if all.len() as u64 > limit {
                let (action, location) = ("read", self.settings.location(key));
                let message = format!("it has more than {limit} bytes");
                return Err(DestinationError::Remote { action, location, class: ErrorClass::Data, message });
            }
            Ok(Some(Small { bytes: all.into(), version: None }))
        })
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Content>> {
        Box::pin(async move {
            let location = self.settings.location(key);
            let line = self.pool.line().await?;
            let opened = Receiving::open(&line, &self.settings.path(key)).await;
            if let Ok(Some(reading)) = opened {
                return Ok(Some(pieces(line, reading, location)));
            }
            line.done(Health::of(&opened)).await;
            opened.map(|_| None).map_err(|failure| failure.at("read", &location))
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Head>> {
        Box::pin(async move {
            let path = self.settings.path(key);
            let found = self.with("look at", key, async |line| line.stat(&path).await).await?;
            Ok(found.map(|found| Head { bytes: found.size.unwrap_or(0), sha256: None, crc32c: None }))
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes, seen: Option<&'a Small>) -> Answer<'a, ()> {
        Box::pin(self.swap(key, bytes, seen))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let path = self.settings.path(key);
            self.with("delete", key, async |line| line.remove(&path).await).await
        })
    }

    fn tidy<'a>(&'a self, dir: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let path = self.settings.path(dir);
            self.with("remove", dir, async |line| line.remove_empty(&path).await).await
        })
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            // Nothing but a temporary file of ours is ever removed for an upload.
            if !self.is_temporary(upload) {
                return Ok(());
            }
            self.with("give up the upload of", key, async |line| line.remove(upload).await).await
        })
    }

    fn free(&self) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            let root = self.settings.path("");
            self.with("look at", "", async |line| line.free(&root).await).await
        })
    }

    fn link<'a>(&'a self, _key: &'a str, _expires: Duration) -> Answer<'a, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn location(&self, key: &str) -> String {
        self.settings.location(key)
    }

    fn sent(&self) -> u64 {
        self.pace.sent()
    }
}

/// A file, piece by piece; the channel is free again at its end.
fn pieces(line: Line, reading: Receiving, location: String) -> Content {
    let next = |state: Option<(Line, Receiving, String)>| async move {
        let Some((line, mut reading, location)) = state else { return Ok(None) };
        let next = match reading.next().await {
            Ok(Some(piece)) => return Ok(Some((piece, Some((line, reading, location))))),
            Ok(None) => reading.close().await,
            Err(failure) => Err(failure),
        };
        line.done(Health::of(&next)).await;
        next.map(|()| None).map_err(|failure| failure.at("read", &location))
    };
    futures_util::stream::try_unfold(Some((line, reading, location)), next).boxed()
}

/// Whether `found` is what was to be.
fn same(found: &Expected, expected: &Expected, how: SftpVerify) -> bool {
    match how {
        SftpVerify::ReadBack => found == expected,
        SftpVerify::Size => found.bytes == expected.bytes,
    }
}
