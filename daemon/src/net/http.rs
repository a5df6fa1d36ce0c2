//! Builds the HTTP client of a source or destination: rustls with ring, tuned connections, no redirects, no proxy from the environment.

use super::error::SetupError;
use super::mask::Mask;
use crate::base::fsio;
use crate::base::secret::Resolve;
use crate::config::settings::{KeepAlive, Proxy, Tls, TlsVersion};
use reqwest::{Certificate, Client, ClientBuilder, Identity, NoProxy, redirect, tls};
use std::path::Path;
use std::sync::Once;

/// Who we are, to the server.
pub const USER_AGENT: &str = concat!("saas-export-daemon/", env!("CARGO_PKG_VERSION"));

/// Idle connections kept to one host; more than a source's concurrency is of no use.
const IDLE_PER_HOST: usize = 64;

/// PEM files are small; a larger file is the wrong one.
const MAX_PEM: u64 = 4 << 20;

/// What a client is built from.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings<'a> {
    /// Connections and time-outs.
    pub keep_alive: &'a KeepAlive,
    /// The proxy, if there is one.
    pub proxy: Option<&'a Proxy>,
    /// Trust and versions.
    pub tls: &'a Tls,
    /// Whether any origin of the source is https. Without one, a machine without certificate authorities will do.
    pub needs_tls: bool,
}

/// Builds a client, which takes bodies as they are; the proxy's secrets go into `mask`. Call it where files may be read.
pub fn client(settings: &ClientSettings<'_>, secrets: &dyn Resolve, mask: &mut Mask) -> Result<Client, SetupError> {
    static RING: Once = Once::new();
    // An error says that a provider is already there, which is just as good.
    RING.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));

    let mut builder = connections(Client::builder(), settings.keep_alive)
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy();
    if let Some(proxy) = settings.proxy {
        builder = builder.proxy(build_proxy(proxy, secrets, mask)?);
    }
    trust(builder, settings)?.build().map_err(SetupError::Client)
}

fn connections(builder: ClientBuilder, keep: &KeepAlive) -> ClientBuilder {
    // The kernel gives unacknowledged data as long as the probes of an idle connection would take.
    let dead_after = keep.tcp_idle.0 + keep.tcp_interval.0 * keep.tcp_count;
    builder
        .pool_idle_timeout(keep.pool_idle.0)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .tcp_nodelay(true)
        .tcp_keepalive(keep.tcp_idle.0)
        .tcp_keepalive_interval(keep.tcp_interval.0)
        .tcp_keepalive_retries(keep.tcp_count)
        .tcp_user_timeout(dead_after)
        .http2_keep_alive_interval(keep.http2_ping.0)
        .http2_keep_alive_timeout(keep.connect_timeout.0)
        .http2_keep_alive_while_idle(true)
        .connect_timeout(keep.connect_timeout.0)
        .read_timeout(keep.read_timeout.0)
}

fn build_proxy(settings: &Proxy, secrets: &dyn Resolve, mask: &mut Mask) -> Result<reqwest::Proxy, SetupError> {
    // The client's own error repeats the URL, which may hold a password.
    let mut proxy = reqwest::Proxy::all(settings.url.as_str()).map_err(|_| SetupError::Proxy)?;
    if settings.username.is_some() || settings.password.is_some() {
        let fill = |key: &str, text: Option<&crate::config::units::SecretText>| {
            let text = text.map_or("", |text| text.0.as_str());
            secrets.resolve(text).map_err(|reason| SetupError::Secret { key: format!("proxy.{key}"), reason })
        };
        let (user, password) =
            (fill("username", settings.username.as_ref())?, fill("password", settings.password.as_ref())?);
        mask.add_basic(user.expose(), password.expose());
        proxy = proxy.basic_auth(user.expose(), password.expose());
    }
    if !settings.no_proxy.is_empty() {
        proxy = proxy.no_proxy(NoProxy::from_string(&settings.no_proxy.join(",")));
    }
    Ok(proxy)
}

fn trust(mut builder: ClientBuilder, settings: &ClientSettings<'_>) -> Result<ClientBuilder, SetupError> {
    let tls = settings.tls;
    builder = builder.tls_version_min(match tls.min_version {
        TlsVersion::V1_2 => tls::Version::TLS_1_2,
        TlsVersion::V1_3 => tls::Version::TLS_1_3,
    });
    if let Some(path) = &tls.ca_file {
        let wrong = || pem_error("ca_file", path, "certificates");
        let certificates = Certificate::from_pem_bundle(&read("ca_file", path)?).map_err(|_| wrong())?;
        if certificates.is_empty() {
            return Err(wrong());
        }
        builder = builder.tls_certs_only(certificates);
    } else if !settings.needs_tls {
        builder = builder.tls_certs_only([]);
    }
    if let Some(path) = &tls.client_identity {
        let identity = Identity::from_pem(&read("client_identity", path)?)
            .map_err(|_| pem_error("client_identity", path, "a certificate and its key"))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    fsio::read_limited(path, MAX_PEM).map_err(|cause| SetupError::File { key, path: path.display().to_string(), cause })
}

fn pem_error(key: &'static str, path: &Path, wanted: &'static str) -> SetupError {
    SetupError::Pem { key, path: path.display().to_string(), wanted }
}

#[cfg(test)]
pub(crate) mod tests;
