//! Sends signed requests to one store: never elsewhere, with bounded answers, and without waiting for ever.

use super::failure::{Failure, Refusal};
use crate::base::error::{Chain, ErrorClass};
use crate::destinations::pace::Pace;
use crate::destinations::spooled::Piece;
use crate::net::error::FetchError;
use crate::net::mask::Mask;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Method, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequestBody;
use reqwest::Response;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use url::Url;

/// The longest that nothing may move, in either direction.
pub const STALL: Duration = Duration::from_secs(60);
/// The longest that a store may think about putting parts together.
pub const THINK: Duration = Duration::from_secs(600);
/// Bytes of a body that are sent at a time, so that a pace is even.
const SEND: usize = 64 << 10;
/// The largest answer that is no object: a list of 1,000 parts or uploads.
const MAX_ANSWER: usize = 4 << 20;
/// How much of a refusal is read.
const MAX_REFUSAL: usize = 64 << 10;

/// A request to the store.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// What is tried, for messages: a verb.
    pub action: &'static str,
    /// The permission that it needs.
    pub right: &'static str,
    /// The method.
    pub method: Method,
    /// The whole key; empty for the bucket itself.
    pub key: &'a str,
    /// The query.
    pub query: Vec<(&'static str, String)>,
    /// Headers, beside those of the signature.
    pub headers: HeaderMap,
    /// How long the store may take for an answer.
    pub patience: Duration,
}

impl<'a> Call<'a> {
    /// A request without query and headers.
    pub fn new(action: &'static str, right: &'static str, method: Method, key: &'a str) -> Self {
        Self { action, right, method, key, query: Vec::new(), headers: HeaderMap::new(), patience: STALL }
    }

    /// With a parameter of the query.
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With a header; a value that no header can hold is left out.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = value.parse() {
            self.headers.insert(name, value);
        }
        self
    }
}

/// An answer with status 2xx, and its whole body.
#[derive(Debug)]
pub struct Reply {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Reply {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The connection to a bucket.
pub struct Client {
    /// The HTTP client; follows no redirects.
    pub http: reqwest::Client,
    /// URL of the bucket, ending with `/`.
    pub bucket: Url,
    /// Region of the signatures.
    pub region: String,
    /// Who asks.
    pub credentials: AwsCredentialProvider,
    /// How fast.
    pub pace: Arc<Pace>,
    /// What messages must not show.
    pub mask: Mask,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.bucket)
    }
}

impl Client {
    /// Sends a request without a body.
    pub async fn ask(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        self.tell(call, &Piece::of(Bytes::new())).await
    }

    /// Sends a request with a body.
    pub async fn tell(&self, call: &Call<'_>, body: &Piece) -> Result<Reply, Failure> {
        let mut answer = self.answer(call, body).await?;
        let headers = std::mem::take(answer.headers_mut());
        let body = self.body(call, &mut answer, MAX_ANSWER).await?;
        if body.len() >= MAX_ANSWER {
            return Err(self.odd(call, "the answer is too long"));
        }
        let reply = Reply { headers, body };
        // Some requests are answered with 200 before the store knows how they end.
        if reply.body.contains("<Error>") {
            let refusal =
                Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, headers: &reply.headers, body: &reply.body };
            return Err(Failure::refused(call, self.location(call.key), &refusal, &self.mask));
        }
        Ok(reply)
    }

    /// Sends a request whose answer is an object; the body follows piece by piece.
    pub async fn open(&self, call: &Call<'_>) -> Result<Response, Failure> {
        self.answer(call, &Piece::of(Bytes::new())).await
    }

    /// The next piece of an object; `None` at its end.
    pub async fn next(&self, call: &Call<'_>, answer: &mut Response) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(STALL, answer.chunk()).await {
            Ok(piece) => piece.map_err(|error| self.unanswered(call, FetchError::from_client(error, STALL))),
            Err(_) => Err(self.unanswered(call, FetchError::TimedOut(STALL))),
        }
    }

    /// Where a key lies, for messages.
    pub fn location(&self, key: &str) -> String {
        format!("{}{key}", self.bucket)
    }

    async fn answer(&self, call: &Call<'_>, body: &Piece) -> Result<Response, Failure> {
        let moved = Arc::new(AtomicU64::new(0));
        let request = self.signed(call, body, &moved).await?;
        let sending = self.http.execute(request);
        let Some(answer) = watched(sending, &moved, call.patience).await else {
            return Err(self.unanswered(call, FetchError::TimedOut(call.patience)));
        };
        let mut answer = answer.map_err(|error| self.unanswered(call, FetchError::from_client(error, STALL)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        // A refusal whose words broke off is a refusal all the same.
        let words = self.body(call, &mut answer, MAX_REFUSAL).await.unwrap_or_default();
        let refusal = Refusal { status: answer.status(), headers: answer.headers(), body: &words };
        Err(Failure::refused(call, self.location(call.key), &refusal, &self.mask))
    }

    async fn body(&self, call: &Call<'_>, answer: &mut Response, most: usize) -> Result<String, Failure> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.next(call, answer).await? {
            body.extend_from_slice(piece.get(..piece.len().min(most - body.len())).unwrap_or_default());
            if body.len() >= most {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn signed(&self, call: &Call<'_>, body: &Piece, moved: &Arc<AtomicU64>) -> Result<reqwest::Request, Failure> {
        let credential = self.credentials.get_credential().await.map_err(|error| {
            let message = format!("no credentials: {}", self.mask.clean(&Chain(&error).to_string(), 300));
            Failure::odd(call, self.location(call.key), ErrorClass::Auth, message)
        })?;
        // The signer does not survive a token that no header can hold.
        if credential.token.as_ref().is_some_and(|token| token.parse::<http::HeaderValue>().is_err()) {
            return Err(Failure::odd(
                call,
                self.location(call.key),
                ErrorClass::Auth,
                "no usable session token".into(),
            ));
        }
        let url = self.url(call);
        let unsendable = |_| self.odd(call, "the request cannot be built");
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(url.as_str())
            .body(HttpRequestBody::empty())
            .map_err(unsendable)?;
        request.headers_mut().extend(call.headers.clone());
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, Some(&body.sha256))
            .map_err(|_| self.odd(call, "the request cannot be signed"))?;
        let mut sent = reqwest::Request::new(call.method.clone(), url);
        *sent.headers_mut() = std::mem::take(request.headers_mut());
        if matches!(call.method, Method::PUT | Method::POST) {
            sent.headers_mut().insert(CONTENT_LENGTH, body.bytes.len().into());
            if !body.bytes.is_empty() {
                let pieces = paced(body.bytes.clone(), self.pace.clone(), moved.clone());
                *sent.body_mut() = Some(reqwest::Body::wrap_stream(pieces));
            }
        }
        Ok(sent)
    }

    fn url(&self, call: &Call<'_>) -> Url {
        let mut url = self.bucket.clone();
        let path = format!("{}{}", url.path(), encode(call.key, true));
        // The bucket's own requests have no slash behind it in the path style.
        url.set_path(if call.key.is_empty() && path.len() > 1 { path.trim_end_matches('/') } else { &path });
        if !call.query.is_empty() {
            let pair = |(name, value): &(&str, String)| format!("{name}={}", encode(value, false));
            url.set_query(Some(&call.query.iter().map(pair).collect::<Vec<_>>().join("&")));
        }
        url
    }

    fn unanswered(&self, call: &Call<'_>, error: FetchError) -> Failure {
        Failure::unanswered(call, self.location(call.key), error)
    }

    fn odd(&self, call: &Call<'_>, message: &str) -> Failure {
        Failure::odd(call, self.location(call.key), ErrorClass::Config, message.to_owned())
    }
}

/// Waits for an answer as long as something moves; `None` when nothing did for so long.
async fn watched<T>(sending: impl Future<Output = T>, moved: &AtomicU64, patience: Duration) -> Option<T> {
    tokio::pin!(sending);
    loop {
        let before = moved.load(Ordering::Relaxed);
        tokio::select! {
            biased;
            answer = &mut sending => return Some(answer),
            () = tokio::time::sleep(patience) => {}
        }
        if moved.load(Ordering::Relaxed) == before {
            return None;
        }
    }
}

/// A body in small pieces, at the destination's pace.
fn paced(
    bytes: Bytes,
    pace: Arc<Pace>,
    moved: Arc<AtomicU64>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    futures_util::stream::unfold((bytes, pace, moved), |(mut bytes, pace, moved)| async move {
        if bytes.is_empty() {
            return None;
        }
        let piece = bytes.split_to(bytes.len().min(SEND));
        pace.take(piece.len() as u64).await;
        moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Some((piece, (bytes, pace, moved)))
    })
    .map(Ok)
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3), as the signature wants it.
fn encode(text: &str, keep_slash: bool) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_the_signature_wants_it() {
        assert_eq!(encode("a/b=c d~é", true), "a/b%3Dc%20d~%C3%A9");
        assert_eq!(encode("a/b+", false), "a%2Fb%2B");
    }

    #[tokio::test]
    async fn an_answer_is_waited_for_as_long_as_something_moves() {
        const STALL: Duration = Duration::from_millis(200);
        let moved = AtomicU64::new(0);
        let moving = async {
            for _ in 0..5 {
                tokio::time::sleep(STALL / 2).await;
                moved.fetch_add(1, Ordering::Relaxed);
            }
        };
        assert!(watched(moving, &moved, STALL).await.is_some());
        assert!(watched(std::future::pending::<()>(), &moved, STALL).await.is_none());
    }
}
