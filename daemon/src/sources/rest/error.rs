//! What can go wrong with a REST source, named by source, stream and configuration key.

use super::spec::At;
use crate::auth::AuthError;
use crate::base::error::{Classify, ErrorClass};
use crate::base::ids::Name;
use crate::net::error::{FetchError, OwnCode, SetupError};
use crate::net::origin::OriginError;
use http::StatusCode;
use saas_export_api::plural;

/// An error of a REST source. It never holds a URL's query, a header or a body of ours. Whoever reads a stream names the
/// stream; these name the source.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The client cannot be set up.
    #[error("set up source {source_name}")]
    Setup {
        /// The source.
        source_name: Name,
        /// Why.
        #[source]
        cause: SetupError,
    },
    /// Its credentials cannot be got as configured.
    #[error("set up the credentials of source {source_name} (`sources.{source_name}.rest.auth`)")]
    Auth {
        /// The source.
        source_name: Name,
        /// Why.
        #[source]
        cause: Box<AuthError>,
    },
    /// A setting cannot be used.
    #[error("use `sources.{source_name}.rest.{key}`: {reason}")]
    Config {
        /// The source.
        source_name: Name,
        /// Key path below the source.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such stream.
    #[error("find stream {stream} in source {source_name}: there is no such stream")]
    UnknownStream {
        /// The source.
        source_name: Name,
        /// The stream.
        stream: Name,
    },
    /// An offset that does not belong to the lane.
    #[error("go on in source {source_name}: the offset does not belong to this lane")]
    Offset {
        /// The source.
        source_name: Name,
    },
    /// A request that failed.
    #[error("ask source {source_name} for {place}")]
    Read {
        /// The source.
        source_name: Name,
        /// Which page, and in brackets what to look at.
        place: String,
        /// Why.
        #[source]
        cause: FetchError,
    },
    /// An answer that does not lead on.
    #[error("find the next page of source {source_name}: {reason}")]
    Next {
        /// The source.
        source_name: Name,
        /// Why.
        reason: String,
    },
    /// A partition with fewer records than the source said, where that is an error.
    #[error(
        "read partition {partition} of stream {stream} in source {source_name} whole: it ended after {came} {}, but the \
         source said {total} (`total_mismatch: fail`)", plural(*came, "record")
    )]
    Short {
        /// The source.
        source_name: Name,
        /// The stream.
        stream: Name,
        /// The partition, from 0.
        partition: u32,
        /// Records that came.
        came: u64,
        /// Records that the source said there are.
        total: u64,
    },
    /// Counted pages whose records have moved, or a cursor that the source has forgotten: the partition has to be read again.
    #[error("read partition {partition} of stream {stream} in source {source_name} in one order: {reason}")]
    Shifted {
        /// The source.
        source_name: Name,
        /// The stream.
        stream: Name,
        /// The partition, from 0.
        partition: u32,
        /// How it was noticed.
        reason: String,
    },
    /// A next page that lies where the source must not lead.
    #[error("follow source {source_name} to its next page")]
    Leave {
        /// The source.
        source_name: Name,
        /// Why.
        #[source]
        cause: OriginError,
    },
    /// A task of ours died.
    #[error("ask source {source_name}: the asking task ended")]
    Died {
        /// The source.
        source_name: Name,
    },
}

impl RestError {
    /// A setting of `source` that cannot be used.
    pub(super) fn config(source: &Name, key: &str, reason: &str) -> Self {
        Self::Config { source_name: source.clone(), key: key.to_owned(), reason: reason.to_owned() }
    }

    /// A failed request, with what to look at.
    pub(super) fn read(source: &Name, failed: Failed<'_>, cause: FetchError) -> Self {
        let mut advice = advice(source, failed.stream, &cause);
        if let (Some(behind), FetchError::Status { status, code, .. }) = (failed.behind, &cause) {
            advice.push_str(&behind.advice(
                &format!("sources.{source}.rest.streams.{}", failed.stream),
                *status,
                code.as_deref(),
            ));
        }
        let place = if advice.is_empty() { failed.place } else { format!("{} ({advice})", failed.place) };
        Self::Read { source_name: source.clone(), place, cause }
    }
}

/// What is known of a request that failed.
pub(super) struct Failed<'a> {
    /// The stream.
    pub stream: &'a Name,
    /// Which page was asked for.
    pub place: String,
    /// Where it may have been behind the last page.
    pub behind: Option<Behind>,
}

/// A page behind the first one was refused, whose number the daemon itself counts.
pub(super) struct Behind {
    /// The paginator's key.
    pub kind: &'static str,
    /// Whether the source said that there are more records.
    pub before: bool,
    /// Whether the page begins in front of the records that are new in it.
    pub overlaps: bool,
}

impl Behind {
    /// How to say that this is the end, if it is. `here` is the stream's key path.
    fn advice(self, here: &str, status: StatusCode, code: Option<&OwnCode>) -> String {
        let status = status.as_u16();
        if self.before && !self.overlaps {
            return "; the source said that there are more records than came so far".to_owned();
        }
        let multiples = if self.overlaps {
            format!(
                "; if this API takes only multiples of the limit, set `{here}.paginate.{}.overlap: false`",
                self.kind
            )
        } else {
            String::new()
        };
        let end = format!(
            "{multiples}; if this API answers so behind its last page, set `{here}.paginate.{}.end_status: [{status}]`",
            self.kind
        );
        match code {
            None => end,
            Some(OwnCode { path, code }) => format!(
                "{end}, or, where {status} can mean something else, add to `{here}.answers`: \
                 `{{ status: [{status}], json: {path}, equals: {code}, then: empty }}`"
            ),
        }
    }
}

impl At {
    /// The error of this place in the settings of `source`.
    pub(super) fn error(self, source: &Name) -> RestError {
        RestError::config(source, &self.key, &self.reason)
    }
}

/// What an operator can do about a status that no retry mends.
fn advice(source: &Name, stream: &Name, cause: &FetchError) -> String {
    let rest = format!("sources.{source}.rest");
    let status = match cause {
        FetchError::Status { status, .. } => status,
        FetchError::Redirect(OriginError::NotAllowed(origin)) => {
            return format!(
                "if the API has moved there, write it in `{rest}.base_url`; if it may lead there without credentials, \
                 `{rest}.allowed_origins: [\"{origin}\"]`"
            );
        }
        _ => return String::new(),
    };
    let here = format!("{rest}.streams.{stream}");
    match status.as_u16() {
        401 => format!(
            "the credentials are missing, wrong or expired: check `{rest}.auth` (of a token, its scopes and audience, too) and auth.env"
        ),
        403 => format!("the credentials of `{rest}.auth` have no right to this stream: ask for it at the API"),
        404 => format!("nothing is there: check `{rest}.base_url` and `{here}.path`"),
        407 => format!("the proxy refuses: check `{rest}.proxy`"),
        410 => format!("the API no longer has this: check `{here}.path`, or start again if a cursor expired"),
        400 | 422 => format!("the API refuses the parameters: check `{here}.query`, `.body` and `.paginate`"),
        405 => format!("the API wants another method: check `{here}.method`"),
        429 => format!("the API asks for fewer requests: lower `{rest}.rate`"),
        status if (300..500).contains(&status) => format!("check `{here}`"),
        _ => String::new(),
    }
}

impl Classify for RestError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Setup { cause, .. } => cause.class(),
            Self::Auth { cause, .. } => cause.class(),
            Self::Config { .. } | Self::UnknownStream { .. } => ErrorClass::Config,
            Self::Read { cause, .. } => cause.class(),
            Self::Leave { cause, .. } => cause.class(),
            Self::Next { .. } | Self::Short { .. } | Self::Shifted { .. } => ErrorClass::Data,
            Self::Offset { .. } | Self::Died { .. } => ErrorClass::Bug,
        }
    }
}
