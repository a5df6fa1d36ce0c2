//! The pages of one partition, in order, with the next requests under way while a page is used.

mod ahead;

pub use ahead::{MAX_AHEAD, PAGES_AHEAD, Room};

mod checks;
mod compare;
mod content;
mod end;
mod order;

mod watch;

pub use watch::Watch;

use content::{Content, Reading, resolve};
use order::Doubt;

use super::error::RestError;
use super::paginate::{Lead, Seen};
use super::peek::Hint;
use super::run::Run;
use super::spec::StreamSpec;
use super::window::{Ended, Window};
use crate::base::ids::Name;
use crate::model::offset::{Offset, PageCursor};
use crate::model::partitions::Partitions;
use crate::net::error::FetchError;
use crate::net::fetch::{Answer, Fetcher};
use crate::net::judge::Verdict;
use crate::record::convert::Plan;
use crate::record::page::{Facts, Page};
use crate::record::transform::Rewritten;
use bytes::Bytes;
use saas_export_api::plural;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// What reading a stream needs.
#[derive(Debug)]
pub struct Reader {
    pub source: Name,
    pub stream: Name,
    pub spec: Arc<StreamSpec>,
    pub params: Arc<BTreeMap<String, String>>,
    pub fetcher: Fetcher,
    /// Whether a page of the stream led elsewhere than it seemed to before it was read.
    pub misled: AtomicBool,
    /// What records become, once that is known; and how many the page before had.
    pub plan: OnceLock<Arc<Plan>>,
    pub rows: AtomicUsize,
}

impl Reader {
    fn misled(&self) -> bool {
        self.misled.load(Ordering::Relaxed)
    }
}

/// An answer and what was found in it.
type Held = (Answer, Content);

/// How a request ended.
type Fetched = Result<Held, FetchError>;

fn weight(fetched: &Fetched) -> u64 {
    fetched.as_ref().map_or(0, |(answer, content)| {
        let rewritten = content.rewritten.as_ref().map_or(0, |rewritten| rewritten.body.len());
        let made = content.made.as_ref().map_or(0, |made| made.bytes);
        (answer.body.len() + rewritten) as u64 + made
    })
}

/// The pages of a partition, in order. Each is asked for again until it was taken once.
#[derive(Debug)]
pub struct PartitionPages {
    reader: Arc<Reader>,
    /// Where the page after the last of `ready` is; its pages and records count from where this was opened.
    at: Offset,
    window: Window<PageCursor, Fetched>,
    run: Run,
    /// Pages that are there, in order.
    ready: VecDeque<Page>,
    failed: Option<RestError>,
    /// What is to be found out before the page at hand is used.
    doubt: Doubt,
    /// Whether other partitions come after it: what may be asked in vain is then better asked of those.
    others: bool,
    /// Where the page under way probably leads.
    hint: Hint,
}

impl PartitionPages {
    /// Opens a partition at `at`. `finished` is told of each request that ends.
    pub fn open(
        reader: &Arc<Reader>,
        partitions: &Partitions,
        at: Offset,
        finished: &Arc<Notify>,
    ) -> Result<Self, RestError> {
        let run = Run::open(reader, partitions, at.partition)?;
        let (window, hint) = (Window::new(weight, finished.clone()), Hint::new(finished.clone()));
        let (reader, others) = (reader.clone(), partitions.len() > 1);
        let doubt = Doubt::None;
        let (ready, failed) = (VecDeque::new(), None);
        let mut pages = Self { reader, at, window, run, ready, failed, doubt, others, hint };
        pages.doubt = pages.doubt_at_start();
        Ok(pages)
    }

    /// Its index.
    pub fn partition(&self) -> u32 {
        self.at.partition
    }

    /// Pages that it had so far.
    pub fn pages(&self) -> u64 {
        self.at.pages
    }

    /// The next page, if it is there.
    pub fn take(&mut self) -> Option<Result<Page, RestError>> {
        match self.ready.pop_front() {
            Some(page) => Some(Ok(page)),
            // The next call asks again.
            None => self.failed.take().map(Err),
        }
    }

    /// Requests that have not ended.
    pub fn under_way(&self) -> usize {
        self.window.under_way()
    }

    /// The bytes that it holds, with each request under way taken for `expected` bytes.
    pub fn bytes(&self, expected: u64) -> u64 {
        self.ready.iter().map(Page::held_bytes).fold(self.window.bytes(expected), u64::saturating_add)
    }

    /// Bytes of its largest page so far.
    pub fn largest_bytes(&self) -> u64 {
        self.run.largest_bytes
    }

    /// Takes what has come and leads on, so that the next requests can be named.
    pub fn settle(&mut self) {
        while self.failed.is_none() && self.at.cursor != PageCursor::End {
            if self.window.drop_unless_front(&self.wanted()) {
                self.reader.misled.store(true, Ordering::Relaxed);
                // Pages of uneven size: one at a time, until some in a row are of the same size again.
                self.run.pages = 0;
                self.run.uneven = true;
            }
            let page = match self.window.take() {
                None => return,
                Some(Ended::Died) => Err(self.died()),
                Some(Ended::Done(fetched)) => self.came(fetched),
            };
            match page {
                Ok(page) => self.ready.extend(page),
                Err(error) => self.failed = Some(error),
            }
        }
        if self.at.cursor == PageCursor::End {
            // What was guessed behind the end is not waited for.
            self.window.drop_unless_front(&PageCursor::End);
        }
    }

    /// Takes what came for the page that was wanted; `None` where another page has to be seen first.
    fn came(&mut self, fetched: Fetched) -> Result<Option<Page>, RestError> {
        if matches!(self.doubt, Doubt::Before(_)) {
            return self.compare(fetched);
        }
        match fetched {
            Ok(held) => self.weigh(held),
            Err(error) if self.is_end(&error) => self.ended(&error),
            Err(error) if error.verdict() == Some(Verdict::Skip) => self.skip(&error).map(Some),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn died(&self) -> RestError {
        RestError::Died { source_name: self.reader.source.clone() }
    }

    /// Takes a page: finds where it leads, and moves there.
    fn turn(&mut self, (answer, content): Held) -> Result<Page, RestError> {
        let Content { located, rewritten, digest, identities, mut made } = content;
        let records = located.records.len() as u64;
        // An API that has gone on before gives an overlapping page again only where its records have moved that far.
        if self.overlap() == 0 || self.at.tail.is_none() || self.run.pages < 2 {
            self.check_repetition(records, digest)?;
        }
        self.check_order(&identities, records)?;
        let seen = Seen { headers: &answer.headers, body: &answer.body, located: &located };
        if let Some(total) = self.told_total(&seen) {
            self.run.total = Some(total);
        }
        let overlap = self.overlap();
        let lead =
            self.reader.spec.pager.next(&self.at.cursor, overlap, &seen).map_err(|reason| self.no_next(reason))?;
        let cursor = match lead {
            Lead::End => PageCursor::End,
            Lead::Cursor(cursor) => cursor,
            Lead::Reference(reference) => resolve(&self.reader, &self.run.request, &answer, &reference)?,
        };
        self.check_progress(&cursor, records)?;
        let columns = made.as_ref().map_or(0, |made| made.bytes);
        self.run.note(records, answer.body.len() as u64 + columns, digest);
        self.run.skipped = 0;
        let (body, mut records, mut facts) = match rewritten {
            None => (answer.body, located.records, Facts { compact: located.compact, utf8: true, digest }),
            Some(rewritten) => {
                self.note_casts(&rewritten);
                (rewritten.body, rewritten.records, Facts::default())
            }
        };
        if records.drain(..records.len().min(overlap as usize)).len() > 0 {
            facts.digest = None;
            made = None;
        }
        let tail = self.tail(identities, records.len());
        self.doubt = self.doubt_of_end(&cursor);
        let page = self.advance((body, records, facts), cursor, tail)?;
        Ok(Page { made, ..page })
    }

    /// Says in the task's report which casts left values as they were.
    fn note_casts(&self, rewritten: &Rewritten) {
        for cast in &rewritten.stayed {
            if let Some(transform) = &self.reader.spec.transform {
                self.reader.fetcher.stats.note(self.reader.stream.as_str(), transform.note(*cast));
            }
        }
    }

    /// Moves on, and makes the page that says so.
    fn advance(
        &mut self,
        (body, records, facts): (Bytes, Vec<Range<u32>>, Facts),
        cursor: PageCursor,
        tail: Option<String>,
    ) -> Result<Page, RestError> {
        let max_pages = self.reader.spec.max_pages;
        self.run.read += 1;
        if self.run.read >= max_pages && cursor != PageCursor::End {
            let key = format!("streams.{}.max_pages", self.reader.stream);
            return Err(self.no_next(format!(
                "it leads on behind {max_pages} {} of one partition (`{key}`)",
                plural(max_pages, "page")
            )));
        }
        let before = self.at.clone();
        let after = before.behind(cursor, records.len() as u64, tail);
        let total = self.run.total;
        let page =
            Page { body, records, facts, offset_before: before, offset_after: after, total, made: None, permit: None };
        if let Some((came, total)) = page.shortfall().filter(|_| self.reader.spec.exact_total) {
            let (source_name, stream) = (self.reader.source.clone(), self.reader.stream.clone());
            return Err(RestError::Short { source_name, stream, partition: self.at.partition, came, total });
        }
        self.at = page.offset_after.clone();
        Ok(page)
    }

    /// Records in all, if this page says so. What cannot be read is told in the task's report: it only serves progress.
    fn told_total(&self, seen: &Seen<'_>) -> Option<u64> {
        let text = self.reader.spec.total.as_ref()?.read(seen).transpose()?;
        let total = text.ok().and_then(|text| text.parse().ok());
        if total.is_none() {
            let key = format!("sources.{}.rest.streams.{}.total", self.reader.source, self.reader.stream);
            let note =
                format!("`{key}` leads to a value that is no whole number: progress cannot say how much is left");
            self.reader.fetcher.stats.note(self.reader.stream.as_str(), note);
        }
        total
    }

    fn no_next(&self, reason: String) -> RestError {
        RestError::Next { source_name: self.reader.source.clone(), reason }
    }

    fn start(&mut self, cursor: PageCursor) -> Result<(), RestError> {
        let spec = self.reader.spec.clone();
        let overlap = if matches!(self.doubt, Doubt::End(_)) { 0 } else { spec.pager.overlap(&cursor) };
        let ask = self.run.request.ask(&spec.pager, &cursor, overlap);
        let foreign = || RestError::Offset { source_name: self.reader.source.clone() };
        let ask = ask.ok_or_else(foreign)?;
        let (reader, request) = (self.reader.clone(), self.run.request.clone());
        let hint = (!self.reader.misled()).then(|| self.hint.clone());
        let told = AtomicBool::new(false);
        let reading = Arc::new(Reading { reader: reader.clone(), request, cursor: cursor.clone(), hint, told });
        let fetch = async move {
            let read = |answer| reading.clone().read(answer);
            reader.fetcher.fetch(&ask, &|answer| reading.begun(answer), read).await
        };
        self.window.push(cursor, fetch);
        Ok(())
    }
}
