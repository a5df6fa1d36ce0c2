//! What every request of a source carries: configured headers and query, and the credentials, bound to the origin.

use super::spec::At;
use crate::auth::fixed::{self, Wrong, fill, header};
use crate::base::secret::Resolve;
use crate::config::settings::Rest;
use crate::net::fetch::Private;
use crate::net::mask::Mask;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

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
            let made = fixed::fixed(auth, secrets, mask);
            shared.credentials = made.map_err(|Wrong { key, reason }| At::new(&key, &reason))?;
        }
        Ok(shared)
    }
}

/// Whether a configured header says nothing about who asks, so that it may go to any listed origin.
pub fn is_open(name: &HeaderName) -> bool {
    [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE].contains(name)
}

fn open(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(false);
    value
}
