//! How far requests run ahead of what is read of a partition.

use super::order::Doubt;
use super::{Fetched, PartitionPages};
use crate::model::offset::PageCursor;
use crate::sources::rest::error::RestError;

/// The most requests that run ahead, whatever `rate.concurrency` says.
pub const MAX_AHEAD: u32 = 64;

/// Pages of a partition that are kept before its turn comes: enough to hide that short partitions have to be asked for
/// page after page, and few, so that no cursor has to wait long.
pub const PAGES_AHEAD: usize = 8;

/// Pages that are here or under way where each tells by itself where it leads: enough to read one while the next comes in.
const HINTED: usize = 4;

/// What may still run ahead of the page that a lane wants next.
#[derive(Debug)]
pub struct Room {
    /// Requests that may still start.
    pub slots: usize,
    /// Bytes that may still be expected.
    pub bytes: u64,
    /// The bytes that a page is expected to have.
    pub page: u64,
}

impl Room {
    /// Whether there is room for a request.
    fn fits(&self) -> bool {
        self.slots > 0 && self.page <= self.bytes
    }

    /// Takes the room of one request, if there is some.
    fn take(&mut self) -> bool {
        let fits = self.fits();
        if fits {
            self.slots -= 1;
            self.bytes -= self.page;
        }
        fits
    }
}

impl PartitionPages {
    /// Starts the request for the page that is wanted next, if it is the lane's turn to read this partition and none is
    /// there, and more as far as the paginator can name them and there is room.
    pub fn fill(&mut self, current: bool, room: &mut Room) -> Result<(), RestError> {
        if self.failed.is_some() || self.at.cursor == PageCursor::End {
            return Ok(());
        }
        loop {
            let held = self.ready.len() + self.window.len();
            let key = match self.window.last() {
                None if current && held == 0 => {
                    // It must come, whatever its size.
                    let _ = room.take();
                    self.wanted()
                }
                None if held < if current { self.width() } else { PAGES_AHEAD } && room.take() => self.wanted(),
                // Told by the last page itself, before its records are found; kept until there is room.
                Some(last) if held < self.hinted() && room.fits() => match self.hint.take(last) {
                    Some(next) if next != *last && room.take() => next,
                    _ => return Ok(()),
                },
                Some(last) if held < self.width() => match self.reader.spec.pager.guess(last, self.run.last) {
                    Some(guess) if self.within_total(&guess) && room.take() => guess,
                    _ => return Ok(()),
                },
                _ => return Ok(()),
            };
            self.start(key)?;
        }
    }

    /// How many pages may be here or under way. Without a total it doubles with each page, so that a short list costs few in
    /// vain; with one no page is asked for in vain.
    fn width(&self) -> usize {
        if !self.reader.spec.pager.addressable() || !matches!(self.doubt, Doubt::None) {
            return 1;
        }
        let connections = self.reader.fetcher.limiter.concurrency().clamp(1, MAX_AHEAD);
        // Pages behind one that is late wait here, so that their connections serve others; not where the end has been seen.
        let most = if connections > 1 && !self.window.any(|fetched| self.is_last(fetched)) {
            2 * connections
        } else {
            connections
        };
        if self.run.total.is_some() && self.run.pages > 0 && !self.run.uneven {
            return most as usize;
        }
        let pages = if self.is_short() { 0 } else { self.run.pages.saturating_sub(u32::from(self.others)) };
        most.min(1 << pages.min(MAX_AHEAD.ilog2() + 1)) as usize
    }

    /// Whether an answer is probably that of the last page, or of none.
    fn is_last(&self, fetched: &Fetched) -> bool {
        fetched.as_ref().map_or(true, |(_, content)| (content.located.records.len() as u64) < self.run.largest)
    }

    /// How many pages may be here or under way where each may say itself where it leads.
    fn hinted(&self) -> usize {
        let may = !self.reader.misled() && self.reader.spec.peek.is_some() && matches!(self.doubt, Doubt::None);
        // One more with each page: at first neither their size is known, nor whether what they say is right.
        if may { (self.run.pages.saturating_add(1) as usize).clamp(2, HINTED) } else { 0 }
    }

    /// Whether the last page is probably the last one: it has fewer records than were asked for, and an API that never
    /// gives as many has not shown itself as one.
    pub(super) fn is_short(&self) -> bool {
        let Some(last) = self.run.last else { return false };
        let asked = self.reader.spec.pager.size();
        last < self.run.largest || (self.run.pages < 2 && asked.is_some_and(|asked| last < asked))
    }

    /// Whether a guessed page can still have records, as far as the source says how many there are. No page is larger than
    /// the largest so far, so that this never asks past the end.
    fn within_total(&self, guess: &PageCursor) -> bool {
        let Some(total) = self.run.total else { return true };
        match guess {
            PageCursor::Record(first) => *first < total,
            _ => {
                let ahead = self.window.len() as u64;
                self.at.partition_records.saturating_add(ahead.saturating_mul(self.run.largest)) < total
            }
        }
    }
}
