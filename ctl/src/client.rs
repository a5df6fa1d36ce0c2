//! HTTP/1.1 to the daemon over its Unix socket: one connection for each request.

use crate::exit::Exit;
use crate::failure::Failure;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use saas_export_api::{Answer, IDEMPOTENCY_KEY};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

/// The longest the daemon may take to answer what it answers at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer: the files of an export with some hundred thousand segments.
const ANSWER_BYTES: usize = 256 << 20;

/// Speaks to one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon at `socket`. Nothing is opened yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The result of a GET.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, None, Some(ANSWER_TIMEOUT)).await
    }

    /// The result of a GET that the daemon may hold back for up to `wait`.
    pub async fn get_within<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, Failure> {
        self.call(Method::GET, path, None, Some(wait + ANSWER_TIMEOUT)).await
    }

    /// The result of a POST that is answered at once.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: Option<Vec<u8>>) -> Result<T, Failure> {
        self.call(Method::POST, path, body, Some(ANSWER_TIMEOUT)).await
    }

    /// The result of a request that takes as long as it takes.
    pub async fn patient<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, Failure> {
        self.call(method, path, body, None).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        limit: Option<Duration>,
    ) -> Result<T, Failure> {
        let exchange = async {
            let response = self.send(method, path, body).await?;
            let limited = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES);
            let body = limited.collect().await.map_err(|error| broken(&*error))?;
            read_answer::<T>(&body.to_bytes())
        };
        match limit {
            None => exchange.await,
            Some(limit) => tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
                let message = format!("the daemon did not answer within {} s", limit.as_secs());
                Err(Failure::new(Exit::Unreachable, message).hint("systemctl status saas-export-daemon"))
            }),
        }
    }

    /// Sends a request; the answer's body is still to be read.
    pub async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Response<Incoming>, Failure> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| Failure::unreachable(&self.socket, &error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(&method).uri(path).header(HOST, "localhost");
        if method == Method::POST {
            request = request.header(IDEMPOTENCY_KEY, new_key());
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Failure::usage(format!("{path:?} is not a path: {error}")))?;
        sender.send_request(request).await.map_err(|error| broken(&error))
    }
}

/// The result in an envelope, or the refusal.
fn read_answer<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    match serde_json::from_slice::<Answer<Value>>(body) {
        Ok(Answer::Sync { result } | Answer::Async { result, .. }) => {
            serde_json::from_value(result).map_err(|error| not_ours(&error))
        }
        Ok(Answer::Error { error }) => Err(error.into()),
        Err(error) => Err(not_ours(&error)),
    }
}

fn not_ours(error: &serde_json::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the daemon's answer is not understood: {error}"))
        .hint("are exportctl and the daemon of the same version? exportctl version")
}

/// The connection ended before the answer: the daemon may be restarting.
fn broken(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Unreachable, format!("the connection to the daemon broke: {error}"))
        .hint("systemctl status saas-export-daemon")
        .transient()
}

/// The body of a request.
pub fn json<T: Serialize>(value: &T) -> Result<Option<Vec<u8>>, Failure> {
    serde_json::to_vec(value)
        .map(Some)
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to write the request: {error}")))
}

/// One segment of a path, or a value of a query, percent-encoded (RFC 3986).
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// A key that no other request has: a repetition by the transport is then one request.
fn new_key() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("exportctl-{}-{}-{count}", std::process::id(), jiff::Timestamp::now().as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use saas_export_api::Acted;

    #[test]
    fn answers() {
        let acted: Acted = read_answer(br#"{"type":"sync","result":{"tasks":["a"]}}"#).unwrap();
        assert_eq!(acted.tasks, ["a"]);
        let refused =
            read_answer::<Acted>(br#"{"type":"error","error":{"code":"forbidden","message":"no","hint":"ask"}}"#);
        let failure = refused.unwrap_err();
        assert_eq!((failure.exit, failure.hint.as_deref()), (Exit::Forbidden, Some("ask")));
        assert_eq!(read_answer::<Acted>(b"<html>").unwrap_err().exit, Exit::Failed);
        assert_eq!(read_answer::<Acted>(br#"{"type":"sync","result":{}}"#).unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn names_cannot_change_the_path() {
        assert_eq!(encode("a/b?c#d ü"), "a%2Fb%3Fc%23d%20%C3%BC");
        assert_ne!(new_key(), new_key());
    }
}
