//! How fast and how parallel a remote destination is written to.

use crate::config::units::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How fast and how parallel a destination is written to, over all tasks together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Transfer {
    /// Files, or parts of files, that are sent at the same time.
    #[schemars(range(min = 1, max = 64))]
    pub connections: u32,
    /// Bytes that are sent but not yet confirmed, at most: what a crash sends again, and what is held in memory for it.
    #[schemars(extend("x-minimum" = "1MB", "x-maximum" = "4GB"))]
    pub in_flight: Size,
    /// Bytes sent in a second; no limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "100kB", "x-maximum" = "100GB"))]
    pub per_second: Option<Size>,
}

impl Default for Transfer {
    fn default() -> Self {
        Self { connections: 4, in_flight: Size(32_000_000), per_second: None }
    }
}
