//! Finds the records and a few single values in the body of an answer, as slices of its bytes.
//!
//! Paths of names and indexes, with `[*]` at the end if need be, are answered in the one pass that also validates the body.
//! Any other JSONPath (RFC 9535) is asked of a tree of values, and the nodes it names are found again in the bytes, so that
//! a record is always the text that the source wrote.

mod path;
mod there;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

use super::json::{JsonError, Scanner};
use crate::base::error::{Classify, ErrorClass};
use path::Path;
use std::borrow::Cow;
use std::ops::Range;
use walk::{Found, Skip, Take, Targets};

pub use walk::Taker;

/// The places to look at in every answer of a stream.
#[derive(Debug)]
pub struct Locator {
    records: Path,
    values: Vec<Path>,
    /// All paths together, where none of them needs a tree.
    direct: Option<Targets>,
}

/// What was found in one body, as ranges of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Located {
    /// The records, in order.
    pub records: Vec<Range<u32>>,
    /// The first value of each path, in the order of the paths; none where there is none.
    pub values: Vec<Option<Range<u32>>>,
    /// Whether no white space stands between the tokens of a record; said only where it is known.
    pub compact: bool,
}

/// A path that is not JSONPath.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the path {path:?}: {message} at character {position}")]
pub struct PathError {
    /// The path.
    pub path: String,
    /// Where it goes wrong, from 1.
    pub position: usize,
    /// What is wrong.
    pub message: String,
}

impl Classify for PathError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }
}

/// Why a body gives no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// There is nothing in it.
    #[error("the body is empty")]
    Empty,
    /// It is not UTF-8.
    #[error("read the answer as UTF-8: byte {0} does not belong there")]
    Utf8(usize),
    /// It is not JSON, or is cut off.
    #[error("read the answer as JSON")]
    Json(#[from] JsonError),
    /// It is larger than a page can be.
    #[error("read the answer: it is larger than 4 GiB")]
    TooLarge,
    /// The records are not where they should be.
    #[error("find the records: the answer has nothing at {path}{there}")]
    Missing {
        /// Where they should be.
        path: String,
        /// What is there instead; the names of keys, and no value.
        there: String,
    },
}

impl Classify for LocateError {
    fn class(&self) -> ErrorClass {
        match self {
            // A cut or garbled answer may come whole the next time.
            Self::Empty | Self::Utf8(_) | Self::Json(_) => ErrorClass::Transient,
            Self::TooLarge => ErrorClass::Data,
            Self::Missing { .. } => ErrorClass::Config,
        }
    }
}

impl Locator {
    /// A locator of records and single values. `records` selects nodes; a node that is an array gives its elements, unless
    /// the path itself ends in `[*]`.
    pub fn new(records: &str, values: &[&str]) -> Result<Self, PathError> {
        let records = Path::parse(records)?;
        let values = values.iter().map(|path| Path::parse(path)).collect::<Result<Vec<_>, _>>()?;
        let mut locator = Self { records, values, direct: None };
        if locator.records.direct && locator.values.iter().all(Path::is_one_place) {
            let mut targets = Targets::default();
            locator.insert_direct(&mut targets);
            locator.direct = Some(targets);
        }
        Ok(locator)
    }

    /// Adds the paths that need no tree; the slot of a value is its index.
    fn insert_direct(&self, targets: &mut Targets) {
        if self.records.direct {
            let take = if self.records.every { Take::Every } else { Take::Elements };
            targets.take_records(&self.records.steps, take);
        }
        for (slot, path) in self.values.iter().enumerate().filter(|(_, path)| path.is_one_place()) {
            targets.add_slot(&path.steps, slot);
        }
    }

    /// Whether records are found without a tree of values.
    pub fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Finds the records and values in `body`, and checks the whole body on the way.
    pub fn locate(&self, body: &[u8]) -> Result<Located, LocateError> {
        self.locate_and_take(body, &mut Skip)
    }

    /// The same; records that are elements or members of one value, and found without a tree, are read by `taker`. Where that
    /// fails the error may be its own.
    pub fn locate_and_take(&self, body: &[u8], taker: &mut dyn Taker) -> Result<Located, LocateError> {
        if u32::try_from(body.len()).is_err() {
            return Err(LocateError::TooLarge);
        }
        if walk::without_mark(body).trim_ascii().is_empty() {
            return Err(LocateError::Empty);
        }
        if simdutf8::basic::from_utf8(body).is_err() {
            let offset = simdutf8::compat::from_utf8(body).err().map_or(0, |error| error.valid_up_to());
            return Err(LocateError::Utf8(offset));
        }
        match &self.direct {
            Some(targets) => {
                let mut found = Found::new(self.values.len());
                targets.walk(body, &mut found, taker)?;
                self.require(found.reached, body)?;
                Ok(Located { records: found.records, values: found.slots, compact: !found.blanks })
            }
            None => self.locate_in_tree(body),
        }
    }

    fn require(&self, found: bool, body: &[u8]) -> Result<(), LocateError> {
        let missing = || LocateError::Missing {
            path: self.records.text.clone(),
            there: there::what_is_there(body, &self.records.steps),
        };
        if found { Ok(()) } else { Err(missing()) }
    }

    /// The slow way: a tree of values for the paths that need one. Slots: the values, then the part of the records' path
    /// that must exist, then one for each record.
    fn locate_in_tree(&self, body: &[u8]) -> Result<Located, LocateError> {
        let tree = tree::build(body)?;
        let mut targets = Targets::default();
        self.insert_direct(&mut targets);
        for (slot, path) in self.values.iter().enumerate().filter(|(_, path)| !path.is_one_place()) {
            if let Some(steps) = path.query(&tree).into_iter().next() {
                targets.add_slot(&steps, slot);
            }
        }
        let must_exist = self.values.len();
        let first_record = must_exist + 1;
        let nodes = if self.records.direct { Vec::new() } else { self.records.query(&tree) };
        targets.add_slot(&self.records.steps, must_exist);
        for (index, steps) in nodes.iter().enumerate() {
            targets.add_slot(steps, first_record + index);
        }
        let mut found = Found::new(first_record + nodes.len());
        targets.walk(body, &mut found, &mut Skip)?;
        let Found { mut slots, mut records, reached, .. } = found;
        if self.records.direct {
            self.require(reached, body)?;
        } else {
            self.require(slots.get(must_exist).is_some_and(Option::is_some), body)?;
            for range in slots.drain(first_record..).flatten() {
                self.push_records(body, range, &mut records)?;
            }
        }
        slots.truncate(self.values.len());
        Ok(Located { records, values: slots, compact: false })
    }

    /// The record at `range`, or the records in it if it is an array.
    fn push_records(&self, body: &[u8], range: Range<u32>, out: &mut Vec<Range<u32>>) -> Result<(), JsonError> {
        let raw = body.get(range.start as usize..range.end as usize).unwrap_or_default();
        if self.records.every || !raw.starts_with(b"[") {
            out.push(range);
            return Ok(());
        }
        let mut scanner = Scanner::new(raw);
        if scanner.open(b'[')? {
            loop {
                let element = scanner.skip_value()?;
                out.push(range.start + element.start as u32..range.start + element.end as u32);
                if !scanner.more(b']')? {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The text of a raw string or number; none for anything else, and for an empty string.
pub fn text_of(raw: &[u8]) -> Option<Cow<'_, str>> {
    match raw.first()? {
        b'"' => {
            let token = Scanner::new(raw).string().ok()?;
            if token.raw.is_empty() {
                return None;
            }
            if !token.escaped {
                return std::str::from_utf8(token.raw).ok().map(Cow::Borrowed);
            }
            let mut text = Vec::new();
            token.decode_onto(&mut text).ok()?;
            String::from_utf8(text).ok().map(Cow::Owned)
        }
        b'-' | b'0'..=b'9' => std::str::from_utf8(Scanner::new(raw).number().ok()?).ok().map(Cow::Borrowed),
        _ => None,
    }
}
