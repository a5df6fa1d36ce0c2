//! The seam of credentials that change while they are used: whoever sends a request asks for the one of the moment.

use crate::base::error::Classify;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Why there is no credential; shared by all requests that waited for it.
pub type CredentialFailure = Arc<dyn Classify + Send + Sync>;

/// What a request carries to its own origin, and when that came to be.
#[derive(Clone)]
pub struct Credential {
    /// Headers, marked as sensitive.
    pub headers: HeaderMap,
    /// Query parameters.
    pub query: Vec<(String, String)>,
    /// Counts the credentials of a source, from 1.
    pub generation: u64,
    /// When it was got.
    pub since: Instant,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential(generation {})", self.generation)
    }
}

/// Gives the credential of the moment. All requests of a source ask the same provider.
pub trait CredentialProvider: fmt::Debug + Send + Sync {
    /// A credential that does not expire soon, and is not the one of generation `refused`. It is renewed at most once for
    /// all who wait; a wait that is given up does not end a renewal.
    fn current(&self, refused: Option<u64>) -> BoxFuture<'_, Result<Credential, CredentialFailure>>;
}
