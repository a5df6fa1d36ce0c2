//! What a store keeps of what S3 promises: tried out once, with a small object of ours that is deleted again.

use super::S3;
use super::api::{META_SHA256, Traits, When};
use super::failure::Failure;
use crate::base::error::ErrorClass;
use crate::destinations::DestinationError;
use crate::destinations::local::PRIVATE;
use crate::destinations::spooled::Piece;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

/// What is written to try a store out.
const WORDS: &[u8] = b"written by saas-export-daemon to try out the store; may be deleted\n";

/// What a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// An object is not written over another where it must be new.
    pub creates: bool,
    /// The same, where an upload in parts is completed.
    pub completes: bool,
    /// An object is replaced only where it is what was seen.
    pub replaces: bool,
    /// Checksums that are sent are compared with what arrived.
    pub checks: bool,
}

impl Abilities {
    /// What an operator should know.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.creates {
            notes.push(
                "the store ignores If-None-Match: each object is looked for before it is written, but two writers at the \
                 same moment could overwrite one another's objects; let only this daemon write there"
                    .to_owned(),
            );
        } else if !self.completes {
            notes.push(
                "the store ignores If-None-Match where an upload in parts is completed: large objects are looked for \
                 before, but two writers at the same moment could overwrite one another's"
                    .to_owned(),
            );
        }
        if !self.replaces {
            notes.push(
                "the store ignores If-Match: of two daemons that move latest.json at the same moment the last one wins"
                    .to_owned(),
            );
        }
        if !self.checks {
            notes.push(
                "the store does not compare checksums: every object is read back after it was written".to_owned(),
            );
        }
        notes
    }
}

impl S3 {
    /// What the store keeps; tried out at the first call.
    pub(super) async fn abilities(&self) -> Result<Abilities, DestinationError> {
        self.abilities.get_or_try_init(|| self.try_out()).await.copied()
    }

    async fn try_out(&self) -> Result<Abilities, DestinationError> {
        let key = self.whole_key(&format!("{PRIVATE}/probe"));
        let creates = self.heeds_twice(&key).await;
        let rest = match &creates {
            Ok(creates) => self.try_the_rest(&key, *creates).await,
            Err(_) => Ok((false, false, false)),
        };
        // Also where something failed half way. What a killed daemon leaves there is deleted by the next one.
        let deleted = self.client.delete(&key).await;
        let ((completes, replaces, checks), creates) = (rest?, creates?);
        deleted?;
        Ok(Abilities { creates, completes, replaces, checks })
    }

    /// Whether an object that is there is kept. Somebody else may try at the same moment, and delete it in between: so once more.
    async fn heeds_twice(&self, key: &str) -> Result<bool, DestinationError> {
        let piece = Piece::of(Bytes::from_static(WORDS));
        for _ in 0..2 {
            for _ in 0..2 {
                match self.client.put(key, &piece, When::Absent, &self.traits).await {
                    Ok(_) => {}
                    Err(failure) if failure.status() == Some(412) => return Ok(true),
                    Err(failure) if failure.is_unknown_to_it() => {
                        // It does not take the condition; what it says without decides whether it can be written to.
                        self.client.put(key, &piece, When::Always, &self.traits).await?;
                        return Ok(false);
                    }
                    Err(failure) => return Err(failure.into()),
                }
            }
        }
        Ok(false)
    }

    async fn try_the_rest(&self, key: &str, creates: bool) -> Result<(bool, bool, bool), DestinationError> {
        let piece = Piece::of(Bytes::from_static(WORDS));
        let other = When::Is("\"00000000000000000000000000000000\"");
        let replaces = refuses(self.client.put(key, &piece, other, &self.traits).await.map(drop), 412)?;
        let wrong = BASE64.encode([0; 32]);
        let put = self.client.put_as(key, (&piece, &wrong), When::Always, &self.traits).await;
        let checks = match put {
            Ok(_) => false,
            // A store that takes no such checksum at all must be asked for its own, which it does not have.
            Err(failure) if failure.status() == Some(501) => false,
            Err(failure) if failure.status() == Some(400) => true,
            Err(failure) => return Err(failure.into()),
        };
        let completes = creates && self.completes(key, &piece).await?;
        Ok((completes, replaces, checks))
    }

    /// Whether an object that is there is kept when an upload in parts is completed.
    async fn completes(&self, key: &str, piece: &Piece) -> Result<bool, DestinationError> {
        // The object may have been deleted by somebody who tries at the same moment.
        let there = self.client.put(key, piece, When::Absent, &self.traits).await;
        refuses(there.map(drop), 412)?;
        let traits = Traits { headers: self.traits.headers.clone() };
        let (upload, _) = self.client.begin(key, META_SHA256, &traits).await?;
        let completed = match self.client.part(key, &upload, 1, piece).await {
            Ok(part) => self.client.complete((key, &upload), &[part], When::Absent, None).await,
            Err(failure) => Err(failure),
        };
        let kept = match completed {
            Ok(()) => return Ok(false),
            Err(failure) if matches!(failure.status(), Some(409 | 412)) => Ok(true),
            Err(failure) if failure.is_unknown_to_it() => Ok(false),
            Err(failure) => Err(failure.into()),
        };
        self.client.abort(key, &upload).await?;
        kept
    }
}

/// Whether a request that must be refused was; what else went wrong is an error.
fn refuses(done: Result<(), Failure>, status: u16) -> Result<bool, DestinationError> {
    match done {
        Ok(()) => Ok(false),
        Err(failure) if failure.status() == Some(status) => Ok(true),
        Err(failure) if failure.is_unknown_to_it() || failure.is_missing() => Ok(false),
        Err(failure) if failure.class() == ErrorClass::Conflict => Ok(true),
        Err(failure) => Err(failure.into()),
    }
}
