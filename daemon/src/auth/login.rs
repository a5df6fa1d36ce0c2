//! Gets the first refresh token of a source, with a person who agrees in a browser.

mod device;
mod loopback;

use super::error::AuthError;
use super::party::Party;
use super::recipe::{Kind, Recipe, TokenServer};
use super::registry::{Place, recipe};
use super::store::Store;
use super::token::Tokens;
use crate::base::ids::Name;
use crate::base::secret::{Resolve, Secret};
use crate::config::settings::{Auth, Grant, Rest};
use crate::net::limit::Limiter;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The longest that a person is waited for.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What the person at the terminal is told, a paragraph each.
pub type Say<'a> = &'a mut (dyn FnMut(&str) + Send);

/// A login that is possible.
#[derive(Debug)]
pub struct Login {
    recipe: Recipe,
    way: Way,
}

/// Where the person agrees.
#[derive(Debug)]
enum Way {
    /// Anywhere, with a code (RFC 8628).
    Device(Url),
    /// In a browser of this machine, or one whose port leads here (RFC 8252).
    Loopback(Url),
}

impl Login {
    /// A login to a source; the error says why it needs none or can have none.
    pub fn new(name: &Name, rest: &Rest, secrets: &dyn Resolve, place: &Place) -> Result<Self, AuthError> {
        let oauth2 = match &rest.auth {
            Some(Auth::Oauth2(oauth2)) if matches!(oauth2.grant, Grant::RefreshToken(_)) => oauth2,
            _ => {
                let why = format!(
                    "source {name} uses no refresh token, so there is nothing to log in to: only a source with \
                     `auth: {{ oauth2: {{ grant: {{ refresh_token: {{}} }} }} }}` does"
                );
                return Err(AuthError::Login(why));
            }
        };
        let url =
            |key: &str, text: &str| Url::parse(text).map_err(|_| AuthError::setting(key, "an absolute URL is needed"));
        let way = match (&oauth2.device_url, &oauth2.authorize_url) {
            (Some(text), _) => Way::Device(url("auth.oauth2.device_url", text)?),
            (None, Some(text)) => Way::Loopback(url("auth.oauth2.authorize_url", text)?),
            (None, None) => {
                let why = format!(
                    "source {name} names no place where a person agrees: set `auth.oauth2.device_url` or `authorize_url`"
                );
                return Err(AuthError::Login(why));
            }
        };
        let (recipe, _) = recipe(name, &Party::from(rest), secrets, &Arc::new(Limiter::new(&rest.rate)), place)?;
        Ok(Self { recipe, way })
    }

    /// Asks the person, waits, and keeps the refresh token. `port` is where the browser's answer is waited for; 0 takes a free
    /// one.
    pub async fn run(&self, port: u16, say: Say<'_>) -> Result<(), AuthError> {
        let Kind::Refresh(server, store) = &self.recipe.kind else { return Err(AuthError::Died) };
        let asking = async {
            match &self.way {
                Way::Device(url) => device::login(&self.recipe, server, url, say).await,
                Way::Loopback(url) => loopback::login(&self.recipe, server, (url, port), say).await,
            }
        };
        let late = || AuthError::Login(format!("nobody agreed within {} minutes", PATIENCE.as_secs() / 60));
        let tokens = tokio::time::timeout(PATIENCE, asking).await.map_err(|_| late())??;
        keep(store, tokens).await
    }
}

async fn keep(store: &Store, tokens: Tokens) -> Result<(), AuthError> {
    let none = || {
        let why = "the server gave no refresh token: ask for it, e.g. by the scope offline_access or by \
                   `?access_type=offline&prompt=consent` in `authorize_url`";
        AuthError::Login(why.to_owned())
    };
    let token = tokens.refresh.ok_or_else(none)?;
    let store = store.clone();
    tokio::task::spawn_blocking(move || store.put(&token)).await.unwrap_or(Err(AuthError::Died))
}

/// The scopes that a person is asked for.
fn scope(server: &TokenServer) -> Vec<(String, Secret)> {
    let scope = Some(&server.scope).filter(|scope| !scope.is_empty());
    scope.map(|scope| ("scope".to_owned(), Secret::new(scope.as_str()))).into_iter().collect()
}
