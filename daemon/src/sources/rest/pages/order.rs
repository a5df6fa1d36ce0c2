//! Whether counted pages still stand where they stood: overlaps, keys that come again, pages asked for once more.
//!
//! ```text
//! offset   [ … r ][ r … ]      each page begins with the last record of the page before it; [ r ] alone may be the end
//! page     [ k ] ? [ k + 1 ]   page k again, after a resume and when the total has changed: are its records the same?
//! both     keys of the last pages are remembered; one that comes again has been pushed here by another record
//! ```
//! A shift is never mended in the middle of a partition: the lane reads the whole partition again.

use super::{Content, PartitionPages, RestError};
use crate::model::offset::PageCursor;
use crate::net::error::FetchError;
use crate::net::fetch::Answer;
use crate::record::identity::Identities;
use crate::record::page::Page;
use crate::sources::rest::paginate::Seen;
use http::StatusCode;
use std::collections::HashSet;

/// Keys after which the older half of those that are remembered goes.
const REMEMBERED: usize = 1 << 15;

/// What is to be found out before the page at hand may be used.
#[derive(Debug, Default)]
pub enum Doubt {
    /// Nothing.
    #[default]
    None,
    /// The page at hand is asked for again, because it came with another total than the one before it.
    Again,
    /// The page before it is asked for once more; the one at hand may be here already.
    Before(Option<Box<(Answer, Content)>>),
    /// Whether there is a page at all where pages overlap: what lies behind the last record is asked for.
    End {
        /// Whether the page that overlaps had nothing else, so that what is found now is taken as it is.
        alone: bool,
    },
}

/// Keys of the last pages of a partition; never more than twice [`REMEMBERED`], and those of one page.
#[derive(Debug, Default)]
pub struct Keys {
    newer: HashSet<u64>,
    older: HashSet<u64>,
    /// Whether the key has shown itself as one that does not tell records apart.
    useless: bool,
}

/// What the keys of a page say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// They are new.
    New,
    /// One of them was on a page before this one.
    Again,
    /// Records of this very page have the same key.
    Useless,
}

impl Keys {
    /// Remembers the keys of a page.
    pub fn add(&mut self, keys: &[u64]) -> Told {
        if self.useless {
            return Told::New;
        }
        if keys.iter().any(|key| self.newer.contains(key) || self.older.contains(key)) {
            return Told::Again;
        }
        if self.newer.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        let before = self.newer.len();
        self.newer.extend(keys);
        self.useless = self.newer.len() - before < keys.len();
        if self.useless { Told::Useless } else { Told::New }
    }
}

impl PartitionPages {
    /// What has to be found out before the first page is used: a place in counted pages may hold other records by now.
    pub(super) fn doubt_at_start(&self) -> Doubt {
        let checks = self.reader.spec.identity.is_some() && self.at.tail.is_some();
        let before = self.reader.spec.pager.before(&self.at.cursor);
        if checks && before.is_some() { Doubt::Before(None) } else { Doubt::None }
    }

    /// What is to be asked for next.
    pub(super) fn wanted(&self) -> PageCursor {
        let before = match self.doubt {
            Doubt::Before(_) => self.reader.spec.pager.before(&self.at.cursor),
            Doubt::None | Doubt::Again | Doubt::End { .. } => None,
        };
        before.unwrap_or_else(|| self.at.cursor.clone())
    }

    /// Records at the beginning of the page at hand that were on the page before it.
    pub(super) fn overlap(&self) -> u64 {
        if matches!(self.doubt, Doubt::End { .. }) { 0 } else { self.reader.spec.pager.overlap(&self.at.cursor) }
    }

    /// What to do behind a page that leads to `cursor`: where it was short nothing may be left, and then one request is
    /// enough to see it.
    pub(super) fn doubt_of_end(&self, cursor: &PageCursor) -> Doubt {
        let read = self.at.partition_records + self.run.last.unwrap_or(0);
        let short = self.is_short() && self.run.total.is_none_or(|total| read >= total);
        if short && self.reader.spec.pager.overlaps() && *cursor != PageCursor::End {
            Doubt::End { alone: false }
        } else {
            Doubt::None
        }
    }

    /// Whether another request has to show where the partition ends: behind a page that has but the record it overlaps
    /// with, for an API may give pages of any size; and where there is something behind a short page, which then has to
    /// overlap like any other. What is taken never depends on which of the two was asked for first.
    pub(super) fn end_is_open(&mut self, content: &Content) -> Result<bool, RestError> {
        let records = content.located.records.len() as u64;
        let next = match self.doubt {
            Doubt::End { alone: false } if records > 0 => Doubt::None,
            Doubt::None if self.overlap() > 0 && records <= self.overlap() => {
                self.check_overlap(&content.identities)?;
                Doubt::End { alone: true }
            }
            _ => return Ok(false),
        };
        self.window.drop_unless_front(&PageCursor::End);
        self.doubt = next;
        Ok(true)
    }

    /// Whether the total says that records came or went while the last two pages were read. Both may then be of different
    /// times: this one is asked for again, and then the one before it.
    pub(super) fn doubts(&mut self, answer: &Answer, content: &Content) -> bool {
        if self.reader.spec.identity.is_none() || self.reader.spec.pager.before(&self.at.cursor).is_none() {
            return false;
        }
        let seen = Seen { headers: &answer.headers, body: &answer.body, located: &content.located };
        let moved = self.run.total.zip(self.told_total(&seen)).is_some_and(|(before, now)| before != now);
        if moved && self.at.tail.is_some() {
            // What runs ahead was asked for before the doubt.
            self.window.drop_unless_front(&PageCursor::End);
            self.doubt = Doubt::Again;
            return true;
        }
        false
    }

    /// Takes the page before the one at hand, asked for once more.
    pub(super) fn compare(&mut self, fetched: super::Fetched) -> Result<Option<Page>, RestError> {
        let again = match fetched {
            Ok((_, content)) => content.identities.all,
            Err(error) if self.is_end(&error) => String::new(),
            Err(error) => return Err(self.failed(error)),
        };
        if self.at.tail.as_ref() != Some(&again) {
            return Err(self.shifted(format!("page {} has other records than before", self.at.pages)));
        }
        match std::mem::take(&mut self.doubt) {
            Doubt::Before(Some(held)) => self.turn(*held).map(Some),
            _ => Ok(None),
        }
    }

    /// Refuses a page that does not go on where the one before it ended.
    pub(super) fn check_order(&mut self, found: &Identities, records: u64) -> Result<(), RestError> {
        if self.reader.spec.identity.is_none() {
            return Ok(());
        }
        self.check_overlap(found)?;
        let (page, overlap) = (self.at.pages + 1, self.overlap());
        if found.keys.len() as u64 != records {
            return Ok(()); // Records without a key cannot be told from one another.
        }
        match self.run.keys.add(found.keys.get(overlap as usize..).unwrap_or_default()) {
            Told::New => {}
            Told::Again => {
                let reason = format!("page {page} has a record whose primary key was on a page before it");
                return Err(self.shifted(reason));
            }
            Told::Useless => {
                let note = format!(
                    "`streams.{}.primary_key` does not tell records apart: page {page} has several with the same key; \
                     records that come twice are not noticed",
                    self.reader.stream
                );
                self.reader.fetcher.stats.note(self.reader.stream.as_str(), note);
            }
        }
        Ok(())
    }

    fn check_overlap(&self, found: &Identities) -> Result<(), RestError> {
        if self.overlap() > 0 && self.at.tail.is_some() && found.first != self.at.tail {
            let page = self.at.pages + 1;
            return Err(self.shifted(format!("page {page} does not begin with the last record of the page before it")));
        }
        Ok(())
    }

    /// What the offset behind a page keeps of it.
    pub(super) fn tail(&self, found: Identities) -> Option<String> {
        self.reader.spec.identity.as_ref()?;
        let overlaps = self.reader.spec.pager.overlaps();
        if overlaps { found.last } else { Some(found.all) }
    }

    /// Whether the source no longer knows the cursor at which the lane stands: at once after a resume, or where it says so.
    pub(super) fn refuses_cursor(&self, error: &FetchError) -> Option<RestError> {
        let FetchError::Status { status, .. } = error else { return None };
        let led = matches!(self.at.cursor, PageCursor::Token(_) | PageCursor::Url(_));
        let gone = *status == StatusCode::GONE || (self.run.read == 0 && matches!(status.as_u16(), 400 | 404 | 422));
        (led && gone)
            .then(|| self.shifted(format!("the source refuses the cursor of page {} with {status}", self.at.pages + 1)))
    }

    fn shifted(&self, reason: String) -> RestError {
        let (source_name, stream) = (self.reader.source.clone(), self.reader.stream.clone());
        RestError::Shifted { source_name, stream, partition: self.at.partition, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_again_is_noticed_for_a_long_while_in_bounded_memory() {
        let mut keys = Keys::default();
        let pages = 10 * REMEMBERED as u64 / 100;
        for page in 0..pages {
            let new: Vec<u64> = (page * 100..(page + 1) * 100).collect();
            assert_eq!(keys.add(&new), Told::New, "{page}");
            assert!(keys.newer.len() + keys.older.len() <= 2 * REMEMBERED + 200);
        }
        assert_eq!(keys.add(&[pages * 100 - REMEMBERED as u64]), Told::Again);
        assert_eq!(keys.add(&[pages * 100, pages * 100 - 1]), Told::Again);
    }

    #[test]
    fn a_key_that_is_none_is_no_shift() {
        let mut keys = Keys::default();
        assert_eq!([keys.add(&[1, 2]), keys.add(&[3, 4, 3]), keys.add(&[1])], [Told::New, Told::Useless, Told::New]);
    }
}
