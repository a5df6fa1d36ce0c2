//! How a new credential is got: the request of each kind, and what its answer means.

use super::endpoint::{Call, Endpoint, Got};
use super::error::AuthError;
use super::jwt::Signer;
use super::oauth2::{Client, Form, param, post};
use super::session::TokenAt;
use super::store::Store;
use super::token::{self, Refusal, Tokens};
use crate::base::ids::Name;
use crate::base::secret::Secret;
use crate::net::error::FetchError;
use crate::net::mask::{Learned, MAX_SAID, Mask};
use crate::net::origin::Origin;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// The grant type of a signed assertion (RFC 7523, section 2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A token that was just got.
pub struct Fresh {
    /// What requests carry.
    pub token: Secret,
    /// How long it lives, as far as anybody says.
    pub lifetime: Option<Duration>,
    /// When it was asked for: what its lifetime is counted from.
    pub sent: Instant,
}

/// What gets the tokens of a source.
pub struct Recipe {
    /// The source, for what errors advise.
    pub source: Name,
    /// Sends the requests.
    pub endpoint: Endpoint,
    /// What servers must not be allowed to repeat.
    pub mask: Mask,
    /// What is learned at run time.
    pub learned: Arc<Learned>,
    /// The kind.
    pub kind: Kind,
}

/// The kinds of recipes.
pub enum Kind {
    /// Client credentials (RFC 6749, section 4.4).
    Client(TokenServer),
    /// A refresh token (RFC 6749, section 6).
    Refresh(TokenServer, Store),
    /// A signed assertion (RFC 7523).
    Assertion(TokenServer, Box<Signer>),
    /// A session.
    Session(Box<Session>),
}

/// A token endpoint and what it is told each time.
#[derive(Clone)]
pub struct TokenServer {
    /// `token_url`.
    pub url: Url,
    /// Who asks.
    pub client: Option<Client>,
    /// Scopes, divided by spaces.
    pub scope: String,
    /// More parameters.
    pub params: Form,
}

/// A session's requests.
pub struct Session {
    /// Begins it.
    pub login: Call,
    /// Where the token is.
    pub token: TokenAt,
    /// How long it lasts.
    pub lifetime: Option<Duration>,
    /// Ends it.
    pub logout: Option<Call>,
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe({})", self.source)
    }
}

impl TokenServer {
    /// A request for `grant`, with more parameters.
    pub fn ask(&self, grant: &str, more: Form) -> Call {
        let mut form = vec![param("grant_type", grant)];
        form.extend(more);
        form.extend(self.params.iter().cloned());
        post(&self.url, self.client.as_ref(), form)
    }

    fn scope(&self) -> Form {
        if self.scope.is_empty() { Form::new() } else { vec![param("scope", &self.scope)] }
    }
}

impl Recipe {
    /// Gets a new token. A rotated refresh token is durable when this comes back.
    pub async fn get(&self) -> Result<Fresh, AuthError> {
        match &self.kind {
            Kind::Client(server) => {
                let call = server.ask("client_credentials", server.scope());
                self.token(&call, "check `auth.oauth2.client_id`, `client_secret` and `client_auth`").await.map(fresh)
            }
            Kind::Refresh(server, store) => self.refresh(server, store).await,
            Kind::Assertion(server, signer) => {
                let assertion = signer.assertion()?;
                self.learned.add(assertion.expose());
                let mut form = vec![("assertion".to_owned(), assertion)];
                form.extend(server.scope());
                let call = server.ask(JWT_BEARER, form);
                let advice =
                    "check `auth.jwt_bearer`: key, key_id, issuer, subject, audience; and this machine's clock";
                self.token(&call, advice).await.map(fresh)
            }
            Kind::Session(session) => self.session(session).await,
        }
    }

    async fn refresh(&self, server: &TokenServer, store: &Store) -> Result<Fresh, AuthError> {
        let reader = store.clone();
        let found = blocking(move || reader.find()).await?;
        self.learned.add(found.token.expose());
        let call = server.ask("refresh_token", vec![("refresh_token".to_owned(), found.token.clone())]);
        let advice = format!(
            "the refresh token is no longer valid: run `saas-export-daemon auth login {}`, or put a new one into auth.env",
            self.source
        );
        let (tokens, sent) = self.token(&call, &advice).await?;
        if let Some(rotated) = tokens.refresh.clone().filter(|rotated| *rotated != found.token) {
            self.learned.add(rotated.expose());
            let store = store.clone();
            blocking(move || store.keep(&rotated, &found)).await?;
        }
        Ok(fresh((tokens, sent)))
    }

    /// Asks a token endpoint; `advice` is what to do where it refuses the grant.
    pub async fn token(&self, call: &Call, advice: &str) -> Result<(Tokens, Instant), AuthError> {
        const WHAT: &str = "get an access token";
        let got = self.call(WHAT, call).await?;
        match token::read(&got) {
            Ok(tokens) => {
                self.learned.add(tokens.access.expose());
                Ok((tokens, got.sent))
            }
            Err(refusal) => Err(self.refused(WHAT, &call.url, &refusal, advice)),
        }
    }

    /// Sends a request; what cannot be had is told with the endpoint's origin.
    pub async fn call(&self, what: &'static str, call: &Call) -> Result<Got, AuthError> {
        let sent = self.endpoint.call(call).await;
        sent.map_err(|cause| AuthError::Ask { what, origin: origin(&call.url), advice: busy(&cause), cause })
    }

    /// The error of a refusal.
    pub fn refused(&self, what: &'static str, url: &Url, refusal: &Refusal, advice: &str) -> AuthError {
        let origin = origin(url);
        let said = match refusal {
            Refusal::Code { code, said } => {
                let code = self.mask.clean(code, MAX_SAID);
                let said = self.mask.clean(said, MAX_SAID);
                if said.is_empty() { format!("{code:?}") } else { format!("{code:?} and says {said:?}") }
            }
            Refusal::Status(status) => status.to_string(),
            Refusal::Redirect(status) => {
                format!(
                    "{status}, a redirect, which is never followed: set the URL that it leads to, if it is the right one"
                )
            }
            Refusal::Unusable(why) => {
                return AuthError::Unusable { what, origin, reason: format!("the answer {why}") };
            }
        };
        let fits = matches!(refusal, Refusal::Status(400..=403))
            || matches!(refusal, Refusal::Code { code, .. } if code.starts_with("invalid_") || code == "access_denied");
        let client =
            matches!(refusal, Refusal::Code { code, .. } if code == "invalid_client" || code == "unauthorized_client");
        let advice = match (client, fits) {
            (true, _) => " (check `client_id`, `client_secret` and `client_auth`)".to_owned(),
            (false, true) => format!(" ({advice})"),
            (false, false) => String::new(),
        };
        AuthError::Refused { what, origin, said, advice, class: refusal.class() }
    }

    async fn session(&self, session: &Session) -> Result<Fresh, AuthError> {
        const WHAT: &str = "begin a session";
        let got = self.call(WHAT, &session.login).await?;
        let status = got.status;
        let ends = status.is_success() || (status.is_redirection() && session.token.in_head());
        match session.token.find(&got).filter(|_| ends) {
            Some(token) => {
                self.learned.add(token.expose());
                Ok(Fresh { token, lifetime: session.lifetime, sent: got.sent })
            }
            None if status.is_success() => {
                let reason = "the answer has no token where `auth.session.token` says".to_owned();
                Err(AuthError::Unusable { what: WHAT, origin: origin(&session.login.url), reason })
            }
            None => Err(self.no_session(WHAT, &session.login.url, &got)),
        }
    }

    /// The error of a login that is refused, with the server's own words.
    fn no_session(&self, what: &'static str, url: &Url, got: &Got) -> AuthError {
        let read = token::read(got).err();
        let status = got.status.as_u16();
        let refusal = if got.status.is_redirection() { Refusal::Redirect(status) } else { Refusal::Status(status) };
        let mut error = self.refused(what, url, &refusal, "check `auth.session.login` and auth.env");
        if let (AuthError::Refused { said, .. }, Some(Refusal::Code { code, said: words })) = (&mut error, read) {
            let words = self.mask.clean(&format!("{code} {words}"), MAX_SAID);
            if !words.is_empty() {
                said.push_str(&format!(" and says {words:?}"));
            }
        }
        error
    }
}

fn fresh((tokens, sent): (Tokens, Instant)) -> Fresh {
    Fresh { token: tokens.access, lifetime: tokens.lifetime, sent }
}

fn origin(url: &Url) -> String {
    Origin::of(url).map_or_else(|| "nowhere".to_owned(), |origin| origin.to_string())
}

fn busy(cause: &FetchError) -> String {
    match cause {
        FetchError::Connect { .. } | FetchError::TimedOut(_) | FetchError::TooSlow(_) => {
            " (is the URL right, and can this machine reach it?)".to_owned()
        }
        _ => String::new(),
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
) -> Result<T, AuthError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(AuthError::Died))
}
