//! What to ask before a counted page is believed: has it shifted, is it the end, and does it follow the page before it?
//!
//! ```text
//! offset   [ … r ][ r … ]      each page begins with the last record of the page before it; [ r ] alone may be the end
//! page     [ k ] ? [ k + 1 ]   page k again, after a resume, when the total has changed, behind a short page, at an end that
//!                              nobody has declared: are its records the same (compare.rs)?
//! both     keys of the last pages are remembered; one that comes again has been pushed here by another record
//! ```
//! A shift is never mended in the middle of a partition: the lane reads the whole partition again. What a page holds never
//! depends on which of these questions were asked.

use super::end::NOTHING_THERE;
use super::watch::Told;
use super::{Held, PartitionPages, RestError};
use crate::model::offset::PageCursor;
use crate::net::error::FetchError;
use crate::record::identity::{self, Identities};
use crate::record::page::{Facts, Page};
use crate::sources::rest::paginate::Seen;
use http::StatusCode;

/// Comparisons in a row whose answers say another total each; then it is no total that tells shifts.
pub const MAX_TRIES: u32 = 3;

/// Comparisons of short pages after which short pages are what the API gives.
const MAX_SHORT: u32 = 3;

/// What is to be found out before the page at hand may be used.
#[derive(Debug, Default)]
pub enum Doubt {
    /// Nothing.
    #[default]
    None,
    /// The page at hand is asked for again, because it came with another total than the one before it.
    Again,
    /// The page before it is asked for once more; the one at hand may be here already.
    Before(Option<Box<Held>>),
    /// Whether there is a page at all where pages overlap: what lies behind the last record is asked for.
    End(Why),
    /// What was found there, behind a page that had but the record it overlaps with: that page is asked for once more.
    Alone(Box<Held>),
}

/// Why it is asked what lies behind the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The last page was short, so that nothing may be left.
    Short,
    /// The page had but the record that it overlaps with; an API may give pages of any size.
    Alone,
    /// The API says by a failure that there is not even that record.
    Refused,
}

impl PartitionPages {
    /// What has to be found out before the first page is used: a place in counted pages may hold other records by now.
    pub(super) fn doubt_at_start(&self) -> Doubt {
        if self.comparable() { Doubt::Before(None) } else { Doubt::None }
    }

    /// Whether the page before the one at hand can be compared with what it was.
    fn comparable(&self) -> bool {
        let watched = self.reader.spec.identity.is_some() && !self.run.watch.blind;
        watched && self.before().is_some()
    }

    /// The page before the one at hand.
    fn before(&self) -> Option<PageCursor> {
        let records = self.at.tail.as_deref().and_then(identity::count_of)?;
        self.reader.spec.pager.before(&self.at.cursor, records as u64)
    }

    /// What is to be asked for next.
    pub(super) fn wanted(&self) -> PageCursor {
        let before = if matches!(self.doubt, Doubt::Before(_)) { self.before() } else { None };
        before.unwrap_or_else(|| self.at.cursor.clone())
    }

    /// Records at the beginning of the page at hand that were on the page before it.
    pub(super) fn overlap(&self) -> u64 {
        if matches!(self.doubt, Doubt::End(_)) { 0 } else { self.reader.spec.pager.overlap(&self.at.cursor) }
    }

    /// Asks something else first. What runs ahead was asked for before the doubt, and is of no use.
    pub(super) fn wonder(&mut self, doubt: Doubt) -> Result<Option<Page>, RestError> {
        self.window.drop_unless_front(&PageCursor::End);
        if matches!(doubt, Doubt::Again | Doubt::Before(_)) {
            // In a lively collection it would be dropped with each page.
            self.run.pages = 0;
            self.run.uneven = true;
        }
        self.doubt = doubt;
        Ok(None)
    }

    /// What to do behind a page that leads to `cursor`: where it was short nothing may be left, and then one request is
    /// enough to see it.
    pub(super) fn doubt_of_end(&self, cursor: &PageCursor) -> Doubt {
        let read = self.at.partition_records + self.run.last.unwrap_or(0);
        let short = self.is_short() && self.run.total.is_none_or(|total| read >= total);
        let ends = short && self.reader.spec.pager.overlaps() && *cursor != PageCursor::End;
        if ends { Doubt::End(Why::Short) } else { Doubt::None }
    }

    /// Takes an answer that has come for the page at hand; `None` where another one has to be seen first.
    pub(super) fn weigh(&mut self, held: Held) -> Result<Option<Page>, RestError> {
        let records = held.1.located.records.len() as u64;
        let again = held.1.digest.is_some() && held.1.digest == self.run.digest;
        let behind = matches!(self.doubt, Doubt::End(_)) || self.overlap() > 0;
        if again && behind && self.run.read < 2 && records > self.overlap() {
            // An API that has never gone on does not know the parameter.
            self.check_repetition(records, held.1.digest)?;
        }
        if self.overlap() > 0 && self.is_other(&held)? {
            return Ok(None);
        }
        if self.run.total.is_none() && self.run.read == 0 && self.overlap() > 0 {
            self.run.total = self.total_of(&held);
        }
        match std::mem::take(&mut self.doubt) {
            Doubt::Again => self.wonder(Doubt::Before(Some(Box::new(held)))),
            Doubt::End(why) if records > 0 => match why {
                Why::Short => {
                    // The pages are smaller than was asked for. Like any other the next one has to overlap.
                    self.run.pages = self.run.pages.max(2);
                    self.wonder(Doubt::None)
                }
                Why::Alone => self.wonder(Doubt::Alone(Box::new(held))),
                Why::Refused => Err(self.no_next(self.only_multiples())),
            },
            Doubt::End(Why::Refused) if !self.has_all() => Err(self.shifted(self.gone())),
            Doubt::Alone(behind) if records <= self.overlap() => {
                self.doubt = Doubt::End(Why::Alone);
                self.turn(*behind).map(Some)
            }
            Doubt::None if self.overlap() > 0 && records <= self.overlap() => self.wonder(Doubt::End(Why::Alone)),
            Doubt::None if self.total_moved(&held) => self.wonder(Doubt::Again),
            Doubt::None if records == 0 && self.end_is_doubtful() => self.wonder(Doubt::Before(None)),
            Doubt::None if records > 0 && self.follows_short() => self.wonder(Doubt::Before(Some(Box::new(held)))),
            _ => self.turn(held).map(Some),
        }
    }

    /// Takes a failure that says that there are no more pages.
    pub(super) fn ended(&mut self, error: &FetchError) -> Result<Option<Page>, RestError> {
        if matches!(self.doubt, Doubt::End(Why::Refused)) && !self.has_all() {
            return Err(self.refused_twice(error));
        }
        if self.overlap() > 0 {
            return self.wonder(Doubt::End(Why::Refused));
        }
        if matches!(self.doubt, Doubt::None | Doubt::Again) && self.end_is_doubtful() {
            return self.wonder(Doubt::Before(None));
        }
        if self.run.total.is_none() && !self.is_declared_end(error) && self.looks_again() {
            // Nobody has said that this is the end: one failure alone may be anything.
            let doubt = std::mem::take(&mut self.doubt);
            return self.wonder(if self.comparable() { Doubt::Before(None) } else { doubt });
        }
        self.advance((bytes::Bytes::new(), Vec::new(), Facts::default()), PageCursor::End, None).map(Some)
    }

    /// Whether as many records came as the source said last.
    fn has_all(&self) -> bool {
        self.run.total.is_some_and(|total| self.at.partition_records >= total)
    }

    /// What it means that neither the last record nor anything behind it can be asked for.
    fn refused_twice(&self, error: &FetchError) -> RestError {
        match error {
            FetchError::Status { status, .. } if !NOTHING_THERE.contains(&status.as_u16()) => self.no_next(format!(
                "the API answers {status} in front of page {} and behind it: it pages no deeper, or it takes only multiples of \
                 the limit (then set `{}.paginate.offset.overlap: false`)",
                self.at.pages + 1,
                self.here()
            )),
            _ => self.shifted(self.gone()),
        }
    }

    /// Whether the page at hand was not yet looked at with more care; true once for each.
    fn looks_again(&mut self) -> bool {
        self.run.watch.compared.replace(self.at.pages) != Some(self.at.pages)
    }

    /// Whether the page before this one was short, so that it may have taken in records since. Where pages are of any size
    /// that says nothing, and soon nobody asks.
    fn follows_short(&mut self) -> bool {
        let Some(last) = self.run.last.filter(|_| self.comparable()) else { return false };
        let asked = self.reader.spec.pager.size();
        let short = last < self.run.largest || (self.run.read == 1 && asked.is_some_and(|asked| last < asked));
        if !short || self.run.watch.short >= MAX_SHORT || !self.looks_again() {
            return false;
        }
        self.run.watch.short += 1;
        true
    }

    fn gone(&self) -> String {
        format!("in front of page {} there is no longer the last record of the page before it", self.at.pages + 1)
    }

    fn only_multiples(&self) -> String {
        format!(
            "the API refuses an offset that is no multiple of the limit: set `{}.paginate.offset.overlap: false`",
            self.here()
        )
    }

    /// Records in all, if this page says so.
    pub(super) fn total_of(&self, (answer, content): &Held) -> Option<u64> {
        self.told_total(&Seen { headers: &answer.headers, body: &answer.body, located: &content.located })
    }

    /// Whether the total says that records came or went while the last two pages were read. Both may then be of different
    /// times: this one is asked for again, and then the one before it.
    fn total_moved(&mut self, held: &Held) -> bool {
        if !self.comparable() || self.run.watch.restless >= MAX_TRIES {
            return false;
        }
        let told = self.total_of(held);
        if told.is_none() && self.run.total.is_some() && !held.1.located.records.is_empty() {
            let note = "the source says only on some pages how many records there are: the others may shift unnoticed";
            self.reader.fetcher.stats.note(self.reader.stream.as_str(), note.to_owned());
        }
        self.run.total.zip(told).is_some_and(|(before, now)| before != now)
    }

    /// Whether the partition seems to end elsewhere than the total says, and the last page was not yet looked at for that.
    fn end_is_doubtful(&mut self) -> bool {
        let elsewhere = self.run.total.is_some_and(|total| total != self.at.partition_records);
        elsewhere && self.comparable() && self.looks_again()
    }

    /// Refuses a page that has records of a page before it, or behind one that has grown meanwhile.
    pub(super) fn check_order(&mut self, found: &Identities, records: u64) -> Result<(), RestError> {
        if self.reader.spec.identity.is_none() {
            return Ok(());
        }
        let (page, overlap) = (self.at.pages + 1, self.overlap());
        if std::mem::take(&mut self.run.watch.grew) && records > 0 {
            return Err(self.shifted(self.other_records()));
        }
        if found.keys.len() as u64 != records {
            return Ok(()); // Records without a key cannot be told from one another.
        }
        match self.run.watch.keys.add(found.keys.get(overlap as usize..).unwrap_or_default()) {
            Told::New => {}
            Told::Again => {
                let reason = format!("page {page} has a record whose `primary_key` was on a page before it");
                return Err(self.shifted(reason));
            }
            Told::Useless => {
                let note = format!(
                    "`{}.primary_key` does not tell records apart: some pages have several with the same key; \
                     records that come twice are not noticed",
                    self.here()
                );
                self.reader.fetcher.stats.note(self.reader.stream.as_str(), note);
            }
        }
        Ok(())
    }

    /// What the offset behind a page of `records` new records keeps of it.
    pub(super) fn tail(&self, found: Identities, records: usize) -> Option<String> {
        let watched = self.reader.spec.identity.is_some() && !self.run.watch.blind && records > 0;
        let overlaps = self.reader.spec.pager.overlaps();
        watched.then(|| if overlaps { found.last } else { Some(found.tail(records)) }).flatten()
    }

    /// Whether the source no longer knows the cursor at which the lane stands: at once after a resume, or where it says so.
    pub(super) fn refuses_cursor(&self, error: &FetchError) -> Option<RestError> {
        let FetchError::Status { status, .. } = error else { return None };
        let led = matches!(self.at.cursor, PageCursor::Token(_) | PageCursor::Url(_));
        let gone = *status == StatusCode::GONE || (self.run.read == 0 && matches!(status.as_u16(), 400 | 404 | 422));
        (led && gone)
            .then(|| self.shifted(format!("the source refuses the cursor of page {} with {status}", self.at.pages + 1)))
    }

    /// The stream's key path.
    pub(super) fn here(&self) -> String {
        format!("sources.{}.rest.streams.{}", self.reader.source, self.reader.stream)
    }

    pub(super) fn other_records(&self) -> String {
        format!("page {} has other records than before", self.at.pages)
    }

    pub(super) fn shifted(&self, reason: String) -> RestError {
        let (source_name, stream) = (self.reader.source.clone(), self.reader.stream.clone());
        RestError::Shifted { source_name, stream, partition: self.at.partition, reason }
    }
}
