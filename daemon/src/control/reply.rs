//! What a handler gives back, and the HTTP answer it becomes.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use saas_export_api::{Answer, Error, ErrorCode, SHA256_HEADER};
use saas_export_manifest::Digests;
use serde::Serialize;
use std::error::Error as StdError;

/// Why the body of an answer breaks off.
pub type BodyError = Box<dyn StdError + Send + Sync>;

/// The body of every answer.
pub type ReplyBody = UnsyncBoxBody<Bytes, BodyError>;

/// A successful answer.
pub enum Reply {
    /// A document, with its status and the path of what it started.
    Document {
        /// 200 or 202.
        status: StatusCode,
        /// Path of the task that was started.
        location: Option<String>,
        /// The envelope as JSON.
        body: Bytes,
    },
    /// Text as it is.
    Text {
        /// Its type.
        kind: &'static str,
        /// The text.
        body: Bytes,
    },
    /// Lines of JSON, as they come.
    Lines(ReplyBody),
    /// A file, as it comes.
    Content {
        /// Its bytes.
        body: ReplyBody,
        /// What they must be.
        digest: Option<Digests>,
    },
}

impl Reply {
    /// A finished request.
    pub fn sync<T: Serialize>(result: T) -> Result<Self, Failure> {
        let body = to_json(&Answer::Sync { result })?;
        Ok(Self::Document { status: StatusCode::OK, location: None, body })
    }

    /// Work that goes on; `location` is where to ask about it.
    pub fn started<T: Serialize>(location: String, result: T) -> Result<Self, Failure> {
        let body = to_json(&Answer::Async { location: location.clone(), result })?;
        Ok(Self::Document { status: StatusCode::ACCEPTED, location: Some(location), body })
    }

    /// A document as it is, without the envelope.
    pub fn document(body: Bytes) -> Self {
        Self::Document { status: StatusCode::OK, location: None, body }
    }

    /// The HTTP answer.
    pub fn into_response(self) -> Response<ReplyBody> {
        let mut digest = None;
        let (status, location, kind, body) = match self {
            Self::Document { status, location, body } => (status, location, "application/json", full(body)),
            Self::Text { kind, body } => (StatusCode::OK, None, kind, full(body)),
            Self::Lines(body) => (StatusCode::OK, None, "application/x-ndjson", body),
            Self::Content { body, digest: expected } => {
                digest = expected.and_then(|expected| HeaderValue::try_from(expected.sha256).ok());
                (StatusCode::OK, None, "application/octet-stream", body)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(digest) = digest {
            headers.insert(HeaderName::from_static(SHA256_HEADER), digest);
        }
        if let Some(location) = location.and_then(|path| HeaderValue::try_from(path).ok()) {
            headers.insert(LOCATION, location);
        }
        response
    }
}

/// A refusal; nothing has changed.
#[derive(Debug)]
pub struct Failure {
    /// What the caller is told.
    pub error: Error,
    /// Methods that the path knows, for a 405.
    pub allow: Option<String>,
}

impl Failure {
    /// A refusal with a sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { error: Error { code, message: message.into(), hint: None }, allow: None }
    }

    /// The request is malformed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error.hint = Some(hint.into());
        self
    }

    /// The HTTP answer.
    pub fn into_response(self) -> Response<ReplyBody> {
        let status = StatusCode::from_u16(self.error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let allow = self.allow.and_then(|methods| HeaderValue::try_from(methods).ok());
        let body = to_json(&Answer::<()>::Error { error: self.error }).unwrap_or_default();
        let mut response = Reply::Document { status, location: None, body }.into_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
        response
    }
}

fn full(body: Bytes) -> ReplyBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// JSON with a final line feed, so that a terminal stays readable after curl.
fn to_json<T: Serialize>(value: &T) -> Result<Bytes, Failure> {
    let mut body = serde_json::to_vec(value)
        .map_err(|error| Failure::new(ErrorCode::Internal, format!("write the answer: {error}")))?;
    body.push(b'\n');
    Ok(body.into())
}
