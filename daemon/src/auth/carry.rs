//! How a token travels with each request: in a header, a query parameter or a cookie.

use super::error::AuthError;
use crate::base::secret::Secret;
use crate::config::settings::Session;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Where a token goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Into a header, behind a word.
    Header(HeaderName, String),
    /// Into a query parameter.
    Query(String),
    /// Into a cookie.
    Cookie(String),
}

/// What a request carries.
pub type Carried = (HeaderMap, Vec<(String, String)>);

impl Carrier {
    /// `Authorization: Bearer …`.
    pub fn bearer() -> Self {
        Self::Header(AUTHORIZATION, "Bearer".to_owned())
    }

    /// As a session is configured.
    pub fn of_session(session: &Session) -> Result<Self, AuthError> {
        match (&session.header, &session.query, &session.cookie) {
            (None, Some(name), None) => Ok(Self::Query(name.clone())),
            (None, None, Some(name)) => Ok(Self::Cookie(name.clone())),
            (header, None, None) => {
                let name = header.as_deref().unwrap_or(AUTHORIZATION.as_str());
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| AuthError::setting("auth.session.header", "this is not the name of a header"))?;
                let usual = if name == AUTHORIZATION { "Bearer" } else { "" };
                Ok(Self::Header(name, session.scheme.clone().unwrap_or(usual.to_owned())))
            }
            _ => Err(AuthError::setting("auth.session", "give at most one of `header`, `query` and `cookie`")),
        }
    }

    /// What a request carries for `token`; `None` where no header may hold it.
    pub fn carry(&self, token: &Secret) -> Option<Carried> {
        let mut headers = HeaderMap::new();
        let mut put = |name: &HeaderName, text: String| {
            let mut value = HeaderValue::from_str(&text).ok()?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
            Some(())
        };
        match self {
            Self::Header(name, scheme) if scheme.is_empty() => put(name, token.expose().to_owned())?,
            Self::Header(name, scheme) => put(name, format!("{scheme} {}", token.expose()))?,
            Self::Cookie(name) => put(&COOKIE, format!("{name}={}", token.expose()))?,
            Self::Query(name) => return Some((headers, vec![(name.clone(), token.expose().to_owned())])),
        }
        Some((headers, Vec::new()))
    }
}
