//! What of an export a task reads: all of it or some streams, what is new, everything, or a stretch of time.

use serde::{Deserialize, Serialize};

/// What of an export a task reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// Everything, as the start of a new chain.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// A back-fill's lower bound, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A back-fill's upper bound, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// These streams alone; all of the export's where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
}

impl Scope {
    /// Whether it reads a stretch again: such a task never moves a mark.
    pub fn back_fill(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }
}
