//! Where data come from: the kinds of sources, their authentication, limits and connections.

use super::{AnswerRule, Auth, Rate, Stream};
use crate::base::ids::Name;
use crate::config::units::{SecretText, Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where data come from: a map with one key that names the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A REST API that answers JSON.
    Rest(Rest),
}

/// A REST API that answers JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// Absolute http or https URL; the paths of the streams are appended to it. Its origin is the only one that gets credentials.
    pub base_url: String,
    /// How requests are authenticated; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Headers of every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// Query parameters of every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, SecretText>,
    /// How fast and how parallel the API may be asked.
    #[serde(default)]
    pub rate: Rate,
    /// How failed requests are tried again.
    #[serde(default)]
    pub retry: Retry,
    /// What answers mean where their status alone does not say it; for all streams, behind the stream's own rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AnswerRule>,
    /// Connections and time-outs.
    #[serde(default)]
    pub keep_alive: KeepAlive,
    /// An HTTP proxy; none by default, and none is taken from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// TLS settings.
    #[serde(default)]
    pub tls: Tls,
    /// Other origins (`https://host[:port]`) that redirects and next URLs may lead to; they get no credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// The largest body of an answer, after decompression.
    #[serde(default = "default_max_body")]
    #[schemars(extend("x-minimum" = "1kB", "x-maximum" = "1GB"))]
    pub max_body: Size,
    /// The collections of the API, by name.
    pub streams: BTreeMap<Name, Stream>,
}

fn default_max_body() -> Size {
    Size(64_000_000)
}

/// How failed requests are tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Tries of one request, the first one included.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// Ceiling of the first wait; it doubles with each try, with full jitter.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "10m"))]
    pub initial: Span,
    /// Ceiling of every wait. A longer Retry-After of the server is honoured.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub max: Span,
    /// Retries that one attempt of a task may use in all; an answer of 429 uses none, nor one that says by a rule how long to
    /// wait.
    #[schemars(range(max = 1_000_000))]
    pub per_task: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            initial: Span(Duration::from_millis(500)),
            max: Span(Duration::from_secs(60)),
            per_task: 1000,
        }
    }
}

/// Connections and time-outs. The defaults survive a NAT that forgets after 350 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepAlive {
    /// How long an idle connection is kept.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub pool_idle: Span,
    /// Idle time before the first TCP keep-alive probe.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub tcp_idle: Span,
    /// Time between TCP keep-alive probes.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub tcp_interval: Span,
    /// Unanswered probes before the connection counts as dead.
    #[schemars(range(min = 1, max = 100))]
    pub tcp_count: u32,
    /// Time between HTTP/2 pings.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub http2_ping: Span,
    /// The longest a connection may take to open.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "10m"))]
    pub connect_timeout: Span,
    /// The longest an answer may pause, before its first byte and between two.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1h"))]
    pub read_timeout: Span,
    /// The longest an answer may take as a whole, its body included; then the request is tried again.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "24h"))]
    pub answer_timeout: Span,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            pool_idle: Span(Duration::from_secs(30)),
            tcp_idle: Span(Duration::from_secs(60)),
            tcp_interval: Span(Duration::from_secs(15)),
            tcp_count: 4,
            http2_ping: Span(Duration::from_secs(30)),
            connect_timeout: Span(Duration::from_secs(10)),
            read_timeout: Span(Duration::from_secs(60)),
            answer_timeout: Span(Duration::from_secs(600)),
        }
    }
}

/// An HTTP proxy; https goes through it by CONNECT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// URL of the proxy, e.g. `http://proxy.example:3128`.
    pub url: String,
    /// User name for the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<SecretText>,
    /// Password for the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// Hosts, domains (`.example`) and networks that are reached without the proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
}

/// TLS settings; verification cannot be switched off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The oldest TLS version.
    pub min_version: TlsVersion,
    /// PEM file of certificate authorities that are trusted instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with a client certificate and its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_identity: Option<PathBuf>,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246); only by this explicit key.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[default]
    #[serde(rename = "1.3")]
    V1_3,
}
