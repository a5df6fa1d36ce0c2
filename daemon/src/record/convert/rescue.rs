//! Keeps what has no place in the columns: a JSON object from the path of a field to its original JSON text.
//!
//! A path joins names by dots and counts elements in brackets (`items[2].price`). A backslash stands before a dot, a
//! bracket or a backslash of a name itself; the second value of a repeated key gets `\2` behind its path. So no two values
//! of a record share a path.

use super::fit::{Fit, Misfit, React};
use crate::model::schema::Schema;
use crate::record::infer::Observed;
use std::io::Write as _;
use std::ops::Range;

/// Most bytes that one record's rescued values may take, paths included; a record with more is rejected.
const MAX_RESCUED: usize = 32_000_000;

/// One step of a path.
#[derive(Clone, Copy, Debug)]
pub enum Segment<'p> {
    /// A member with a column.
    Name(&'p str),
    /// A member without one.
    Key(&'p [u8]),
    /// An element.
    Index(usize),
}

/// What was rescued from a record, and how much from the page.
#[derive(Debug, Default)]
pub struct Rescue {
    /// Set when a value below a top-level field was rescued and the field has not been observed yet.
    pub misfit: bool,
    /// The object of the record so far, without its closing brace.
    text: Vec<u8>,
    /// Where each key lies in `text`, quotes excluded.
    keys: Vec<Range<usize>>,
    count: u64,
    observed: Option<Observed>,
    fit: Fit,
    /// The first thing of the record that calls for more than rescue.
    unfit: Option<(React, String)>,
}

impl Rescue {
    /// Nothing yet.
    pub fn new(fit: Fit) -> Self {
        Self { fit, ..Self::default() }
    }

    /// Takes note of why the value that was added last had to be.
    #[cold]
    pub fn note(&mut self, misfit: Misfit, path: &[Segment], last: Segment) {
        let react = self.fit.react(misfit);
        if react != React::Keep && self.unfit.is_none() {
            self.unfit = Some((react, misfit.reason(path, &last)));
        }
    }

    /// What calls for more than rescue in the record.
    #[inline]
    pub fn unfit(&mut self) -> Option<(React, String)> {
        self.unfit.take()
    }

    /// Starts a record.
    #[inline]
    pub fn start(&mut self) {
        self.misfit = false;
        self.text.clear();
        self.keys.clear();
    }

    /// Keeps a value.
    #[cold]
    pub fn add(&mut self, path: &[Segment], last: Segment, raw: &[u8]) {
        if self.text.len() > MAX_RESCUED {
            return;
        }
        self.text.extend_from_slice(if self.keys.is_empty() { b"{\"" } else { b",\"" });
        let start = self.text.len();
        for (at, segment) in path.iter().chain(std::iter::once(&last)).enumerate() {
            self.push_segment(at, *segment);
        }
        self.keys.push(start..self.text.len());
        self.text.extend_from_slice(b"\":\"");
        for byte in raw {
            push_escaped(&mut self.text, *byte);
        }
        self.text.push(b'"');
    }

    fn push_segment(&mut self, at: usize, segment: Segment) {
        let name = match segment {
            Segment::Name(name) => name.as_bytes(),
            Segment::Key(name) => name,
            Segment::Index(index) => {
                let _ = write!(self.text, "[{index}]");
                return;
            }
        };
        if at > 0 {
            self.text.push(b'.');
        }
        for byte in name {
            if matches!(byte, b'.' | b'[' | b'\\') {
                self.text.extend_from_slice(br"\\");
            }
            push_escaped(&mut self.text, *byte);
        }
    }

    /// Looks at the type of a value of a top-level field, for the next task's schema.
    #[cold]
    pub fn observe(&mut self, name: &str, raw: &[u8]) {
        self.misfit = false;
        self.observed.get_or_insert_default().field(name, raw);
    }

    /// The whole object of the record; none if everything had its place.
    pub fn end(&mut self) -> Result<Option<&[u8]>, String> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        if self.keys.len() > 1 {
            self.number_repetitions();
        }
        self.text.push(b'}');
        if self.text.len() > MAX_RESCUED {
            return Err(format!("what does not fit its columns takes more than {} MB", MAX_RESCUED / 1_000_000));
        }
        Ok(Some(&self.text))
    }

    /// Counts the values of the record, which are in the file now.
    pub fn commit(&mut self) {
        self.count += self.keys.len() as u64;
    }

    /// What was observed in the page, and how many values were rescued.
    pub fn finish(self) -> (Option<Schema>, u64) {
        (self.observed.map(|observed| observed.schema()), self.count)
    }

    /// Makes the paths of repeated keys different.
    fn number_repetitions(&mut self) {
        let key = |at: usize| self.text.get(self.keys[at].clone()).unwrap_or_default();
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_by(|a, b| key(*a).cmp(key(*b)).then(a.cmp(b)));
        let mut nth = vec![1usize; order.len()];
        for pair in order.windows(2) {
            if key(pair[0]) == key(pair[1]) {
                nth[pair[1]] = nth[pair[0]] + 1;
            }
        }
        if nth.iter().all(|nth| *nth == 1) {
            return;
        }
        let mut text = Vec::with_capacity(self.text.len() + 4 * nth.len());
        let mut done = 0;
        for (key, nth) in self.keys.iter().zip(nth) {
            text.extend_from_slice(&self.text[done..key.end]);
            done = key.end;
            if nth > 1 {
                let _ = write!(text, r"\\{nth}");
            }
        }
        text.extend_from_slice(&self.text[done..]);
        self.text = text;
    }
}

/// Appends a byte as it is written inside a JSON string (RFC 8259, section 7).
#[inline]
fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(br#"\""#),
        b'\\' => out.extend_from_slice(br"\\"),
        b'\n' => out.extend_from_slice(br"\n"),
        b'\r' => out.extend_from_slice(br"\r"),
        b'\t' => out.extend_from_slice(br"\t"),
        0..0x20 => {
            let _ = write!(out, "\\u{byte:04x}");
        }
        _ => out.push(byte),
    }
}
