//! What is found in an answer: its records, where it leads, and what the stream makes of them.

use super::super::error::RestError;
use super::super::paginate::{Lead, Pager};
use super::super::peek::{Hint, Peek};
use super::super::request::Request;
use super::super::spec::StreamSpec;
use super::{Held, Reader};
use crate::base::clock;
use crate::base::error::Chain;
use crate::metrics::METERS;
use crate::model::offset::PageCursor;
use crate::net::fetch::{Answer, Unreadable};
use crate::record::convert::{Eager, Made};
use crate::record::identity::Identities;
use crate::record::locate::{LocateError, Located};
use crate::record::page::digest;
use crate::record::transform::Rewritten;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a body from which on it is read on the pool: about a tenth of a millisecond. The programs that tests kill, whose
/// pages are small, go the same way.
const LARGE: usize = if cfg!(debug_assertions) { 1 << 10 } else { 128 << 10 };

/// What was found in an answer.
#[derive(Debug)]
pub struct Content {
    pub located: Located,
    /// The records with the fields of their parent and transformed, where that is to be done.
    pub rewritten: Option<Rewritten>,
    /// Digest of the records, where it is asked for.
    pub digest: Option<u64>,
    /// Which records they are, where pages are counted.
    pub identities: Identities,
    /// What they became, where they were converted on the way.
    pub made: Option<Box<Made>>,
}

impl Content {
    /// The records as they go on.
    pub fn raw_records<'a>(&'a self, answer: &'a Answer) -> impl Iterator<Item = &'a [u8]> {
        let (body, records) = match &self.rewritten {
            Some(rewritten) => (&rewritten.body, &rewritten.records),
            None => (&answer.body, &self.located.records),
        };
        records.iter().map(|range| body.get(range.start as usize..range.end as usize).unwrap_or_default())
    }
}

/// What it takes to read the answer to a request.
pub struct Reading {
    pub reader: Arc<Reader>,
    pub request: Arc<Request>,
    /// The page that was asked for.
    pub cursor: PageCursor,
    /// Who is told where the answer probably leads, before it is read; and whether that was done.
    pub hint: Option<Hint>,
    pub told: AtomicBool,
}

impl Reading {
    /// Looks up where an answer leads that has only its headers yet: the next request need not wait until its body is there.
    pub fn begun(&self, answer: &Answer) {
        if self.reader.spec.peek == Some(Peek::Headers) {
            self.look_up(answer);
        }
    }

    /// Reads an answer.
    pub async fn read(self: Arc<Self>, answer: Answer) -> Result<Held, Unreadable> {
        // Where the next request need not wait for what this answer says, it is read when its turn has come, and converted.
        let known = self.reader.spec.pager.addressable() || self.look_up(&answer);
        let Some(pool) = self.reader.fetcher.pool.clone().filter(|_| answer.body.len() >= LARGE) else {
            return self.found(answer, false);
        };
        let read = match known && self.is_plain() {
            true => pool.run(move || self.found(answer, true)).await,
            false => pool.run_first(move || self.found(answer, false)).await,
        };
        read.unwrap_or_else(|lost| {
            Err(Unreadable { reason: format!("reading it failed ({lost:?}): this is a bug"), cut: false })
        })
    }

    /// Whether it can be looked up where an answer leads; whoever starts requests is told once, or a second try would wipe out what
    /// a later page has told since.
    fn look_up(&self, answer: &Answer) -> bool {
        let Some(hint) = &self.hint else { return false };
        let Some(next) = lead(&self.reader, &self.request, &self.cursor, answer) else { return false };
        if !self.told.swap(true, Ordering::Relaxed) {
            hint.tell(self.cursor.clone(), next);
        }
        true
    }

    /// Whether records go on as they are found, with others under way beside them: then they may be converted on the way.
    fn is_plain(&self) -> bool {
        let Reader { plan, spec, fetcher, .. } = &*self.reader;
        let rewritten = spec.transform.is_some() || self.request.include.is_some();
        plan.get().is_some_and(|plan| Eager::serves(plan))
            && !rewritten
            && spec.locator.is_direct()
            && spec.pager.overlap(&self.cursor) == 0
            && fetcher.limiter.concurrency() > 1
    }

    fn found(&self, answer: Answer, convert: bool) -> Result<Held, Unreadable> {
        let made = if convert { self.convert(&answer) } else { None };
        let content = locate(&self.reader.spec, &self.request, &answer, made)?;
        Ok((answer, content))
    }

    /// Finds the records and converts them at once; not converted where one of them cannot be, nothing where it is no JSON.
    fn convert(&self, answer: &Answer) -> Option<(Located, Option<Made>)> {
        let Reader { plan, rows, spec, .. } = &*self.reader;
        let mut eager = Eager::new(plan.get()?, &answer.body, rows.load(Ordering::Relaxed))?;
        let began = clock::monotonic();
        let located = spec.locator.locate_and_take(&answer.body, &mut eager).ok()?;
        rows.store(located.records.len(), Ordering::Relaxed);
        let made = eager.finish(located.records.len());
        METERS.converting.add(clock::since(began));
        METERS.conversions.add(1);
        Some((located, made))
    }
}

/// The absolute URL of the next page, judged, and without anything secret that the server wrote into it.
pub fn resolve(reader: &Reader, request: &Request, answer: &Answer, reference: &str) -> Result<PageCursor, RestError> {
    let fetcher = &reader.fetcher;
    let (mut url, _) = fetcher
        .origins
        .follow(&answer.url, reference)
        .map_err(|cause| RestError::Leave { source_name: reader.source.clone(), cause })?;
    request.private.strip(&mut url);
    if fetcher.mask.finds(url.as_str()) {
        let reason = "its URL has a credential of ours in it, which must not be stored".to_owned();
        return Err(RestError::Next { source_name: reader.source.clone(), reason });
    }
    Ok(PageCursor::Url(url.into()))
}

/// Where an answer probably leads, told before it is read.
fn lead(reader: &Reader, request: &Request, cursor: &PageCursor, answer: &Answer) -> Option<PageCursor> {
    match reader.spec.peek.as_ref()?.lead(&reader.spec.pager, cursor, answer)? {
        Lead::End => None,
        Lead::Cursor(cursor) => Some(cursor),
        Lead::Reference(reference) => resolve(reader, request, answer, &reference).ok(),
    }
}

/// What the stream looks for in an answer. No content is an answer without records.
fn locate(
    spec: &StreamSpec,
    request: &Request,
    answer: &Answer,
    converted: Option<(Located, Option<Made>)>,
) -> Result<Content, Unreadable> {
    if answer.status == StatusCode::NO_CONTENT && answer.body.is_empty() {
        let located = Located { records: Vec::new(), values: Vec::new(), compact: true };
        return Ok(Content { located, rewritten: None, digest: None, identities: Identities::default(), made: None });
    }
    let (located, made) = match converted {
        Some((located, made)) => (located, made.map(Box::new)),
        None => (spec.locator.locate(&answer.body).map_err(|error| unreadable(answer, &error))?, None),
    };
    if let Some(sum) = &spec.sum {
        sum.check(answer, &located)?;
    }
    let digest = (spec.pager != Pager::None).then(|| {
        let slice = |range: &Range<u32>| answer.body.get(range.start as usize..range.end as usize).unwrap_or_default();
        digest(located.records.iter().map(slice))
    });
    let rewritten = rewrite(spec, request, answer, &located)?;
    let mut content = Content { identities: Identities::default(), located, rewritten, digest, made };
    if let Some(identity) = &spec.identity {
        content.identities = identity.page(content.raw_records(answer));
    }
    Ok(content)
}

/// The records with the fields of their parent, as the transformation leaves them. The paginator looks at the answer as it
/// came.
fn rewrite(
    spec: &StreamSpec,
    request: &Request,
    answer: &Answer,
    located: &Located,
) -> Result<Option<Rewritten>, Unreadable> {
    let included = request.include.as_ref().map(|include| {
        let (body, records) = include.add(&answer.body, &located.records);
        Rewritten { body, records, stayed: Vec::new() }
    });
    let Some(transform) = &spec.transform else { return Ok(included) };
    let (body, records) = match &included {
        Some(included) => (&included.body, &included.records),
        None => (&answer.body, &located.records),
    };
    let transformed = transform.page(body, records);
    transformed.map(Some).map_err(|error| Unreadable { reason: Chain(&error).to_string(), cut: false })
}

fn unreadable(answer: &Answer, error: &LocateError) -> Unreadable {
    let cut = matches!(error, LocateError::Empty | LocateError::Utf8(_) | LocateError::Json(_));
    let mut reason = Chain(error).to_string();
    // A page for people, with status 200, is what many an API shows when it is ill.
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or("application/json").trim();
    if !kind.contains("json") && kind.len() < 60 {
        reason.push_str(&format!(" (it calls itself {kind:?})"));
    }
    Unreadable { reason, cut }
}
