//! A server that takes files by HTTP PUT: create-only by `If-None-Match: *`, checked by reading back.

mod ask;
mod body;
mod store;

#[cfg(test)]
mod tests;

use super::local::PRIVATE;
use super::{Answer, Content, Destination, DestinationError, Expected, Head, Probed, Put, Small};
use crate::auth::Registry;
use crate::base::error::ErrorClass;
use crate::base::secret::Resolve;
use crate::config::settings::{HttpDestination, HttpVerify};
use ask::Asker;
use body::Payload;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{CONTENT_LENGTH, ETAG};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// An HTTP destination.
pub struct HttpPut {
    settings: HttpDestination,
    asker: Arc<Asker>,
    /// As many as files may be on their way.
    slots: Semaphore,
    /// Whether a probe saw the server refuse to overwrite.
    conditional: AtomicBool,
}

impl std::fmt::Debug for HttpPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpPut({})", self.settings.url)
    }
}

impl HttpPut {
    /// The destination of these settings; reads the files of TLS, asks nothing of the network. `registry` has the providers
    /// of credentials that change.
    pub fn new(
        settings: &HttpDestination,
        secrets: &dyn Resolve,
        registry: Option<&Registry>,
    ) -> Result<Self, DestinationError> {
        let asker = Arc::new(Asker::new(settings, secrets, registry)?);
        let slots = Semaphore::new(settings.transfer.connections.max(1) as usize);
        Ok(Self { settings: settings.clone(), asker, slots, conditional: AtomicBool::new(false) })
    }

    fn is_conditional(&self) -> bool {
        self.conditional.load(Ordering::Relaxed)
    }

    /// Asks for an object; `None` if it is not there.
    async fn get(&self, method: Method, key: &str) -> Result<Option<Response>, DestinationError> {
        let response = self.asker.send(method, key, HeaderMap::new(), &Payload::None).await?;
        match response.status() {
            status if status.is_success() => Ok(Some(response)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            _ => Err(self.asker.refusal("read", key, &response)),
        }
    }
}

/// Whether a server says that it will not let anybody read.
fn unreadable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 403 | 404 | 405 | 501)
}

impl Destination for HttpPut {
    fn probe(&self) -> Answer<'_, Probed> {
        Box::pin(self.look())
    }

    fn put_file<'a>(&'a self, put: Put<'a>) -> Answer<'a, ()> {
        Box::pin(async move {
            let payload = Payload::File(put.from.to_owned(), put.expected.bytes);
            self.store(put.key, &payload, put.expected).await
        })
    }

    fn put_bytes<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let expected = Expected::of(&bytes);
            self.store(key, &Payload::Bytes(bytes), &expected).await
        })
    }

    fn read_small<'a>(&'a self, key: &'a str, limit: u64) -> Answer<'a, Option<Small>> {
        Box::pin(async move {
            let mut response = self.asker.send(Method::GET, key, HeaderMap::new(), &Payload::None).await?;
            let status = response.status();
            let blind = self.settings.verify == HttpVerify::None && unreadable(status);
            if blind || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
                return Ok(None);
            }
            if !status.is_success() {
                return Err(self.asker.refusal("read", key, &response));
            }
            // A weak one does not name a state byte for byte (RFC 9110, section 8.8.3), and is never matched.
            let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
            let version = tag.filter(|tag| tag.starts_with('"')).map(str::to_owned);
            let mut all = Vec::new();
            while let Some(bytes) = self.asker.piece(key, &mut response).await? {
                all.extend_from_slice(&bytes);
                if all.len() as u64 > limit {
                    let message = format!("it has more than {limit} bytes");
                    return Err(self.asker.error("read", key, ErrorClass::Data, &message));
                }
            }
            Ok(Some(Small { bytes: all.into(), version }))
        })
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Content>> {
        Box::pin(async move {
            let Some(response) = self.get(Method::GET, key).await? else { return Ok(None) };
            let state = (self.asker.clone(), key.to_owned(), response);
            let next = |(asker, key, mut response): (Arc<Asker>, String, Response)| async move {
                let piece = asker.piece(&key, &mut response).await?;
                Ok(piece.map(|piece| (piece, (asker, key, response))))
            };
            Ok(Some(futures_util::stream::try_unfold(state, next).boxed()))
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Head>> {
        Box::pin(async move {
            let Some(response) = self.get(Method::HEAD, key).await? else { return Ok(None) };
            let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            match length {
                Some(bytes) => Ok(Some(Head { bytes, sha256: None, crc32c: None })),
                None => {
                    let found = self.digest(key).await?;
                    Ok(found.map(|found| Head { bytes: found.bytes, sha256: None, crc32c: None }))
                }
            }
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes, seen: Option<&'a Small>) -> Answer<'a, ()> {
        Box::pin(self.swap(key, bytes, seen))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let response = self.asker.send(Method::DELETE, key, HeaderMap::new(), &Payload::None).await?;
            match response.status() {
                status if status.is_success() => Ok(()),
                StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
                _ => Err(self.asker.refusal("delete", key, &response)),
            }
        })
    }

    /// A request that broke off leaves nothing that could be named.
    fn abort<'a>(&'a self, _key: &'a str, _upload: &'a str) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn free(&self) -> Answer<'_, Option<u64>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn link<'a>(&'a self, _key: &'a str, _expires: Duration) -> Answer<'a, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn location(&self, key: &str) -> String {
        self.settings.location(key)
    }

    fn sent(&self) -> u64 {
        self.asker.sent()
    }
}
