//! Why there is no credential, and what an operator can do about it.

use crate::base::error::{Classify, ErrorClass, io_class};
use crate::net::error::{FetchError, SetupError};
use crate::seal::SealError;
use std::path::PathBuf;

/// An error on the way to a credential. No message holds a secret, or a path or query of ours.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A setting that cannot be used.
    #[error("use `{key}`: {reason}")]
    Setting {
        /// Key path below the source.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client of the token endpoint.
    #[error("set up the client for credentials")]
    Setup(#[source] SetupError),
    /// The endpoint did not answer, or not as it should.
    #[error("{what} from {origin}{advice}")]
    Ask {
        /// What was tried.
        what: &'static str,
        /// The endpoint's origin.
        origin: String,
        /// What to do; empty or ` (…)`.
        advice: String,
        /// Why.
        #[source]
        cause: FetchError,
    },
    /// The endpoint refuses (RFC 6749, section 5.2).
    #[error("{what} from {origin}: it answers {said}{advice}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// The endpoint's origin.
        origin: String,
        /// The error's code and the server's own words, masked.
        said: String,
        /// What to do; empty or ` (…)`.
        advice: String,
        /// What it means.
        class: ErrorClass,
    },
    /// The endpoint's answer is no good.
    #[error("{what} from {origin}: {reason}")]
    Unusable {
        /// What was tried.
        what: &'static str,
        /// The endpoint's origin.
        origin: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// There is no refresh token to begin with.
    #[error(
        "find a refresh token: run `saas-export-daemon auth login {0}`, or set `auth.oauth2.grant.refresh_token.token`"
    )]
    NoRefreshToken(String),
    /// The file that keeps the refresh token.
    #[error("{doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What is kept cannot be opened, or nothing can be sealed.
    #[error("keep the refresh token of {source_name} (`saas-export-daemon auth login {source_name}` gets a new one)")]
    Seal {
        /// The source.
        source_name: String,
        /// Why.
        #[source]
        cause: SealError,
    },
    /// A person did not agree, or not in time.
    #[error("{0}")]
    Login(String),
    /// The renewal ended without a result.
    #[error("get a credential: the renewing task ended")]
    Died,
}

impl AuthError {
    /// A setting that cannot be used.
    pub fn setting(key: &str, reason: impl Into<String>) -> Self {
        Self::Setting { key: key.to_owned(), reason: reason.into() }
    }
}

impl Classify for AuthError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Setting { .. } => ErrorClass::Config,
            Self::Setup(cause) => cause.class(),
            Self::Ask { cause, .. } => cause.class(),
            Self::Refused { class, .. } => *class,
            Self::Unusable { .. } => ErrorClass::Config,
            Self::NoRefreshToken(_) | Self::Login(_) => ErrorClass::Auth,
            Self::File { source, .. } => io_class(source),
            Self::Seal { cause, .. } => cause.class(),
            Self::Died => ErrorClass::Bug,
        }
    }
}
