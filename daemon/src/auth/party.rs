//! Whoever uses a credential: the settings of a source or destination that requests for one are made from.

use crate::config::settings::{Auth, KeepAlive, Proxy, Rest, Retry, Tls};

/// What requests for a credential are made from; whatever else a source or destination has changes no credential.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Party {
    /// The URL of the API or store, whose origin alone gets the access token.
    pub base_url: String,
    /// How requests are authenticated.
    pub auth: Option<Auth>,
    /// Connections and time-outs.
    pub keep_alive: KeepAlive,
    /// The proxy, if there is one.
    pub proxy: Option<Proxy>,
    /// Trust and versions.
    pub tls: Tls,
    /// How failed requests are tried again.
    pub retry: Retry,
}

impl From<&Rest> for Party {
    fn from(rest: &Rest) -> Self {
        Self {
            base_url: rest.base_url.clone(),
            auth: rest.auth.clone(),
            keep_alive: rest.keep_alive.clone(),
            proxy: rest.proxy.clone(),
            tls: rest.tls.clone(),
            retry: rest.retry.clone(),
        }
    }
}
