//! How fast and how parallel a source may be asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How fast and how parallel the API may be asked, over all tasks of this source together. Whatever is set here is never
/// exceeded; below it, the daemon keeps to what the server's rate-limit headers say and to what it learns from 429 answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Requests per second, evenly spaced; no limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub per_second: Option<f64>,
    /// Requests in any minute, as fast as they come; no limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub per_minute: Option<u32>,
    /// Requests in any hour, as fast as they come, counted since the daemon's start; no limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub per_hour: Option<u32>,
    /// Requests at the same time.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
    /// Whether to find the pace that the server allows: by its headers (`RateLimit`, `X-RateLimit-…`) and, where it answers 429,
    /// by 0.95 × the rate at which it answered. With `false` only the figures above and Retry-After count.
    pub adaptive: bool,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: None, per_minute: None, per_hour: None, concurrency: 4, adaptive: true }
    }
}
