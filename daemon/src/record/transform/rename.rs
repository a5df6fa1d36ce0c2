//! `rename` and `add`: other names, and constants.

use super::prune::{comma, elements, key_start, skip};
use super::tree::Tree;
use super::writer::{Members, Writer};
use super::{Context, quoted};
use crate::config::settings::AnyValue;
use crate::config::transform::path;
use crate::record::json::{JsonError, Scanner};
use std::collections::BTreeMap;

/// What `rename` does with a name.
#[derive(Debug)]
pub enum Name {
    /// Its member gets this key (as JSON text).
    New(Vec<u8>),
    /// Its member gives way to one of this name, if that is in the same object.
    Taken(Vec<u8>),
}

/// The names of a step.
pub fn compile(names: &BTreeMap<String, String>) -> Result<Tree<Name>, String> {
    let mut tree = Tree::default();
    let mut paths = Vec::new();
    for (old, new) in names {
        paths.push((path(old).map_err(|why| format!("{old:?} {why}"))?, new));
    }
    for (old, new) in &paths {
        let Some((last, around)) = old.split_last() else { continue };
        let target = [around, &[(*new).clone()]].concat();
        tree.insert(&target, Name::Taken(last.clone().into_bytes()));
    }
    // Afterwards: a name that is given away and taken in one step is not in the way.
    for (old, new) in &paths {
        tree.insert(old, Name::New(quoted(new)));
    }
    Ok(tree)
}

/// Gives members their new names.
pub fn rename(tree: &Tree<Name>, scanner: &mut Scanner, out: &mut Writer, cx: &mut Context) -> Result<(), JsonError> {
    match scanner.skip_whitespace() {
        b'{' => {}
        b'[' => return elements(scanner, |scanner| rename(tree, scanner, out, cx)),
        _ => return skip(scanner),
    }
    let object = scanner.clone();
    if !scanner.open(b'{')? {
        return Ok(());
    }
    let (mut members, mut start) = (Members::default(), scanner.pos());
    loop {
        let at = key_start(scanner);
        let key = scanner.key()?;
        let member = key.decode(&mut cx.key).ok().and_then(|name| tree.find(name));
        let gone = match member.and_then(|member| member.action.as_ref()) {
            Some(Name::Taken(by)) => has(object.clone(), by, &mut cx.key)?,
            _ => false,
        };
        if gone {
            let end = scanner.skip_value()?.end;
            members.drop(start, end, out);
        } else {
            members.keep(at, out);
            if let Some(Name::New(new)) = member.and_then(|member| member.action.as_ref()) {
                out.copy_to(at);
                out.out.extend_from_slice(new);
                // The quotes around the old key.
                out.skip_to(at + key.raw.len() + 2);
            }
            match member.and_then(|member| member.inside.as_ref()) {
                Some(inside) => rename(inside, scanner, out, cx)?,
                None => skip(scanner)?,
            }
        }
        start = comma(scanner);
        if !scanner.more(b'}')? {
            return Ok(());
        }
    }
}

/// Whether the object here has a member of this name.
fn has(mut scanner: Scanner, name: &[u8], scratch: &mut Vec<u8>) -> Result<bool, JsonError> {
    if scanner.open(b'{')? {
        loop {
            let key = scanner.key()?;
            if key.decode(scratch).is_ok_and(|key| key == name) {
                return Ok(true);
            }
            scanner.skip_value()?;
            if !scanner.more(b'}')? {
                break;
            }
        }
    }
    Ok(false)
}

/// The constants of a level, and of the levels below.
#[derive(Debug, Default)]
pub struct Adds {
    /// Names; what is there under one of them gives way.
    names: Tree<()>,
    /// Members as JSON text: `"name":value`.
    members: Vec<Vec<u8>>,
    /// Levels below, by name.
    inside: Vec<(Vec<u8>, Adds)>,
}

impl Adds {
    /// The constants of a step, by path.
    pub fn compile(constants: &BTreeMap<String, AnyValue>) -> Result<Self, String> {
        let mut adds = Self::default();
        for (field, value) in constants {
            let path = path(field).map_err(|why| format!("{field:?} {why}"))?;
            adds.insert(&path, value)?;
        }
        Ok(adds)
    }

    fn insert(&mut self, path: &[String], value: &AnyValue) -> Result<(), String> {
        match path {
            [] => {}
            [name] => {
                let mut member = quoted(name);
                member.push(b':');
                let value = serde_json::to_vec(&value.0).map_err(|error| error.to_string())?;
                member.extend_from_slice(&value);
                self.names.insert(std::slice::from_ref(name), ());
                self.members.push(member);
            }
            [name, rest @ ..] => {
                let at = self.inside.iter().position(|(known, _)| known == name.as_bytes());
                let at = at.unwrap_or_else(|| {
                    self.inside.push((name.clone().into_bytes(), Self::default()));
                    self.inside.len() - 1
                });
                if let Some((_, inside)) = self.inside.get_mut(at) {
                    inside.insert(rest, value)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the constants to the object here, or to the objects in the array here.
    pub fn apply(&self, scanner: &mut Scanner, out: &mut Writer, cx: &mut Context) -> Result<(), JsonError> {
        match scanner.skip_whitespace() {
            b'{' => {}
            b'[' => return elements(scanner, |scanner| self.apply(scanner, out, cx)),
            _ => return skip(scanner),
        }
        let mut members = Members::default();
        if scanner.open(b'{')? {
            let mut start = scanner.pos();
            loop {
                let at = key_start(scanner);
                let key = scanner.key()?;
                let name = key.decode(&mut cx.key).ok();
                let inside = name.and_then(|name| self.inside.iter().find(|(known, _)| known == name));
                if name.is_some_and(|name| self.names.find(name).is_some()) {
                    let end = scanner.skip_value()?.end;
                    members.drop(start, end, out);
                } else {
                    members.keep(at, out);
                    match inside {
                        Some((_, inside)) => inside.apply(scanner, out, cx)?,
                        None => skip(scanner)?,
                    }
                }
                start = comma(scanner);
                if !scanner.more(b'}')? {
                    break;
                }
            }
            out.copy_to(start);
        }
        // Before the closing bracket, which the scanner has passed.
        out.copy_to(scanner.pos() - 1);
        for member in &self.members {
            members.comma(out);
            out.out.extend_from_slice(member);
        }
        Ok(())
    }
}
