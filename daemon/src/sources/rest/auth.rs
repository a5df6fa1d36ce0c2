//! What every request of a source carries: configured headers and query, and the credentials, bound to the origin.

use super::spec::At;
use crate::base::secret::{Resolve, Secret};
use crate::config::secrets::{Part, parts};
use crate::config::settings::{Auth, Rest};
use crate::config::units::SecretText;
use crate::net::fetch::Private;
use crate::net::mask::Mask;
use base64::Engine as _;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// Headers, query and credentials of every request.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// Headers that may travel to any listed origin.
    pub headers: HeaderMap,
    /// Query parameters without secrets.
    pub query: Vec<(String, String)>,
    /// Configured headers and secret parameters, for the configured origin alone.
    pub private: Private,
    /// Credentials: they win over a stream's own headers.
    pub credentials: Private,
}

impl Shared {
    /// Resolves what the source configures; every secret goes into `mask`.
    pub fn of_source(settings: &Rest, secrets: &dyn Resolve, mask: &mut Mask) -> Result<Self, At> {
        let mut shared = Self::default();
        shared.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, text) in &settings.headers {
            let at = |reason: String| At::new(&format!("headers.{name}"), &reason);
            let (value, secret) = fill(text, secrets, mask).map_err(at)?;
            let (key, value) = header(name, value.expose(), true).map_err(at)?;
            if is_open(&key) && !secret {
                shared.headers.insert(key, open(value));
            } else {
                shared.private.headers.insert(key, value);
            }
        }
        for (name, text) in &settings.query {
            let (value, secret) = fill(text, secrets, mask).map_err(|r| At::new(&format!("query.{name}"), &r))?;
            let to = if secret { &mut shared.private.query } else { &mut shared.query };
            to.push((name.clone(), value.expose().to_owned()));
        }
        if let Some(auth) = &settings.auth {
            shared.authenticate(auth, secrets, mask)?;
        }
        Ok(shared)
    }

    /// Credentials that stand still; those that change come from the source's provider.
    fn authenticate(&mut self, auth: &Auth, secrets: &dyn Resolve, mask: &mut Mask) -> Result<(), At> {
        let mut credential = |key: &str, text: &SecretText| {
            let (value, _) = fill(text, secrets, mask).map_err(|reason| At::new(&format!("auth.{key}"), &reason))?;
            // Also one that stands in the configuration as it is.
            mask.add(value.expose());
            Ok(value)
        };
        let (key, name, value) = match auth {
            Auth::Bearer(bearer) => {
                let token = credential("bearer.token", &bearer.token)?;
                ("bearer.token", AUTHORIZATION.as_str(), Secret::new(format!("Bearer {}", token.expose())))
            }
            Auth::Basic(basic) => {
                let password = credential("basic.password", &basic.password)?;
                let user = secrets.resolve(&basic.username.0).map_err(|r| At::new("auth.basic.username", &r))?;
                mask.add_basic(user.expose(), password.expose());
                let pair = format!("{}:{}", user.expose(), password.expose());
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                ("basic", AUTHORIZATION.as_str(), Secret::new(format!("Basic {pair}")))
            }
            Auth::ApiKey(api_key) => {
                let value = credential("api_key.value", &api_key.value)?;
                match (&api_key.header, &api_key.query) {
                    (Some(name), None) => ("api_key", name.as_str(), value),
                    (None, Some(name)) => {
                        self.credentials.query.push((name.clone(), value.expose().to_owned()));
                        return Ok(());
                    }
                    _ => return Err(At::new("auth.api_key", "give exactly one of `header` and `query`")),
                }
            }
            Auth::Headers(headers) => return self.set_headers(headers, secrets, mask),
            Auth::Session(session) => {
                self.credentials.names.extend(session.query.clone());
                return Ok(());
            }
            Auth::Oauth2(_) | Auth::JwtBearer(_) => return Ok(()),
        };
        let (name, value) =
            header(name, value.expose(), true).map_err(|reason| At::new(&format!("auth.{key}"), &reason))?;
        self.credentials.headers.insert(name, value);
        Ok(())
    }

    fn set_headers(
        &mut self,
        headers: &BTreeMap<String, SecretText>,
        secrets: &dyn Resolve,
        mask: &mut Mask,
    ) -> Result<(), At> {
        for (name, text) in headers {
            let at = |reason: String| At::new(&format!("auth.headers.{name}"), &reason);
            let (value, _) = fill(text, secrets, mask).map_err(at)?;
            let (name, value) = header(name, value.expose(), true).map_err(at)?;
            self.credentials.headers.insert(name, value);
        }
        Ok(())
    }
}

/// Whether a configured header says nothing about who asks, so that it may go to any listed origin.
pub fn is_open(name: &HeaderName) -> bool {
    [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE].contains(name)
}

/// A checked header. The error never holds the value.
pub fn header(name: &str, value: &str, private: bool) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "this is not the name of a header".to_owned())?;
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| "the value has a character that no header may have (a line break?)".to_owned())?;
    value.set_sensitive(private);
    Ok((name, value))
}

fn open(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(false);
    value
}

/// The value of a text, and whether a secret is in it. The secrets go into `mask` one by one: a server may repeat just one.
fn fill(text: &SecretText, secrets: &dyn Resolve, mask: &mut Mask) -> Result<(Secret, bool), String> {
    let mut filled = String::new();
    let mut secret = false;
    for part in parts(&text.0)? {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Name(name) => {
                let value = named(name, secrets)?;
                mask.add(value.expose());
                filled.push_str(value.expose());
                secret = true;
            }
        }
    }
    Ok((Secret::new(filled), secret))
}

/// The secret of a name.
pub fn named(name: &str, secrets: &dyn Resolve) -> Result<Secret, String> {
    secrets.resolve(&format!("${{{name}}}"))
}
