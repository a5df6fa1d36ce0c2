//! The seam of response rules: whoever knows an API says what an answer means where its status alone does not.

use http::StatusCode;
use std::time::Duration;

/// What happens with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request is sent again.
    Retry,
    /// The page is left out.
    Skip,
    /// It fails.
    Fail,
    /// It is a page without records, and the last one.
    Empty,
    /// The credential is renewed, and the request sent again.
    RefreshToken,
    /// It is a page, whatever its status says; only of a 2xx.
    Page,
}

/// What a rule says of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What happens.
    pub verdict: Verdict,
    /// The wait that the body asks for; it counts more than that of a header.
    pub wait: Option<Duration>,
    /// What an error says, in the configuration's own words.
    pub message: Option<String>,
}

/// Judges answers before anybody else does.
pub trait Judge: std::fmt::Debug + Send + Sync {
    /// Whether an answer of this status may concern a rule: only then its body is kept for judgement.
    fn looks_at(&self, status: StatusCode) -> bool;

    /// What a rule says, if one matches. `body` is decoded, and of a failure only its beginning.
    fn judge(&self, status: StatusCode, body: &[u8]) -> Option<Ruling>;
}
