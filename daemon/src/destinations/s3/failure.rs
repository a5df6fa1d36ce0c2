//! What a store's refusal means: its code and words, classified once.

use super::client::Call;
use super::xml;
use crate::base::clock;
use crate::base::error::{Chain, Classify, ErrorClass};
use crate::destinations::DestinationError;
use crate::net::error::FetchError;
use crate::net::mask::{MAX_SAID, Mask};
use crate::net::retry::{http_date, retry_after};
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// The wait where a store asks to slow down without saying for how long.
const UNTOLD_WAIT: Duration = Duration::from_secs(2);

/// Why a request to a store brought nothing that can be used.
#[derive(Debug)]
pub struct Failure {
    action: &'static str,
    location: String,
    status: Option<StatusCode>,
    code: String,
    class: ErrorClass,
    message: String,
}

impl Failure {
    /// No answer, or one that broke off.
    pub fn unanswered(call: &Call<'_>, location: String, error: FetchError) -> Self {
        let (class, message) = (error.class(), Chain(&error).to_string());
        Self { action: call.action, location, status: None, code: String::new(), class, message }
    }

    /// An answer that is not what it should be.
    pub fn odd(call: &Call<'_>, location: String, class: ErrorClass, message: String) -> Self {
        Self { action: call.action, location, status: None, code: String::new(), class, message }
    }

    /// An answer that refuses. `body` is its beginning.
    pub fn refused(call: &Call<'_>, location: String, answer: &Refusal<'_>, mask: &Mask) -> Self {
        let said = |name: &str| mask.clean(&xml::text(answer.body, name).unwrap_or_default(), MAX_SAID);
        let code = said("Code");
        let class = class_of(answer.status, &code, answer.headers);
        let mut message = answer.status.as_u16().to_string();
        for word in [&code, &said("Message")] {
            if !word.is_empty() {
                message = format!("{message} {word}");
            }
        }
        if let Some(advice) = advice(call, answer, &code, &said) {
            message = format!("{message} ({advice})");
        }
        Self { action: call.action, location, status: Some(answer.status), code, class, message }
    }

    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.status.map(|status| status.as_u16())
    }

    /// Whether the store gave this code.
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether what was asked for is not there. A 404 without a code comes from HEAD.
    pub fn is_missing(&self) -> bool {
        self.status == Some(StatusCode::NOT_FOUND) && !self.is("NoSuchBucket")
    }

    /// Whether the store does not know the feature.
    pub fn is_unknown_to_it(&self) -> bool {
        let status = matches!(self.status(), Some(400 | 405 | 501));
        status && !self.class.retryable() && self.class != ErrorClass::Auth
    }

    /// What it means.
    pub fn class(&self) -> ErrorClass {
        self.class
    }
}

impl From<Failure> for DestinationError {
    fn from(failure: Failure) -> Self {
        let Failure { action, location, class, message, .. } = failure;
        Self::Remote { action, location, class, message }
    }
}

/// An answer that refuses.
#[derive(Clone, Copy)]
pub struct Refusal<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The beginning of its body.
    pub body: &'a str,
}

fn class_of(status: StatusCode, code: &str, headers: &HeaderMap) -> ErrorClass {
    let asked = retry_after(headers);
    let throttled = || ErrorClass::Throttled(asked.unwrap_or(UNTOLD_WAIT));
    match code {
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "TooManyRequests" => return throttled(),
        // A clock that jumped comes back.
        "RequestTimeTooSkewed" | "RequestExpired" => return ErrorClass::Transient,
        "RequestTimeout"
        | "IncompleteBody"
        | "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "OperationAborted"
        | "ConditionalRequestConflict" => return ErrorClass::Transient,
        "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AccessDenied" => {
            return ErrorClass::Auth;
        }
        _ if is_full(code) => return ErrorClass::Full,
        _ => {}
    }
    match status.as_u16() {
        401 | 403 => ErrorClass::Auth,
        408 | 409 => ErrorClass::Transient,
        412 => ErrorClass::Conflict,
        429 => throttled(),
        // HEAD has no body to say SlowDown in.
        503 if code.is_empty() => throttled(),
        507 => ErrorClass::Full,
        501 => ErrorClass::Config,
        500.. => asked.map_or(ErrorClass::Transient, ErrorClass::Throttled),
        // 3xx, 404 of a bucket, other 4xx.
        _ => ErrorClass::Config,
    }
}

/// Stores of other makers have codes of their own for a full disk or quota.
fn is_full(code: &str) -> bool {
    ["Quota", "StorageFull", "InsufficientStorage", "NoSpace", "StorageLimit"].iter().any(|word| code.contains(word))
}

/// What an operator can do, where the store's own words do not say it.
fn advice(call: &Call<'_>, answer: &Refusal<'_>, code: &str, said: &impl Fn(&str) -> String) -> Option<String> {
    let status = answer.status.as_u16();
    if matches!(code, "RequestTimeTooSkewed" | "RequestExpired") {
        return Some(skew(answer.headers));
    }
    if code == "SignatureDoesNotMatch" || code == "InvalidAccessKeyId" {
        return Some("check the credentials, and region".to_owned());
    }
    if (300..400).contains(&status) || code == "AuthorizationHeaderMalformed" {
        let region = answer.headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        let region = region.map_or_else(|| said("Region"), str::to_owned);
        let elsewhere = "the bucket is elsewhere, and redirects are not followed";
        let plain = region.len() <= 32 && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        return Some(match plain && !region.is_empty() {
            true => format!("{elsewhere}: set region: {region}"),
            false => format!("{elsewhere}: set region and endpoint to those of the bucket"),
        });
    }
    if matches!(status, 401 | 403) {
        return Some(format!("it needs {}", call.right));
    }
    (code == "NoSuchBucket").then(|| "make the bucket first".to_owned())
}

/// How far this machine's clock is from the store's.
fn skew(headers: &HeaderMap) -> String {
    let there = headers.get(http::header::DATE).and_then(|date| http_date(date.to_str().ok()?));
    let apart = there.map(|there| clock::now().duration_since(there).as_secs());
    match apart {
        Some(seconds) if seconds > 0 => format!("this machine's clock is {seconds} s ahead of the store's: correct it"),
        Some(seconds) if seconds < 0 => {
            format!("this machine's clock is {} s behind the store's: correct it", -seconds)
        }
        _ => "this machine's clock is wrong: correct it".to_owned(),
    }
}
