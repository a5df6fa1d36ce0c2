//! Sends one request to a server of files: with its credentials, to the configured origin alone, and nowhere else.

use super::body::{Payload, Watch};
use crate::auth::{Party, Registry, fixed};
use crate::base::clock;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::{Name, hex};
use crate::base::secret::Resolve;
use crate::config::settings::{Auth, HttpDestination, KeepAlive, Rate, Retry};
use crate::config::units::Span;
use crate::destinations::DestinationError;
use crate::destinations::pace::Pace;
use crate::net::credential::{Credential, CredentialProvider};
use crate::net::error::FetchError;
use crate::net::fetch::Private;
use crate::net::http::{ClientSettings, client};
use crate::net::limit::Limiter;
use crate::net::mask::Mask;
use crate::net::origin::Origin;
use crate::net::retry::retry_after;
use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Client, Response};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The client's own limit between two bytes. It would count from the start of a request, the sending of a file included;
/// ours counts from the last byte that was sent.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often a request that is under way is looked at.
const TICK: Duration = Duration::from_millis(250);

/// Hexadecimal digits in the name under which a destination's own tokens are kept.
const NAME_DIGITS: usize = 16;

/// What requests are sent with.
pub struct Asker {
    settings: HttpDestination,
    client: Client,
    headers: HeaderMap,
    fixed: Private,
    credentials: Option<Arc<dyn CredentialProvider>>,
    pace: Arc<Pace>,
}

fn setup(key: &'static str, message: impl Into<String>) -> DestinationError {
    DestinationError::Setup { key, message: message.into() }
}

impl Asker {
    /// Compiles the settings; reads the files of TLS, asks nothing of the network.
    pub fn new(
        settings: &HttpDestination,
        secrets: &dyn Resolve,
        registry: Option<&Registry>,
    ) -> Result<Self, DestinationError> {
        let wrong = || setup("url", "an absolute http or https URL with {key} in it is needed");
        let example = Url::parse(&settings.location("key")).map_err(|_| wrong())?;
        let origin = Origin::of(&example).ok_or_else(wrong)?;
        let mut mask = Mask::default();
        let mut headers = HeaderMap::new();
        for (name, text) in &settings.headers {
            let filled = fixed::fill(text, secrets, &mut mask).map_err(|why| setup("headers", why))?;
            let (name, value) =
                fixed::header(name, filled.0.expose(), filled.1).map_err(|why| setup("headers", why))?;
            headers.insert(name, value);
        }
        let fixed = match &settings.auth {
            Some(auth) => fixed::fixed(auth, secrets, &mut mask)
                .map_err(|wrong| setup("auth", format!("{}: {}", wrong.key, wrong.reason)))?,
            None => Private::default(),
        };
        let keep_alive = KeepAlive { read_timeout: Span(NEVER), ..settings.keep_alive.clone() };
        let wanted = ClientSettings {
            keep_alive: &keep_alive,
            proxy: settings.proxy.as_ref(),
            tls: &settings.tls,
            needs_tls: example.scheme() == "https",
        };
        let client = client(&wanted, secrets, &mut mask);
        let client = client.map_err(|error| setup("tls", Chain(&error).to_string()))?;
        let credentials = credentials(settings, &origin, secrets, registry)?;
        let pace = Arc::new(Pace::new(settings.transfer.per_second.map(|rate| rate.0)));
        Ok(Self { settings: settings.clone(), client, headers, fixed, credentials, pace })
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.pace.sent()
    }

    /// Sends a request for an object. A credential that is refused is renewed once.
    pub async fn send(
        &self,
        method: Method,
        key: &str,
        headers: HeaderMap,
        payload: &Payload,
    ) -> Result<Response, DestinationError> {
        let url = Url::parse(&self.settings.location(key)).map_err(|_| setup("url", "no URL comes of it"))?;
        let mut refused = None;
        loop {
            let credential = self.credential(key, refused).await?;
            let response = self.once(&method, &url, (key, &headers, payload, credential.as_ref())).await?;
            match credential.filter(|_| response.status() == StatusCode::UNAUTHORIZED && refused.is_none()) {
                Some(credential) => refused = Some(credential.generation),
                None => return Ok(response),
            }
        }
    }

    async fn credential(&self, key: &str, refused: Option<u64>) -> Result<Option<Credential>, DestinationError> {
        let Some(provider) = &self.credentials else { return Ok(None) };
        let got = provider.current(refused).await;
        got.map(Some).map_err(|failure| self.error("get a credential for", key, failure.class(), &Chain(&*failure)))
    }

    async fn once(
        &self,
        method: &Method,
        url: &Url,
        (key, own, payload, credential): (&str, &HeaderMap, &Payload, Option<&Credential>),
    ) -> Result<Response, DestinationError> {
        let (mut url, mut headers) = (url.clone(), self.headers.clone());
        let more = credential.map(|credential| (&credential.headers, &credential.query));
        for (more, query) in [Some((&self.fixed.headers, &self.fixed.query)), more].into_iter().flatten() {
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            headers.extend(more.clone());
        }
        headers.extend(own.clone());
        let watch = Arc::new(Watch::default());
        let mut request = self.client.request(method.clone(), url);
        if let Some((body, size)) = payload.open(&self.pace, &watch).await? {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
            request = request.body(body);
        }
        let patience = self.settings.keep_alive.read_timeout.0;
        let sent = request.headers(headers).send();
        tokio::pin!(sent);
        loop {
            if let Ok(response) = tokio::time::timeout(TICK.min(patience), &mut sent).await {
                let response = response.map_err(|error| FetchError::from_client(error, patience));
                return response.map_err(|error| self.error("reach", key, error.class(), &Chain(&error)));
            }
            if clock::since(watch.last()) > patience {
                let error = FetchError::TimedOut(patience);
                return Err(self.error("reach", key, error.class(), &Chain(&error)));
            }
        }
    }

    /// The next piece of an answer's body.
    pub async fn piece(&self, key: &str, response: &mut Response) -> Result<Option<bytes::Bytes>, DestinationError> {
        let patience = self.settings.keep_alive.read_timeout.0;
        let next = tokio::time::timeout(patience, response.chunk()).await;
        let next = next
            .map_err(|_| FetchError::TimedOut(patience))
            .and_then(|next| next.map_err(|error| FetchError::from_client(error, patience)));
        next.map_err(|error| self.error("read", key, error.class(), &Chain(&error)))
    }

    /// An error at an object.
    pub fn error(
        &self,
        action: &'static str,
        key: &str,
        class: ErrorClass,
        message: &dyn std::fmt::Display,
    ) -> DestinationError {
        DestinationError::Remote { action, location: self.settings.location(key), class, message: message.to_string() }
    }

    /// The error that an answer is.
    pub fn refusal(&self, action: &'static str, key: &str, response: &Response) -> DestinationError {
        let status = response.status();
        let class = class_of(status, response.headers());
        let hint = match status.as_u16() {
            300..=399 => {
                let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                let to = location.and_then(|to| response.url().join(to).ok()).and_then(|to| Origin::of(&to));
                let to = to.map_or(String::new(), |origin| format!(" to {origin}"));
                format!(", a redirect{to}, which is never followed: set `url` to where it leads, if that is right")
            }
            401 | 403 => " (check `auth` and what its user may do there)".to_owned(),
            409 => " (a WebDAV server wants its directories to be made first)".to_owned(),
            405 | 501 => " (it does not take this method there)".to_owned(),
            413 => " (the file is too large for it: lower `chunk_size`, or raise its limit)".to_owned(),
            _ => String::new(),
        };
        self.error(action, key, class, &format!("the server answers {}{hint}", status.as_u16()))
    }
}

/// What an answer other than 2xx means.
pub fn class_of(status: StatusCode, headers: &HeaderMap) -> ErrorClass {
    let wait = retry_after(headers).filter(|wait| !wait.is_zero());
    match (status.as_u16(), wait) {
        (429 | 503, Some(wait)) => ErrorClass::Throttled(wait),
        (507, _) => ErrorClass::Full,
        (401 | 403 | 407, _) => ErrorClass::Auth,
        (501 | 505, _) => ErrorClass::Config,
        (408 | 425 | 429 | 500..=599, _) => ErrorClass::Transient,
        (409 | 412, _) => ErrorClass::Transient,
        _ => ErrorClass::Config,
    }
}

/// The provider of credentials that change, under a name that follows from what they are for.
fn credentials(
    settings: &HttpDestination,
    origin: &Origin,
    secrets: &dyn Resolve,
    registry: Option<&Registry>,
) -> Result<Option<Arc<dyn CredentialProvider>>, DestinationError> {
    let renewed = matches!(settings.auth, Some(Auth::Oauth2(_) | Auth::JwtBearer(_) | Auth::Session(_)));
    let registry = match registry {
        Some(registry) if renewed => registry,
        None if renewed => return Err(setup("auth", "nothing renews credentials here")),
        _ => return Ok(None),
    };
    let party = Party {
        base_url: origin.to_string(),
        auth: settings.auth.clone(),
        keep_alive: settings.keep_alive.clone(),
        proxy: settings.proxy.clone(),
        tls: settings.tls.clone(),
        retry: Retry { attempts: 2, ..Retry::default() },
    };
    // The settings hold placeholders, no secrets.
    let what = serde_json::to_string(&(&settings.url, &settings.auth)).unwrap_or_default();
    let digest = hex(&Sha256::digest(what.as_bytes()));
    let name = format!("destination-{}", digest.get(..NAME_DIGITS).unwrap_or_default());
    let name = Name::new(&name).map_err(|why| setup("auth", why.to_string()))?;
    let limiter = Arc::new(Limiter::new(&Rate::default()));
    let provider = registry.provider(&name, &party, secrets, &limiter);
    let provider = provider.map_err(|error| setup("auth", Chain(&error).to_string()))?;
    Ok(provider.map(|provider| Arc::new(provider) as Arc<dyn CredentialProvider>))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_class() {
        let class = |status, wait: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(wait.map(|wait| (http::header::RETRY_AFTER, HeaderValue::from_static(wait))));
            class_of(StatusCode::from_u16(status).unwrap(), &headers).word()
        };
        for (status, word) in [
            (301, "config"),
            (400, "config"),
            (401, "auth"),
            (403, "auth"),
            (404, "config"),
            (409, "transient"),
            (413, "config"),
            (429, "transient"),
            (500, "transient"),
            (501, "config"),
            (503, "transient"),
            (507, "full"),
        ] {
            assert_eq!(class(status, None), word, "{status}");
        }
        assert_eq!(class(503, Some("7")), "throttled");
        assert_eq!(class(429, Some("7")), "throttled");
    }
}
