//! How the ledger is kept: snapshots of it.

use crate::config::units::{Span, SpanOrNever};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Snapshots of the ledger, in `<state_dir>/snapshots`. Copy them to another machine: beside the ledger they help against
/// mistakes, not against a lost disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshots {
    /// How often one is taken; `never` leaves that to `exportctl ledger backup`. The first one follows a minute after a start,
    /// unless there is one that is new enough.
    #[schemars(extend("x-minimum" = "10s", "x-maximum" = "366d"))]
    pub every: SpanOrNever,
    /// How long they are kept, those of `exportctl ledger backup` too. The newest always stays.
    #[schemars(extend("x-minimum" = "1h", "x-maximum" = "36500d"))]
    pub keep: Span,
}

impl Default for Snapshots {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        Self { every: SpanOrNever(Some(days(1))), keep: Span(days(35)) }
    }
}
