//! Care of the ledger: its snapshots, and whether it is as it should be.

use crate::Time;
use serde::{Deserialize, Serialize};

/// A snapshot that lies in the state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSnapshot {
    /// Its name.
    pub name: String,
    /// Where it lies, on the daemon's machine.
    pub path: String,
    /// When it was taken.
    pub taken_at: Time,
    /// Its size.
    pub bytes: u64,
}

/// A snapshot that was just taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerBackup {
    /// Its name.
    pub name: String,
    /// Where it lies, on the daemon's machine.
    pub path: String,
    /// When it was taken.
    pub taken_at: Time,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// How long it took.
    pub seconds: f64,
}

/// What was found in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerCheck {
    /// Path of the ledger.
    pub ledger: String,
    /// Whether everything is as it should be.
    pub ok: bool,
    /// How long it took.
    pub seconds: f64,
    /// What was looked at, in order.
    pub steps: Vec<LedgerStep>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStep {
    /// Its name, which stays.
    pub name: String,
    /// What must hold.
    pub looked_at: String,
    /// Where it does not hold; the first ones, where there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What to do about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}
