//! The pages of one partition, in order, with the next requests under way while a page is used.

mod ahead;

pub use ahead::{MAX_AHEAD, PAGES_AHEAD, Room};

use super::error::RestError;
use super::paginate::{Lead, Seen};
use super::request::Request;
use super::run::{Run, digest};
use super::spec::StreamSpec;
use super::window::{Ended, Window};
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::model::offset::{Offset, PageCursor};
use crate::model::partitions::Partitions;
use crate::net::error::FetchError;
use crate::net::fetch::{Answer, Fetcher, Unreadable};
use crate::record::locate::{LocateError, Located};
use crate::record::page::Page;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Notify;

/// A longer cursor or URL is no place in a list; it would have to be stored with every page.
const MAX_CURSOR: usize = 16 << 10;

/// Characters of a cursor that an error repeats.
const SHOWN_CURSOR: usize = 80;

/// Pages without records in a row that a cursor may lead through.
const MAX_EMPTY: u32 = 10_000;

/// What reading a stream needs.
#[derive(Debug)]
pub struct Reader {
    pub source: Name,
    pub stream: Name,
    pub spec: Arc<StreamSpec>,
    pub params: Arc<BTreeMap<String, String>>,
    pub fetcher: Fetcher,
}

/// What was found in an answer.
#[derive(Debug)]
struct Content {
    located: Located,
    /// Body and records with the included fields, where there are any.
    rewritten: Option<(Bytes, Vec<Range<u32>>)>,
    /// Digest of the records, where it is asked for.
    digest: Option<u64>,
}

/// An answer and what was found in it.
type Fetched = Result<(Answer, Content), FetchError>;

fn weight(fetched: &Fetched) -> u64 {
    let bytes = |(answer, content): &(Answer, Content)| {
        answer.body.len() + content.rewritten.as_ref().map_or(0, |(body, _)| body.len())
    };
    fetched.as_ref().map_or(0, |fetched| bytes(fetched) as u64)
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
    /// Whether other partitions come after it: what may be asked in vain is then better asked of those.
    others: bool,
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
        let window = Window::new(weight, finished.clone());
        let (reader, others) = (reader.clone(), partitions.len() > 1);
        Ok(Self { reader, at, window, run, ready: VecDeque::new(), failed: None, others })
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
        self.ready.iter().map(|page| page.body.len() as u64).fold(self.window.bytes(expected), u64::saturating_add)
    }

    /// Bytes of its largest page so far.
    pub fn largest_bytes(&self) -> u64 {
        self.run.largest_bytes
    }

    /// Takes what has come and leads on, so that the next requests can be named.
    pub fn settle(&mut self) {
        while self.failed.is_none() && self.at.cursor != PageCursor::End {
            if self.window.drop_unless_front(&self.at.cursor) {
                // Pages of uneven size: one at a time, until some in a row are of the same size again.
                self.run.pages = 0;
                self.run.uneven = true;
            }
            let page = match self.window.take() {
                None => return,
                Some(Ended::Died) => Err(self.died()),
                Some(Ended::Done(Ok((answer, content)))) => self.turn(answer, content),
                Some(Ended::Done(Err(error))) if self.is_end(&error) => {
                    Ok(self.advance(Bytes::new(), Vec::new(), PageCursor::End))
                }
                Some(Ended::Done(Err(error))) => Err(self.failed(error)),
            };
            match page {
                Ok(page) => self.ready.push_back(page),
                Err(error) => self.failed = Some(error),
            }
        }
        if self.at.cursor == PageCursor::End {
            // What was guessed behind the end is not waited for.
            self.window.drop_unless_front(&PageCursor::End);
        }
    }

    fn died(&self) -> RestError {
        RestError::Died { source_name: self.reader.source.clone() }
    }

    /// Whether the API says by a failure that there are no more pages.
    fn is_end(&self, error: &FetchError) -> bool {
        let FetchError::Status { status, .. } = error else { return false };
        self.reader.spec.pager.ends_with(&self.at.cursor, status.as_u16())
    }

    fn failed(&self, error: FetchError) -> RestError {
        let pager = &self.reader.spec.pager;
        let behind = (pager.addressable() && self.at.cursor != PageCursor::Start).then(|| pager.kind());
        RestError::read(&self.reader.source, &self.reader.stream, behind, error)
    }

    /// Takes a page: finds where it leads, and moves there.
    fn turn(&mut self, answer: Answer, content: Content) -> Result<Page, RestError> {
        let Content { located, rewritten, digest } = content;
        let records = located.records.len() as u64;
        if records > 0 && digest.is_some() && digest == self.run.digest {
            return Err(self.no_next(self.repeated()));
        }
        let seen = Seen { headers: &answer.headers, body: &answer.body, located: &located };
        if let Some(total) = self.told_total(&seen) {
            self.run.total = Some(total);
        }
        let lead = self.reader.spec.pager.next(&self.at.cursor, &seen).map_err(|reason| self.no_next(reason))?;
        let cursor = match lead {
            Lead::End => PageCursor::End,
            Lead::Cursor(cursor) => cursor,
            Lead::Reference(reference) => self.resolve(&answer, &reference)?,
        };
        self.check_progress(&cursor, records)?;
        self.run.note(records, answer.body.len() as u64, digest);
        let (body, records) = rewritten.unwrap_or((answer.body, located.records));
        Ok(self.advance(body, records, cursor))
    }

    /// Moves on, and makes the page that says so.
    fn advance(&mut self, body: Bytes, records: Vec<Range<u32>>, cursor: PageCursor) -> Page {
        let (before, count) = (self.at.clone(), records.len() as u64);
        let after = Offset {
            partition: before.partition,
            cursor,
            pages: before.pages + 1,
            records: before.records + count,
            partition_records: before.partition_records + count,
        };
        self.at = after.clone();
        Page { body, records, offset_before: before, offset_after: after, total: self.run.total, permit: None }
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

    fn repeated(&self) -> String {
        let at = format!("`streams.{}.paginate.{}`", self.reader.stream, self.reader.spec.pager.kind());
        format!(
            "page {} has the same records as the page before it: either the API does not know the parameters of {at} \
             (check their names), or it repeats its last page for ever (then another paginator is needed, e.g. link, \
             next_url or cursor)",
            self.at.pages + 1
        )
    }

    /// The absolute URL of the next page, judged, and without anything secret that the server wrote into it.
    fn resolve(&self, answer: &Answer, reference: &str) -> Result<PageCursor, RestError> {
        let fetcher = &self.reader.fetcher;
        let (mut url, _) = fetcher
            .origins
            .follow(&answer.url, reference)
            .map_err(|cause| RestError::Leave { source_name: self.reader.source.clone(), cause })?;
        self.run.request.private.strip(&mut url);
        if fetcher.mask.finds(url.as_str()) {
            return Err(self.no_next("its URL has a credential of ours in it, which must not be stored".to_owned()));
        }
        Ok(PageCursor::Url(url.into()))
    }

    /// Refuses what would never end.
    fn check_progress(&mut self, cursor: &PageCursor, records: u64) -> Result<(), RestError> {
        let shown = match cursor {
            PageCursor::Token(token) => format!("the cursor {:?}", self.reader.fetcher.mask.clean(token, SHOWN_CURSOR)),
            PageCursor::Url(url) => {
                // Not its query: that is where keys and customers' names are.
                let path = url.split(['?', '#']).next().unwrap_or_default();
                format!("the URL {:?}", self.reader.fetcher.mask.clean(path, SHOWN_CURSOR))
            }
            _ => return Ok(()),
        };
        let long = matches!(cursor, PageCursor::Token(text) | PageCursor::Url(text) if text.len() > MAX_CURSOR);
        if long {
            return Err(self.no_next(format!("{shown} is longer than {MAX_CURSOR} bytes")));
        }
        let same_url = matches!(cursor, PageCursor::Url(url) if self.at.cursor == PageCursor::Start && *url == self.run.request.url.as_str());
        if *cursor == self.at.cursor || same_url || self.run.loops.seen(cursor) {
            return Err(self.no_next(format!("{shown} comes again: the pages lead round in a circle")));
        }
        self.run.empty = if records == 0 { self.run.empty + 1 } else { 0 };
        if self.run.empty > MAX_EMPTY {
            return Err(self.no_next(format!("{MAX_EMPTY} pages in a row had no records")));
        }
        Ok(())
    }

    fn no_next(&self, reason: String) -> RestError {
        RestError::Next { source_name: self.reader.source.clone(), reason }
    }

    fn start(&mut self, cursor: PageCursor) -> Result<(), RestError> {
        let spec = self.reader.spec.clone();
        let ask = self.run.request.ask(&spec.pager, &cursor);
        let foreign = || RestError::Offset { source_name: self.reader.source.clone() };
        let ask = ask.ok_or_else(foreign)?;
        let (fetcher, request) = (self.reader.fetcher.clone(), self.run.request.clone());
        let fetch = async move { fetcher.fetch(&ask, |answer| locate(&spec, &request, answer)).await };
        self.window.push(cursor, fetch);
        Ok(())
    }
}

/// What the stream looks for in an answer. No content is an answer without records.
fn locate(spec: &StreamSpec, request: &Request, answer: &Answer) -> Result<Content, Unreadable> {
    if answer.status == StatusCode::NO_CONTENT && answer.body.is_empty() {
        let located = Located { records: Vec::new(), values: Vec::new() };
        return Ok(Content { located, rewritten: None, digest: None });
    }
    let located = spec.locator.locate(&answer.body).map_err(|error| unreadable(answer, &error))?;
    // Only there does nothing but the records tell one page from the next.
    let digest = spec.pager.addressable().then(|| {
        let slice = |range: &Range<u32>| answer.body.get(range.start as usize..range.end as usize).unwrap_or_default();
        digest(located.records.iter().map(slice))
    });
    let rewritten = request.include.as_ref().map(|include| include.add(&answer.body, &located.records));
    Ok(Content { located, rewritten, digest })
}

fn unreadable(answer: &Answer, error: &LocateError) -> Unreadable {
    let cut = matches!(error, LocateError::Utf8(_) | LocateError::Json(_));
    let mut reason = Chain(error).to_string();
    // A page for people, with status 200, is what many an API shows when it is ill.
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or("application/json").trim();
    if !kind.contains("json") && kind.len() < 60 {
        reason.push_str(&format!(" (it calls itself {kind:?})"));
    }
    Unreadable { reason, cut }
}
