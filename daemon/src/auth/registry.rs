//! One provider for each source, shared by all its tasks for as long as the settings and secrets stay what they are.

use super::carry::Carrier;
use super::endpoint::Endpoint;
use super::error::AuthError;
use super::jwt::{Claims, Signer};
use super::oauth2::{Client, Form};
use super::party::Party;
use super::provider::Provider;
use super::recipe::{Kind, Recipe, Session, TokenServer};
use super::session::{TokenAt, build};
use super::store::Store;
use crate::base::ids::Name;
use crate::base::retry::RetryPolicy;
use crate::base::secret::{Resolve, Secret};
use crate::config::secrets;
use crate::config::settings::{self, Auth, ClientAuth, Grant, JwtBearer, Oauth2};
use crate::config::units::SecretText;
use crate::net::http::{self, ClientSettings};
use crate::net::limit::Limiter;
use crate::net::mask::{Learned, Mask};
use crate::net::origin::Origin;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// Settings of one source that are remembered at the same time: those of the next task, and of some that still run.
const MAX_KNOWN: usize = 4;

/// Where kept tokens and the key that seals them are.
#[derive(Clone, Debug)]
pub struct Place {
    /// The daemon's state directory.
    pub state_dir: PathBuf,
    /// A state-key that was handed over; otherwise it is in the state directory.
    pub state_key: Option<PathBuf>,
}

/// The providers of all sources.
#[derive(Debug)]
pub struct Registry {
    place: Place,
    entries: Mutex<BTreeMap<Name, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    gate: Arc<tokio::sync::Mutex<()>>,
    known: Vec<(Party, Vec<Secret>, Provider)>,
}

impl Registry {
    /// No providers yet.
    pub fn new(place: Place) -> Self {
        Self { place, entries: Mutex::default() }
    }

    /// The provider of a source or destination; `None` where its credentials stand still. Reads the files of its TLS settings; asks nothing
    /// of the network.
    pub fn provider(
        &self,
        name: &Name,
        party: &Party,
        secrets: &dyn Resolve,
        limiter: &Arc<Limiter>,
    ) -> Result<Option<Provider>, AuthError> {
        if !matches!(party.auth, Some(Auth::Oauth2(_) | Auth::JwtBearer(_) | Auth::Session(_))) {
            return Ok(None);
        }
        let values = values(party, secrets);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(name.clone()).or_default();
        if let Some((_, _, known)) = entry.known.iter().find(|(known, with, _)| known == party && *with == values) {
            return Ok(Some(known.clone()));
        }
        let (recipe, carrier) = recipe(name, party, secrets, limiter, &self.place)?;
        let provider = Provider::new(recipe, carrier, entry.gate.clone());
        if entry.known.len() >= MAX_KNOWN {
            entry.known.remove(0);
        }
        entry.known.push((party.clone(), values, provider.clone()));
        Ok(Some(provider))
    }

    /// Waits until no renewal is under way, and ends the sessions. For the end of the process.
    pub async fn settle(&self) {
        let all: Vec<Provider> = {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.values().flat_map(|entry| &entry.known).map(|(_, _, provider)| provider.clone()).collect()
        };
        futures_util::future::join_all(all.iter().map(Provider::settle)).await;
    }
}

/// Every secret that the settings name, as it is now. One that is missing is told when it is used.
fn values(party: &Party, secrets: &dyn Resolve) -> Vec<Secret> {
    fn collect(value: &Value, secrets: &dyn Resolve, all: &mut Vec<Secret>) {
        match value {
            Value::String(text) if text.contains("${") => all.extend(secrets.resolve(text)),
            Value::Array(items) => items.iter().for_each(|item| collect(item, secrets, all)),
            Value::Object(fields) => fields.values().for_each(|item| collect(item, secrets, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    collect(&serde_json::to_value((&party.auth, &party.proxy)).unwrap_or_default(), secrets, &mut all);
    all
}

/// Fills texts, and hides what was filled in.
pub struct Hide<'a> {
    /// Where secrets come from.
    pub secrets: &'a dyn Resolve,
    /// Where they are hidden.
    pub mask: &'a mut Mask,
}

impl Hide<'_> {
    /// The text at `key`, filled; each secret in it is hidden.
    pub fn fill(&mut self, key: &str, text: &str) -> Result<Secret, AuthError> {
        let bad = |reason: String| AuthError::setting(key, reason);
        for name in secrets::names(text) {
            self.mask.add(self.secrets.resolve(&format!("${{{name}}}")).map_err(bad)?.expose());
        }
        self.secrets.resolve(text).map_err(bad)
    }

    /// The text at `key`, filled; it names somebody and is no secret by itself.
    pub fn name(&mut self, key: &str, text: &SecretText) -> Result<Secret, AuthError> {
        let name = self.secrets.resolve(&text.0).map_err(|reason| AuthError::setting(key, reason))?;
        self.mask.add_name(name.expose());
        Ok(name)
    }

    fn form(&mut self, key: &str, params: &BTreeMap<String, SecretText>) -> Result<Form, AuthError> {
        let one =
            |(name, text): (&String, &SecretText)| Ok((name.clone(), self.fill(&format!("{key}.{name}"), &text.0)?));
        params.iter().map(one).collect()
    }

    fn client(
        &mut self,
        key: &str,
        id: &SecretText,
        secret: Option<&SecretText>,
        how: ClientAuth,
    ) -> Result<Client, AuthError> {
        let id = self.name(&format!("{key}.client_id"), id)?;
        let secret = secret.map(|text| self.fill(&format!("{key}.client_secret"), &text.0)).transpose()?;
        let client = Client { id, secret, how };
        client.hide(self.mask);
        Ok(client)
    }
}

/// Compiles what gets the credentials of a source, and how they travel.
pub fn recipe(
    name: &Name,
    party: &Party,
    secrets: &dyn Resolve,
    limiter: &Arc<Limiter>,
    place: &Place,
) -> Result<(Recipe, Carrier), AuthError> {
    let base = url("base_url", &party.base_url)?;
    let home = Origin::of(&base).ok_or_else(|| AuthError::setting("base_url", "an http or https URL is needed"))?;
    let mut mask = Mask::default();
    let learned = Arc::new(Learned::default());
    mask.learn_from(learned.clone());
    let mut hide = Hide { secrets, mask: &mut mask };
    let mut carrier = Carrier::bearer();
    let kind = match &party.auth {
        Some(Auth::Oauth2(oauth2)) => {
            let server = token_server(oauth2, &mut hide)?;
            match &oauth2.grant {
                Grant::ClientCredentials {} => Kind::Client(server),
                Grant::RefreshToken(grant) => {
                    let first = grant.token.as_ref();
                    let first = first.map(|text| hide.fill("auth.oauth2.grant.refresh_token.token", &text.0));
                    Kind::Refresh(server, Store::new(name, place, first.transpose()?))
                }
            }
        }
        Some(Auth::JwtBearer(jwt)) => assertion(jwt, &mut hide)?,
        Some(Auth::Session(session)) => {
            carrier = Carrier::of_session(session)?;
            Kind::Session(Box::new(session_of(session, &base, &mut hide)?))
        }
        _ => return Err(AuthError::setting("auth", "no credential of this kind is got by requests")),
    };
    let settings = ClientSettings {
        keep_alive: &party.keep_alive,
        proxy: party.proxy.as_ref(),
        tls: &party.tls,
        needs_tls: kind.needs_tls(),
    };
    let client = http::client(&settings, secrets, &mut mask).map_err(AuthError::Setup)?;
    let at_least = |wait: Duration| wait.max(Duration::from_millis(1));
    let policy = RetryPolicy {
        attempts: party.retry.attempts.max(1),
        initial: at_least(party.retry.initial.0),
        max: at_least(party.retry.max.0),
    };
    let endpoint = Endpoint {
        client,
        policy,
        home,
        limiter: limiter.clone(),
        read_timeout: party.keep_alive.read_timeout.0,
        answer_timeout: party.keep_alive.answer_timeout.0,
    };
    Ok((Recipe { source: name.clone(), endpoint, mask, learned, kind }, carrier))
}

fn url(key: &str, text: &str) -> Result<Url, AuthError> {
    Url::parse(text).map_err(|_| AuthError::setting(key, "an absolute URL is needed"))
}

/// The token endpoint of OAuth 2.0 settings.
pub fn token_server(oauth2: &Oauth2, hide: &mut Hide<'_>) -> Result<TokenServer, AuthError> {
    let client = hide.client("auth.oauth2", &oauth2.client_id, oauth2.client_secret.as_ref(), oauth2.client_auth)?;
    Ok(TokenServer {
        url: url("auth.oauth2.token_url", &oauth2.token_url)?,
        client: Some(client),
        scope: oauth2.scopes.join(" "),
        params: hide.form("auth.oauth2.params", &oauth2.params)?,
    })
}

fn assertion(jwt: &JwtBearer, hide: &mut Hide<'_>) -> Result<Kind, AuthError> {
    const KEY: &str = "auth.jwt_bearer";
    let at = |part: &str| format!("{KEY}.{part}");
    let pem = hide.fill(&at("key"), &jwt.key.0)?;
    let issuer = hide.name(&at("issuer"), &jwt.issuer)?;
    let subject = jwt.subject.as_ref().map(|text| hide.name(&at("subject"), text)).transpose()?;
    let claims = Claims {
        key_id: jwt.key_id.clone(),
        subject: subject.unwrap_or_else(|| issuer.clone()),
        issuer,
        audience: jwt.audience.clone().unwrap_or_else(|| jwt.token_url.clone()),
        scope: jwt.scopes.join(" "),
        lifetime: jwt.lifetime.0,
    };
    let signer = Signer::new(&pem, jwt.algorithm, claims).map_err(|why| AuthError::setting(&at("key"), why))?;
    let client = jwt.client_id.as_ref().map(|id| hide.client(KEY, id, jwt.client_secret.as_ref(), jwt.client_auth));
    let server = TokenServer {
        url: url(&at("token_url"), &jwt.token_url)?,
        client: client.transpose()?,
        scope: jwt.scopes.join(" "),
        params: hide.form(&at("params"), &jwt.params)?,
    };
    Ok(Kind::Assertion(server, Box::new(signer)))
}

fn session_of(session: &settings::Session, base: &Url, hide: &mut Hide<'_>) -> Result<Session, AuthError> {
    let token = TokenAt::parse(&session.token).map_err(|why| AuthError::setting("auth.session.token", why))?;
    let login = build(&session.login, "auth.session.login", base, hide)?;
    let logout = session.logout.as_ref().map(|logout| build(logout, "auth.session.logout", base, hide));
    Ok(Session { login, token, lifetime: session.lifetime.map(|time| time.0), logout: logout.transpose()? })
}

impl Kind {
    /// Whether any of its requests speaks TLS.
    fn needs_tls(&self) -> bool {
        let urls = match self {
            // A login may go to another endpoint than the token's; both are https, or neither matters.
            Self::Client(server) | Self::Refresh(server, _) | Self::Assertion(server, _) => vec![&server.url],
            Self::Session(session) => {
                std::iter::once(&session.login).chain(&session.logout).map(|call| &call.url).collect()
            }
        };
        urls.iter().any(|url| url.scheme() == "https")
    }
}
