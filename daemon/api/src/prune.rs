//! Retention: which chains stay, which go, and why.

use crate::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What retention does, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReport {
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// The chains, by export, stream and destination, oldest first.
    pub chains: Vec<ChainFate>,
}

/// A chain of a stream at a destination: a full task's files and those of the incremental ones after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainFate {
    /// Name of the export.
    pub export: String,
    /// Name of the stream.
    pub stream: String,
    /// Name of the destination.
    pub destination: String,
    /// Id of the chain: that of its full task.
    pub chain: String,
    /// Its tasks that are published there, in order.
    pub tasks: Vec<String>,
    /// Parameters of the chain's task; chains with other ones are other data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// When its newest manifest was published there.
    pub published_at: Time,
    /// Data files.
    pub files: u64,
    /// Bytes of the data files.
    pub bytes: u64,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, for a person.
    pub why: String,
}

/// What becomes of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It stays.
    Kept,
    /// It would go.
    Due,
    /// It is gone.
    Pruned,
    /// It goes, but not all of it could be removed yet; it is tried again.
    Waits,
}
