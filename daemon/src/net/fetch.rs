//! Sends one request until it is answered: limits, redirects, body limits and retries in one place.

use super::coding::{self, Coding};
use super::credential::{Credential, CredentialProvider};
use super::digest;
use super::error::FetchError;
use super::judge::{Judge, Ruling, Verdict};
use super::limit::{Limiter, RequestPermit};
use super::mask::Mask;
use super::origin::{OriginError, OriginRule, Reach};
use super::query;
use super::refusal::haste;
use super::retry::{LONGEST_WAIT, RetryBudget, retry_after};
use super::stats::SourceStats;
use crate::base::clock;
use crate::base::pool::Pool;
use crate::base::reserve::Reserve;
use crate::base::retry::RetryPolicy;
use crate::config::units::Size;
use crate::model::task::Waiting;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use reqwest::{Client, Response};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use url::Url;

/// Redirects in a row that are followed.
const MAX_REDIRECTS: usize = 5;

/// Characters of what a reader says of a body; the names in it are the server's.
const MAX_REASON: usize = 1000;

/// Waits shorter than this are not worth a word in the status.
pub(super) const SHOWN_WAIT: Duration = Duration::from_secs(1);

/// A request, with what may travel anywhere apart from what belongs to the configured origin alone.
#[derive(Clone, Debug)]
pub struct Ask {
    /// GET or POST.
    pub method: Method,
    /// Where to, without the private query.
    pub url: Url,
    /// Headers for any origin.
    pub headers: HeaderMap,
    /// JSON body.
    pub body: Option<Bytes>,
    /// What only the configured origin gets.
    pub private: Arc<Private>,
    /// What answers mean where their status alone does not say it.
    pub judge: Option<Arc<dyn Judge>>,
    /// Whether the digests in the headers of answers are compared.
    pub digests: bool,
}

/// Where a request goes: a hop on the way from its URL through redirects to its answer.
#[derive(Clone, Copy)]
struct Hop<'a> {
    url: &'a Url,
    reach: Reach,
    permit: &'a RequestPermit,
    credential: Option<&'a Credential>,
    begun: &'a Begun<'a>,
}

/// Who is told of an answer when its headers are there and say that it is one, and its body is still empty.
type Begun<'a> = dyn Fn(&Answer) + Send + Sync + 'a;

/// Credentials and whatever else the configuration made secret: for the configured origin alone.
#[derive(Clone, Default)]
pub struct Private {
    /// Headers.
    pub headers: HeaderMap,
    /// Query parameters.
    pub query: Vec<(String, String)>,
    /// Names of the query parameters that the credential of the moment fills in.
    pub names: Vec<String>,
    /// Whether the body has a secret in it.
    pub body: bool,
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Private({} headers, {} parameters, body: {})", self.headers.len(), self.query.len(), self.body)
    }
}

impl Private {
    /// Takes the private parameters out of `url`: servers like to repeat them in their links.
    pub fn strip(&self, url: &mut Url) {
        query::strip(url, |name| self.names.iter().chain(self.query.iter().map(|(key, _)| key)).any(|key| key == name));
    }
}

/// An answer with status 2xx and its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The URL that answered, after redirects, without the private query.
    pub url: Url,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, unpacked.
    pub body: Bytes,
}

/// What comes back for one request.
enum Said {
    /// An answer.
    Answer(Answer),
    /// It is elsewhere.
    Elsewhere(String),
}

/// What a reader says of a body it cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Why, without data.
    pub reason: String,
    /// Whether it looks like a body that was cut on its way.
    pub cut: bool,
}

/// Sends the requests of one task to one source.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// Name of the source, for what status says.
    pub source: String,
    /// The client.
    pub client: Client,
    /// Where requests may go.
    pub origins: Arc<OriginRule>,
    /// Credentials that change while they are used; they go to the configured origin alone.
    pub credentials: Option<Arc<dyn CredentialProvider>>,
    /// The source's shared budget of requests.
    pub limiter: Arc<Limiter>,
    /// Retries of one request.
    pub policy: RetryPolicy,
    /// Retries of the task.
    pub budget: Arc<RetryBudget>,
    /// The largest body.
    pub max_body: Size,
    /// The longest silence, for messages.
    pub read_timeout: Duration,
    /// The longest that one answer may take as a whole.
    pub answer_timeout: Duration,
    /// What servers must not be allowed to repeat in our messages.
    pub mask: Arc<Mask>,
    /// Live figures.
    pub stats: Arc<SourceStats>,
    /// What bodies are read into.
    pub bodies: Reserve,
    /// Where large bodies are unpacked and read, so that nobody waits behind them; without it that is done where they come in.
    pub pool: Option<Pool>,
}

impl Fetcher {
    /// Sends `ask` until `read` can use the answer; `begun` is told of each that comes, before its body does. A body that `read`
    /// calls cut is asked for again.
    pub async fn fetch<T, F>(&self, ask: &Ask, begun: &Begun<'_>, read: impl Fn(Answer) -> F) -> Result<T, FetchError>
    where
        F: Future<Output = Result<T, Unreadable>>,
    {
        let mut waits = self.policy.waits();
        let mut stale_retry = ask.method == Method::GET;
        loop {
            let error = match self.once(ask, begun).await {
                Ok(answer) => match read(answer).await {
                    Ok(value) => return Ok(value),
                    Err(Unreadable { reason, cut }) => {
                        FetchError::Unreadable { reason: self.mask.clean(&reason, MAX_REASON), cut }
                    }
                },
                Err(error) => error,
            };
            if !error.retryable() {
                return Err(error);
            }
            // A kept connection that the server closed just now is no failure of the server. The client does not say which
            // connection it used; before the first answer there was none to keep.
            if matches!(error, FetchError::Reset(_)) && stale_retry && self.stats.answers.load(Ordering::Relaxed) > 0 {
                stale_retry = false;
                continue;
            }
            let asked = error.asked_wait().filter(|wait| !wait.is_zero());
            if asked.is_some_and(|wait| wait > LONGEST_WAIT) {
                return Err(error);
            }
            let Some(wait) = waits.next_wait(asked) else { return Err(error) };
            // Whoever finds a server's limit runs into it now and then; the tries of one request bound that.
            if !error.for_haste() && !self.budget.take() {
                return Err(FetchError::Budget { size: self.budget.size(), cause: Box::new(error) });
            }
            self.retries(&error, wait);
            if asked.is_some() {
                self.limiter.pause(wait);
            } else {
                let until = clock::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
                let _shown = self.show(wait, format!("source {}: {error}; trying again", self.source), until);
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// One try: the request and the redirects it leads to, under one permit.
    async fn once(&self, ask: &Ask, begun: &Begun<'_>) -> Result<Answer, FetchError> {
        let permit = self.permit().await;
        let mut url = ask.url.clone();
        ask.private.strip(&mut url);
        let mut reach = self.origins.reach(&url).map_err(FetchError::Origin)?;
        for hop in 0..=MAX_REDIRECTS {
            if hop > 0 {
                permit.turn().await;
            }
            let hop = Hop { url: &url, reach, permit: &permit, credential: None, begun };
            let location = match self.answered(ask, hop).await? {
                Said::Answer(answer) => return Ok(answer),
                Said::Elsewhere(location) => location,
            };
            (url, reach) = self.origins.follow(&url, &location).map_err(FetchError::Redirect)?;
            ask.private.strip(&mut url);
        }
        Err(FetchError::RedirectLoop(MAX_REDIRECTS))
    }

    /// One request with the credential of the moment. One that the server refuses is renewed, and the request sent again;
    /// where that one is newer than the first refusal, another will not help.
    async fn answered(&self, ask: &Ask, hop: Hop<'_>) -> Result<Said, FetchError> {
        let (mut refused, mut first_refusal) = (None, None::<Instant>);
        loop {
            let credential = self.credential(hop.reach, refused).await?;
            let exchange = self.exchange(ask, Hop { credential: credential.as_ref(), ..hop });
            // A byte now and then keeps a connection alive, and would hold its slot for ever.
            let said = tokio::time::timeout(self.answer_timeout, exchange).await;
            let said = said.unwrap_or(Err(FetchError::TooSlow(self.answer_timeout)));
            let Some(credential) = credential.filter(|_| is_refused(&said)) else { return said };
            if first_refusal.is_some_and(|first| credential.since >= first) {
                return said;
            }
            first_refusal.get_or_insert_with(clock::monotonic);
            refused = Some(credential.generation);
            hop.permit.turn().await;
        }
    }

    /// The credential of the moment: asked for right before sending, because any wait before may have outlived the last.
    async fn credential(&self, reach: Reach, refused: Option<u64>) -> Result<Option<Credential>, FetchError> {
        let Some(provider) = self.credentials.as_ref().filter(|_| reach == Reach::Home) else { return Ok(None) };
        let mut current = provider.current(refused);
        let got = match tokio::time::timeout(SHOWN_WAIT, &mut current).await {
            Ok(got) => got,
            Err(_) => {
                let reason = format!("source {} waits for a new credential", self.source);
                let _shown = self.stats.wait(Waiting { reason, until: None });
                current.await
            }
        };
        got.map(Some).map_err(FetchError::Credential)
    }

    /// One request and what comes back for it.
    async fn exchange(&self, ask: &Ask, hop: Hop<'_>) -> Result<Said, FetchError> {
        let response = self.send(ask, &hop).await?;
        let status = response.status();
        if status.is_success() {
            return self.answer(ask, &hop, response).await.map(Said::Answer);
        }
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Err(self.refusal(ask, response).await);
        }
        let keeps_method = matches!(status.as_u16(), 307 | 308);
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        match location.filter(|_| keeps_method || ask.method == Method::GET) {
            Some(location) => Ok(Said::Elsewhere(location.to_owned())),
            None => Err(FetchError::RedirectMethod { status, to: self.shown(hop.url, location) }),
        }
    }

    async fn send(&self, ask: &Ask, hop: &Hop<'_>) -> Result<Response, FetchError> {
        let mut url = hop.url.clone();
        let mut headers = ask.headers.clone();
        headers.entry(ACCEPT_ENCODING).or_insert(coding::ACCEPTED);
        if hop.reach == Reach::Home {
            if !ask.private.query.is_empty() {
                url.query_pairs_mut().extend_pairs(&ask.private.query);
            }
            // A private header replaces an open one of the same name.
            for name in ask.private.headers.keys() {
                headers.remove(name);
            }
            headers.extend(ask.private.headers.clone());
            if let Some(credential) = hop.credential {
                if !credential.query.is_empty() {
                    url.query_pairs_mut().extend_pairs(&credential.query);
                }
                for (name, value) in &credential.headers {
                    headers.insert(name.clone(), value.clone());
                }
            }
        } else if self.mask.finds(url.as_str()) {
            return Err(FetchError::Origin(OriginError::Credential));
        } else if ask.private.body {
            return Err(FetchError::Origin(OriginError::Body(url.origin().ascii_serialization())));
        }
        let mut request = self.client.request(ask.method.clone(), url).headers(headers);
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        self.stats.requests.fetch_add(1, Ordering::Relaxed);
        let sent = request.send().await;
        if let Some(meter) = self.stats.meter() {
            meter.answered(sent.as_ref().ok().map(|response| response.status().as_u16()));
        }
        let response = sent.map_err(|error| FetchError::from_client(error, self.read_timeout))?;
        self.stats.answers.fetch_add(1, Ordering::Relaxed);
        hop.permit.answered(&haste(response.status(), response.headers()).0);
        Ok(response)
    }

    async fn answer(&self, ask: &Ask, hop: &Hop<'_>, mut response: Response) -> Result<Answer, FetchError> {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let judge = ask.judge.as_ref().filter(|judge| judge.looks_at(status));
        let begun = Answer { url: hop.url.clone(), status, headers, body: Bytes::new() };
        // What its body may make a refusal must not be followed before that is known.
        if judge.is_none() && !matches!(status, StatusCode::CREATED | StatusCode::ACCEPTED) {
            (hop.begun)(&begun);
        }
        let coding = Coding::of(&begun.headers);
        let sent = self.body(response, coding).await?;
        let body = match coding {
            Some(coding) => self.unpacked(coding, sent.clone()).await?,
            None => sent.clone(),
        };
        self.stats.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        if ask.digests {
            let unpacked = coding.map(|_| &body[..]);
            let compared = digest::compare(&ask.method, status, &begun.headers, (&sent, unpacked));
            self.stats.compared(compared.map_err(FetchError::Digest)?);
        }
        let answer = Answer { body, ..begun };
        match judge.and_then(|judge| judge.judge(status, &answer.body)) {
            Some(Ruling { verdict: Verdict::Page, .. }) => {}
            Some(ruling) => {
                if ruling.wait.is_some() {
                    self.stats.throttled.fetch_add(1, Ordering::Relaxed);
                }
                let wait = ruling.wait.or_else(|| retry_after(&answer.headers));
                return Err(FetchError::Ruled { status, ruling: Box::new(ruling), wait });
            }
            // Each page of such a request would make something more, for ever; what is only accepted is not there yet.
            None if status == StatusCode::CREATED => return Err(FetchError::Created),
            None if status == StatusCode::ACCEPTED => return Err(FetchError::Accepted),
            None => {}
        }
        Ok(answer)
    }

    /// Bytes that a body may have, unpacked.
    pub(super) fn most_bytes(&self) -> u64 {
        self.max_body.0.min(u64::from(u32::MAX))
    }

    /// The body as it was sent.
    async fn body(&self, mut response: Response, coding: Option<Coding>) -> Result<Bytes, FetchError> {
        let most = self.most_bytes();
        let told = response.content_length();
        if told.is_some_and(|told| told > most) {
            return Err(FetchError::TooLarge(self.max_body));
        }
        // Bounded by `max_body` above.
        let told = told.and_then(|told| usize::try_from(told).ok());
        // One that is unpacked soon is of another size than those that stay.
        let mut body = if coding.is_some() { Reserve::default().take(told) } else { self.bodies.take(told) };
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(body.full()),
                Err(error) if error.is_timeout() => return Err(FetchError::TimedOut(self.read_timeout)),
                Err(error) => {
                    return Err(FetchError::Cut { received: body.bytes() as u64, cause: error.without_url() });
                }
            };
            if (body.bytes() + chunk.len()) as u64 > most {
                return Err(FetchError::TooLarge(self.max_body));
            }
            body.extend(&chunk);
        }
    }
}

/// Whether the server refuses the credential that came with the request (RFC 9110, section 15.5.2), or a rule says so.
fn is_refused(said: &Result<Said, FetchError>) -> bool {
    said.as_ref().err().is_some_and(FetchError::refuses_credential)
}
