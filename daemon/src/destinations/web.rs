//! The HTTP client of remote destinations: the same rules as for sources, and no redirects.

use super::DestinationError;
use crate::base::error::Chain;
use crate::base::secret::{Resolve, Secret};
use crate::config::settings::{KeepAlive, Tls};
use crate::config::units::Span;
use crate::net::http::{ClientSettings, client as build};
use crate::net::mask::Mask;
use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::time::Duration;

/// The longest that one request may take without an answer, its body included. Those who watch their requests more closely
/// end them earlier.
const READ_TIMEOUT: Duration = Duration::from_secs(600);

/// A client for a destination. Call it where files may be read.
pub fn client(tls: &Tls, needs_tls: bool) -> Result<reqwest::Client, DestinationError> {
    let keep_alive = KeepAlive { read_timeout: Span(READ_TIMEOUT), ..KeepAlive::default() };
    let settings = ClientSettings { keep_alive: &keep_alive, proxy: None, tls, needs_tls };
    build(&settings, &NoSecrets, &mut Mask::default())
        .map_err(|error| DestinationError::Setup { key: "tls", message: Chain(&error).to_string() })
}

/// A client has no secrets without a proxy.
struct NoSecrets;

impl Resolve for NoSecrets {
    fn resolve(&self, _text: &str) -> Result<Secret, String> {
        Err("a client has no secrets".to_owned())
    }
}

/// Makes `object_store` send over our client.
#[derive(Clone, Debug)]
pub struct Connector(pub reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// Retries within `object_store`: hardly any, since whoever asks a destination tries again and says why it waits.
pub fn few_retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: 1,
        retry_timeout: Duration::from_secs(30),
    }
}
