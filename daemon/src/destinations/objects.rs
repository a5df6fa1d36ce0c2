//! Buckets of Google Cloud Storage and containers of Azure Blob Storage, by `object_store`.
//!
//! Neither tells a checksum that we could compare, so every object is read back after it was written.

mod failure;
mod setup;
mod upload;

use super::pace::Pace;
use super::{Answer, Content, Destination, DestinationError, Expected, Head, Probed, Put, Small};
use crate::base::budget::ByteBudget;
use crate::base::error::ErrorClass;
use crate::config::settings::{self, Transfer, below};
use crate::destinations::local::PRIVATE;
use crate::net::mask::Mask;
use bytes::{Bytes, BytesMut};
use failure::failed;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Method;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// What is written to try a store out.
const WORDS: &[u8] = b"written by saas-export-daemon to try out the store; may be deleted\n";
/// The longest that a link may be good for.
const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a store of `object_store` can do.
pub trait Store: ObjectStore + MultipartStore + Signer {}
impl<T: ObjectStore + MultipartStore + Signer> Store for T {}

/// A bucket or container.
#[derive(Debug)]
pub struct Objects {
    store: Arc<dyn Store>,
    /// For locations.
    settings: settings::Destination,
    prefix: String,
    transfer: Transfer,
    /// Whether its credentials can sign links.
    signs: bool,
    mask: Arc<Mask>,
    pace: Pace,
    /// Whether it keeps an object that is there where a new one must be made; tried out once.
    creates: OnceCell<bool>,
    in_flight: ByteBudget,
    connections: Semaphore,
}

impl Objects {
    fn path(&self, key: &str) -> Result<Path, DestinationError> {
        Path::parse(below(&self.prefix, key)).map_err(|_| {
            let message = "it is no key that the store takes".to_owned();
            self.remote("name", key, ErrorClass::Bug, message)
        })
    }

    fn remote(&self, action: &'static str, key: &str, class: ErrorClass, message: String) -> DestinationError {
        DestinationError::Remote { action, location: self.location(key), class, message }
    }

    fn failed(&self, action: &'static str, key: &str) -> impl FnOnce(Error) -> DestinationError {
        let (location, mask) = (self.location(key), self.mask.clone());
        move |error| failed(action, location, &error, &mask)
    }

    /// Whether the store keeps what is there. Somebody else may try at the same moment, and delete it in between: so twice.
    async fn creates(&self) -> Result<bool, DestinationError> {
        let try_out = || async {
            let key = format!("{PRIVATE}/probe");
            let path = self.path(&key)?;
            let mut creates = false;
            for _ in 0..4 {
                let put = self.store.put_opts(&path, PutPayload::from_static(WORDS), PutMode::Create.into()).await;
                match put {
                    Ok(_) => {}
                    Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                        creates = true;
                        break;
                    }
                    Err(error) => return Err(self.failed("store", &key)(error)),
                }
            }
            self.remove(&key).await?;
            Ok(creates)
        };
        self.creates.get_or_try_init(try_out).await.copied()
    }

    async fn remove(&self, key: &str) -> Result<(), DestinationError> {
        match self.store.delete(&self.path(key)?).await {
            Err(Error::NotFound { .. }) => Ok(()),
            other => other.map_err(self.failed("delete", key)),
        }
    }

    async fn stream(&self, key: &str) -> Result<Option<Content>, DestinationError> {
        let found = match self.store.get(&self.path(key)?).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            other => other.map_err(self.failed("read", key))?,
        };
        let (location, mask) = (self.location(key), self.mask.clone());
        let pieces = found.into_stream().map_err(move |error| failed("read", location.clone(), &error, &mask));
        Ok(Some(pieces.boxed()))
    }

    async fn read_all(&self, key: &str, limit: u64) -> Result<Option<Small>, DestinationError> {
        let found = match self.store.get(&self.path(key)?).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            other => other.map_err(self.failed("read", key))?,
        };
        let version = self.creates().await.is_ok_and(|creates| creates).then(|| version_text(&found.meta)).flatten();
        let mut pieces = found.into_stream();
        let mut bytes = BytesMut::new();
        while let Some(piece) = pieces.try_next().await.map_err(self.failed("read", key))? {
            if bytes.len() as u64 + piece.len() as u64 > limit {
                return Err(self.remote("read", key, ErrorClass::Data, format!("it has more than {limit} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(Small { bytes: bytes.freeze(), version }))
    }

    async fn swap(&self, key: &str, bytes: Bytes, seen: Option<&Small>) -> Result<(), DestinationError> {
        let mode = match seen {
            None if self.creates().await? => PutMode::Create,
            Some(Small { version: Some(version), .. }) => PutMode::Update(version_of(version)),
            _ => PutMode::Overwrite,
        };
        match self.store.put_opts(&self.path(key)?, bytes.into(), mode.into()).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                Err(DestinationError::Raced { location: self.location(key) })
            }
            Err(error) => Err(self.failed("replace", key)(error)),
        }
    }

    async fn sign(&self, key: &str, expires: Duration) -> Result<Option<String>, DestinationError> {
        const ACTION: &str = "make a link to";
        if !self.signs {
            return Ok(None);
        }
        if expires > LONGEST_LINK {
            let message = format!("it can be good for {} days at most", LONGEST_LINK.as_secs() / 86_400);
            return Err(self.remote(ACTION, key, ErrorClass::Config, message));
        }
        let url = self.store.signed_url(Method::GET, &self.path(key)?, expires).await;
        url.map(|url| Some(url.into())).map_err(self.failed(ACTION, key))
    }
}

/// What names a version: GCS has a number, Azure an ETag.
fn version_text(meta: &object_store::ObjectMeta) -> Option<String> {
    let (tag, version) = (meta.e_tag.as_deref(), meta.version.as_deref());
    (tag.is_some() || version.is_some()).then(|| format!("{}\n{}", tag.unwrap_or(""), version.unwrap_or("")))
}

fn version_of(text: &str) -> UpdateVersion {
    let (tag, version) = text.split_once('\n').unwrap_or((text, ""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    UpdateVersion { e_tag: some(tag), version: some(version) }
}

impl Destination for Objects {
    fn probe(&self) -> Answer<'_, Probed> {
        Box::pin(async {
            let mut notes = Vec::new();
            if !self.creates().await? {
                notes.push(
                    "the store ignores conditions: each object is looked for before it is written, but two writers at the \
                     same moment could overwrite one another's objects; let only this daemon write there"
                        .to_owned(),
                );
            }
            Ok(Probed { notes })
        })
    }

    fn put_file<'a>(&'a self, put: Put<'a>) -> Answer<'a, ()> {
        Box::pin(self.put(put))
    }

    fn put_bytes<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move { self.create(key, bytes.clone(), &Expected::of(&bytes)).await })
    }

    fn read_small<'a>(&'a self, key: &'a str, limit: u64) -> Answer<'a, Option<Small>> {
        Box::pin(self.read_all(key, limit))
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Content>> {
        Box::pin(self.stream(key))
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Head>> {
        Box::pin(async move {
            match self.store.head(&self.path(key)?).await {
                Ok(meta) => Ok(Some(Head { bytes: meta.size, sha256: None, crc32c: None })),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.failed("look at", key)(error)),
            }
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes, seen: Option<&'a Small>) -> Answer<'a, ()> {
        Box::pin(self.swap(key, bytes, seen))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(self.remove(key))
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.give_up(key, &self.path(key)?, upload).await })
    }

    fn free(&self) -> Answer<'_, Option<u64>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn link<'a>(&'a self, key: &'a str, expires: Duration) -> Answer<'a, Option<String>> {
        Box::pin(self.sign(key, expires))
    }

    fn location(&self, key: &str) -> String {
        self.settings.location(key)
    }

    fn sent(&self) -> u64 {
        self.pace.sent()
    }
}
