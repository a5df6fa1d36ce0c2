//! One page of a stream without a task: of its first partition, whose parents are glanced at likewise.

use crate::base::clock;
use crate::base::ids::Name;
use crate::config::settings::Rest;
use crate::model::mark::CursorValue;
use crate::model::offset::{LaneId, Offset};
use crate::model::partitions::Partitions;
use crate::record::page::Page;
use crate::sources::{Cut, Range, Source, SourceError};
use crate::transfer::family::Picker;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// The first page of a stream; `None` where its first partition has none, or where its parents have no records. Asks for
/// one page of the stream and of each of its ancestors.
pub fn first_page<'a>(
    source: &'a Source,
    rest: &'a Rest,
    stream: &'a Name,
) -> BoxFuture<'a, Result<Option<Page>, SourceError>> {
    Box::pin(async move {
        let cut = cut(source, rest, stream).await?;
        let partitions = source.partitions(stream, &cut).await?;
        if partitions.is_empty() {
            return Ok(None);
        }
        let lane = LaneId { lane: 0, of: 1 };
        let pages = source.open(stream, Arc::new(partitions), lane, Offset::start(0))?;
        pages.one_page().next().await
    })
}

/// What a first task would know, as far as one page of each parent tells it.
async fn cut(source: &Source, rest: &Rest, stream: &Name) -> Result<Cut, SourceError> {
    let incremental = rest.streams.get(stream).and_then(|stream| stream.incremental.as_ref());
    let start = incremental.and_then(|incremental| incremental.start.as_deref()).map(CursorValue::parse);
    let range = incremental.map(|_| Range { start, end: None });
    let mut cut = Cut { range, ..Cut::at(clock::now()) };
    for parent in source.parents(stream)? {
        let page = first_page(source, rest, &parent.stream).await?;
        let picker = Picker::new(&parent.stream, parent.places.iter().cloned());
        let picked = picker.ok().zip(page).and_then(|(picker, page)| picker.pick(&page).ok());
        let mut rows = Partitions::new(parent.places.clone());
        // One will do. A record without one of the values makes no part.
        let whole = picked.iter().flat_map(|all| (0..all.len()).map(|index| all.row(index).collect::<Vec<_>>()));
        if let Some(row) = whole.into_iter().find(|row| !row.contains(&"")) {
            let _ = rows.push(row);
        }
        cut.parents.insert(parent.stream, rows);
    }
    Ok(cut)
}
