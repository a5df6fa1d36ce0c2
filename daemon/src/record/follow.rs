//! Follows the cursor field through the records of an incremental stream: how far they reach, which are not new.

use super::field::field;
use super::page::Page;
use crate::config::cursor::CursorFormat;
use crate::model::mark::{CursorKind, CursorValue};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Digests of primary key and record, 16 bytes each.
pub type RecordDigest = [u8; 32];

/// What a stream's records are compared with; the same for every page of a task.
#[derive(Debug, Default)]
pub struct Follow {
    /// Path of the cursor field.
    pub cursor: Vec<String>,
    /// Paths of the primary key's fields.
    pub key: Vec<Vec<String>>,
    /// How its values are read.
    pub format: CursorFormat,
    /// What the cursor field holds, where that is known.
    pub kind: Option<CursorKind>,
    /// Records before this are filtered out: they were read before.
    pub from: Option<CursorValue>,
    /// Records after this are filtered out.
    pub to: Option<CursorValue>,
    /// The records at the boundary that were exported before.
    pub boundary: HashSet<RecordDigest>,
    /// None of them lies after this.
    pub boundary_end: Option<CursorValue>,
    /// How far before the newest record the next task starts.
    pub look_back: Duration,
    /// How long a unit of a number is, where the cursor field counts time.
    pub unit: Option<Duration>,
    /// The task's creation: a mark never lies behind it.
    pub now: Timestamp,
    /// Records without a cursor value so far.
    pub without: AtomicU64,
}

/// What was found in a page.
#[derive(Debug, Default)]
pub struct Followed {
    /// For each record whether it is written.
    pub keep: Vec<bool>,
    /// Records dropped because they were exported before, with the same content.
    pub duplicate: u64,
    /// Records dropped because they lie outside the bounds.
    pub filtered: u64,
    /// The newest cursor value.
    pub newest: Option<CursorValue>,
    /// The records that the next task may be given once more.
    pub recent: Vec<(CursorValue, RecordDigest)>,
}

impl Follow {
    /// Looks at every record of a page.
    pub fn page(&self, page: &Page) -> Followed {
        let mut found = Followed { keep: Vec::with_capacity(page.records.len()), ..Followed::default() };
        let mut values = Vec::with_capacity(page.records.len());
        for raw in page.raw_records() {
            let value = self.value(raw);
            let keep = self.verdict(raw, value.as_ref(), &mut found);
            if value > found.newest {
                found.newest.clone_from(&value);
            }
            found.keep.push(keep);
            values.push(value);
        }
        let Some(limit) = found.newest.clone().map(|newest| self.keep_from(newest)) else { return found };
        for (raw, value) in page.raw_records().zip(values) {
            if let Some(value) = value.filter(|value| *value >= limit) {
                let digest = self.digest(raw);
                found.recent.push((value, digest));
            }
        }
        found
    }

    /// From where on records are remembered, when `newest` is the newest.
    pub fn keep_from(&self, newest: CursorValue) -> CursorValue {
        newest.at_most(self.now, self.unit).back(self.look_back, self.unit)
    }

    fn verdict(&self, raw: &[u8], value: Option<&CursorValue>, found: &mut Followed) -> bool {
        let Some(value) = value else {
            self.without.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        let before = self.from.as_ref().is_some_and(|from| self.is_before(value, from));
        let after = self.to.as_ref().is_some_and(|to| self.is_before(to, value));
        if before || after {
            found.filtered += 1;
            return false;
        }
        let at_boundary = self.boundary_end.as_ref().is_some_and(|end| value <= end);
        if at_boundary && self.boundary.contains(&self.digest(raw)) {
            found.duplicate += 1;
            return false;
        }
        true
    }

    /// Whether one value lies before another; not where they cannot be compared.
    fn is_before(&self, one: &CursorValue, other: &CursorValue) -> bool {
        if one.kind() == other.kind() {
            return one < other;
        }
        one.as_kind(other.kind(), self.unit).is_some_and(|one| one < *other)
    }

    /// The cursor value of a record; `None` where there is none, or one of another kind.
    fn value(&self, raw: &[u8]) -> Option<CursorValue> {
        let token = field(raw, &self.cursor)?;
        let text = match token.first()? {
            b'"' => text(token)?,
            b'0'..=b'9' | b'-' => std::str::from_utf8(token).ok()?.into(),
            _ => return None,
        };
        self.format.read(&text, self.kind)
    }

    fn digest(&self, raw: &[u8]) -> RecordDigest {
        let mut key = Sha256::new();
        for path in &self.key {
            let value = field(raw, path).unwrap_or(b"null");
            key.update((value.len() as u64).to_le_bytes());
            key.update(value);
        }
        let mut digest = [0; 32];
        let halves = [key.finalize(), Sha256::digest(raw)];
        for (to, half) in digest.chunks_exact_mut(16).zip(&halves) {
            to.copy_from_slice(half.get(..16).unwrap_or_default());
        }
        digest
    }
}

fn text(token: &[u8]) -> Option<Cow<'_, str>> {
    let inner = token.get(1..token.len() - 1)?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(token).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn follow() -> Follow {
        Follow {
            cursor: vec!["meta".into(), "at".into()],
            key: vec![vec!["id".into()]],
            now: "2030-01-01T00:00:00Z".parse().unwrap(),
            ..Follow::default()
        }
    }

    fn record(id: u64, at: &str) -> String {
        format!(r#"{{"id": {id}, "x": [1, {{"at": 7}}], "meta": {{"n": null, "at": {at}}}}}"#)
    }

    #[test]
    fn the_newest_and_all_that_are_as_new() {
        let records = [record(1, "17"), record(2, "20"), record(3, "null"), record(4, "20"), record(5, "\"\"")];
        let follow = follow();
        let found = follow.page(&Page::of(&records));
        assert_eq!(found.newest, Some(CursorValue::parse("20")));
        assert_eq!((found.recent.len(), follow.without.into_inner(), found.keep), (2, 2, vec![true; 5]));
        assert_ne!(found.recent[0].1, found.recent[1].1);
    }

    #[test]
    fn only_equal_records_at_the_boundary_are_dropped() {
        let seen = follow().page(&Page::of(&[record(1, "20"), record(2, "20")]));
        let mut next = follow();
        next.boundary = seen.recent.iter().map(|(_, digest)| *digest).collect();
        (next.boundary_end, next.from) = (seen.newest.clone(), seen.newest);
        let changed = record(2, "20").replace('7', "8");
        let found =
            next.page(&Page::of(&[record(1, "20"), changed, record(3, "20"), record(4, "19"), record(5, "21")]));
        assert_eq!(found.keep, [false, true, true, false, true]);
        assert_eq!((found.duplicate, found.filtered), (1, 1));
    }

    #[test]
    fn bounds_and_look_back() {
        let mut follow = follow();
        follow.to = Some(CursorValue::parse("2024-01-02"));
        follow.look_back = Duration::from_secs(3600);
        let at = |text: &str| format!("{text:?}");
        let records = [
            record(1, &at("2024-01-01T22:59:00Z")),
            record(2, &at("2024-01-01T23:30:00Z")),
            record(3, &at("2024-01-02T00:00:00Z")),
            record(4, &at("2024-01-02T00:00:01Z")),
        ];
        let found = follow.page(&Page::of(&records[..3]));
        assert_eq!((found.recent.len(), found.filtered), (2, 0));
        assert_eq!(follow.page(&Page::of(&records)).filtered, 1);
    }

    #[test]
    fn a_record_from_the_future_does_not_hide_those_of_today() {
        let records = [record(1, "\"2029-12-31T23:59:59Z\""), record(2, "\"2099-01-01T00:00:00Z\"")];
        let found = follow().page(&Page::of(&records));
        assert_eq!(found.recent.len(), 1, "kept from the task's creation on");
        assert_eq!(follow().keep_from(found.newest.unwrap()), CursorValue::parse("2030-01-01"));
    }

    proptest! {
        #[test]
        fn any_record_is_survived(text in "\\PC{0,40}", id in any::<u64>()) {
            let found = follow().page(&Page::of(&[text.clone(), record(id, &serde_json::to_string(&text).unwrap())]));
            prop_assert_eq!(found.keep, vec![true, true]);
        }
    }
}
