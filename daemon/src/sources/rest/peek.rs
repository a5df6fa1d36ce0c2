//! Where an answer leads, looked up before it is read: the next request is on its way while the records of this one are found, or,
//! where headers say it, while its body is still coming.
//!
//! What is found is a guess. The answer is read from its start all the same, and a request that was guessed wrong is dropped.

use super::paginate::{Lead, Pager, Place, Seen};
use crate::model::offset::PageCursor;
use crate::net::fetch::Answer;
use crate::record::json::Scanner;
use crate::record::locate::Located;
use memchr::memmem;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Bytes at the end of a body, and at its start, in which the value is looked for.
const NEAR: usize = 1024;

/// How it is looked up where a paginator's next page stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Peek {
    /// In the headers.
    Headers,
    /// In the body: the slot of the locator, and the key before the value, quotes included.
    Body(usize, Vec<u8>),
}

impl Peek {
    /// For a paginator whose answers say where the next page is; `paths` are the locator's.
    pub fn of(pager: &Pager, paths: &[String]) -> Option<Self> {
        match pager {
            Pager::Link { .. } => Some(Self::Headers),
            Pager::Cursor { from, .. } | Pager::NextUrl { from } => match from {
                Place::Header(_) => Some(Self::Headers),
                Place::Slot(slot) => Some(Self::Body(*slot, key(paths.get(*slot)?)?)),
            },
            Pager::None | Pager::Page { .. } | Pager::Offset { .. } => None,
        }
    }

    /// Where the answer to the request for the page at `cursor` probably leads.
    pub fn lead(&self, pager: &Pager, cursor: &PageCursor, answer: &Answer) -> Option<Lead> {
        let values = match self {
            Self::Headers => Vec::new(),
            Self::Body(slot, key) => {
                let mut values = vec![None; slot + 1];
                values[*slot] = Some(value(&answer.body, key)?);
                values
            }
        };
        let located = Located { records: Vec::new(), values, compact: false };
        let seen = Seen { headers: &answer.headers, body: &answer.body, located: &located };
        pager.next(cursor, 0, &seen).ok()
    }
}

/// The last key on the way of a JSONPath of plain names, such as `$.meta.next`.
fn key(path: &str) -> Option<Vec<u8>> {
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let names = path.strip_prefix("$.")?;
    names.split('.').all(plain).then(|| format!("\"{}\"", names.rsplit('.').next().unwrap_or(names)).into_bytes())
}

/// The value behind the last such key near the end of the body, or else behind the first one near its start.
fn value(body: &[u8], key: &[u8]) -> Option<Range<u32>> {
    let end = body.len().saturating_sub(NEAR);
    let at = memmem::rfind(body.get(end..)?, key).map(|at| end + at);
    let at = at.or_else(|| memmem::find(body.get(..NEAR.min(body.len()))?, key))?;
    let mut scanner = Scanner::new(body);
    scanner.advance(at + key.len());
    scanner.colon().ok()?;
    let range = scanner.skip_value().ok()?;
    Some(u32::try_from(range.start).ok()?..u32::try_from(range.end).ok()?)
}

/// What was looked up of a page, for whoever starts the requests.
#[derive(Clone, Debug)]
pub struct Hint {
    found: Arc<Mutex<Option<(PageCursor, PageCursor)>>>,
    told: Arc<Notify>,
}

impl Hint {
    /// Nothing yet; `told` is told of each.
    pub fn new(told: Arc<Notify>) -> Self {
        Self { found: Arc::default(), told }
    }

    /// The page at the first cursor probably leads to the second one.
    pub fn tell(&self, page: PageCursor, next: PageCursor) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((page, next));
        self.told.notify_one();
    }

    /// Where the page at `cursor` probably leads, if that was told and not asked before.
    pub fn take(&self, cursor: &PageCursor) -> Option<PageCursor> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.take_if(|(page, _)| page == cursor).map(|(_, next)| next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(body: &'a str, path: &str) -> Option<&'a str> {
        let range = value(body.as_bytes(), &key(path)?)?;
        body.get(range.start as usize..range.end as usize)
    }

    #[test]
    fn the_value_is_found_near_the_end_or_the_start() {
        let records = "{\"next\":\"of a record\"},".repeat(200);
        let last = format!("{{\"data\":[{records}{{}}],\"meta\":{{\"next\" : \"abc\",\"total\":9}}}}");
        assert_eq!(found(&last, "$.meta.next"), Some("\"abc\""));
        let first = format!("{{\"next\": 17, \"data\":[{}1]}}", "1,".repeat(2000));
        assert_eq!(found(&first, "$.next"), Some("17"));
        assert_eq!(found("{\"next\":null}", "$.next"), Some("null"));
        for (body, path) in [
            ("", "$.next"),
            ("{\"next\"", "$.next"),
            ("{\"next\":", "$.next"),
            ("{\"next\":\"ab", "$.next"),
            ("{\"other\":1}", "$.next"),
            ("{\"next\":1}", "$..next"),
            ("{\"next\":1}", "$['next']"),
            ("[1]", "$[0]"),
        ] {
            assert_eq!(found(body, path), None, "{body} {path}");
        }
    }

    #[test]
    fn a_hint_is_taken_once_and_for_its_page() {
        let hint = Hint::new(Arc::default());
        let token = |text: &str| PageCursor::Token(text.to_owned());
        hint.tell(PageCursor::Start, token("a"));
        assert_eq!(hint.take(&token("a")), None);
        assert_eq!(hint.take(&PageCursor::Start), Some(token("a")));
        assert_eq!(hint.take(&PageCursor::Start), None);
    }
}
