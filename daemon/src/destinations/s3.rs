//! A bucket of S3 or of a store that speaks its protocol: objects are made once, in parts that survive a crash, and checked there.

mod abilities;
mod api;
mod client;
mod failure;
pub(super) mod plan;
mod setup;
mod upload;
mod verify;
mod xml;

#[cfg(test)]
mod tests;

use super::spooled::Piece;
use super::{Answer, Content, Destination, DestinationError, Head, Probed, Put, Small};
use crate::base::budget::ByteBudget;
use crate::base::clock;
use crate::base::error::ErrorClass;
use crate::base::ids::TaskId;
use crate::config::settings::{S3Destination, below};
use abilities::Abilities;
pub(super) use api::crc_text;
use api::{Traits, When};
use bytes::{Bytes, BytesMut};
use client::Client;
use futures_util::StreamExt as _;
use http::Method;
use object_store::aws::AmazonS3;
use object_store::signer::Signer as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// The longest that a link may be good for: no store takes more.
const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Age after which an open upload that the ledger does not know belongs to nobody.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A bucket.
#[derive(Debug)]
pub struct S3 {
    settings: S3Destination,
    client: Arc<Client>,
    /// Signs links.
    signer: AmazonS3,
    traits: Traits,
    abilities: OnceCell<Abilities>,
    /// Bytes that are sent but not confirmed.
    in_flight: ByteBudget,
    /// Requests that send them.
    connections: Semaphore,
}

impl S3 {
    /// The whole key of an object.
    fn whole_key(&self, key: &str) -> String {
        below(&self.settings.prefix, key)
    }

    /// How an object is replaced or made, as far as the store heeds conditions.
    async fn put_small(&self, key: &str, bytes: Bytes) -> Result<(), DestinationError> {
        let piece = Piece::of(bytes);
        let expected = super::Expected::of(&piece.bytes);
        self.put_single(&self.whole_key(key), &piece, &expected).await
    }

    async fn read_all(&self, key: &str, limit: u64) -> Result<Option<Small>, DestinationError> {
        let whole = self.whole_key(key);
        let Some(mut answer) = self.client.get(&whole).await? else { return Ok(None) };
        // A store that ignores the condition would let the name of a version promise what it does not keep.
        let heeds = self.abilities().await.is_ok_and(|abilities| abilities.replaces);
        let version = api::version(answer.headers()).filter(|_| heeds);
        let mut bytes = BytesMut::new();
        while let Some(piece) = self.client.next(&api::get(&whole), &mut answer).await? {
            if bytes.len() as u64 + piece.len() as u64 > limit {
                return Err(self.remote("read", key, ErrorClass::Data, format!("it has more than {limit} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(Small { bytes: bytes.freeze(), version }))
    }

    async fn stream(&self, key: &str) -> Result<Option<Content>, DestinationError> {
        let whole = self.whole_key(key);
        let Some(answer) = self.client.get(&whole).await? else { return Ok(None) };
        let next = |(client, whole, mut answer): (Arc<Client>, String, reqwest::Response)| async move {
            let piece = client.next(&api::get(&whole), &mut answer).await?;
            Ok(piece.map(|piece| (piece, (client, whole, answer))))
        };
        Ok(Some(futures_util::stream::try_unfold((self.client.clone(), whole, answer), next).boxed()))
    }

    async fn swap(&self, key: &str, bytes: Bytes, seen: Option<&Small>) -> Result<(), DestinationError> {
        let abilities = self.abilities().await?;
        let whole = self.whole_key(key);
        let when = match seen {
            Some(Small { version: Some(version), .. }) if abilities.replaces => When::Is(version),
            None if abilities.creates => When::Absent,
            _ => When::Always,
        };
        match self.client.put(&whole, &Piece::of(bytes), when, &self.traits).await {
            // It was changed, made or removed meanwhile.
            Err(failure) if when != When::Always && matches!(failure.status(), Some(404 | 409 | 412)) => {
                if failure.is("NoSuchBucket") {
                    return Err(failure.into());
                }
                Err(DestinationError::Raced { location: self.location(key) })
            }
            other => Ok(other.map(drop)?),
        }
    }

    async fn sweep(&self, known: &BTreeSet<String>) -> Result<u32, DestinationError> {
        let open = match self.client.open_uploads(&self.settings.prefix).await {
            // Not every store lists them, and not everybody may.
            Err(failure) if failure.is_unknown_to_it() || failure.class() == ErrorClass::Auth => return Ok(0),
            other => other?,
        };
        let old = |upload: &&api::Open| {
            let age = upload.since.map(|since| clock::now().duration_since(since));
            age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age > STALE)
        };
        let ours = |upload: &&api::Open| is_ours(&self.settings.prefix, &upload.key) && !known.contains(&upload.id);
        let mut swept = 0;
        for upload in open.iter().filter(old).filter(ours) {
            self.client.abort(&upload.key, &upload.id).await?;
            swept += 1;
        }
        Ok(swept)
    }

    fn remote(&self, action: &'static str, key: &str, class: ErrorClass, message: String) -> DestinationError {
        DestinationError::Remote { action, location: self.location(key), class, message }
    }

    async fn sign(&self, key: &str, expires: Duration) -> Result<Option<String>, DestinationError> {
        let failed = |message: String| self.remote("make a link to", key, ErrorClass::Config, message);
        if expires > LONGEST_LINK {
            return Err(failed(format!("it can be good for {} days at most", LONGEST_LINK.as_secs() / 86_400)));
        }
        let path = object_store::path::Path::parse(self.whole_key(key)).map_err(|_| failed("odd key".into()))?;
        let url = self.signer.signed_url(Method::GET, &path, expires).await;
        let url = url.map_err(|error| failed(self.client.mask.clean(&error.to_string(), 300)))?;
        Ok(Some(url.into()))
    }
}

/// Whether a key has the form of those that we write: `<export>/<stream>/<task>/<name>`.
fn is_ours(prefix: &str, key: &str) -> bool {
    let inner = match prefix {
        "" => Some(key),
        prefix => key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
    };
    let parts: Vec<&str> = inner.map(|inner| inner.split('/').collect()).unwrap_or_default();
    matches!(parts.as_slice(), [_, _, task, _] if TaskId::looks_like_one(task))
}

impl Destination for S3 {
    fn probe(&self) -> Answer<'_, Probed> {
        Box::pin(async { Ok(Probed { notes: self.abilities().await?.notes() }) })
    }

    fn put_file<'a>(&'a self, put: Put<'a>) -> Answer<'a, ()> {
        Box::pin(self.store(put))
    }

    fn put_bytes<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(self.put_small(key, bytes))
    }

    fn read_small<'a>(&'a self, key: &'a str, limit: u64) -> Answer<'a, Option<Small>> {
        Box::pin(self.read_all(key, limit))
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Content>> {
        Box::pin(self.stream(key))
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Head>> {
        Box::pin(async move {
            let Some(found) = self.client.look(&self.whole_key(key)).await? else { return Ok(None) };
            let checks = self.abilities().await.is_ok_and(|abilities| abilities.checks);
            let (sha256, crc32c) = if checks { (found.sha256, found.crc32c) } else { (None, None) };
            Ok(Some(Head { bytes: found.bytes, sha256, crc32c }))
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes, seen: Option<&'a Small>) -> Answer<'a, ()> {
        Box::pin(self.swap(key, bytes, seen))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { Ok(self.client.delete(&self.whole_key(key)).await?) })
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { Ok(self.client.abort(&self.whole_key(key), upload).await?) })
    }

    fn sweep_uploads<'a>(&'a self, known: &'a BTreeSet<String>) -> Answer<'a, u32> {
        Box::pin(self.sweep(known))
    }

    fn free(&self) -> Answer<'_, Option<u64>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn link<'a>(&'a self, key: &'a str, expires: Duration) -> Answer<'a, Option<String>> {
        Box::pin(self.sign(key, expires))
    }

    fn location(&self, key: &str) -> String {
        format!("s3://{}/{}", self.settings.bucket, self.whole_key(key))
    }

    fn sent(&self) -> u64 {
        self.client.pace.sent()
    }
}
