//! Credentials that stand still: what every request carries, filled from auth.env once.

use crate::base::secret::{Resolve, Secret};
use crate::config::secrets::{Part, parts};
use crate::config::settings::Auth;
use crate::config::units::SecretText;
use crate::net::fetch::Private;
use crate::net::mask::Mask;
use base64::Engine as _;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// A setting that cannot be used; never with a value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Key path, from `auth` on.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Wrong {
    fn new(key: &str, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), reason: reason.into() }
    }
}

/// The credentials of `auth` that stand still; those that change come from its provider. Every secret goes into `mask`.
pub fn fixed(auth: &Auth, secrets: &dyn Resolve, mask: &mut Mask) -> Result<Private, Wrong> {
    let mut private = Private::default();
    let mut credential = |key: &str, text: &SecretText| {
        let (value, _) = fill(text, secrets, mask).map_err(|reason| Wrong::new(&format!("auth.{key}"), reason))?;
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
            let user = secrets.resolve(&basic.username.0).map_err(|r| Wrong::new("auth.basic.username", r))?;
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
                    private.query.push((name.clone(), value.expose().to_owned()));
                    return Ok(private);
                }
                _ => return Err(Wrong::new("auth.api_key", "give exactly one of `header` and `query`")),
            }
        }
        Auth::Headers(headers) => {
            own_headers(headers, secrets, mask, &mut private)?;
            return Ok(private);
        }
        Auth::Session(session) => {
            private.names.extend(session.query.clone());
            return Ok(private);
        }
        Auth::Oauth2(_) | Auth::JwtBearer(_) => return Ok(private),
    };
    let made = header(name, value.expose(), true);
    let (name, value) = made.map_err(|reason| Wrong::new(&format!("auth.{key}"), reason))?;
    private.headers.insert(name, value);
    Ok(private)
}

fn own_headers(
    headers: &BTreeMap<String, SecretText>,
    secrets: &dyn Resolve,
    mask: &mut Mask,
    private: &mut Private,
) -> Result<(), Wrong> {
    for (name, text) in headers {
        let at = |reason: String| Wrong::new(&format!("auth.headers.{name}"), reason);
        let (value, _) = fill(text, secrets, mask).map_err(at)?;
        let (name, value) = header(name, value.expose(), true).map_err(at)?;
        private.headers.insert(name, value);
    }
    Ok(())
}

/// A checked header. The error never holds the value.
pub fn header(name: &str, value: &str, private: bool) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "this is not the name of a header".to_owned())?;
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| "the value has a character that no header may have (a line break?)".to_owned())?;
    value.set_sensitive(private);
    Ok((name, value))
}

/// The value of a text, and whether a secret is in it. The secrets go into `mask` one by one: a server may repeat just one.
pub fn fill(text: &SecretText, secrets: &dyn Resolve, mask: &mut Mask) -> Result<(Secret, bool), String> {
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
