//! Reads a stream's first pages to fix its schema, and keeps them for the lanes; a slow source is journaled meanwhile.

use super::StreamPlan;
use super::TaskRun;
use super::error::TransferError;
use super::extract::Feed;
use super::keeper::{Growth, Keeper};
use super::lane::next_segment;
use super::limit::Left;
use super::pages::{Fetched, Known, Open, Pages};
use crate::ledger::rows::LaneRow;
use crate::model::schema::Schema;
use crate::record::infer::Sample;
use crate::record::rules::Rules;
use std::collections::BTreeMap;
use std::pin::pin;

/// Until a schema is known nothing is encoded, so that nothing says how far the segment has grown.
const UNKNOWN: Growth = Growth { bytes: 0, target: u64::MAX };

/// Reads the first pages, lane after lane, and settles the task's schema by them, the last version and the stream's rules.
pub async fn sample(
    task: &TaskRun,
    (stream, rules): (&StreamPlan, &Rules),
    lanes: &[LaneRow],
    opener: &impl Fn(u32) -> Open,
) -> Result<(Schema, BTreeMap<u32, Feed>), TransferError> {
    task.progress.forget_sampled();
    let left = Left::after(&task.export.limits, &task.ledger.streams(&task.row.id).await?);
    let mut sample = Sample::default().at_most(left.rows, left.bytes);
    let mut feeds = BTreeMap::new();
    for row in lanes.iter().filter(|row| !row.done) {
        if sample.is_full() {
            break;
        }
        feeds.insert(row.lane, read(task, stream, row, opener(row.lane), &mut sample).await?);
    }
    let last = task.ledger.last_schema(&task.row.export, stream.name.as_str()).await?;
    let last = last.as_ref().map(|last| (&last.schema, last.observed.as_slice()));
    Ok((rules.of_task(last, &sample.schema()), feeds))
}

/// Reads a lane from its committed offset until the sample is complete.
async fn read(
    task: &TaskRun,
    stream: &StreamPlan,
    row: &LaneRow,
    open: Open,
    sample: &mut Sample,
) -> Result<Feed, TransferError> {
    let segment = next_segment(stream.name.as_str(), row);
    let path = task.spool.journal(&segment);
    let mut keeper = Keeper::new(path, segment, row.offset.clone(), task.replay_limit);
    let mut feed = Feed::new(Pages::of_lane(&task.spool, stream.name.as_str(), row, open)?);
    while !sample.is_full() {
        let Some(mut fetched) = next(&mut feed.pages, &mut keeper).await? else { break };
        if let Some(journal) = fetched.journal.take() {
            keeper.adopt(journal);
        }
        if fetched.known == Known::No {
            fetched.known = keeper.add(&fetched.page, fetched.at, UNKNOWN, false)?;
        }
        if keeper.wants_sync() {
            keeper.sync()?;
        }
        sample.add(&fetched.page);
        let page = &fetched.page;
        task.progress.sampled(page.records.len() as u64, page.record_bytes());
        if let Some(total) = page.total {
            task.progress.total(stream.name.as_str(), page.offset_before.partition, total);
        }
        feed.sampled.push_back(fetched);
    }
    keeper.sync()?;
    feed.keeper = Some(keeper);
    Ok(feed)
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
