//! One page of a stream, for a look before anything is exported: what came, and whose fault it is where nothing came.

use super::{RestError, RestSource};
use crate::base::error::{Classify as _, ErrorClass};
use crate::base::ids::Name;
use crate::model::offset::{LaneId, Offset};
use crate::net::error::FetchError;
use crate::record::page::Page;
use std::sync::Arc;

/// The first page of a stream.
#[derive(Debug)]
pub struct First {
    /// The page.
    pub page: Page,
    /// Partitions of the stream; the page is of the first one.
    pub partitions: usize,
}

/// Where to look for the reason of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The credentials are not known.
    Credentials,
    /// The credentials are known, but may not do this.
    Rights,
    /// The way to the server.
    Way,
    /// The request, or the answer to it.
    Request,
}

impl RestSource {
    /// Asks for the first page of a stream's first partition, and for nothing else.
    pub async fn first_page(&self, stream: &Name) -> Result<First, RestError> {
        let partitions: Arc<[_]> = self.partitions(stream)?.into();
        let mut pages = self.open(stream, partitions.clone(), LaneId { lane: 0, of: 1 }, Offset::start(0))?;
        let page = pages.take().await?.ok_or_else(|| RestError::Died { source_name: self.api.name.clone() })?;
        Ok(First { page, partitions: partitions.len() })
    }
}

impl RestError {
    /// Where to look for the reason.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Read { cause: FetchError::Status { status, .. }, .. } if status.as_u16() == 403 => Trouble::Rights,
            Self::Read {
                cause: FetchError::Connect(_) | FetchError::Tls(_) | FetchError::ProxyAuth | FetchError::TimedOut(_),
                ..
            } => Trouble::Way,
            error if error.class() == ErrorClass::Auth => Trouble::Credentials,
            _ => Trouble::Request,
        }
    }
}
