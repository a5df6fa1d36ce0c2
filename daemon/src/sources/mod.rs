//! Where data come from. A source reads the pages of a partition in order, from any offset it gave before.

use crate::base::error::Classify;
use crate::base::ids::Name;
use crate::model::offset::{LaneId, Offset, Partition};
use crate::net::stats::SourceStats;
use crate::record::page::Page;
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
pub trait ClassifiedError: Classify + Send + Sync + 'static {}
impl<E: Classify + Send + Sync + 'static> ClassifiedError for E {}

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

    /// The partitions of a stream, in order; at least one. The list is stored before it is dealt to lanes.
    pub async fn partitions(&self, stream: &Name) -> Result<Vec<Partition>, SourceError> {
        match self {
            Self::Rest(source) => Ok(source.partitions(stream)?),
        }
    }

    /// Opens a lane of a stream at `from`. `partitions` is the stored list of the whole stream.
    pub fn open(
        &self,
        stream: &Name,
        partitions: Arc<[Partition]>,
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
