//! One pass over a body that picks out the values at a set of places.

use super::path::Step;
use crate::record::json::{JsonError, Scanner};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// How records are taken from a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The elements of an array, nothing of a null, and anything else as one record.
    Elements,
    /// The elements of an array, the values of an object, nothing of a null.
    Every,
}

/// A set of places, as a tree of steps; node 0 is the root.
#[derive(Debug)]
pub struct Targets {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    names: HashMap<Vec<u8>, usize>,
    indexes: BTreeMap<usize, usize>,
    slots: Vec<usize>,
    records: Option<Take>,
}

impl Default for Targets {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

/// Reads records where they are found.
pub trait Taker {
    /// Reads the whole record that starts here.
    fn take(&mut self, scanner: &mut Scanner) -> Result<(), JsonError>;

    /// A record was found and could not be offered, or one that was taken does not count after all.
    fn miss(&mut self) {}
}

/// Leaves records as they are.
pub struct Skip;

impl Taker for Skip {
    #[inline]
    fn take(&mut self, scanner: &mut Scanner) -> Result<(), JsonError> {
        scanner.skip_value().map(drop)
    }
}

/// What a walk found.
#[derive(Debug)]
pub struct Found {
    /// The value of each slot.
    pub slots: Vec<Option<Range<u32>>>,
    /// The records.
    pub records: Vec<Range<u32>>,
    /// Whether the place of the records is there.
    pub reached: bool,
    /// Whether white space stands between the tokens of a record.
    pub blanks: bool,
}

impl Found {
    /// Nothing found yet, for so many slots.
    pub fn new(slots: usize) -> Self {
        Self { slots: vec![None; slots], records: Vec::new(), reached: false, blanks: false }
    }
}

/// The body without the byte order mark that some servers put before it (RFC 8259, section 8.1, lets readers ignore it).
pub fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

impl Targets {
    /// Puts the value at a place into a slot.
    pub fn add_slot(&mut self, steps: &[Step], slot: usize) {
        let node = self.node_at(steps);
        self.nodes[node].slots.push(slot);
    }

    /// Takes the records from a place.
    pub fn take_records(&mut self, steps: &[Step], take: Take) {
        let node = self.node_at(steps);
        self.nodes[node].records = Some(take);
    }

    fn node_at(&mut self, steps: &[Step]) -> usize {
        steps.iter().fold(0, |node, step| {
            let next = self.nodes.len();
            let child = match step {
                Step::Name(name) => *self.nodes[node].names.entry(name.clone().into_bytes()).or_insert(next),
                Step::Index(index) => *self.nodes[node].indexes.entry(*index).or_insert(next),
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            child
        })
    }

    /// Goes once over the whole body, checking it. Of members with the same name the last one counts. Records in which no
    /// place lies are read by `taker`.
    pub fn walk(&self, body: &[u8], found: &mut Found, taker: &mut dyn Taker) -> Result<(), JsonError> {
        let text = without_mark(body);
        let (scanner, shift) = (Scanner::new(text), body.len() - text.len());
        let mut walk = Walk { targets: self, scanner, found, taker, key: Vec::new(), shift };
        walk.value(0)
            .and_then(|()| walk.scanner.end())
            .map_err(|error| JsonError { offset: error.offset + walk.shift, ..error })
    }
}

struct Walk<'a, 'f> {
    targets: &'a Targets,
    scanner: Scanner<'a>,
    found: &'f mut Found,
    taker: &'f mut dyn Taker,
    key: Vec<u8>,
    /// Bytes of the body before the scanner's first one.
    shift: usize,
}

impl<'a> Walk<'a, '_> {
    /// The value here, which is the one `node` asks for.
    fn value(&mut self, node: usize) -> Result<(), JsonError> {
        let targets = self.targets;
        let wanted = &targets.nodes[node];
        let first = self.scanner.skip_whitespace();
        let (start, blanks) = (self.scanner.pos(), self.scanner.blanks());
        let mut whole_record = false;
        match first {
            b'{' if !wanted.names.is_empty() || wanted.records == Some(Take::Every) => self.members(wanted)?,
            b'[' if !wanted.indexes.is_empty() || wanted.records.is_some() => self.elements(wanted)?,
            _ => {
                self.scanner.skip_value()?;
                self.found.reached |= first == b'n' && wanted.records.is_some();
            }
        }
        let range = self.range(start..self.scanner.pos());
        if let Some(take) = wanted.records {
            whole_record = take == Take::Elements && !matches!(first, b'[' | b'n');
            self.found.reached |= whole_record || first == b'[' || first == b'{';
        }
        if whole_record {
            self.taker.miss();
            self.found.blanks |= self.scanner.blanks() != blanks;
            self.found.records.push(range.clone());
        }
        for &slot in &wanted.slots {
            self.found.slots[slot] = Some(range.clone());
        }
        Ok(())
    }

    fn members(&mut self, wanted: &'a Node) -> Result<(), JsonError> {
        if !self.scanner.open(b'{')? {
            return Ok(());
        }
        loop {
            let key = self.scanner.key()?;
            let child = match key.decode(&mut self.key) {
                Ok(name) => wanted.names.get(name).copied(),
                // No path can name it.
                Err(_) => None,
            };
            self.child(child, wanted.records == Some(Take::Every))?;
            if !self.scanner.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn elements(&mut self, wanted: &'a Node) -> Result<(), JsonError> {
        if !self.scanner.open(b'[')? {
            return Ok(());
        }
        let mut index = 0;
        loop {
            let child = if wanted.indexes.is_empty() { None } else { wanted.indexes.get(&index).copied() };
            self.child(child, wanted.records.is_some())?;
            index += 1;
            if !self.scanner.more(b']')? {
                return Ok(());
            }
        }
    }

    #[inline]
    fn child(&mut self, child: Option<usize>, is_record: bool) -> Result<(), JsonError> {
        self.scanner.skip_whitespace();
        let (start, blanks) = (self.scanner.pos(), self.scanner.blanks());
        match child {
            Some(child) => {
                self.forget(child);
                self.value(child)?;
            }
            None if is_record => self.taker.take(&mut self.scanner)?,
            None => {
                self.scanner.skip_value()?;
            }
        }
        if is_record {
            if child.is_some() {
                self.taker.miss();
            }
            self.found.blanks |= self.scanner.blanks() != blanks;
            let range = self.range(start..self.scanner.pos());
            self.found.records.push(range);
        }
        Ok(())
    }

    /// Drops what an earlier member of the same name gave.
    fn forget(&mut self, node: usize) {
        let node = &self.targets.nodes[node];
        for &slot in &node.slots {
            self.found.slots[slot] = None;
        }
        if node.records.is_some() {
            if !self.found.records.is_empty() {
                self.found.records.clear();
                self.taker.miss();
            }
            self.found.reached = false;
        }
        for &child in node.names.values().chain(node.indexes.values()) {
            self.forget(child);
        }
    }

    fn range(&self, range: Range<usize>) -> Range<u32> {
        // Both fit: the locator refuses bodies of 4 GiB.
        (range.start + self.shift) as u32..(range.end + self.shift) as u32
    }
}
