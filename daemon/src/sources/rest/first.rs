//! One page of a stream, for a look before anything is exported: what came, and whose fault it is where nothing came.

use super::incremental::Bounds;
use super::{RestError, RestSource};
use crate::base::error::{Classify as _, ErrorClass};
use crate::base::ids::Name;
use crate::model::offset::{LaneId, Offset};
use crate::model::partitions::Partitions;
use crate::net::error::FetchError;
use crate::record::locate::Locator;
use crate::record::page::Page;
use crate::sources::{Cut, Parent};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::ops::Range;
use std::sync::Arc;

/// The first page of a stream.
#[derive(Debug)]
pub struct First {
    /// The page; none where there is nothing to ask for, because a parent has no records.
    pub page: Option<Page>,
    /// Partitions of the stream, as far as one record of each parent tells; the page is of the first one.
    pub partitions: u32,
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
    /// The request makes something at the API.
    Makes,
}

impl RestSource {
    /// Asks for the first page of a stream's first partition, and of each of its ancestors, and for nothing else. `now` is what
    /// a task's creation would be.
    pub fn first_page<'a>(&'a self, stream: &'a Name, now: Timestamp) -> BoxFuture<'a, Result<First, RestError>> {
        Box::pin(async move {
            let partitions = Arc::new(self.partitions(stream, &self.first_cut(stream, now).await?)?);
            let lane = LaneId { lane: 0, of: 1 };
            let mut pages = self.open(stream, partitions.clone(), lane, Offset::start(0))?.one_page();
            Ok(First { page: pages.next().await?, partitions: partitions.len() })
        })
    }

    /// What a first task would know, as far as one page of each parent tells it.
    async fn first_cut(&self, stream: &Name, now: Timestamp) -> Result<Cut, RestError> {
        let range = self.spec(stream)?.incremental.as_ref().map(Bounds::first);
        let mut cut = Cut { range, ..Cut::at(now) };
        for parent in self.parents(stream)? {
            let page = self.first_page(&parent.stream, now).await?.page;
            let row = page.and_then(|page| whole_row(&parent, &page));
            let mut rows = Partitions::new(parent.places);
            // One will do, and a single one is never too many.
            if let Some(row) = row {
                let _ = rows.push(row.iter().map(String::as_str));
            }
            cut.parents.insert(parent.stream, rows);
        }
        Ok(cut)
    }
}

/// The values of the first record that has them all, as JSON texts.
fn whole_row(parent: &Parent, page: &Page) -> Option<Vec<String>> {
    let paths: Vec<&str> = parent.places.iter().map(String::as_str).collect();
    let locator = Locator::new("$", &paths).ok()?;
    page.raw_records().find_map(|raw| {
        let found = locator.locate(raw).ok()?;
        let text = |range: &Option<Range<u32>>| {
            let range = range.clone()?;
            let json = std::str::from_utf8(raw.get(range.start as usize..range.end as usize)?).ok()?.trim();
            Some(json.to_owned()).filter(|json| json != "null" && !json.starts_with(['[', '{']))
        };
        found.values.iter().map(text).collect()
    })
}

impl RestError {
    /// Where to look for the reason.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Read { cause: FetchError::Status { status, .. }, .. } if status.as_u16() == 403 => Trouble::Rights,
            Self::Read {
                cause: FetchError::Connect { .. } | FetchError::Tls(_) | FetchError::ProxyAuth | FetchError::TimedOut(_),
                ..
            } => Trouble::Way,
            Self::Read { cause: FetchError::Created, .. } => Trouble::Makes,
            error if error.class() == ErrorClass::Auth => Trouble::Credentials,
            _ => Trouble::Request,
        }
    }
}
