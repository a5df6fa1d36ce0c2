//! The pages of a lane: partition after partition, in order, with the next requests under way while a page is used.

use super::error::RestError;
use super::paginate::{Lead, Seen};
use super::request::Request;
use super::spec::StreamSpec;
use super::template::Values;
use super::window::Window;
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::model::offset::{LaneId, Offset, PageCursor, Partition};
use crate::net::error::FetchError;
use crate::net::fetch::{Answer, Fetcher, Unreadable};
use crate::record::locate::{LocateError, Located};
use crate::record::page::Page;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A longer cursor or URL is no place in a list; it would have to be stored with every page.
const MAX_CURSOR: usize = 16 << 10;

/// Characters of a cursor that an error repeats.
const SHOWN_CURSOR: usize = 80;

/// Pages without records in a row that a cursor may lead through.
const MAX_EMPTY: u32 = 10_000;

/// The most requests that run ahead, whatever `rate.concurrency` says.
const MAX_AHEAD: u32 = 64;

/// What reading a stream needs.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) source: Name,
    pub(super) stream: Name,
    pub(super) spec: Arc<StreamSpec>,
    pub(super) params: Arc<BTreeMap<String, String>>,
    pub(super) fetcher: Fetcher,
}

/// An answer and what was found in it.
type Fetched = Result<(Answer, Located), FetchError>;

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
    run: Run,
}

/// What is known of the partition being read; all of it can be learned again.
#[derive(Debug)]
struct Run {
    partition: u32,
    request: Arc<Request>,
    /// Pages with records since this partition was opened here.
    pages: u32,
    /// Pages without records in a row.
    empty: u32,
    /// The largest page so far.
    largest: u64,
    total: Option<u64>,
    loops: LoopCheck,
}

/// Finds a circle of cursors of any length in constant memory (Brent): one cursor is kept, and replaced after twice as
/// many steps each time.
#[derive(Debug, Default)]
struct LoopCheck {
    kept: Option<PageCursor>,
    steps: u32,
    limit: u32,
}

impl LoopCheck {
    /// Whether `cursor` was there before.
    fn seen(&mut self, cursor: &PageCursor) -> bool {
        if self.kept.as_ref() == Some(cursor) {
            return true;
        }
        self.steps += 1;
        if self.steps >= self.limit {
            self.limit = self.limit.saturating_mul(2).max(1);
            self.steps = 0;
            self.kept = Some(cursor.clone());
        }
        false
    }
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
            return Err(RestError::Offset { source_name: reader.source, stream: reader.stream });
        }
        let mut at = from;
        if at.cursor == PageCursor::End && has_next(&partitions, lane, at.partition) {
            at = Offset { partition: at.partition + lane.of, cursor: PageCursor::Start, partition_records: 0, ..at };
        }
        let run = Run::open(&reader, &partitions, at.partition)?;
        Ok(Self { reader, partitions, lane, at, window: Window::new(), run })
    }

    /// The next page, as [`PageStream::next`](crate::sources::PageStream::next) says.
    pub async fn next(&mut self) -> Result<Option<Page>, RestError> {
        if self.at.cursor == PageCursor::End || self.at.partition as usize >= self.partitions.len() {
            return Ok(None);
        }
        self.fill()?;
        // Until here comes back nothing is taken out of the window, so that a dropped call loses nothing.
        let fetched = self.window.front().await.ok_or_else(|| self.died())?;
        let (answer, located) =
            fetched.map_err(|error| RestError::read(&self.reader.source, &self.reader.stream, error))?;
        let page = self.turn(answer, located)?;
        // The next requests start before this page is used. What is wrong with them is told by the next call.
        let _ = self.fill();
        Ok(Some(page))
    }

    fn died(&self) -> RestError {
        RestError::Died { source_name: self.reader.source.clone(), stream: self.reader.stream.clone() }
    }

    /// Takes a page: moves the lane on, and makes the page that says so.
    fn turn(&mut self, answer: Answer, located: Located) -> Result<Page, RestError> {
        let records = located.records.len() as u64;
        let partition_records = self.at.partition_records + records;
        let mut seen =
            Seen { headers: &answer.headers, body: &answer.body, located: &located, partition_records, total: None };
        let spec = &self.reader.spec;
        let total = spec.total.as_ref().and_then(|place| place.read(&seen).ok().flatten());
        seen.total = total.and_then(|text| text.parse::<u64>().ok());
        let total = seen.total;
        let lead = spec.pager.next(&self.at.cursor, &seen).map_err(|reason| self.no_next(reason))?;
        let cursor = match lead {
            Lead::End => PageCursor::End,
            Lead::Cursor(cursor) => cursor,
            Lead::Reference(reference) => self.resolve(&answer, &reference)?,
        };
        self.check_progress(&cursor, records)?;
        let before = self.at.clone();
        let mut after = Offset {
            partition: before.partition,
            cursor,
            pages: before.pages + 1,
            records: before.records + records,
            partition_records,
        };
        self.run.note(records, total);
        if after.cursor == PageCursor::End && has_next(&self.partitions, self.lane, after.partition) {
            after = Offset {
                partition: after.partition + self.lane.of,
                cursor: PageCursor::Start,
                partition_records: 0,
                ..after
            };
        }
        self.at = after.clone();
        Ok(Page {
            body: answer.body,
            records: located.records,
            offset_before: before,
            offset_after: after,
            total,
            permit: None,
        })
    }

    /// The absolute URL of the next page, judged, and without anything secret that the server wrote into it.
    fn resolve(&self, answer: &Answer, reference: &str) -> Result<PageCursor, RestError> {
        let fetcher = &self.reader.fetcher;
        let (mut url, _) = fetcher.origins.follow(&answer.url, reference).map_err(|cause| RestError::Leave {
            source_name: self.reader.source.clone(),
            stream: self.reader.stream.clone(),
            cause,
        })?;
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
        RestError::Next { source_name: self.reader.source.clone(), stream: self.reader.stream.clone(), reason }
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
        self.window.keep_if_front(&here);
        let width = self.width();
        while self.window.len() < width {
            let key = match self.window.last() {
                None => here.clone(),
                Some((partition, cursor)) => match self.reader.spec.pager.guess(cursor) {
                    Some(guess) if self.within_total(&guess) => (*partition, guess),
                    _ => break,
                },
            };
            self.start(key)?;
        }
        Ok(())
    }

    fn start(&mut self, key: Key) -> Result<(), RestError> {
        let (source, stream) = (&self.reader.source, &self.reader.stream);
        let spec = self.reader.spec.clone();
        let ask = self.run.request.ask(&spec.pager, &key.1);
        let foreign = || RestError::Offset { source_name: source.clone(), stream: stream.clone() };
        let ask = ask.ok_or_else(foreign)?;
        let fetcher = self.reader.fetcher.clone();
        self.window.push(key, async move { fetcher.fetch(&ask, |answer| locate(&spec, answer)).await });
        Ok(())
    }

    /// How many requests may be under way: it doubles with each page, so that a short list costs few in vain.
    fn width(&self) -> usize {
        let spec = &self.reader.spec;
        let total_unknown = spec.total.is_some() && self.run.total.is_none();
        if !spec.pager.addressable() || total_unknown {
            return 1;
        }
        let ramp = 1 << self.run.pages.min(MAX_AHEAD.ilog2());
        self.reader.fetcher.limiter.concurrency().min(ramp).clamp(1, MAX_AHEAD) as usize
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

impl Run {
    fn open(reader: &Reader, partitions: &[Partition], partition: u32) -> Result<Self, RestError> {
        let values = partitions.get(partition as usize).map(|partition| &partition.values);
        let request = match values {
            Some(values) => Request::render(&reader.spec, &Values::new(&reader.params, values))
                .map_err(|at| at.below(&format!("streams.{}", reader.stream)).error(&reader.source))?,
            // A lane without partitions asks for nothing.
            None => Request::nothing(&reader.spec),
        };
        let (pages, empty, largest) = (0, 0, 1);
        let request = Arc::new(request);
        Ok(Self { partition, request, pages, empty, largest, total: None, loops: LoopCheck::default() })
    }

    fn note(&mut self, records: u64, total: Option<u64>) {
        self.pages = self.pages.saturating_add(u32::from(records > 0));
        self.largest = self.largest.max(records);
        self.total = total;
    }
}

fn has_next(partitions: &[Partition], lane: LaneId, partition: u32) -> bool {
    partition.checked_add(lane.of).is_some_and(|next| (next as usize) < partitions.len())
}

/// What the stream looks for in an answer. No content is an answer without records.
fn locate(spec: &StreamSpec, answer: &Answer) -> Result<Located, Unreadable> {
    if answer.status == StatusCode::NO_CONTENT && answer.body.is_empty() {
        return Ok(Located { records: Vec::new(), values: Vec::new() });
    }
    spec.locator.locate(&answer.body).map_err(|error| {
        let cut = matches!(error, LocateError::Utf8(_) | LocateError::Json(_));
        let mut reason = Chain(&error).to_string();
        // A page for people, with status 200, is what many an API shows when it is ill.
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or("application/json").trim();
        if !kind.contains("json") && kind.len() < 60 {
            reason.push_str(&format!(" (it calls itself {kind:?})"));
        }
        Unreadable { reason, cut }
    })
}
