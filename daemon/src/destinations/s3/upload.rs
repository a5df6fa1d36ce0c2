//! Puts files into the bucket: small ones by one request, others in parts of which a restart sends only what is missing.
//!
//! ```text
//! log: upload ──▶ store lists its parts ──▶ those that both know are kept ──▶ the others are sent ──▶ complete ──▶ compare ──▶ forget
//!         └─ none, or the store forgot it ──▶ begin, note the id ──┘
//! ```
//! A store that is putting the object together for a run that was killed has forgotten the upload and has no object yet: where
//! every part had arrived, that is waited for before anything is sent again.
//! The outcome of a request that was not answered is found out by looking: what is there and the same was our own doing.

use super::S3;
use super::api::When;
use super::failure::Failure;
use super::plan;
use super::verify::Look;
use crate::base::clock;
use crate::base::error::ErrorClass;
use crate::destinations::spooled::{self, Piece};
use crate::destinations::{DestinationError, Expected, Put};
use crate::model::upload::{Part, Upload};
use futures_util::StreamExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long an object is waited for of which every part had arrived, and as long again for each so many bytes of it.
const ASSEMBLY: (Duration, u64) = (Duration::from_secs(if cfg!(test) { 3 } else { 15 }), 500_000_000);

/// The longest that it is waited for.
const LONGEST_ASSEMBLY: Duration = Duration::from_secs(600);

/// The longest between two looks at it.
const LOOK: Duration = Duration::from_secs(1);

/// Answers to a completion that say that the parts do not make the object; they are sent anew.
const UNUSABLE: [&str; 8] = [
    "InvalidPart",
    "InvalidPartOrder",
    "EntityTooSmall",
    "BadDigest",
    "InvalidDigest",
    "XAmzContentChecksumMismatch",
    "ChecksumMismatch",
    "MalformedXML",
];

/// An upload that goes on.
struct Going {
    id: String,
    part_size: u64,
    /// Parts that need not be sent again.
    done: Vec<Part>,
    /// Whether the store compares the whole object's checksum when it is completed.
    whole: bool,
}

impl S3 {
    /// Stores a spooled file.
    pub(super) async fn store(&self, put: Put<'_>) -> Result<(), DestinationError> {
        let key = self.whole_key(put.key);
        let begun = put.log.load().await?;
        if !spooled::is_there(put.from).await {
            return self.arrived_before(&key, put).await;
        }
        let usual = plan::part_size(self.settings.transfer.in_flight.0, self.settings.transfer.connections);
        if begun.is_some() || put.expected.bytes > usual {
            return self.store_in_parts(&key, &put, begun, plan::part_size_of(put.expected.bytes, usual)).await;
        }
        let _connection = self.connection().await;
        let _in_flight = self.in_flight.take(put.expected.bytes).await;
        let piece = Piece::read(put.from, 0, put.expected.bytes).await?;
        self.put_single(&key, &piece, put.expected).await
    }

    /// The right to send to the store.
    async fn connection(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.connections.acquire().await.ok()
    }

    /// Stores an object by one request, create-only, and compares it there.
    pub(super) async fn put_single(
        &self,
        key: &str,
        piece: &Piece,
        expected: &Expected,
    ) -> Result<(), DestinationError> {
        let when = if self.abilities().await?.creates { When::Absent } else { When::Always };
        // The store does not look, so we do.
        if when == When::Always && self.adopt(key, expected).await? {
            return Ok(());
        }
        match self.client.put(key, piece, when, &self.traits).await {
            Err(failure) if failure.status() == Some(412) => match self.adopt(key, expected).await? {
                true => Ok(()),
                false => Err(self.vanished(key)),
            },
            Err(failure) => Err(failure.into()),
            Ok(_) => self.check(key, expected, None).await,
        }
    }

    /// Whether the object is there and the same; another one is a conflict.
    async fn adopt(&self, key: &str, expected: &Expected) -> Result<bool, DestinationError> {
        match self.compare(key, expected, None).await? {
            Look::Same => Ok(true),
            Look::Missing => Ok(false),
            Look::Other(found) => Err(DestinationError::Conflict { location: self.client.location(key), found }),
        }
    }

    /// Like `adopt`; where every part had arrived the store may still be putting the object together, which is waited for.
    async fn appears(&self, key: &str, expected: &Expected, all_sent: bool) -> Result<bool, DestinationError> {
        let (once, bytes) = ASSEMBLY;
        let patience = (once + once.mul_f64(expected.bytes as f64 / bytes as f64)).min(LONGEST_ASSEMBLY);
        let begun = clock::monotonic();
        let mut pause = Duration::from_millis(50);
        loop {
            if self.adopt(key, expected).await? {
                return Ok(true);
            }
            if !all_sent || clock::since(begun) > patience {
                return Ok(false);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// Compares what was just stored. What is damaged is taken away, so that it is sent again, but only where it can be nobody
    /// else's.
    async fn check(&self, key: &str, expected: &Expected, composite: Option<&str>) -> Result<(), DestinationError> {
        match self.compare(key, expected, composite).await? {
            Look::Same => Ok(()),
            Look::Missing => Err(self.vanished(key)),
            Look::Other(found) => {
                if self.abilities().await?.creates {
                    self.client.delete(key).await?;
                }
                Err(DestinationError::Corrupt { location: self.client.location(key), found })
            }
        }
    }

    /// The spooled file is gone: then it must have arrived.
    async fn arrived_before(&self, key: &str, put: Put<'_>) -> Result<(), DestinationError> {
        match self.adopt(key, put.expected).await? {
            true => Ok(put.log.forget().await?),
            false => Err(DestinationError::Gone { path: put.from.to_owned() }),
        }
    }

    async fn store_in_parts(
        &self,
        key: &str,
        put: &Put<'_>,
        begun: Option<Upload>,
        part_size: u64,
    ) -> Result<(), DestinationError> {
        let all_sent = begun.as_ref().is_some_and(|noted| plan::whole(&noted.parts) == Some(put.expected.crc32c));
        let going = match begun {
            Some(noted) => self.resume(key, put, noted).await?,
            None => None,
        };
        let going = match going {
            Some(going) => going,
            // Either it was completed before a crash, or somebody else's object has the name: no part needs to be sent.
            None if self.appears(key, put.expected, all_sent).await? => return Ok(put.log.forget().await?),
            None => self.begin(key, put, part_size).await?,
        };
        let parts = self.send_missing(key, put, &going).await?;
        self.complete(key, put, &going, &parts).await
    }

    /// What is left to do of an upload that was begun earlier; `None` if the store no longer knows it.
    async fn resume(&self, key: &str, put: &Put<'_>, noted: Upload) -> Result<Option<Going>, DestinationError> {
        let Some(listed) = self.client.parts(key, &noted.id).await? else { return Ok(None) };
        let done = plan::trusted(&noted, &listed, put.expected.bytes);
        Ok(Some(Going { id: noted.id, part_size: noted.part_size, done, whole: listed.whole }))
    }

    async fn begin(&self, key: &str, put: &Put<'_>, part_size: u64) -> Result<Going, DestinationError> {
        self.abort_strays(key).await?;
        let (id, whole) = self.client.begin(key, &put.expected.sha256, &self.traits).await?;
        put.log.begin(&id, part_size).await?;
        Ok(Going { id, part_size, done: Vec::new(), whole })
    }

    /// Gives up uploads of this very key: a crash came between their begin and the note of it. No other task has the key.
    async fn abort_strays(&self, key: &str) -> Result<(), DestinationError> {
        match self.client.open_uploads(key).await {
            Ok(open) => {
                for stray in open.iter().filter(|stray| stray.key == key) {
                    self.client.abort(key, &stray.id).await?;
                }
                Ok(())
            }
            Err(failure) if failure.class().retryable() => Err(failure.into()),
            // Not every store lists them, and not everybody may; the bucket's own rules sweep them then.
            Err(_) => Ok(()),
        }
    }

    /// Sends the parts that are missing, several at a time; all parts in order.
    async fn send_missing(&self, key: &str, put: &Put<'_>, going: &Going) -> Result<Vec<Part>, DestinationError> {
        let failed = &AtomicBool::new(false);
        let missing = plan::cut(put.expected.bytes, going.part_size)
            .filter(|(number, ..)| going.done.iter().all(|done| done.number != *number));
        let sent = missing.map(|part| async move {
            // After a failure nothing new is begun, but what is on its way arrives and is noted.
            if failed.load(Ordering::Relaxed) {
                return None;
            }
            let sent = self.send_part(key, put, going, part).await;
            failed.fetch_or(sent.is_err(), Ordering::Relaxed);
            Some(sent)
        });
        let connections = self.settings.transfer.connections.max(1) as usize;
        let sent: Vec<_> = futures_util::stream::iter(sent).buffer_unordered(connections).collect().await;
        let mut parts = going.done.clone();
        for part in sent.into_iter().flatten() {
            parts.push(part?);
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    async fn send_part(
        &self,
        key: &str,
        put: &Put<'_>,
        going: &Going,
        (number, at, bytes): (u32, u64, u64),
    ) -> Result<Part, DestinationError> {
        let _connection = self.connection().await;
        // Held until the part is noted: what a crash sends again is never more.
        let _in_flight = self.in_flight.take(bytes).await;
        let piece = Piece::read(put.from, at, bytes).await?;
        match self.client.part(key, &going.id, number, &piece).await {
            Ok(part) => {
                put.log.part(part.clone()).await?;
                Ok(part)
            }
            Err(failure) if failure.is("NoSuchUpload") => Err(self.begin_anew(put, failure).await?),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The upload is no more: the next try begins another.
    async fn begin_anew(&self, put: &Put<'_>, failure: Failure) -> Result<DestinationError, DestinationError> {
        put.log.forget().await?;
        let class = ErrorClass::Transient;
        Ok(match DestinationError::from(failure) {
            DestinationError::Remote { action, location, message, .. } => {
                DestinationError::Remote { action, location, class, message }
            }
            other => other,
        })
    }

    async fn complete(&self, key: &str, put: &Put<'_>, going: &Going, parts: &[Part]) -> Result<(), DestinationError> {
        let abilities = self.abilities().await?;
        if plan::whole(parts) != Some(put.expected.crc32c) {
            let found = "the parts that were sent do not make the file; they are sent again".to_owned();
            return Err(self.give_up(key, put, going, self.corrupt(key, found)).await?);
        }
        let when = if abilities.completes { When::Absent } else { When::Always };
        if when == When::Always {
            match self.adopt(key, put.expected).await {
                Ok(false) => {}
                Ok(true) => return self.adopted(key, put, going).await,
                Err(error) => return Err(self.give_up_on_conflict(key, put, going, error).await?),
            }
        }
        let composite = plan::composite(parts);
        let whole = going.whole.then_some(put.expected.crc32c);
        let Err(failure) = self.client.complete((key, &going.id), parts, when, whole).await else {
            self.check(key, put.expected, composite.as_deref()).await?;
            return Ok(put.log.forget().await?);
        };
        self.not_completed(key, put, going, failure).await
    }

    /// Finds out what a completion came to that was not answered with success.
    async fn not_completed(
        &self,
        key: &str,
        put: &Put<'_>,
        going: &Going,
        failure: Failure,
    ) -> Result<(), DestinationError> {
        if UNUSABLE.iter().any(|code| failure.is(code)) {
            let error = DestinationError::from(failure);
            let found = crate::base::error::Chain(&error).to_string();
            return Err(self.give_up(key, put, going, self.corrupt(key, found)).await?);
        }
        let gone = failure.is_missing();
        let unknown = gone || failure.status() == Some(412) || failure.class().retryable();
        if !unknown {
            return Err(failure.into());
        }
        match self.appears(key, put.expected, gone).await {
            // It was our own request that came through, or another run's of the same file.
            Ok(true) => self.adopted(key, put, going).await,
            Ok(false) if gone => Err(self.begin_anew(put, failure).await?),
            Ok(false) => Err(failure.into()),
            Err(error) => Err(self.give_up_on_conflict(key, put, going, error).await?),
        }
    }

    /// The object is there without this upload, or by it: nothing of it stays open.
    async fn adopted(&self, key: &str, put: &Put<'_>, going: &Going) -> Result<(), DestinationError> {
        self.client.abort(key, &going.id).await?;
        Ok(put.log.forget().await?)
    }

    async fn give_up_on_conflict(
        &self,
        key: &str,
        put: &Put<'_>,
        going: &Going,
        error: DestinationError,
    ) -> Result<DestinationError, DestinationError> {
        match error {
            DestinationError::Conflict { .. } => self.give_up(key, put, going, error).await,
            other => Ok(other),
        }
    }

    /// Aborts and forgets the upload; the error is given back.
    async fn give_up(
        &self,
        key: &str,
        put: &Put<'_>,
        going: &Going,
        error: DestinationError,
    ) -> Result<DestinationError, DestinationError> {
        self.client.abort(key, &going.id).await?;
        put.log.forget().await?;
        Ok(error)
    }

    fn corrupt(&self, key: &str, found: String) -> DestinationError {
        DestinationError::Corrupt { location: self.client.location(key), found }
    }

    fn vanished(&self, key: &str) -> DestinationError {
        let message = "it is not there, though the store said so a moment ago".to_owned();
        let location = self.client.location(key);
        DestinationError::Remote { action: "look at", location, class: ErrorClass::Transient, message }
    }
}
