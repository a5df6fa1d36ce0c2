//! Goes the way to a server step by step (name, connection, tunnel, TLS), so that a check can say at which step it ends.

mod certificate;
mod tls;

#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use tls::{Handshake, Trust};

use super::error::SetupError;
use crate::base::error::{Classify, ErrorClass};
use crate::base::secret::Resolve;
use crate::config::settings::Proxy;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::{Host, Url};

/// The head of a proxy's answer to CONNECT is small; a longer one is none.
const MAX_HEAD: usize = 16 << 10;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The proxy in front of a server.
#[derive(Clone)]
pub struct Hop {
    /// Where it is.
    pub at: Endpoint,
    /// `http`, or another scheme whose tunnel cannot be looked through here.
    pub scheme: String,
    /// `Proxy-Authorization` of its user, without the header's name.
    login: Option<String>,
}

/// The way to a server.
#[derive(Clone)]
pub struct Way {
    /// The server.
    pub server: Endpoint,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The proxy that requests to it go through.
    pub proxy: Option<Hop>,
}

/// Why the way ends.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The URL names no host.
    #[error("find a host in `base_url`")]
    NoHost,
    /// The name has no address.
    #[error("find the address of {host}")]
    Name {
        /// The name.
        host: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// No address takes the connection.
    #[error("connect to {at}")]
    Connect {
        /// Where to.
        at: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The name has no address at all.
    #[error("find the address of {0}: it has none")]
    NoAddress(String),
    /// The proxy did not answer.
    #[error("go through the proxy {proxy}")]
    Tunnel {
        /// The proxy.
        proxy: Endpoint,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The proxy refuses.
    #[error("go through the proxy {proxy}: it answers {status}")]
    Refused {
        /// The proxy.
        proxy: Endpoint,
        /// Its status; 0 where it does not answer in HTTP.
        status: u16,
    },
    /// The TLS settings cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl Classify for ProbeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoHost => ErrorClass::Config,
            Self::Refused { status: 407, .. } => ErrorClass::Auth,
            Self::Setup(error) => error.class(),
            _ => ErrorClass::Transient,
        }
    }
}

impl Way {
    /// The way to the server of `url`, by the same rules by which requests find theirs.
    pub fn to(url: &Url, proxy: Option<&Proxy>, secrets: &dyn Resolve) -> Result<Self, ProbeError> {
        let server = endpoint(url).ok_or(ProbeError::NoHost)?;
        let tls = url.scheme() == "https";
        let Some(settings) = proxy else { return Ok(Self { server, tls, proxy: None }) };
        let at = Url::parse(&settings.url).map_err(|_| SetupError::Proxy)?;
        let rules = Matcher::builder().all(settings.url.as_str()).no(settings.no_proxy.join(",")).build();
        let target = url.as_str().parse::<http::Uri>().ok();
        if target.is_none_or(|target| rules.intercept(&target).is_none()) {
            return Ok(Self { server, tls, proxy: None });
        }
        let fill = |key: &str, text: Option<&crate::config::units::SecretText>| {
            let text = text.map_or("", |text| text.0.as_str());
            secrets.resolve(text).map_err(|reason| SetupError::Secret { key: format!("proxy.{key}"), reason })
        };
        let (user, password) =
            (fill("username", settings.username.as_ref())?, fill("password", settings.password.as_ref())?);
        let login = settings.username.is_some() || settings.password.is_some();
        let login = login
            .then(|| format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", user.expose(), password.expose()))));
        let scheme = at.scheme().to_owned();
        let at = endpoint(&at).ok_or(SetupError::Proxy)?;
        Ok(Self { server, tls, proxy: Some(Hop { at, scheme, login }) })
    }

    /// Where the first connection goes: the proxy, or the server itself.
    pub fn first(&self) -> &Endpoint {
        self.proxy.as_ref().map_or(&self.server, |proxy| &proxy.at)
    }

    /// Whether the server's own TLS can be looked at: through a proxy of plain HTTP, or without one.
    pub fn shows_tls(&self) -> bool {
        self.proxy.as_ref().is_none_or(|proxy| proxy.scheme == "http")
    }
}

fn endpoint(url: &Url) -> Option<Endpoint> {
    let host = match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    // The schemes of SOCKS have no default that the URL knows.
    Some(Endpoint { host, port: url.port_or_known_default().unwrap_or(1080) })
}

/// The addresses of a host, in the order in which the system prefers them.
pub async fn resolve(at: &Endpoint) -> Result<Vec<SocketAddr>, ProbeError> {
    let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
    let addresses: Vec<SocketAddr> =
        found.map_err(|cause| ProbeError::Name { host: at.host.clone(), cause })?.collect();
    if addresses.is_empty() { Err(ProbeError::NoAddress(at.host.clone())) } else { Ok(addresses) }
}

/// A connection to the first address that takes one, and which that was.
pub async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), ProbeError> {
    let mut last = ProbeError::NoAddress("the server".to_owned());
    for at in addresses {
        match TcpStream::connect(at).await {
            Ok(stream) => return Ok((stream, *at)),
            Err(cause) => last = ProbeError::Connect { at: *at, cause },
        }
    }
    Err(last)
}

/// Asks a proxy for a tunnel to the server (RFC 9110, section 9.3.6).
pub async fn tunnel(mut stream: TcpStream, proxy: &Hop, server: &Endpoint) -> Result<TcpStream, ProbeError> {
    let failed = |cause| ProbeError::Tunnel { proxy: proxy.at.clone(), cause };
    let login = proxy.login.iter().map(|login| format!("Proxy-Authorization: {login}\r\n")).collect::<String>();
    let ask = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{login}\r\n");
    stream.write_all(ask.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head belongs to the server.
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        head.push(stream.read_u8().await.map_err(failed)?);
    }
    let status = std::str::from_utf8(&head).ok().and_then(|head| head.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    match status {
        200..300 => Ok(stream),
        status => Err(ProbeError::Refused { proxy: proxy.at.clone(), status }),
    }
}
