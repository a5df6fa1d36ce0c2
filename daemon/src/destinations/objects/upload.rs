//! Puts files: small ones by one conditional request, others in parts that are noted, so that a restart sends only what is missing.
//!
//! Neither store is asked which parts it has: what the log says is believed, and where the store will not make an object of
//! them, all are sent again. Completing is not conditional there, so the object is looked for right before.

use super::Objects;
use crate::base::error::{Chain, ErrorClass};
use crate::config::settings;
use crate::destinations::s3::plan;
use crate::destinations::spooled::{self, Piece};
use crate::destinations::{Destination as _, DestinationError, Expected, Put};
use crate::model::upload::{Part, Upload};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, PutMode};
use saas_export_manifest::Digester;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an upload to Azure is noted as: its blocks belong to the object's name.
const BLOCKS: &str = "blocks";
/// Bytes that are taken from the pace at a time.
const SEND: u64 = 64 << 10;

impl Objects {
    pub(super) async fn put(&self, put: Put<'_>) -> Result<(), DestinationError> {
        let begun = put.log.load().await?;
        if !spooled::is_there(put.from).await {
            return match self.adopt(put.key, put.expected).await? {
                true => Ok(put.log.forget().await?),
                false => Err(DestinationError::Gone { path: put.from.to_owned() }),
            };
        }
        let usual = plan::part_size(self.transfer.in_flight.0, self.transfer.connections);
        if begun.is_some() || put.expected.bytes > usual {
            return self.put_in_parts(&put, begun, plan::part_size_of(put.expected.bytes, usual)).await;
        }
        let _connection = self.connections.acquire().await.ok();
        let _in_flight = self.in_flight.take(put.expected.bytes).await;
        let piece = Piece::read(put.from, 0, put.expected.bytes).await?;
        self.create(put.key, piece.bytes, put.expected).await
    }

    /// Makes an object by one request, and reads it back.
    pub(super) async fn create(&self, key: &str, bytes: Bytes, expected: &Expected) -> Result<(), DestinationError> {
        let creates = self.creates().await?;
        if !creates && self.adopt(key, expected).await? {
            return Ok(());
        }
        let mode = if creates { PutMode::Create } else { PutMode::Overwrite };
        self.paced(bytes.len() as u64).await;
        match self.store.put_opts(&self.path(key)?, bytes.into(), mode.into()).await {
            Ok(_) => return self.verify(key, expected).await,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(self.failed("store", key)(error)),
        }
        match self.adopt(key, expected).await? {
            true => Ok(()),
            false => Err(self.vanished(key)),
        }
    }

    /// Whether the object is there and the same; another one is a conflict.
    async fn adopt(&self, key: &str, expected: &Expected) -> Result<bool, DestinationError> {
        let Some(mut pieces) = self.read(key).await? else { return Ok(false) };
        let mut digester = Digester::default();
        while let Some(piece) = pieces.try_next().await? {
            digester.update(&piece);
        }
        let found = digester.finish();
        if found == *expected {
            return Ok(true);
        }
        let found = format!("{} bytes, SHA-256 {}", found.bytes, found.sha256);
        Err(DestinationError::Conflict { location: self.location(key), found })
    }

    /// Looks at what the store said a moment ago that it made of ours, where nothing was before and which bears this task's name:
    /// what is damaged is taken away, for the next try.
    async fn verify(&self, key: &str, expected: &Expected) -> Result<(), DestinationError> {
        match self.adopt(key, expected).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.vanished(key)),
            Err(DestinationError::Conflict { location, found }) => {
                let left = self.remove(key).await.err().map_or_else(String::new, |error| {
                    format!("; it stays there, and must be moved away by hand: failed to {}", Chain(&error))
                });
                Err(DestinationError::Corrupt { location, found: format!("what is stored has {found}{left}") })
            }
            Err(error) => Err(error),
        }
    }

    async fn put_in_parts(&self, put: &Put<'_>, begun: Option<Upload>, part_size: u64) -> Result<(), DestinationError> {
        let path = self.path(put.key)?;
        // An earlier try may have come through without an answer; somebody else's object is not to be overwritten.
        match self.adopt(put.key, put.expected).await {
            Ok(false) => {}
            Ok(true) => return Ok(put.log.forget().await?),
            Err(error) => {
                if let (DestinationError::Conflict { .. }, Some(upload)) = (&error, &begun) {
                    self.give_up(put.key, &path, &upload.id).await?;
                    put.log.forget().await?;
                }
                return Err(error);
            }
        }
        let upload = match begun {
            Some(upload) => upload,
            None => {
                let id = self.store.create_multipart(&path).await.map_err(self.failed("begin to store", put.key))?;
                let id = if self.is_azure() { BLOCKS.to_owned() } else { id };
                put.log.begin(&id, part_size).await?;
                Upload { id, part_size, parts: Vec::new() }
            }
        };
        let parts = self.send_missing(put, &path, &upload).await?;
        let done = plan::whole(&parts) == Some(put.expected.crc32c);
        let ids = parts.into_iter().map(|part| PartId { content_id: part.etag }).collect();
        let completed = match done {
            true => {
                self.store.complete_multipart(&path, &upload.id, ids).await.map_err(self.failed("complete", put.key))
            }
            false => Err(self.remote("complete", put.key, ErrorClass::Data, "the parts do not make the file".into())),
        };
        let made = match &completed {
            Ok(_) => self.verify(put.key, put.expected).await.map(|()| true),
            Err(_) => self.adopt(put.key, put.expected).await,
        };
        match (completed, made) {
            (_, Ok(true)) => Ok(put.log.forget().await?),
            // One of its parts is not what was sent; nobody knows which.
            (_, Err(error @ DestinationError::Corrupt { .. })) => {
                put.log.forget().await?;
                Err(error)
            }
            (Err(error), _) if crate::base::error::Classify::class(&error).retryable() => Err(error),
            // The store does not make an object of these parts: it forgot them. They are sent again.
            (Err(_), Ok(false)) => {
                self.give_up(put.key, &path, &upload.id).await?;
                put.log.forget().await?;
                let message = "the store no longer has its parts; they are sent again".to_owned();
                Err(self.remote("complete", put.key, ErrorClass::Transient, message))
            }
            (Ok(_), Ok(false)) => Err(self.vanished(put.key)),
            (_, Err(error)) => Err(error),
        }
    }

    /// Sends the parts that are not noted, several at a time; all parts in order.
    async fn send_missing(&self, put: &Put<'_>, path: &Path, upload: &Upload) -> Result<Vec<Part>, DestinationError> {
        let failed = &AtomicBool::new(false);
        let fits = |part: &&Part| {
            let at = u64::from(part.number.saturating_sub(1)) * upload.part_size;
            part.number > 0 && part.bytes == upload.part_size.min(put.expected.bytes.saturating_sub(at))
        };
        let mut parts: Vec<Part> = upload.parts.iter().filter(fits).cloned().collect();
        let missing: Vec<_> = plan::cut(put.expected.bytes, upload.part_size)
            .filter(|(number, ..)| parts.iter().all(|part| part.number != *number))
            .collect();
        let sent = missing.into_iter().map(|part| async move {
            if failed.load(Ordering::Relaxed) {
                return None;
            }
            let sent = self.send_part(put, path, upload, part).await;
            failed.fetch_or(sent.is_err(), Ordering::Relaxed);
            Some(sent)
        });
        let connections = self.transfer.connections.max(1) as usize;
        let sent: Vec<_> = futures_util::stream::iter(sent).buffer_unordered(connections).collect().await;
        for part in sent.into_iter().flatten() {
            parts.push(part?);
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    async fn send_part(
        &self,
        put: &Put<'_>,
        path: &Path,
        upload: &Upload,
        (number, at, bytes): (u32, u64, u64),
    ) -> Result<Part, DestinationError> {
        let _connection = self.connections.acquire().await.ok();
        let _in_flight = self.in_flight.take(bytes).await;
        let piece = Piece::read(put.from, at, bytes).await?;
        self.paced(bytes).await;
        let index = number as usize - 1;
        let sent = self.store.put_part(path, &upload.id, index, piece.bytes.into()).await;
        let sent = match sent {
            // The upload is no more: the next try begins another.
            Err(Error::NotFound { .. }) => {
                put.log.forget().await?;
                let message = "the store forgot the upload; it is begun again".to_owned();
                return Err(self.remote("store a part of", put.key, ErrorClass::Transient, message));
            }
            other => other.map_err(self.failed("store a part of", put.key))?,
        };
        let checksum = crate::destinations::s3::crc_text(piece.crc32c);
        let part = Part { number, bytes, checksum, etag: sent.content_id };
        put.log.part(part.clone()).await?;
        Ok(part)
    }

    /// Waits for the right to send so many bytes.
    async fn paced(&self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(SEND);
            self.pace.take(piece).await;
            left -= piece;
        }
    }

    pub(super) async fn give_up(&self, key: &str, path: &Path, upload: &str) -> Result<(), DestinationError> {
        match self.store.abort_multipart(path, &upload.to_owned()).await {
            Err(Error::NotFound { .. }) => Ok(()),
            other => other.map_err(self.failed("give up the upload of", key)),
        }
    }

    fn is_azure(&self) -> bool {
        matches!(self.settings, settings::Destination::Azure(_))
    }

    fn vanished(&self, key: &str) -> DestinationError {
        let message = "it is not there, though the store said so a moment ago".to_owned();
        self.remote("look at", key, ErrorClass::Transient, message)
    }
}
