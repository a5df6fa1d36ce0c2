//! What a check found before anything is exported (`exportctl check`).

use serde::{Deserialize, Serialize};

/// Every step of a check, in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// Whether no step failed; warnings are no failures.
    pub ok: bool,
    /// The exports that were looked at.
    pub exports: Vec<String>,
    /// The steps.
    pub steps: Vec<PreflightStep>,
}

/// One step of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightStep {
    /// What was looked at, e.g. `source shop`, `stream shop/orders` or `destination lake`.
    pub subject: String,
    /// Which step: `setup`, `proxy`, `dns`, `tcp`, `tls`, `auth`, `first_page`, `schema`, `shift_protection`, `write`, `room`.
    pub name: String,
    /// How it went.
    pub result: StepResult,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What was found, or why it was skipped.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How a step of a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// As it should.
    Ok,
    /// It works, but somebody should look at it.
    Warn,
    /// An export would fail here.
    Fail,
    /// Not tried; the message says why.
    Skip,
}

impl StepResult {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}
