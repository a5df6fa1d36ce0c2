//! Where data come from. A source reads the pages of a partition in order, from any offset it gave before.

use crate::base::error::Classify;
use crate::base::ids::Name;
use crate::model::mark::CursorValue;
use crate::model::offset::{LaneId, Offset};
use crate::model::partitions::Partitions;
use crate::net::stats::SourceStats;
use crate::record::convert::Plan;
use crate::record::page::Page;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

pub mod rest;

/// An error of a source, with its class.
pub type SourceError = Box<dyn ClassifiedError>;

impl From<rest::RestError> for SourceError {
    fn from(error: rest::RestError) -> Self {
        Box::new(error)
    }
}

/// An error that says its class and may travel between threads.
pub trait ClassifiedError: Classify + Send + Sync + 'static {
    /// The partition that has to be read again from its start and how that was noticed, where that is what the error says.
    fn shifted(&self) -> Option<(u32, &str)> {
        None
    }
}

impl ClassifiedError for rest::RestError {
    fn shifted(&self) -> Option<(u32, &str)> {
        match self {
            Self::Shifted { partition, reason, .. } => Some((*partition, reason)),
            _ => None,
        }
    }
}

/// What a task knows when it cuts a stream into partitions. With the same cut a source gives the same partitions.
#[derive(Clone, Debug)]
pub struct Cut {
    /// "Now": when the task was created, never the clock.
    pub now: Timestamp,
    /// What part of an incremental stream the task reads; `None` where that is not limited.
    pub range: Option<Range>,
    /// Of each parent that [`Source::parents`] names: a row for each different set of values, in the order of its records.
    /// The keys are the places that it names, the values JSON texts of strings, numbers, true or false.
    pub parents: BTreeMap<Name, Partitions>,
}

impl Cut {
    /// A cut without range and parents.
    pub fn at(now: Timestamp) -> Self {
        Self { now, range: None, parents: BTreeMap::new() }
    }
}

/// From where to where an incremental stream is read, in values of its cursor field, both inclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The lower bound; the beginning where there is none.
    pub start: Option<CursorValue>,
    /// The upper bound; everything where there is none.
    pub end: Option<CursorValue>,
}

/// A parent of a stream, and what of its records the stream's partitions are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent: a stream of the same source.
    pub stream: Name,
    /// JSONPaths (RFC 9535) into its records; without repetition.
    pub places: Vec<String>,
}

/// A configured API, index, topic or bucket.
#[derive(Clone)]
pub enum Source {
    /// A REST API.
    Rest(Arc<rest::RestSource>),
}

impl Source {
    /// The source as one task sees it: its parameters, a fresh budget of retries, figures from zero.
    #[must_use]
    pub fn for_task(&self, params: BTreeMap<String, String>) -> Self {
        match self {
            Self::Rest(source) => Self::Rest(Arc::new(source.for_task(params))),
        }
    }

    /// Live figures of this task's requests.
    pub fn stats(&self) -> Arc<SourceStats> {
        match self {
            Self::Rest(source) => source.stats(),
        }
    }

    /// What makes a stored offset of a stream usable after a change of the configuration.
    pub fn fingerprint(&self, stream: &Name) -> Result<String, SourceError> {
        match self {
            Self::Rest(source) => Ok(source.fingerprint(stream)?),
        }
    }

    /// The first page of a stream's first partition; `None` where there is nothing to ask for. Asks for one page of the
    /// stream and of each of its ancestors.
    pub async fn first_page(&self, stream: &Name, now: Timestamp) -> Result<Option<Page>, SourceError> {
        match self {
            Self::Rest(source) => Ok(source.first_page(stream, now).await?.page),
        }
    }

    /// The streams whose records must be known before this stream can be cut into partitions.
    pub fn parents(&self, stream: &Name) -> Result<Vec<Parent>, SourceError> {
        match self {
            Self::Rest(source) => Ok(source.parents(stream)?),
        }
    }

    /// The partitions of a stream, in order; there may be none. The list is stored before it is dealt to lanes.
    pub async fn partitions(&self, stream: &Name, cut: &Cut) -> Result<Partitions, SourceError> {
        match self {
            Self::Rest(source) => Ok(source.partitions(stream, cut)?),
        }
    }

    /// Opens a lane of a stream at `from`. `partitions` is the stored list of the whole stream.
    pub fn open(
        &self,
        stream: &Name,
        partitions: Arc<Partitions>,
        lane: LaneId,
        from: Offset,
    ) -> Result<PageStream, SourceError> {
        match self {
            Self::Rest(source) => Ok(PageStream::Rest(source.open(stream, partitions, lane, from)?)),
        }
    }
}

/// The pages of a lane, in order, to its end.
pub enum PageStream {
    /// Pages of a REST API.
    Rest(rest::RestPages),
}

impl PageStream {
    /// Bounds the pages read ahead by `bytes` for all lanes of the stream together.
    #[must_use]
    pub fn within(self, bytes: u64) -> Self {
        match self {
            Self::Rest(pages) => Self::Rest(pages.within(bytes)),
        }
    }

    /// Says what records become. Pages may then come converted, if that costs nobody time; the one who converts looks.
    pub fn becomes(&self, plan: &Arc<Plan>) {
        match self {
            Self::Rest(pages) => pages.becomes(plan),
        }
    }

    /// Asks for no page before it is wanted: for whoever wants only the first one.
    #[must_use]
    pub fn one_page(self) -> Self {
        match self {
            Self::Rest(pages) => Self::Rest(pages.one_page()),
        }
    }

    /// The next page; `None` when the lane is at its end. Dropping the future loses nothing: the next call asks again.
    /// Each page's `offset_after` is where to open again; the last page's cursor is `End` in the lane's last partition.
    pub async fn next(&mut self) -> Result<Option<Page>, SourceError> {
        match self {
            Self::Rest(pages) => Ok(pages.next().await?),
        }
    }
}
