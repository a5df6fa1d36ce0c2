//! One object at a destination against what it must be: by the destination's own checksum, or byte for byte.

use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::retry::RetryPolicy;
use crate::config::settings::LocalDestination;
use crate::destinations::{Answer, Destination, DestinationError, Expected, Head};
use crate::queue::handle::Refusal;
use futures_util::TryStreamExt as _;
use saas_export_manifest::{Digester, Digests, ProblemKind, crc32c_hex};
use std::time::Duration;

/// How often an object is asked for while its destination does not answer.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: 4, initial: Duration::from_millis(200), max: Duration::from_secs(5) };

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Size and the destination's own checksum; every byte where it has none.
    Checksum,
    /// Every byte.
    EveryByte,
}

/// Where an object is looked for.
pub struct Place<'a> {
    /// The destination.
    pub destination: &'a dyn Destination,
    /// Its name.
    pub name: &'a str,
    /// Its settings, where it is a directory.
    pub local: Option<&'a LocalDestination>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes read.
    pub read: u64,
    /// What is wrong.
    pub problem: Option<String>,
}

impl From<ProblemKind> for Found {
    fn from(kind: ProblemKind) -> Self {
        Self { read: 0, problem: Some(kind.to_string()) }
    }
}

/// Looks at an object; `None` for one whose name must not be used. Refused where the destination does not answer, which says
/// nothing about the object.
pub async fn check(place: &Place<'_>, key: &str, expected: Option<&Expected>, depth: Depth) -> Result<Found, Refusal> {
    let Some(expected) = expected else { return Ok(ProblemKind::UnsafeName.into()) };
    if !is_file(place, key).await {
        return Ok(ProblemKind::NotAFile.into());
    }
    let found = asked(place, || Box::pin(look(place.destination, key, expected, depth))).await?;
    Ok(found.unwrap_or_else(|error| ProblemKind::Unreadable(Chain(&error).to_string()).into()))
}

/// Asks a destination, and again while it does not answer. What it refuses is the inner error; refused is what it never answers,
/// and what a remote one does not let us ask: credentials that have expired say nothing about an object either.
pub async fn asked<'a, T>(
    place: &Place<'_>,
    ask: impl Fn() -> Answer<'a, T>,
) -> Result<Result<T, DestinationError>, Refusal> {
    let mut waits = RETRY.waits();
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(error) => error,
        };
        let class = error.class();
        let barred = matches!(class, ErrorClass::Auth | ErrorClass::Config);
        if place.local.is_some() || !(barred || class.retryable()) {
            return Ok(Err(error));
        }
        let Some(wait) = waits.next_wait(None).filter(|_| !barred) else {
            return Err(Refusal::Unavailable(format!("failed to ask destination {}: {}", place.name, Chain(&error))));
        };
        tokio::time::sleep(wait).await;
    }
}

/// A link or a directory is no file, whatever it leads to. What is missing is told by the look itself.
async fn is_file(place: &Place<'_>, key: &str) -> bool {
    let Some(local) = place.local else { return true };
    tokio::fs::symlink_metadata(local.root.join(key)).await.map_or(true, |meta| meta.is_file())
}

async fn look(
    destination: &dyn Destination,
    key: &str,
    expected: &Expected,
    depth: Depth,
) -> Result<Found, DestinationError> {
    let Some(head) = destination.head(key).await? else { return Ok(ProblemKind::Missing.into()) };
    if head.bytes != expected.bytes {
        return Ok(ProblemKind::Size { expected: expected.bytes, found: head.bytes }.into());
    }
    let Head { sha256, crc32c, .. } = head;
    if depth == Depth::Checksum && (sha256.is_some() || crc32c.is_some()) {
        let said = Digests {
            bytes: expected.bytes,
            sha256: sha256.unwrap_or_else(|| expected.sha256.clone()),
            crc32c: crc32c.unwrap_or(expected.crc32c),
        };
        return Ok(Found { read: 0, problem: differs(&said, expected).map(|kind| kind.to_string()) });
    }
    let Some(content) = destination.read(key).await? else { return Ok(ProblemKind::Missing.into()) };
    let add = |mut digester: Digester, piece: bytes::Bytes| async move {
        // A piece is small enough for a thread of the runtime.
        digester.update(&piece);
        Ok(digester)
    };
    let found = content.try_fold(Digester::default(), add).await?.finish();
    Ok(Found { read: found.bytes, problem: differs(&found, expected).map(|kind| kind.to_string()) })
}

fn differs(found: &Digests, expected: &Expected) -> Option<ProblemKind> {
    if found.bytes != expected.bytes {
        return Some(ProblemKind::Size { expected: expected.bytes, found: found.bytes });
    }
    if found.sha256 != expected.sha256 {
        return Some(ProblemKind::Sha256 { expected: expected.sha256.clone(), found: found.sha256.clone() });
    }
    let kind = ProblemKind::Crc32c { expected: crc32c_hex(expected.crc32c), found: crc32c_hex(found.crc32c) };
    (found.crc32c != expected.crc32c).then_some(kind)
}
