//! The pages of a lane: partition after partition, in order. While one is read, the first pages of the next ones come.
//!
//! ```text
//! parts: [ current: ready pages, window of requests ][ next partition: … ][ … ]   handed out strictly from the left
//! ```

use super::error::RestError;
use super::pages::{MAX_AHEAD, PAGES_AHEAD, PartitionPages, Reader, Room};
use crate::model::offset::{LaneId, Offset, PageCursor};
use crate::model::partitions::Partitions;
use crate::record::convert::Plan;
use crate::record::page::Page;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

/// The most bytes of pages that are read ahead, unless somebody says otherwise.
const READ_AHEAD: u64 = 32_000_000;

/// Most bytes of buffers that the lanes of a stream keep to read their next answers into.
const MOST_BODIES: u64 = 64 << 20;

/// Partitions that are open before it is known whether they are short.
const FIRST_OPEN: usize = 2;

/// The pages of a lane. Each is asked for again until it was handed out once.
#[derive(Debug)]
pub struct RestPages {
    reader: Arc<Reader>,
    partitions: Arc<Partitions>,
    lane: LaneId,
    at: Offset,
    /// The partition at hand, and those after it that are read ahead.
    parts: VecDeque<PartitionPages>,
    finished: Arc<Notify>,
    /// The most bytes that may be held beside the page that is wanted next.
    ahead: u64,
    /// Bytes of the largest page so far; `None` before there was one.
    largest: Option<u64>,
    /// Partitions of few pages in a row.
    short: u32,
    /// Whether the next requests wait until they are wanted.
    patient: bool,
}

impl RestPages {
    /// Opens a lane at `from`.
    pub(super) fn open(
        reader: Arc<Reader>,
        partitions: Arc<Partitions>,
        lane: LaneId,
        from: Offset,
    ) -> Result<Self, RestError> {
        if lane.of == 0 || lane.lane >= lane.of || from.partition % lane.of != lane.lane {
            return Err(RestError::Offset { source_name: reader.source.clone() });
        }
        let mut pages = Self {
            reader,
            partitions,
            lane,
            at: from,
            parts: VecDeque::new(),
            finished: Arc::default(),
            ahead: READ_AHEAD / u64::from(lane.of),
            largest: None,
            short: 0,
            patient: false,
        };
        pages.at = pages.onward(pages.at.clone());
        if !pages.is_at_end() {
            pages.open_current()?;
        }
        Ok(pages)
    }

    /// Bounds the pages read ahead by `bytes` for all lanes of the stream together. The page that is wanted next is not
    /// counted: it must come, whatever its size.
    #[must_use]
    pub fn within(mut self, bytes: u64) -> Self {
        let share = |of: u64| of / u64::from(self.lane.of);
        self.ahead = share(bytes);
        self.reader.fetcher.bodies.keep(usize::try_from(share(bytes.min(MOST_BODIES))).unwrap_or_default());
        self
    }

    /// Says what records become, so that pages may come converted.
    pub fn becomes(&self, plan: &Arc<Plan>) {
        // Set before, it is the same: a lane has one for as long as it is open.
        let _ = self.reader.plan.set(Arc::clone(plan));
    }

    /// Asks for no page before it is wanted.
    #[must_use]
    pub fn one_page(mut self) -> Self {
        self.patient = true;
        self
    }

    /// The next page, as [`PageStream::next`](crate::sources::PageStream::next) says.
    pub async fn next(&mut self) -> Result<Option<Page>, RestError> {
        loop {
            if self.is_at_end() {
                return Ok(None);
            }
            self.fill()?;
            if let Some(page) = self.parts.front_mut().and_then(PartitionPages::take) {
                let page = self.hand_out(page?);
                // The next requests start before this page is used. What is wrong with them is told by the next call.
                if !self.patient {
                    let _ = self.fill();
                }
                return Ok(Some(page));
            }
            // Until here comes back nothing was taken, so that a dropped call loses nothing.
            self.finished.notified().await;
        }
    }

    fn is_at_end(&self) -> bool {
        self.at.cursor == PageCursor::End || self.at.partition >= self.partitions.len()
    }

    /// The lane's partition after `partition`.
    fn after(&self, partition: u32) -> Option<u32> {
        partition.checked_add(self.lane.of).filter(|next| *next < self.partitions.len())
    }

    /// The same place, at the start of the next partition if this one is at its end.
    fn onward(&self, at: Offset) -> Offset {
        match self.after(at.partition) {
            Some(partition) if at.cursor == PageCursor::End => {
                Offset { partition, cursor: PageCursor::Start, partition_records: 0, tail: None, ..at }
            }
            _ => at,
        }
    }

    /// Takes a page of the partition at hand into the lane's order.
    fn hand_out(&mut self, page: Page) -> Page {
        let (before, count) = (self.at.clone(), page.records.len() as u64);
        self.at = self.onward(before.behind(page.offset_after.cursor, count, page.offset_after.tail));
        if self.at.partition != before.partition
            && let Some(done) = self.parts.pop_front()
        {
            self.short = if done.pages() <= PAGES_AHEAD as u64 { self.short.saturating_add(1) } else { 0 };
        }
        Page { offset_before: before, offset_after: self.at.clone(), ..page }
    }

    fn open_current(&mut self) -> Result<(), RestError> {
        let part = PartitionPages::open(&self.reader, &self.partitions, self.at.clone(), &self.finished)?;
        self.parts.push_back(part);
        Ok(())
    }

    /// Starts the request for the page at hand, and as many behind it as can be named and the limits allow: first of this
    /// partition, then of the next ones.
    fn fill(&mut self) -> Result<(), RestError> {
        if self.is_at_end() {
            self.parts.clear();
            return Ok(());
        }
        if self.parts.is_empty() {
            self.open_current()?;
        }
        for part in &mut self.parts {
            part.settle();
            if part.pages() > 0 {
                self.largest = self.largest.max(Some(part.largest_bytes()));
            }
        }
        let page = self.largest.unwrap_or(0);
        let held: u64 = self.parts.iter().map(|part| part.bytes(page)).fold(0, u64::saturating_add);
        let most =
            if self.patient { 1 } else { self.reader.fetcher.limiter.concurrency().clamp(1, MAX_AHEAD) as usize };
        let under_way: usize = self.parts.iter().map(PartitionPages::under_way).sum();
        let bytes = self.ahead.saturating_sub(held);
        let mut room = Room { slots: most.saturating_sub(under_way), bytes, page };
        let mut parts = self.parts.iter_mut();
        if let Some(current) = parts.next() {
            current.fill(true, &mut room)?;
        }
        // Half of the bytes stay with the partition at hand: it is the one that is waited for.
        room.bytes = room.bytes.saturating_sub(self.ahead / 2);
        for part in parts {
            // What is wrong with it is told when its turn comes.
            let _ = part.fill(false, &mut room);
        }
        self.open_more(most, &mut room);
        Ok(())
    }

    /// Opens partitions after the last open one. Not while a long one is read: it uses the connections itself if it can, and
    /// cursors should not have to wait.
    fn open_more(&mut self, most: usize, room: &mut Room) {
        let long = self.parts.front().is_none_or(|part| part.pages() > PAGES_AHEAD as u64);
        if self.largest.is_none() || long {
            return;
        }
        let open = most.saturating_add(1).min(FIRST_OPEN << self.short.min(MAX_AHEAD.ilog2()));
        while self.parts.len() < open && room.slots > 0 && room.page <= room.bytes {
            let last = self.parts.back().map_or(self.at.partition, PartitionPages::partition);
            let Some(next) = self.after(last) else { return };
            let Ok(mut part) =
                PartitionPages::open(&self.reader, &self.partitions, Offset::start(next), &self.finished)
            else {
                return;
            };
            let _ = part.fill(false, room);
            self.parts.push_back(part);
        }
    }
}
