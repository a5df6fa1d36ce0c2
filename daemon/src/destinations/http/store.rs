//! The way of a file to its URL: looked for, sent create-only, read back; an unknown outcome is mended by looking again.

use super::body::Payload;
use super::{HttpPut, PRIVATE, unreadable};
use crate::base::crash;
use crate::base::error::ErrorClass;
use crate::config::settings::{HttpDestination, HttpVerify};
use crate::destinations::{DestinationError, Expected, Probed, Small};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::Response;
use saas_export_manifest::Digester;
use std::sync::atomic::Ordering;

/// The digest of a body (RFC 9530, section 2).
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// What a probe writes.
const PROBE: &[u8] = b"written by a check of saas-export-daemon; may be deleted\n";

/// When a write is wanted.
enum If<'a> {
    /// Only where nothing is.
    Absent,
    /// Only where this still is.
    Is(&'a str),
    /// In any case.
    Any,
}

/// The bytes of hexadecimal digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

fn headers(expected: &Expected, when: &If<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let digest = unhex(&expected.sha256).map(|bytes| format!("sha-256=:{}:", STANDARD.encode(bytes)));
    if let Some(digest) = digest.and_then(|digest| HeaderValue::try_from(digest).ok()) {
        headers.insert(CONTENT_DIGEST, digest);
    }
    match when {
        If::Absent => drop(headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"))),
        If::Is(tag) => headers.extend(HeaderValue::from_str(tag).ok().map(|tag| (IF_MATCH, tag))),
        If::Any => {}
    }
    headers
}

/// Whether an answer says that something else is there.
fn refused(status: StatusCode) -> bool {
    matches!(status, StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT)
}

impl HttpPut {
    async fn write(
        &self,
        key: &str,
        payload: &Payload,
        expected: &Expected,
        when: If<'_>,
    ) -> Result<Response, DestinationError> {
        let headers = headers(expected, &when);
        let response = self.asker.send(Method::PUT, key, headers.clone(), payload).await?;
        // A WebDAV server says so where a collection is missing (RFC 4918, section 9.7.1); others of an object that is there.
        if response.status() == StatusCode::CONFLICT && self.make_collections(key).await? {
            return self.asker.send(Method::PUT, key, headers, payload).await;
        }
        Ok(response)
    }

    /// Makes the collections above an object; whether any was missing.
    async fn make_collections(&self, key: &str) -> Result<bool, DestinationError> {
        let method = Method::from_bytes(b"MKCOL").unwrap_or(Method::OPTIONS);
        let in_path =
            self.settings.url.split(['?', '#']).next().is_some_and(|path| path.ends_with(HttpDestination::KEY));
        let mut made = false;
        for (end, _) in key.match_indices('/').filter(|_| in_path) {
            let above = key.get(..=end).unwrap_or_default();
            let response = self.asker.send(method.clone(), above, HeaderMap::new(), &Payload::None).await?;
            made |= response.status() == StatusCode::CREATED;
        }
        Ok(made)
    }

    /// Size and checksums of an object, as it can be read now; `None` if it is not there.
    pub(super) async fn digest(&self, key: &str) -> Result<Option<Expected>, DestinationError> {
        let Some(mut response) = self.get(Method::GET, key).await? else { return Ok(None) };
        let mut digester = Digester::default();
        while let Some(bytes) = self.asker.piece(key, &mut response).await? {
            digester.update(&bytes);
        }
        Ok(Some(digester.finish()))
    }

    pub(super) async fn store(
        &self,
        key: &str,
        payload: &Payload,
        expected: &Expected,
    ) -> Result<(), DestinationError> {
        let closed = |_| self.asker.error("store", key, ErrorClass::Bug, &"it is being closed");
        let _slot = self.slots.acquire().await.map_err(closed)?;
        if self.is_there(key, expected).await? {
            return Ok(());
        }
        let response = self.write(key, payload, expected, If::Absent).await?;
        let status = response.status();
        if status.is_success() {
            crash::point("delivery.copied");
            // Nothing was there, and the server says that it made it.
            let ours = self.is_conditional() || status == StatusCode::CREATED;
            return if ours { self.verify_ours(key, expected).await } else { self.verify(key, expected).await };
        }
        if refused(status) && self.is_there(key, expected).await? {
            return Ok(());
        }
        if status == StatusCode::PRECONDITION_FAILED && self.settings.verify == HttpVerify::None {
            let found = "the server says so, and does not let it be read (`verify: none`)".to_owned();
            return Err(DestinationError::Conflict { location: self.settings.location(key), found });
        }
        Err(self.asker.refusal("store", key, &response))
    }

    /// Whether the object is there; another one is a conflict. Where nothing may be read, nobody can say.
    async fn is_there(&self, key: &str, expected: &Expected) -> Result<bool, DestinationError> {
        if self.settings.verify == HttpVerify::None {
            return Ok(false);
        }
        let response = self.asker.send(Method::HEAD, key, HeaderMap::new(), &Payload::None).await?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(false),
            // Not known for HEAD: GET will tell.
            status if status.is_success() || matches!(status.as_u16(), 405 | 501) => {}
            status if unreadable(status) => return Err(self.blind(key, status)),
            _ => return Err(self.asker.refusal("look at", key, &response)),
        }
        match self.digest(key).await? {
            None => Ok(false),
            Some(found) if found == *expected => Ok(true),
            Some(found) => Err(DestinationError::Conflict {
                location: self.settings.location(key),
                found: format!("{} bytes, SHA-256 {}", found.bytes, found.sha256),
            }),
        }
    }

    fn blind(&self, key: &str, status: StatusCode) -> DestinationError {
        let message = format!(
            "what is stored there cannot be read (the server answers {}), so that nothing can be verified: let it be read, or \
             set `verify: none`",
            status.as_u16()
        );
        self.asker.error("verify", key, ErrorClass::Config, &message)
    }

    /// The same for what can only be ours: where it is damaged it is taken out of the way of the next attempt.
    async fn verify_ours(&self, key: &str, expected: &Expected) -> Result<(), DestinationError> {
        let verified = self.verify(key, expected).await;
        if matches!(verified, Err(DestinationError::Corrupt { .. })) {
            let _ = self.asker.send(Method::DELETE, key, HeaderMap::new(), &Payload::None).await;
        }
        verified
    }

    /// Whether what is stored is what was sent, as far as `verify` has it looked at.
    async fn verify(&self, key: &str, expected: &Expected) -> Result<(), DestinationError> {
        let method = match self.settings.verify {
            HttpVerify::ReadBack => Method::GET,
            HttpVerify::Size => Method::HEAD,
            HttpVerify::None => return Ok(()),
        };
        let mut response = self.asker.send(method.clone(), key, HeaderMap::new(), &Payload::None).await?;
        match response.status() {
            status if status.is_success() => {}
            status if unreadable(status) => return Err(self.blind(key, status)),
            _ => return Err(self.asker.refusal("verify", key, &response)),
        }
        if method == Method::HEAD {
            let size = response.headers().get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            match size.and_then(|size| size.parse::<u64>().ok()) {
                Some(bytes) if bytes == expected.bytes => return Ok(()),
                Some(bytes) => return Err(self.corrupt(key, format!("what is stored has {bytes} bytes"))),
                // It does not say: then all of it is read.
                None => response = self.asker.send(Method::GET, key, HeaderMap::new(), &Payload::None).await?,
            }
            if !response.status().is_success() {
                return Err(self.asker.refusal("verify", key, &response));
            }
        }
        let mut digester = Digester::default();
        while let Some(bytes) = self.asker.piece(key, &mut response).await? {
            digester.update(&bytes);
        }
        let found = digester.finish();
        if found == *expected {
            return Ok(());
        }
        Err(self.corrupt(key, format!("what is stored has {} bytes and SHA-256 {}", found.bytes, found.sha256)))
    }

    fn corrupt(&self, key: &str, found: String) -> DestinationError {
        DestinationError::Corrupt { location: self.settings.location(key), found }
    }

    pub(super) async fn swap(&self, key: &str, bytes: Bytes, seen: Option<&Small>) -> Result<(), DestinationError> {
        let expected = Expected::of(&bytes);
        let raced = || DestinationError::Raced { location: self.settings.location(key) };
        if self.settings.verify != HttpVerify::None {
            let now = self.digest(key).await?;
            if now.as_ref() == Some(&expected) {
                return Ok(());
            }
            if now != seen.map(|seen| Expected::of(&seen.bytes)) {
                return Err(raced());
            }
        }
        let when = match seen {
            Some(Small { version: Some(tag), .. }) => If::Is(tag),
            None if self.is_conditional() && self.settings.verify != HttpVerify::None => If::Absent,
            _ => If::Any,
        };
        let response = self.write(key, &Payload::Bytes(bytes), &expected, when).await?;
        match response.status() {
            status if status.is_success() => self.verify(key, &expected).await,
            StatusCode::PRECONDITION_FAILED => Err(raced()),
            _ => Err(self.asker.refusal("replace", key, &response)),
        }
    }

    /// Writes a small object twice: the second must be refused where nothing is ever to be overwritten. Reads it, deletes it.
    pub(super) async fn look(&self) -> Result<Probed, DestinationError> {
        // Always the same, so that at most one is left where nothing can be deleted.
        let key = format!("{PRIVATE}/probe");
        let (payload, expected) = (Payload::Bytes(PROBE.into()), Expected::of(PROBE));
        let mut conditional = false;
        for _ in 0..2 {
            let response = self.write(&key, &payload, &expected, If::Absent).await?;
            // A conflict where nothing is has another reason, e.g. a directory that is missing.
            conditional = match response.status() {
                StatusCode::CONFLICT => self.is_there(&key, &expected).await?,
                status => status == StatusCode::PRECONDITION_FAILED,
            };
            if !response.status().is_success() && !conditional {
                return Err(self.asker.refusal("store", &key, &response));
            }
        }
        self.conditional.store(conditional, Ordering::Relaxed);
        let mut notes = Vec::new();
        match (conditional, self.settings.verify) {
            (true, _) => {}
            (false, HttpVerify::None) => notes.push(
                "it overwrites in spite of If-None-Match, and nothing may be read: files there are not safe from being \
                 overwritten"
                    .to_owned(),
            ),
            (false, _) => notes.push(
                "it overwrites in spite of If-None-Match: names are looked up before, but two writers at the same moment are \
                 not kept apart"
                    .to_owned(),
            ),
        }
        if self.settings.verify == HttpVerify::None {
            notes.push("what is stored there is not verified (`verify: none`)".to_owned());
        }
        self.verify_ours(&key, &expected).await?;
        let deleted = self.asker.send(Method::DELETE, &key, HeaderMap::new(), &Payload::None).await?;
        if !deleted.status().is_success() && deleted.status() != StatusCode::NOT_FOUND {
            let status = deleted.status().as_u16();
            notes.push(format!(
                "nothing can be deleted there (it answers {status} to DELETE): what is superseded stays"
            ));
        }
        Ok(Probed { notes })
    }
}
