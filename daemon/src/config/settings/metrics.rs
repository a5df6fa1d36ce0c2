//! Where metrics are told beside the control socket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metrics over HTTP, for a Prometheus on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port of `GET /metrics`, e.g. `127.0.0.1:9464` or `[::1]:9464`. Every user of the machine may ask there,
    /// without a password; so it must be a loopback address. Changing it needs a restart.
    pub listen: String,
}
