//! The envelope of every answer, and what an error says.

use serde::{Deserialize, Serialize};

/// The envelope: `{"type": "sync", "result": …}`, `{"type": "async", …}` or `{"type": "error", …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer<T> {
    /// The request is done (200).
    Sync {
        /// What it gave.
        result: T,
    },
    /// Work was started (202); `location` is where to ask about it.
    Async {
        /// Path of the task, e.g. `/v1/tasks/20261121T024501Z-9f86d081`.
        location: String,
        /// What was started.
        result: T,
    },
    /// The request was refused or failed (4xx, 5xx); nothing has changed.
    Error {
        /// Why.
        error: Error,
    },
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The kind, for programs.
    pub code: ErrorCode,
    /// A sentence for a person.
    pub message: String,
    /// What to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kinds of errors, each with its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed or says something impossible (400).
    Invalid,
    /// The caller lacks a group (403).
    Forbidden,
    /// No such task, export or path (404).
    NotFound,
    /// The path does not know this method (405).
    MethodNotAllowed,
    /// The request took too long to arrive (408).
    Timeout,
    /// The state does not allow it (409).
    Conflict,
    /// The body is larger than allowed (413).
    TooLarge,
    /// The caller holds too many connections (429).
    TooMany,
    /// The daemon cannot do it now, e.g. because it is going down or its ledger is not well (503).
    Unavailable,
    /// A promise of the daemon is broken (500); also any kind that this client does not know.
    #[serde(other)]
    Internal,
}

impl ErrorCode {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}
