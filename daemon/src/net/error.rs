//! What can go wrong with a request. No message holds a path, a query, a header or a body of ours.

use super::credential::CredentialFailure;
use super::digest::Differs;
use super::judge::{Ruling, Verdict};
use super::origin::{Origin, OriginError};
use crate::base::error::{Classify, ErrorClass};
use crate::config::units::Size;
use http::StatusCode;
use std::error::Error as _;
use std::time::Duration;

/// The wait where a server asks to slow down without saying for how long.
const UNTOLD_WAIT: Duration = Duration::from_secs(60);

/// Fields in the head of an answer, and its bytes: what the HTTP/1 implementation takes by itself.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 400 << 10;

/// A client that cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file of the TLS settings cannot be read.
    #[error("read {path} (`tls.{key}`)")]
    File {
        /// Key below `tls`.
        key: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file of the TLS settings does not hold what it should.
    #[error("{path} (`tls.{key}`) does not hold {wanted} in PEM form")]
    Pem {
        /// Key below `tls`.
        key: &'static str,
        /// The file.
        path: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The proxy's URL is none.
    #[error("`proxy.url` is not a URL like http://proxy.example:3128")]
    Proxy,
    /// A placeholder has no value.
    #[error("{key}: {reason}")]
    Secret {
        /// Which setting.
        key: String,
        /// Names the placeholder.
        reason: String,
    },
    /// The client itself.
    #[error("set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// Trust and versions of TLS.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
}

impl Classify for SetupError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }
}

/// What a server calls a failure of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCode {
    /// JSONPath at which it stands in the body.
    pub path: &'static str,
    /// An identifier; masked like all of the server's words.
    pub code: String,
}

/// A request that did not bring an answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection.
    #[error("no connection to {to}")]
    Connect {
        /// The origin that was asked for.
        to: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The other side's certificate or TLS version is not accepted.
    #[error("the TLS handshake failed (check `tls.ca_file`, `tls.min_version` and `tls.client_identity`)")]
    Tls(#[source] reqwest::Error),
    /// The proxy wants other credentials.
    #[error("the proxy refuses the credentials (`proxy.username`, `proxy.password`)")]
    ProxyAuth,
    /// The connection broke before the answer.
    #[error("the connection broke before the answer")]
    Reset(#[source] reqwest::Error),
    /// Nothing came for too long.
    #[error("nothing came for {0:?} (`keep_alive.read_timeout`)")]
    TimedOut(Duration),
    /// The answer took too long as a whole.
    #[error("the answer was not complete after {0:?} (`keep_alive.answer_timeout`)")]
    TooSlow(Duration),
    /// The body broke off.
    #[error("the body of the answer broke off after {received} bytes")]
    Cut {
        /// Bytes received.
        received: u64,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// The body is too large.
    #[error("the body of the answer is larger than {0} after decompression (`max_body`)")]
    TooLarge(Size),
    /// The body came whole and is not what it should be.
    #[error("the body of the answer cannot be used: {reason}")]
    Unreadable {
        /// Why, without data.
        reason: String,
        /// Whether it looks like a body that was cut on its way.
        cut: bool,
    },
    /// The body is not the one that its header tells of.
    #[error(
        "the body of the answer is not what its {} says: the {} differs (if it always does: `checksum.ignore_standard`)",
        .0.header, .0.algorithm
    )]
    Digest(Differs),
    /// An answer other than 2xx.
    #[error("the server answered {status}{}", said(.message))]
    Status {
        /// The status.
        status: StatusCode,
        /// The server's own words, masked; may be empty.
        message: String,
        /// The server's own code for it.
        code: Option<Box<OwnCode>>,
        /// Retry-After.
        wait: Option<Duration>,
    },
    /// An answer of which a rule says what it means.
    #[error("the server answered {status}, and a rule of `answers` says {}", ruled(.ruling))]
    Ruled {
        /// The status; 2xx, too.
        status: StatusCode,
        /// What the rule says.
        ruling: Box<Ruling>,
        /// The body's own wait, or Retry-After.
        wait: Option<Duration>,
    },
    /// An answer to a request that makes something.
    #[error(
        "the server answered 201 Created: this request makes something new; is it a search? (If nothing is made, a rule of \
         `answers` can say so: `{{ status: [201], then: page }}`)"
    )]
    Created,
    /// An answer that is still to come.
    #[error(
        "the server answered 202 Accepted: it has begun to prepare an answer, and this is no page (if asking again brings it, a \
         rule of `answers` can say so: `{{ status: [202], then: retry }}`)"
    )]
    Accepted,
    /// A head that is larger than any that means well.
    #[error("the head of the answer is too large: more than {MAX_HEADERS} fields or {} kB", MAX_HEAD >> 10)]
    Head,
    /// A redirect that is not followed.
    #[error("the redirect is not followed")]
    Redirect(#[source] OriginError),
    /// A request to where no request may go, e.g. to a stored next URL whose origin is no longer configured.
    #[error("the request is not sent")]
    Origin(#[source] OriginError),
    /// Round and round.
    #[error("more than {0} redirects in a row")]
    RedirectLoop(usize),
    /// A redirect that would turn a POST into a GET, or that names no place.
    #[error("the server answered {status}, a redirect that is not followed: {}", led(.to))]
    RedirectMethod {
        /// The status.
        status: StatusCode,
        /// Where it leads, without query, masked; empty where it does not say.
        to: String,
    },
    /// No retries left in the task.
    #[error("all {size} {} of the task are used up (`retry.per_task`)", retries(.size))]
    Budget {
        /// How many there were.
        size: u32,
        /// The last failure.
        #[source]
        cause: Box<FetchError>,
    },
    /// There is no credential to send with it; whoever gets credentials has tried again already.
    #[error("there is no credential to send")]
    Credential(#[source] CredentialFailure),
    /// A request that could not be sent as it was built.
    #[error("the request cannot be sent as configured")]
    Request(#[source] reqwest::Error),
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" and says {message:?}") }
}

fn retries(size: &u32) -> &'static str {
    if *size == 1 { "retry" } else { "retries" }
}

fn led(to: &str) -> String {
    if to.is_empty() {
        return "it does not say where to".to_owned();
    }
    format!("a POST would become a GET. It leads to {to}: write that in `base_url` and `path`")
}

fn ruled(ruling: &Ruling) -> String {
    let word = match ruling.verdict {
        Verdict::Retry => "retry",
        Verdict::Skip => "skip",
        Verdict::Fail => "fail",
        Verdict::Empty => "empty",
        Verdict::RefreshToken => "refresh_token",
        Verdict::Page => "page",
    };
    ruling.message.as_ref().map_or(word.to_owned(), |message| format!("{word}: {message}"))
}

impl FetchError {
    /// Sorts an error of the client. The URL is dropped: its query may hold credentials.
    pub fn from_client(error: reqwest::Error, read_timeout: Duration) -> Self {
        let origin = error.url().and_then(Origin::of).map(|origin| origin.to_string());
        let error = error.without_url();
        match chain_finds(&error) {
            Some(Found::Tls) => return Self::Tls(error),
            Some(Found::ProxyAuth) => return Self::ProxyAuth,
            Some(Found::Head) => return Self::Head,
            None if error.is_connect() => {
                return Self::Connect { to: origin.unwrap_or_else(|| "the server".to_owned()), source: error };
            }
            None => {}
        }
        if error.is_timeout() {
            Self::TimedOut(read_timeout)
        } else if error.is_builder() {
            Self::Request(error)
        } else {
            Self::Reset(error)
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Reset(_) | Self::TimedOut(_) | Self::TooSlow(_) => true,
            Self::Cut { .. } | Self::Digest(_) => true,
            Self::Unreadable { cut, .. } => *cut,
            Self::Status { status, .. } if status.is_server_error() => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 408 | 425) || self.for_haste(),
            Self::Ruled { ruling, .. } => ruling.verdict == Verdict::Retry,
            _ => false,
        }
    }

    /// Whether the server refused it because there are too many requests.
    pub fn for_haste(&self) -> bool {
        match self {
            Self::Status { status, wait, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS || (*status == StatusCode::FORBIDDEN && wait.is_some())
            }
            // A body that says how long to wait speaks of haste, whatever its status.
            Self::Ruled { status, ruling, .. } if ruling.verdict == Verdict::Retry => {
                *status == StatusCode::TOO_MANY_REQUESTS || ruling.wait.is_some()
            }
            _ => false,
        }
    }

    /// Whether the answer says that the credential is no longer good (RFC 9110, section 15.5.2), or a rule says so.
    pub fn refuses_credential(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status == StatusCode::UNAUTHORIZED,
            Self::Ruled { ruling, .. } => ruling.verdict == Verdict::RefreshToken,
            _ => false,
        }
    }

    /// What a rule says that the answer is, unless it is an error.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Ruled { ruling, .. } => Some(ruling.verdict),
            _ => None,
        }
    }

    /// The wait that the server asked for.
    pub fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } | Self::Ruled { wait, .. } => *wait,
            _ => None,
        }
    }
}

impl Classify for FetchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. }
            | Self::Reset(_)
            | Self::TimedOut(_)
            | Self::TooSlow(_)
            | Self::Cut { .. }
            | Self::Digest(_)
            | Self::Budget { .. } => ErrorClass::Transient,
            Self::Unreadable { cut: true, .. } => ErrorClass::Transient,
            Self::Unreadable { cut: false, .. } | Self::TooLarge(_) | Self::Head => ErrorClass::Data,
            Self::ProxyAuth => ErrorClass::Auth,
            Self::Ruled { ruling, wait, .. } => match ruling.verdict {
                Verdict::Retry => wait.map_or(ErrorClass::Transient, ErrorClass::Throttled),
                Verdict::RefreshToken => ErrorClass::Auth,
                Verdict::Skip | Verdict::Fail | Verdict::Empty | Verdict::Page => ErrorClass::Data,
            },
            Self::Status { wait: Some(wait), .. } if self.for_haste() => ErrorClass::Throttled(*wait),
            Self::Credential(failure) => failure.class(),
            Self::Status { status, wait, .. } => match status.as_u16() {
                401 | 403 | 407 => ErrorClass::Auth,
                429 => ErrorClass::Throttled(wait.unwrap_or(UNTOLD_WAIT)),
                _ if self.retryable() => wait.map_or(ErrorClass::Transient, ErrorClass::Throttled),
                _ => ErrorClass::Config,
            },
            Self::Tls(_)
            | Self::Redirect(_)
            | Self::Origin(_)
            | Self::RedirectLoop(_)
            | Self::RedirectMethod { .. }
            | Self::Created
            | Self::Accepted
            | Self::Request(_) => ErrorClass::Config,
        }
    }
}

enum Found {
    Tls,
    ProxyAuth,
    Head,
}

/// Looks through the causes of a failure for one that no retry mends.
fn chain_finds(error: &reqwest::Error) -> Option<Found> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if is_tls(error) {
            return Some(Found::Tls);
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return Some(Found::Head);
        }
        // The client's type for this is private; its words are all there is.
        if error.to_string().contains("proxy authorization required") {
            return Some(Found::ProxyAuth);
        }
        cause = error.source();
    }
    None
}

/// An I/O error hides what it was made of from `source`, and may be made of another one.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return is_refusal(error);
    }
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| is_tls(inner))
}

/// Whether one side refuses the other's certificate or version, and will do so again.
fn is_refusal(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription as A, Error as E};
    match error {
        E::InvalidCertificate(_) | E::PeerIncompatible(_) | E::NoCertificatesPresented => true,
        E::AlertReceived(alert) => matches!(
            alert,
            A::ProtocolVersion
                | A::HandshakeFailure
                | A::InsufficientSecurity
                | A::BadCertificate
                | A::UnsupportedCertificate
                | A::CertificateRevoked
                | A::CertificateExpired
                | A::CertificateUnknown
                | A::CertificateRequired
                | A::UnknownCA
                | A::AccessDenied
                | A::UnrecognisedName
        ),
        _ => false,
    }
}
