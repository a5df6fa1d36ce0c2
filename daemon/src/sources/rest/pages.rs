//! The pages of a lane: partition after partition, in order, with the next requests under way while a page is used.

use super::error::RestError;
use super::paginate::{Lead, Seen};
use super::run::{Run, digest};
use super::spec::StreamSpec;
use super::window::Window;
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::model::offset::{LaneId, Offset, PageCursor, Partition};
use crate::net::error::FetchError;
use crate::net::fetch::{Answer, Fetcher, Unreadable};
use crate::record::locate::{LocateError, Located};
use crate::record::page::Page;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A longer cursor or URL is no place in a list; it would have to be stored with every page.
const MAX_CURSOR: usize = 16 << 10;

/// Characters of a cursor that an error repeats.
const SHOWN_CURSOR: usize = 80;

/// Pages without records in a row that a cursor may lead through.
const MAX_EMPTY: u32 = 10_000;

/// The most bytes of pages that are read ahead, unless somebody says otherwise.
const READ_AHEAD: u64 = 32_000_000;

/// The most requests that run ahead, whatever `rate.concurrency` says.
const MAX_AHEAD: u32 = 64;

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
    /// Digest of the records, where it is asked for.
    digest: Option<u64>,
}

/// An answer and what was found in it.
type Fetched = Result<(Answer, Content), FetchError>;

fn weight(fetched: &Fetched) -> u64 {
    fetched.as_ref().map_or(0, |(answer, _)| answer.body.len() as u64)
}

/// Partition and cursor: what a request asks for.
type Key = (u32, PageCursor);

/// The pages of a lane. Each is asked for again until it was handed out once.
#[derive(Debug)]
pub struct RestPages {
    reader: Reader,
    partitions: Arc<[Partition]>,
    lane: LaneId,
    at: Offset,
    window: Window<Key, Fetched>,
    /// The most bytes that the window may hold beside its front.
    ahead: u64,
    run: Run,
}

impl RestPages {
    /// Opens a lane at `from`.
    pub(super) fn open(
        reader: Reader,
        partitions: Arc<[Partition]>,
        lane: LaneId,
        from: Offset,
    ) -> Result<Self, RestError> {
        if lane.of == 0 || lane.lane >= lane.of || from.partition % lane.of != lane.lane {
            return Err(RestError::Offset { source_name: reader.source });
        }
        let mut at = from;
        if at.cursor == PageCursor::End && has_next(&partitions, lane, at.partition) {
            at = Offset { partition: at.partition + lane.of, cursor: PageCursor::Start, partition_records: 0, ..at };
        }
        let run = Run::open(&reader, &partitions, at.partition)?;
        let window = Window::new(weight);
        Ok(Self { reader, partitions, lane, at, window, ahead: READ_AHEAD / u64::from(lane.of), run })
    }

    /// Bounds the pages read ahead by `bytes` for all lanes of the stream together. The page that is wanted next is not
    /// counted: it must come, whatever its size.
    #[must_use]
    pub fn within(mut self, bytes: u64) -> Self {
        self.ahead = bytes / u64::from(self.lane.of);
        self
    }

    /// The next page, as [`PageStream::next`](crate::sources::PageStream::next) says.
    pub async fn next(&mut self) -> Result<Option<Page>, RestError> {
        let page = self.take().await?;
        // The next requests start before this page is used. What is wrong with them is told by the next call.
        let _ = self.fill();
        Ok(page)
    }

    /// The next page alone: nothing behind it is asked for unless it could be foreseen before.
    pub async fn take(&mut self) -> Result<Option<Page>, RestError> {
        if self.at.cursor == PageCursor::End || self.at.partition as usize >= self.partitions.len() {
            return Ok(None);
        }
        self.fill()?;
        // Until here comes back nothing is taken out of the window, so that a dropped call loses nothing.
        let fetched = self.window.front().await.ok_or_else(|| self.died())?;
        let page = match fetched {
            Ok((answer, content)) => self.turn(answer, content)?,
            Err(error) if self.is_end(&error) => self.advance(Bytes::new(), Vec::new(), PageCursor::End),
            Err(error) => return Err(self.failed(error)),
        };
        Ok(Some(page))
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

    /// Takes a page: finds where it leads, and moves the lane there.
    fn turn(&mut self, answer: Answer, content: Content) -> Result<Page, RestError> {
        let Content { located, digest } = content;
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
        Ok(self.advance(answer.body, located.records, cursor))
    }

    /// Moves the lane on, and makes the page that says so.
    fn advance(&mut self, body: Bytes, records: Vec<Range<u32>>, cursor: PageCursor) -> Page {
        let (before, count) = (self.at.clone(), records.len() as u64);
        let mut after = Offset {
            partition: before.partition,
            cursor,
            pages: before.pages + 1,
            records: before.records + count,
            partition_records: before.partition_records + count,
        };
        if after.cursor == PageCursor::End && has_next(&self.partitions, self.lane, after.partition) {
            after = Offset {
                partition: after.partition + self.lane.of,
                cursor: PageCursor::Start,
                partition_records: 0,
                ..after
            };
        }
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

    /// Starts the request for the page at hand, and as many behind it as the paginator can name and the limits allow.
    fn fill(&mut self) -> Result<(), RestError> {
        if self.at.cursor == PageCursor::End || self.at.partition as usize >= self.partitions.len() {
            return Ok(());
        }
        if self.run.partition != self.at.partition {
            self.run = Run::open(&self.reader, &self.partitions, self.at.partition)?;
        }
        let here = (self.at.partition, self.at.cursor.clone());
        if self.window.drop_unless_front(&here) {
            // Pages of uneven size: one at a time, until some in a row are of the same size again.
            self.run.pages = 0;
        }
        let width = self.width();
        while self.window.len() < width {
            let key = match self.window.last() {
                None => here.clone(),
                Some(_) if !self.has_room() => break,
                Some((partition, cursor)) => match self.reader.spec.pager.guess(cursor, self.run.last) {
                    Some(guess) if self.within_total(&guess) => (*partition, guess),
                    _ => break,
                },
            };
            self.start(key)?;
        }
        Ok(())
    }

    fn start(&mut self, key: Key) -> Result<(), RestError> {
        let spec = self.reader.spec.clone();
        let ask = self.run.request.ask(&spec.pager, &key.1);
        let foreign = || RestError::Offset { source_name: self.reader.source.clone() };
        let ask = ask.ok_or_else(foreign)?;
        let fetcher = self.reader.fetcher.clone();
        self.window.push(key, async move { fetcher.fetch(&ask, |answer| locate(&spec, answer)).await });
        Ok(())
    }

    /// How many requests may be under way: it doubles with each page, so that a short list costs few in vain.
    fn width(&self) -> usize {
        if !self.reader.spec.pager.addressable() {
            return 1;
        }
        let ramp = 1 << self.run.pages.min(MAX_AHEAD.ilog2());
        self.reader.fetcher.limiter.concurrency().min(ramp).clamp(1, MAX_AHEAD) as usize
    }

    /// Whether one request more may run ahead: no page is expected to be larger than the largest so far.
    fn has_room(&self) -> bool {
        let largest = self.run.largest_bytes;
        self.window.bytes(largest).saturating_add(largest) <= self.ahead
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

fn has_next(partitions: &[Partition], lane: LaneId, partition: u32) -> bool {
    partition.checked_add(lane.of).is_some_and(|next| (next as usize) < partitions.len())
}

/// What the stream looks for in an answer. No content is an answer without records.
fn locate(spec: &StreamSpec, answer: &Answer) -> Result<Content, Unreadable> {
    if answer.status == StatusCode::NO_CONTENT && answer.body.is_empty() {
        return Ok(Content { located: Located { records: Vec::new(), values: Vec::new() }, digest: None });
    }
    let located = spec.locator.locate(&answer.body).map_err(|error| unreadable(answer, &error))?;
    // Only there does nothing but the records tell one page from the next.
    let digest = spec.pager.addressable().then(|| {
        let slice = |range: &Range<u32>| answer.body.get(range.start as usize..range.end as usize).unwrap_or_default();
        digest(located.records.iter().map(slice))
    });
    Ok(Content { located, digest })
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
