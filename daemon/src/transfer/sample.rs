//! Reads a stream's first pages to fix its schema, and keeps them for the lanes; a slow source is journaled meanwhile.

use super::StreamPlan;
use super::TaskRun;
use super::error::TransferError;
use super::extract::Feed;
use super::keeper::{Growth, Keeper};
use super::lane::next_segment;
use super::limit::Left;
use super::pages::{Fetched, Known, Open, Pages};
use crate::base::blocking::aside;
use crate::ledger::rows::LaneRow;
use crate::model::schema::Schema;
use crate::record::infer::Sample;
use crate::record::page::Page;
use crate::record::rules::Rules;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::pin::pin;

/// Until a schema is known nothing is encoded, so that nothing says how far the segment has grown.
const UNKNOWN: Growth = Growth { bytes: 0, target: u64::MAX };

/// Reads the first pages, one of each lane in turn, and settles the task's schema by them, the last version and the stream's
/// rules. The lanes are asked side by side, but their pages are looked at in an order that knows no time.
pub async fn sample(
    task: &TaskRun,
    (stream, rules): (&StreamPlan, &Rules),
    lanes: &[LaneRow],
    opener: &impl Fn(u32) -> Open,
) -> Result<(Schema, BTreeMap<u32, Feed>), TransferError> {
    task.progress.forget_sampled();
    let left = Left::after(&task.export.limits, &task.ledger.streams(&task.row.id).await?);
    let mut sample = Sample::default().at_most(left.rows, left.bytes);
    let lanes = lanes.iter().filter(|row| !row.done);
    let mut lanes = lanes.map(|row| Sampled::new(task, stream, row, opener)).collect::<Result<Vec<_>, _>>()?;
    while !sample.is_full() && lanes.iter().any(|lane| !lane.ended) {
        let pages = lanes.iter_mut().filter(|lane| !lane.ended).map(Sampled::next);
        for page in try_join_all(pages).await?.into_iter().flatten() {
            task.progress.sampled(page.records.len() as u64, page.record_bytes());
            if let Some(total) = page.total {
                task.progress.total(stream.name.as_str(), page.offset_before.partition, total);
            }
            // What came beside the last page that is wanted waits for its lane.
            if !sample.is_full() {
                aside(|| sample.add(page));
            }
        }
    }
    let mut feeds = BTreeMap::new();
    for lane in lanes {
        feeds.insert(lane.lane, lane.finish()?);
    }
    let last = task.ledger.last_schema(&task.row.export, stream.name.as_str()).await?;
    let last = last.as_ref().map(|last| (&last.schema, last.observed.as_slice()));
    Ok((rules.of_task(last, &sample.schema()), feeds))
}

/// A lane that the sample reads from its committed offset.
struct Sampled {
    lane: u32,
    feed: Feed,
    keeper: Keeper,
    ended: bool,
}

impl Sampled {
    fn new(
        task: &TaskRun,
        stream: &StreamPlan,
        row: &LaneRow,
        opener: &impl Fn(u32) -> Open,
    ) -> Result<Self, TransferError> {
        let segment = next_segment(stream.name.as_str(), row);
        let keeper = Keeper::new(&task.spool, segment, row.offset.clone(), task.replay_limit);
        let feed = Feed::new(Pages::of_lane(&task.spool, stream.name.as_str(), row, opener(row.lane))?);
        Ok(Self { lane: row.lane, feed, keeper, ended: false })
    }

    /// Reads its next page, which then waits for the lane.
    async fn next(&mut self) -> Result<Option<&Page>, TransferError> {
        let Some(mut fetched) = next(&mut self.feed.pages, &mut self.keeper).await? else {
            self.ended = true;
            return Ok(None);
        };
        if let Some(journal) = fetched.journal.take() {
            self.keeper.adopt(journal);
        }
        if fetched.known == Known::No {
            fetched.known = aside(|| self.keeper.add(&fetched.page, fetched.at, UNKNOWN, false))?;
        }
        if self.keeper.wants_sync() {
            self.keeper.sync()?;
        }
        self.feed.sampled.push_back(fetched);
        Ok(self.feed.sampled.back().map(|fetched| &fetched.page))
    }

    fn finish(mut self) -> Result<Feed, TransferError> {
        self.keeper.sync()?;
        self.feed.keeper = Some(self.keeper);
        Ok(self.feed)
    }
}

/// The next page; what is in the journal becomes durable while the source takes its time.
async fn next(pages: &mut Pages, keeper: &mut Keeper) -> Result<Option<Fetched>, TransferError> {
    let mut next = pin!(pages.next());
    loop {
        tokio::select! {
            page = &mut next => return page,
            () = tokio::time::sleep(keeper.idle()) => keeper.sync()?,
        }
    }
}
