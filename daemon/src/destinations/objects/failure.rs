//! What an error of `object_store` means, and what of it may be shown.

use crate::base::error::ErrorClass;
use crate::destinations::DestinationError;
use crate::net::mask::{MAX_SAID, Mask};
use object_store::Error;
use std::time::Duration;

/// The wait where a store asks to slow down; `object_store` does not hand over its Retry-After.
const UNTOLD_WAIT: Duration = Duration::from_secs(5);

/// How `object_store` writes the status of an answer: its type for it is private.
const STATUS: [&str; 2] = ["status code: ", "Server returned error response: "];

/// The error of a request.
pub fn failed(action: &'static str, location: String, error: &Error, mask: &Mask) -> DestinationError {
    let said = said(error);
    let class = class_of(error, status_of(&said));
    let message = mask.clean(&said, MAX_SAID);
    DestinationError::Remote { action, location, class, message }
}

/// The words of the innermost error, or of the one that holds the store's answer: those around it show the URL, which may be
/// signed.
fn said(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    loop {
        let text = innermost.to_string();
        if text.starts_with("Server returned") {
            return text;
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => return text,
        }
    }
}

fn status_of(said: &str) -> Option<u16> {
    let after = STATUS.iter().find_map(|words| said.split_once(words))?.1;
    after.get(..3)?.parse().ok()
}

fn class_of(error: &Error, status: Option<u16>) -> ErrorClass {
    match (error, status) {
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) | (_, Some(401 | 403)) => ErrorClass::Auth,
        (_, Some(429)) => ErrorClass::Throttled(UNTOLD_WAIT),
        (_, Some(507)) => ErrorClass::Full,
        (_, Some(408 | 409 | 412)) => ErrorClass::Transient,
        (_, Some(501)) => ErrorClass::Config,
        (_, Some(500..)) => ErrorClass::Transient,
        // The bucket: a missing object is no error.
        (Error::NotFound { .. }, _) | (_, Some(300..500)) => ErrorClass::Config,
        (Error::InvalidPath { .. } | Error::NotSupported { .. } | Error::NotImplemented { .. }, _) => {
            ErrorClass::Config
        }
        (Error::UnknownConfigurationKey { .. }, _) => ErrorClass::Bug,
        _ => ErrorClass::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_in_the_words() {
        assert_eq!(status_of("Server returned non-2xx status code: 503 Service Unavailable: <Error>"), Some(503));
        assert_eq!(status_of("connection reset"), None);
        assert_eq!(status_of("status code: 5"), None);
    }
}
