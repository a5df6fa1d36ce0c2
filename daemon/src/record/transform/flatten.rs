//! `flatten`: the members of an object, and of the objects in it, come into the object around it.

use super::Context;
use super::prune::{comma, elements, key_start, skip};
use super::writer::{Members, Writer, push_escaped};
use crate::config::settings::FlattenField;
use crate::config::transform::path;
use crate::record::json::{JsonError, Scanner, Text};
use std::ops::Range;

/// A compiled `flatten`.
#[derive(Debug)]
pub struct Flatten {
    /// The way to the object around the one that is flattened.
    around: Vec<Vec<u8>>,
    /// Name of the one that is flattened.
    field: Vec<u8>,
    /// What every name that comes out of it starts with.
    prefix: Vec<u8>,
    separator: Vec<u8>,
}

/// The members that come out of an object; kept from record to record for its buffers.
#[derive(Debug, Default)]
pub struct Flat {
    /// The names, one after the other.
    names: Vec<u8>,
    members: Vec<Member>,
    /// Order by name.
    order: Vec<usize>,
    /// The name being made.
    name: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    name: Range<usize>,
    value: Range<usize>,
    /// Whether a later one of the same name took its place.
    gone: bool,
}

impl Flatten {
    /// Compiles the step.
    pub fn compile(flat: &FlattenField) -> Result<Self, String> {
        let names = path(&flat.field).map_err(|why| format!("{:?} {why}", flat.field))?;
        let mut around: Vec<Vec<u8>> = names.into_iter().map(String::into_bytes).collect();
        let field = around.pop().unwrap_or_default();
        let separator = flat.separator.clone().into_bytes();
        Ok(Self { around, prefix: [field.as_slice(), &separator].concat(), field, separator })
    }

    /// Flattens in the value here.
    pub fn apply(&self, scanner: &mut Scanner, out: &mut Writer, cx: &mut Context) -> Result<(), JsonError> {
        self.level(&self.around, scanner, out, cx)
    }

    fn level(
        &self,
        around: &[Vec<u8>],
        scanner: &mut Scanner,
        out: &mut Writer,
        cx: &mut Context,
    ) -> Result<(), JsonError> {
        match scanner.skip_whitespace() {
            b'{' => {}
            b'[' => return elements(scanner, |scanner| self.level(around, scanner, out, cx)),
            _ => return skip(scanner),
        }
        let Some((name, rest)) = around.split_first() else { return self.object(scanner, out, cx) };
        if !scanner.open(b'{')? {
            return Ok(());
        }
        loop {
            let key = scanner.key()?;
            if key.decode(&mut cx.key).is_ok_and(|key| key == name) {
                self.level(rest, scanner, out, cx)?;
            } else {
                scanner.skip_value()?;
            }
            if !scanner.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Flattens in the object here.
    fn object(&self, scanner: &mut Scanner, out: &mut Writer, cx: &mut Context) -> Result<(), JsonError> {
        let object = scanner.clone();
        if !scanner.open(b'{')? {
            return Ok(());
        }
        let (mut members, mut start) = (Members::default(), scanner.pos());
        // What comes out is collected when it is needed first, and put where the first of its objects stood.
        let (mut collected, mut put) = (false, false);
        loop {
            let at = key_start(scanner);
            let key = scanner.key()?;
            let name = key.decode(&mut cx.key).unwrap_or(key.raw);
            let flat = name == self.field && scanner.skip_whitespace() == b'{';
            let near = !flat && name.starts_with(&self.prefix);
            if (flat || near) && !collected {
                cx.flat.collect(self, object.clone(), &mut cx.text)?;
                collected = true;
            }
            let value = scanner.skip_value()?;
            if flat || (near && cx.flat.has(name)) {
                members.drop(start, value.end, out);
            } else {
                members.keep(at, out);
            }
            if flat && !put {
                cx.flat.put(scanner, &mut members, out);
                put = true;
            }
            start = comma(scanner);
            if !scanner.more(b'}')? {
                return Ok(());
            }
        }
    }
}

impl Flat {
    /// Collects what comes out of the object here.
    fn collect(&mut self, flatten: &Flatten, mut scanner: Scanner, scratch: &mut Vec<u8>) -> Result<(), JsonError> {
        self.names.clear();
        self.members.clear();
        scanner.open(b'{')?;
        loop {
            let key = scanner.key()?;
            let own = key.decode(scratch).is_ok_and(|key| key == flatten.field);
            if own && scanner.skip_whitespace() == b'{' {
                self.name.clear();
                self.name.extend_from_slice(&flatten.field);
                self.object(flatten, &mut scanner, scratch)?;
            } else {
                scanner.skip_value()?;
            }
            if !scanner.more(b'}')? {
                break;
            }
        }
        self.settle();
        Ok(())
    }

    fn object(&mut self, flatten: &Flatten, scanner: &mut Scanner, scratch: &mut Vec<u8>) -> Result<(), JsonError> {
        if !scanner.open(b'{')? {
            return Ok(());
        }
        let length = self.name.len();
        loop {
            let key: Text = scanner.key()?;
            self.name.extend_from_slice(&flatten.separator);
            // No text stands for a name with half a surrogate pair; it keeps its escapes as characters.
            self.name.extend_from_slice(key.decode(scratch).unwrap_or(key.raw));
            if scanner.skip_whitespace() == b'{' {
                self.object(flatten, scanner, scratch)?;
            } else {
                let start = self.names.len();
                self.names.extend_from_slice(&self.name);
                let value = scanner.skip_value()?;
                self.members.push(Member { name: start..self.names.len(), value, gone: false });
            }
            self.name.truncate(length);
            if !scanner.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Of several members of one name the last counts.
    fn settle(&mut self) {
        let Self { names, members, order, .. } = self;
        let name = |member: &Member| names.get(member.name.clone()).unwrap_or_default();
        order.clear();
        order.extend(0..members.len());
        order.sort_by(|a, b| members.get(*a).map(name).cmp(&members.get(*b).map(name)).then(a.cmp(b)));
        for pair in 1..order.len() {
            let (Some(&earlier), Some(&later)) = (order.get(pair - 1), order.get(pair)) else { continue };
            if members.get(earlier).map(name) == members.get(later).map(name)
                && let Some(member) = members.get_mut(earlier)
            {
                member.gone = true;
            }
        }
    }

    /// Whether a member of this name comes out.
    fn has(&self, name: &[u8]) -> bool {
        let known = |at: &usize| self.members.get(*at).and_then(|member| self.names.get(member.name.clone()));
        self.order.binary_search_by(|at| known(at).cmp(&Some(name))).is_ok()
    }

    /// Writes the members.
    fn put(&self, scanner: &Scanner, members: &mut Members, out: &mut Writer) {
        for member in self.members.iter().filter(|member| !member.gone) {
            members.comma(out);
            out.out.push(b'"');
            push_escaped(out.out, self.names.get(member.name.clone()).unwrap_or_default());
            out.out.extend_from_slice(b"\":");
            out.out.extend_from_slice(scanner.slice(member.value.clone()));
        }
    }
}
