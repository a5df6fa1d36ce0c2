//! The types of `config.yaml`. Their docs are the reference; the JSON Schema is generated from them.

mod answers;
mod auth;
mod azure;
mod checksum;
mod destination;
mod encryption;
mod export;
mod format;
mod gcs;
mod http;
mod incremental;
mod keep;
mod layout;
mod ledger;
mod limits;
mod metrics;
mod notify;
mod partition;
mod rate;
mod s3;
mod schedule;
mod schema;
mod sftp;
mod source;
mod stream;
mod transfer;
mod transform;

pub use answers::*;
pub use auth::*;
pub use azure::*;
pub use checksum::*;
pub use destination::*;
pub use encryption::*;
pub use export::*;
pub use format::*;
pub use gcs::*;
pub use http::*;
pub use incremental::*;
pub use keep::*;
pub use layout::*;
pub use ledger::*;
pub use limits::*;
pub use metrics::*;
pub use notify::*;
pub use partition::*;
pub use rate::*;
pub use s3::*;
pub use schedule::*;
pub use schema::*;
pub use sftp::*;
pub use source::*;
pub use stream::*;
pub use transfer::*;
pub use transform::*;

use super::units::{SecretText, Size, Span, SpanOrNever};
use crate::base::ids::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The whole of `config.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this format.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Settings of the daemon itself.
    #[serde(default)]
    pub daemon: Daemon,
    /// Where data come from, by name.
    pub sources: BTreeMap<Name, Source>,
    /// Where files go, by name.
    pub destinations: BTreeMap<Name, Destination>,
    /// The configured jobs, by name.
    pub exports: BTreeMap<Name, Export>,
    /// Who can be told how tasks end, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notify: BTreeMap<Name, Recipient>,
}

/// Settings of the daemon itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Daemon {
    /// Directory of the ledger and of spools without a local destination; on a local file system.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Tasks that extract at the same time.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: u32,
    /// The most fetching, in time, that a crash, pause or restart may repeat.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "10m"))]
    pub replay_limit: Span,
    /// Bytes of pages that one task holds in memory between fetching and encoding.
    #[schemars(extend("x-minimum" = "1MB", "x-maximum" = "4GB"))]
    pub page_buffer: Size,
    /// The most bytes that lie in the spools of all tasks and wait for a destination, segments in the making included. When
    /// it is reached extraction waits, and deliveries go on. Without it the disk is the limit. It must hold two segments
    /// (`chunk_size`) for each lane of a stream. The parts of `layout: single` do not count: they need room for the whole
    /// file, and leave when it is put together and delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1MB"))]
    pub spool_quota: Option<Size>,
    /// Threads that convert and encode; 0 = as many as there are processors.
    #[schemars(range(max = 256))]
    pub threads: u32,
    /// Ed25519 private key in PEM form (PKCS#8, `openssl genpkey -algorithm ed25519`), from auth.env, that manifests are signed
    /// with: `_manifest.json.sig` beside each. Manifests are not signed by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<SecretText>,
    /// Metrics for monitoring beside `exportctl metrics`; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Snapshots of the ledger.
    pub snapshots: Snapshots,
    /// How long the ledger remembers what is over: tasks that ended before that are forgotten once nothing of them is published
    /// any more (what is published stays as long as `keep` of its export says), and so are older lines of the audit. `never`
    /// forgets nothing.
    #[schemars(extend("x-minimum" = "1d", "x-maximum" = "36500d"))]
    pub history: SpanOrNever,
    /// How often a running task says in the log how far it is.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1d"))]
    pub progress_every: Span,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/saas-export".into(),
            socket: "/run/saas-export/control.sock".into(),
            parallel: 3,
            replay_limit: Span(Duration::from_secs(10)),
            page_buffer: Size(96_000_000),
            spool_quota: None,
            threads: 0,
            signing_key: None,
            metrics: None,
            snapshots: Snapshots::default(),
            history: SpanOrNever(Some(Duration::from_secs(400 * 24 * 3600))),
            progress_every: Span(Duration::from_secs(60)),
        }
    }
}
