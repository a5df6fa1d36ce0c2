//! Sends a request for a credential: bounded in time, size and tries, never followed elsewhere.

use crate::base::clock;
use crate::base::reserve::Reserve;
use crate::base::retry::RetryPolicy;
use crate::config::units::Size;
use crate::net::coding::{self, Coding};
use crate::net::error::FetchError;
use crate::net::limit::Limiter;
use crate::net::origin::Origin;
use crate::net::retry::{LONGEST_WAIT, retry_after};
use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Response};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// The largest answer: tokens are small.
const MAX_ANSWER: usize = 1 << 20;

/// The longest that one answer may take: who waits for a token holds a slot of the source.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);

/// A request for a credential.
#[derive(Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Bytes>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

/// An answer that no further try will change, whatever its status.
pub struct Got {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// When its request was sent: what a lifetime is counted from.
    pub sent: Instant,
}

/// What requests for credentials are sent with.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// A client that follows no redirect.
    pub client: Client,
    /// How often a request is tried.
    pub policy: RetryPolicy,
    /// The API's origin, and its budget of requests.
    pub home: Origin,
    /// See `home`.
    pub limiter: Arc<Limiter>,
    /// The longest silence, for messages.
    pub read_timeout: Duration,
    /// The longest that one answer may take.
    pub answer_timeout: Duration,
}

impl Endpoint {
    /// Sends until an answer comes that another try will not change.
    pub async fn call(&self, call: &Call) -> Result<Got, FetchError> {
        let mut waits = self.policy.waits();
        loop {
            let error = match self.once(call).await {
                Ok(got) => match temporary(&got) {
                    Some(error) => error,
                    None => return Ok(got),
                },
                Err(error) if error.retryable() => error,
                Err(error) => return Err(error),
            };
            let asked = error.asked_wait().filter(|wait| !wait.is_zero());
            if asked.is_some_and(|wait| wait > LONGEST_WAIT) {
                return Err(error);
            }
            let Some(wait) = waits.next_wait(asked) else { return Err(error) };
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(&self, call: &Call) -> Result<Got, FetchError> {
        // Under the slot of the request that waits for the token.
        let _turn = match Origin::of(&call.url).as_ref() == Some(&self.home) {
            true => Some(self.limiter.turn().await),
            false => None,
        };
        let limit = self.answer_timeout.min(LONGEST_ANSWER);
        tokio::time::timeout(limit, self.exchange(call)).await.unwrap_or(Err(FetchError::TooSlow(limit)))
    }

    async fn exchange(&self, call: &Call) -> Result<Got, FetchError> {
        let mut headers = call.headers.clone();
        headers.entry(ACCEPT_ENCODING).or_insert(coding::ACCEPTED);
        let mut request = self.client.request(call.method.clone(), call.url.clone()).headers(headers);
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let sent = clock::monotonic();
        let mut response = request.send().await.map_err(|error| FetchError::from_client(error, self.read_timeout))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(Got { status, headers, body: Bytes::new(), sent });
        }
        let body = self.body(response).await?;
        let body = match Coding::of(&headers) {
            Some(coding) => coding
                .unpack(&body, MAX_ANSWER as u64, Reserve::default().take(None))
                .map_err(|error| error.of_fetch(Size(MAX_ANSWER as u64)))?,
            None => body,
        };
        Ok(Got { status, headers, body, sent })
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, FetchError> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => body.extend_from_slice(&chunk),
                Ok(Some(_)) => return Err(FetchError::TooLarge(Size(MAX_ANSWER as u64))),
                Ok(None) => return Ok(body.into()),
                Err(error) if error.is_timeout() => return Err(FetchError::TimedOut(self.read_timeout)),
                Err(error) => {
                    return Err(FetchError::Cut { received: body.len() as u64, cause: error.without_url() });
                }
            }
        }
    }
}

/// The failure of an answer that may be another one a moment later.
fn temporary(got: &Got) -> Option<FetchError> {
    let error =
        FetchError::Status { status: got.status, message: String::new(), code: None, wait: retry_after(&got.headers) };
    error.retryable().then_some(error)
}
