//! Where files go. A destination stores whole objects under deterministic keys, create-only, and classifies its errors.

use crate::base::ids::TaskId;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;
use upload::UploadLog;

pub mod error;
pub mod local;
pub mod objects;
pub mod open;
pub mod pace;
pub mod s3;
mod spooled;
pub mod upload;
mod web;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod faulty;

pub use error::DestinationError;
pub use open::Opener;
/// What an object must be when it is there.
pub use saas_export_manifest::Digests as Expected;

/// The one object that is ever replaced.
pub const LATEST: &str = "latest.json";

/// The key of an object of a task: `<export>/<stream>/<task>/<name>`.
pub fn object_key(export: &str, stream: &str, task: &TaskId, name: &str) -> String {
    format!("{export}/{stream}/{task}/{name}")
}

/// A spooled file on its way to a destination.
pub struct Put<'a> {
    /// Where it is to be.
    pub key: &'a str,
    /// Where it lies.
    pub from: &'a Path,
    /// What it is.
    pub expected: &'a Expected,
    /// Keeps how far it came.
    pub log: &'a dyn UploadLog,
}

/// What a look at a destination found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// What an operator should know, e.g. that the store has no conditional writes; sentences.
    pub notes: Vec<String>,
}

/// A small object as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Small {
    /// Its content.
    pub bytes: Bytes,
    /// What names this state of it (an ETag), where the destination has such a thing.
    pub version: Option<String>,
}

/// What a destination says of an object without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 that the destination itself computed or checked, lower-case hex.
    pub sha256: Option<String>,
    /// CRC-32C that the destination itself computed or checked.
    pub crc32c: Option<u32>,
}

/// The content of an object, piece by piece.
pub type Content = BoxStream<'static, Result<Bytes, DestinationError>>;

/// The answer of a destination.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, DestinationError>>;

/// A configured destination. An implementation neither retries nor waits for better times: it says what an error means.
pub trait Destination: Send + Sync + fmt::Debug {
    /// Checks that objects can be written, and makes what must be there.
    fn probe(&self) -> Answer<'_, Probed>;

    /// Stores a spooled file, create-only, and verifies it there. An object that is already there is adopted if it is the
    /// same, else it is a conflict; so an unknown outcome is mended by asking again. What arrived before is not sent again.
    fn put_file<'a>(&'a self, put: Put<'a>) -> Answer<'a, ()>;

    /// Stores a small object, create-only, in the same way.
    fn put_bytes<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()>;

    /// Reads a small object of at most `limit` bytes; `None` if it is not there.
    fn read_small<'a>(&'a self, key: &'a str, limit: u64) -> Answer<'a, Option<Small>>;

    /// Reads an object of any size; `None` if it is not there.
    fn read<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Content>>;

    /// What the destination itself says of an object; `None` if it is not there.
    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Head>>;

    /// Replaces `latest.json` at `key` atomically, if it still is what was `seen` there (`None`: nothing), as far as the
    /// destination can tell.
    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes, seen: Option<&'a Small>) -> Answer<'a, ()>;

    /// Removes the object at `key`; one that is not there is no error.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;

    /// Gives up an upload that will not be finished, with what of it lies at the destination.
    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Answer<'a, ()>;

    /// Gives up uploads of ours that have been open for more than a day and are not among the `known` ids; how many there were.
    fn sweep_uploads<'a>(&'a self, _known: &'a BTreeSet<String>) -> Answer<'a, u32> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// Bytes that may still be written; `None` where nobody can say.
    fn free(&self) -> Answer<'_, Option<u64>>;

    /// A link by which anybody can read the object for `expires`; `None` where the destination has no such thing.
    fn link<'a>(&'a self, key: &'a str, expires: Duration) -> Answer<'a, Option<String>>;

    /// Where `key` lies, for a person or for `exportctl files`; never with a secret in it.
    fn location(&self, key: &str) -> String;

    /// Bytes sent so far, repetitions included.
    fn sent(&self) -> u64;
}
