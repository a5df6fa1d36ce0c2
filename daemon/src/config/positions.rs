//! Where each key and value stands in the file, from a marked YAML parser; and what YAML may not be used here.

use super::path::{KeyPath, Step};
use super::problem::On;
use super::units::shown;
use saphyr_parser::{Event, Marker, Parser};
use std::collections::{BTreeMap, BTreeSet};

/// How deep maps and lists may nest; the deepest key of the configuration stands at 12, a body may go deeper.
const MAX_DEPTH: usize = 40;
/// Keys and values of a document, aliases counted at full size; a hundred times a large configuration.
const MAX_NODES: usize = 200_000;
/// Mistakes of this kind told at once.
const MAX_FAULTS: usize = 50;

/// A place in a file: line and column in characters, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Line from 1.
    pub line: usize,
    /// Column in characters from 1.
    pub column: usize,
}

impl From<Marker> for Mark {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// A mistake in the YAML itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub mark: Mark,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

/// The places of all keys and values of a document.
#[derive(Debug)]
pub struct Positions(Spot);

#[derive(Debug)]
struct Spot {
    key: Option<Mark>,
    value: Mark,
    fields: BTreeMap<String, Spot>,
    items: Vec<Spot>,
}

impl Spot {
    fn new(key: Option<Mark>, value: Mark) -> Self {
        Self { key, value, fields: BTreeMap::new(), items: Vec::new() }
    }
}

impl Positions {
    /// Positions for a document that has none: everything stands at its beginning.
    pub fn none() -> Self {
        Self(Spot::new(None, Mark { line: 1, column: 1 }))
    }

    /// Reads the places of a document, and the faults in it that leave the rest readable: tags, merge keys, repeated keys.
    /// The error is what leaves nothing to read: bad syntax, keys that are no text, several documents, nesting and
    /// aliases beyond all measure.
    pub fn scan(text: &str) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        Scan::default().run(text)
    }

    /// The place of a key or value; of the nearest one around it where it is not in the file.
    pub fn find(&self, path: &KeyPath, on: On) -> Mark {
        let mut spot = &self.0;
        for (position, step) in path.steps().iter().enumerate() {
            let next = match step {
                Step::Key(key) => spot.fields.get(key),
                Step::Item(index) => spot.items.get(*index),
            };
            let last = position + 1 == path.steps().len();
            match next {
                Some(next) if last && on == On::Value => return next.value,
                Some(next) => spot = next,
                None => break,
            }
        }
        spot.key.unwrap_or(spot.value)
    }
}

enum Frame {
    Map { spot: Spot, anchor: usize, nodes_before: usize, key: Option<(String, Mark)> },
    List { spot: Spot, anchor: usize, nodes_before: usize },
}

#[derive(Default)]
struct Scan {
    frames: Vec<Frame>,
    root: Option<Spot>,
    faults: Vec<Fault>,
    nodes: usize,
    /// Nodes below each finished anchor.
    anchors: BTreeMap<usize, usize>,
    open_anchors: BTreeSet<usize>,
}

impl Scan {
    fn run(mut self, text: &str) -> Result<(Positions, Vec<Fault>), Vec<Fault>> {
        for event in Parser::new_from_str(text) {
            let go_on = match event {
                Ok((event, span)) => self.event(event, span.start.into()),
                Err(error) => {
                    self.stop(Mark::from(*error.marker()), &format!("not valid YAML: {}", error.info()), None)
                }
            };
            if !go_on {
                return Err(self.faults);
            }
        }
        Ok((self.root.map_or_else(Positions::none, Positions), self.faults))
    }

    fn fault(&mut self, mark: Mark, message: &str, hint: Option<&'static str>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { mark, message: message.to_owned(), hint });
        }
    }

    /// Notes a fault after which the rest makes no sense; always false.
    fn stop(&mut self, mark: Mark, message: &str, hint: Option<&'static str>) -> bool {
        self.faults.push(Fault { mark, message: message.to_owned(), hint });
        false
    }

    /// Whether to go on.
    fn event(&mut self, event: Event<'_>, mark: Mark) -> bool {
        let tagged = match &event {
            Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => tag.is_some(),
            _ => false,
        };
        if tagged {
            self.fault(mark, "a YAML tag (`!…`) is not supported here", Some("remove it"));
        }
        match event {
            Event::Scalar(text, ..) if self.wants_key() => self.key(&text, mark),
            Event::MappingStart(..) | Event::SequenceStart(..) | Event::Alias(_) if self.wants_key() => {
                let hint = "put a text that begins with { or [ in quotes";
                self.stop(mark, "a key must be text", Some(hint))
            }
            Event::Scalar(_, _, anchor, _) => {
                let spot = self.spot(mark);
                let counted = self.count(1, mark);
                self.anchors.insert(anchor, 1);
                self.close(spot);
                counted
            }
            Event::MappingStart(anchor, _) | Event::SequenceStart(anchor, _) => {
                let map = matches!(event, Event::MappingStart(..));
                self.open(map, anchor, mark)
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.end();
                true
            }
            Event::Alias(anchor) => self.alias(anchor, mark),
            Event::DocumentStart(_) if self.root.is_some() => {
                self.stop(mark, "a second YAML document begins here", None)
            }
            _ => true,
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Map { key: None, .. }))
    }

    fn key(&mut self, text: &str, mark: Mark) -> bool {
        let repeated = match self.frames.last_mut() {
            Some(Frame::Map { spot, key, .. }) => {
                *key = Some((text.to_owned(), mark));
                spot.fields.get(text).map(|first| first.key.unwrap_or(first.value).line)
            }
            _ => None,
        };
        if let Some(line) = repeated {
            self.fault(mark, &format!("the key {} is already in line {line}", shown(text)), Some("remove one of them"));
        }
        if text == "<<" {
            self.fault(mark, "merge keys (`<<`) are not supported", Some("write the keys out"));
        }
        self.count(1, mark)
    }

    /// A spot for the value that begins here.
    fn spot(&self, mark: Mark) -> Spot {
        match self.frames.last() {
            Some(Frame::Map { key: Some((_, at)), .. }) => Spot::new(Some(*at), mark),
            _ => Spot::new(None, mark),
        }
    }

    fn count(&mut self, nodes: usize, mark: Mark) -> bool {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return self.stop(mark, &format!("more than {MAX_NODES} keys and values, aliases counted in full"), None);
        }
        true
    }

    fn open(&mut self, map: bool, anchor: usize, mark: Mark) -> bool {
        if self.frames.len() >= MAX_DEPTH {
            return self.stop(mark, &format!("maps and lists nest deeper than {MAX_DEPTH}"), None);
        }
        let (spot, nodes_before) = (self.spot(mark), self.nodes);
        self.open_anchors.insert(anchor);
        self.frames.push(match map {
            true => Frame::Map { spot, anchor, nodes_before, key: None },
            false => Frame::List { spot, anchor, nodes_before },
        });
        self.count(1, mark)
    }

    fn end(&mut self) {
        if let Some(Frame::Map { spot, anchor, nodes_before, .. } | Frame::List { spot, anchor, nodes_before }) =
            self.frames.pop()
        {
            self.open_anchors.remove(&anchor);
            self.anchors.insert(anchor, self.nodes - nodes_before);
            self.close(spot);
        }
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> bool {
        if self.open_anchors.contains(&anchor) {
            return self.stop(mark, "an alias within its own anchor", None);
        }
        let nodes = self.anchors.get(&anchor).copied().unwrap_or(1);
        let spot = self.spot(mark);
        self.close(spot);
        self.count(nodes, mark)
    }

    /// Puts a finished value where it belongs.
    fn close(&mut self, done: Spot) {
        match self.frames.last_mut() {
            Some(Frame::Map { spot, key, .. }) => {
                if let Some((key, _)) = key.take() {
                    spot.fields.entry(key).or_insert(done);
                }
            }
            Some(Frame::List { spot, .. }) => spot.items.push(done),
            None => self.root = Some(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, keys: &[&str], on: On) -> (usize, usize) {
        let mark = Positions::scan(text).unwrap().0.find(&KeyPath::of(keys), on);
        (mark.line, mark.column)
    }

    fn fault(text: &str) -> String {
        let faults = Positions::scan(text).map_or_else(|faults| faults, |(_, faults)| faults);
        faults.iter().map(|f| format!("{}:{} {}", f.mark.line, f.mark.column, f.message)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn keys_and_values_have_their_places() {
        let text = "# x\na:\n  é: [1, {b: 2}]\n  c: |\n    text\n";
        assert_eq!(at(text, &["a"], On::Key), (2, 1));
        assert_eq!(at(text, &["a"], On::Value), (3, 3));
        assert_eq!(at(text, &["a", "é"], On::Value), (3, 6));
        assert_eq!(at(text, &["a", "c"], On::Key), (4, 3));
        assert_eq!(at(text, &["a", "missing", "deeper"], On::Value), (2, 1), "the nearest one around it");
        let (positions, faults) = Positions::scan(text).unwrap();
        assert_eq!(faults, []);
        let inner = KeyPath::of(&["a", "é"]).item(1).key("b");
        assert_eq!(positions.find(&inner, On::Value), Mark { line: 3, column: 14 });
    }

    #[test]
    fn yaml_that_is_not_supported_is_named() {
        assert_eq!(fault("a: 1\nb: 2\na: 3\n"), "3:1 the key \"a\" is already in line 1");
        let tags = fault("a: !secret x\nb: !!str 1\n");
        assert!(tags.starts_with("1:4 ") && tags.contains("; 2:4 "), "{tags}");
        assert!(fault("a: {{ param.x }}\n").contains("a key must be text"));
        assert!(fault("a: &x {b: 1}\nc: {<<: *x}\n").contains("merge keys"));
        assert!(fault("a: 1\n---\nb: 2\n").contains("second YAML document"));
        assert!(fault("a: &x [*x]\n").contains("within its own anchor"));
        assert!(fault(&"[".repeat(100_000)).contains("recursion limit"));
        assert!(fault(&"- ".repeat(100_000)).contains("nest deeper"));
        assert!(fault("a: [1\n").contains("not valid YAML"));
    }

    #[test]
    fn aliases_count_in_full() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..8 {
            let last = n - 1;
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{last}"); 10].join(", ")));
        }
        assert!(fault(&text).contains("aliases counted in full"));
        assert!(Positions::scan("a: &a [1, 2]\nb: *a\n").is_ok());
    }
}
