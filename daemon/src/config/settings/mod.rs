//! The types of `config.yaml`. Their docs are the reference; the JSON Schema is generated from them.

mod answers;
mod auth;
mod azure;
mod destination;
mod export;
mod format;
mod gcs;
mod incremental;
mod limits;
mod partition;
mod rate;
mod s3;
mod schema;
mod source;
mod stream;
mod transfer;
mod transform;

pub use answers::*;
pub use auth::*;
pub use azure::*;
pub use destination::*;
pub use export::*;
pub use format::*;
pub use gcs::*;
pub use incremental::*;
pub use limits::*;
pub use partition::*;
pub use rate::*;
pub use s3::*;
pub use schema::*;
pub use source::*;
pub use stream::*;
pub use transfer::*;
pub use transform::*;

use super::units::{Size, Span};
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
    /// Threads that convert and encode; 0 = as many as there are processors.
    #[schemars(range(max = 256))]
    pub threads: u32,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/saas-export".into(),
            socket: "/run/saas-export/control.sock".into(),
            parallel: 3,
            replay_limit: Span(Duration::from_secs(10)),
            page_buffer: Size(32_000_000),
            threads: 0,
        }
    }
}
