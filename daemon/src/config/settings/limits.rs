//! How much one task of an export may export.

use crate::config::units::{Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much one task may export; no limit by default. With `max_rows` or `max_bytes` the lanes of a stream become one, so
/// that always the same records are exported: the first ones, in the order of streams, partitions and pages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Rows in the files of a task, over all its streams. Records behind the limit on its last page count as `over_limit`;
    /// pages that were asked for in advance are dropped. The task succeeds, and its report and manifests say that the limit ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_rows: Option<u64>,
    /// JSON bytes of the records that a task reads, over all its streams: it ends behind the page that reaches it. The task
    /// succeeds, and its report and manifests say that the limit ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1kB", "x-maximum" = "1000000GB"))]
    pub max_bytes: Option<Size>,
    /// The longest that one attempt may read its source. Nothing is published that the clock has cut: the task fails, and
    /// `exportctl retry` goes on from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "365d"))]
    pub max_duration: Option<Span>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether records are counted.
    pub fn counts(&self) -> bool {
        self.max_rows.is_some() || self.max_bytes.is_some()
    }
}
