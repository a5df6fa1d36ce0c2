//! Whether the pages of a partition lead anywhere: repetitions, circles, pages without records, pages left out.

use super::order::Doubt;
use super::{PartitionPages, RestError};
use crate::model::offset::PageCursor;
use crate::net::error::FetchError;
use crate::record::page::{Facts, Page};
use bytes::Bytes;

/// A longer cursor or URL is no place in a list; it would have to be stored with every page.
const MAX_CURSOR: usize = 16 << 10;

/// Characters of a cursor that an error repeats.
const SHOWN_CURSOR: usize = 80;

/// Pages without records in a row that a cursor may lead through.
const MAX_EMPTY: u32 = 10_000;

/// Pages in a row that rules may leave out: behind the last page an API may answer the same for ever.
const MAX_SKIPPED: u32 = 100;

/// Pages in a row with the same records that a cursor may lead through, where no key tells the records apart.
const MAX_SAME: u32 = 10;

impl PartitionPages {
    /// Leaves out the page at hand, as a rule says, and goes on behind it where the paginator can tell what comes there.
    pub(super) fn skip(&mut self, error: &FetchError) -> Result<Page, RestError> {
        self.run.skipped += 1;
        let number = self.at.pages + 1;
        if self.run.skipped > MAX_SKIPPED {
            let reason = format!(
                "page {number} is the {MAX_SKIPPED}th in a row that `answers` leaves out: is it `then: empty`?"
            );
            return Err(self.no_next(reason));
        }
        // Nothing is known of its records that the next page could be compared with.
        self.doubt = Doubt::None;
        let next = self.reader.spec.pager.guess(&self.at.cursor, self.run.last);
        let end = if next.is_none() { "; its partition ends there, for nothing says what comes next" } else { "" };
        let note = format!("page {number} was left out{end}: {error}");
        self.reader.fetcher.stats.note(self.reader.stream.as_str(), note);
        self.advance((Bytes::new(), Vec::new(), Facts::default()), next.unwrap_or(PageCursor::End), None)
    }

    /// Refuses a page with the records of the page before it. Where the daemon itself says which page it wants, one is
    /// enough to know; where the source leads, records without a key may well be equal, but not for ever.
    pub(super) fn check_repetition(&mut self, records: u64, digest: Option<u64>) -> Result<(), RestError> {
        if records == 0 {
            return Ok(());
        }
        let again = digest.is_some() && digest == self.run.digest;
        self.run.same = if again { self.run.same + 1 } else { 0 };
        let spec = &self.reader.spec;
        let most = if spec.pager.addressable() || spec.keyed { 0 } else { MAX_SAME };
        if self.run.same > most {
            return Err(self.no_next(self.repeated()));
        }
        self.check_circle(digest)
    }

    /// Refuses pages that go round: an API that starts again behind its last page, whatever it calls its pages. Only where a
    /// key tells the records apart: others may well be equal.
    fn check_circle(&mut self, digest: Option<u64>) -> Result<(), RestError> {
        let digest = digest.filter(|_| self.reader.spec.keyed);
        let Some(steps) = digest.and_then(|digest| self.run.circle.seen(&digest)) else { return Ok(()) };
        let page = self.at.pages + 1;
        let earlier = page.saturating_sub(u64::from(steps));
        Err(self.no_next(format!(
            "page {page} has the same records as page {earlier}: the API starts again behind its last page, and would do so for \
             ever (`streams.{}.paginate`)",
            self.reader.stream
        )))
    }

    /// A cursor of the source's as an error may show it.
    pub(super) fn shown(&self, cursor: &PageCursor) -> Option<String> {
        let mask = &self.reader.fetcher.mask;
        match cursor {
            PageCursor::Token(token) => Some(format!("the cursor {:?}", mask.clean(token, SHOWN_CURSOR))),
            PageCursor::Url(url) => {
                // Not its query: that is where keys and customers' names are.
                let path = url.split(['?', '#']).next().unwrap_or_default();
                Some(format!("the URL {:?}", mask.clean(path, SHOWN_CURSOR)))
            }
            _ => None,
        }
    }

    /// Refuses what would never end.
    pub(super) fn check_progress(&mut self, cursor: &PageCursor, records: u64) -> Result<(), RestError> {
        let Some(shown) = self.shown(cursor) else { return Ok(()) };
        let long = matches!(cursor, PageCursor::Token(text) | PageCursor::Url(text) if text.len() > MAX_CURSOR);
        if long {
            return Err(self.no_next(format!("{shown} is longer than {MAX_CURSOR} bytes")));
        }
        let same_url = matches!(cursor, PageCursor::Url(url) if self.at.cursor == PageCursor::Start && *url == self.run.request.url.as_str());
        if *cursor == self.at.cursor || same_url || self.run.loops.seen(cursor).is_some() {
            return Err(self.no_next(format!("{shown} comes again: the pages lead round in a circle")));
        }
        self.run.empty = if records == 0 { self.run.empty + 1 } else { 0 };
        if self.run.empty > MAX_EMPTY {
            return Err(self.no_next(format!("{MAX_EMPTY} pages in a row had no records")));
        }
        Ok(())
    }

    fn repeated(&self) -> String {
        if let Some(shown) = self.shown(&self.at.cursor) {
            let page = self.at.pages + 1;
            return format!(
                "page {page}, at {shown}, has the same records as the page before it: the API does not go on"
            );
        }
        let at = format!("`streams.{}.paginate.{}`", self.reader.stream, self.reader.spec.pager.kind());
        format!(
            "page {} has the same records as the page before it: either the API does not know the parameters of {at} \
             (check their names), or it repeats its last page for ever (then another paginator is needed, e.g. link, \
             next_url or cursor){}",
            self.at.pages + 1,
            if self.reader.spec.pager.overlaps() {
                ", or it takes only multiples of the limit (set `overlap: false`)"
            } else {
                ""
            }
        )
    }
}
