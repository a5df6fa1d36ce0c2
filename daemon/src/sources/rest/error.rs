//! What can go wrong with a REST source, named by source, stream and configuration key.

use super::spec::At;
use crate::base::error::{Classify, ErrorClass};
use crate::base::ids::Name;
use crate::net::error::{FetchError, SetupError};
use crate::net::origin::OriginError;
use crate::sources::auth::AuthError;

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
    #[error("ask source {source_name}{advice}")]
    Read {
        /// The source.
        source_name: Name,
        /// What to look at; empty or ` (…)`.
        advice: String,
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
        "read partition {partition} of stream {stream} in source {source_name} whole: it ended after {came} records, but the \
         source said {total} (`total_mismatch: fail`)"
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

    /// A failed request, with what to look at. `behind` is the paginator's key where the request was for a page behind
    /// the first one that the paginator numbers itself, and whether the page overlaps with the one before it.
    pub(super) fn read(source: &Name, stream: &Name, behind: Option<(&str, bool)>, cause: FetchError) -> Self {
        let mut advice = advice(source, stream, &cause);
        if let (Some((kind, overlaps)), FetchError::Status { status, .. }) = (behind, &cause)
            && matches!(status.as_u16(), 400 | 404 | 410 | 416 | 422)
        {
            let key = format!("sources.{source}.rest.streams.{stream}.paginate.{kind}");
            if overlaps {
                advice = format!("{advice}; if this API takes only multiples of the limit, set `{key}.overlap: false`");
            }
            advice = format!(
                "{advice}; if this API answers so behind its last page, set `{key}.end_status: [{}]`",
                status.as_u16()
            );
        }
        let advice = if advice.is_empty() { advice } else { format!(" ({advice})") };
        Self::Read { source_name: source.clone(), advice, cause }
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
    let FetchError::Status { status, .. } = cause else { return String::new() };
    let rest = format!("sources.{source}.rest");
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
