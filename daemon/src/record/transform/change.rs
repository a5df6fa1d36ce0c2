//! `cast`, `hash` and `mask`: other values in the same places.

use super::Context;
use super::cast::To;
use super::hash::Hash;
use super::prune::{elements, skip};
use super::tree::Tree;
use super::writer::{Writer, push_escaped, push_string};
use crate::config::settings::MaskFields;
use crate::record::convert::minify;
use crate::record::json::{JsonError, Scanner};

/// What takes the place of what has no characters to keep.
const MASKED: &str = "***";

/// What happens to a value.
#[derive(Clone, Debug)]
pub enum Change {
    /// It gets another type, if that is exact; the number is the cast's own.
    Cast(To, usize),
    /// It is hashed.
    Hash(Box<Hash>),
    /// All of it is replaced by this text.
    Fixed(String),
    /// All but the first and last characters, as many as these, are replaced.
    Mask(usize, usize),
}

impl Change {
    /// A mask as it is configured.
    pub fn mask(mask: &MaskFields) -> Self {
        let count = |count: Option<u32>| count.unwrap_or(0) as usize;
        match (count(mask.keep_first), count(mask.keep_last)) {
            (0, 0) => Self::Fixed(mask.fixed.clone().unwrap_or_else(|| MASKED.to_owned())),
            (first, last) => Self::Mask(first, last),
        }
    }

    /// Whether it reaches into an array that stands in its place.
    fn of_elements(&self) -> bool {
        !matches!(self, Self::Cast(..))
    }
}

/// Changes the values of the fields of `tree`.
pub fn change(tree: &Tree<Change>, scanner: &mut Scanner, out: &mut Writer, cx: &mut Context) -> Result<(), JsonError> {
    match scanner.skip_whitespace() {
        b'{' => {
            if !scanner.open(b'{')? {
                return Ok(());
            }
            loop {
                let key = scanner.key()?;
                let member = key.decode(&mut cx.key).ok().and_then(|name| tree.find(name));
                match member.map(|member| (&member.action, &member.inside)) {
                    Some((Some(action), _)) => apply(action, scanner, out, cx)?,
                    Some((None, Some(inside))) => change(inside, scanner, out, cx)?,
                    _ => skip(scanner)?,
                }
                if !scanner.more(b'}')? {
                    return Ok(());
                }
            }
        }
        b'[' => elements(scanner, |scanner| change(tree, scanner, out, cx)),
        _ => skip(scanner),
    }
}

/// Changes the value here.
fn apply(action: &Change, scanner: &mut Scanner, out: &mut Writer, cx: &mut Context) -> Result<(), JsonError> {
    let first = scanner.skip_whitespace();
    if first == b'[' && action.of_elements() {
        return elements(scanner, |scanner| apply(action, scanner, out, cx));
    }
    let value = scanner.skip_value()?;
    if first == b'n' {
        return Ok(());
    }
    let raw = scanner.slice(value.clone());
    out.copy_to(value.start);
    let before = out.out.len();
    let changed = match action {
        Change::Cast(to, cast) => {
            let done = to.write(first, raw, out.out, &mut cx.text);
            if !done && let Some(stayed) = cx.stayed.get_mut(*cast) {
                *stayed = true;
            }
            done
        }
        Change::Hash(hash) => {
            hash.write(text_of(first, raw, &mut cx.text)?, out.out);
            true
        }
        Change::Fixed(text) => {
            push_string(out.out, text.as_bytes());
            true
        }
        Change::Mask(keep_first, keep_last) => {
            mask(first, raw, (*keep_first, *keep_last), (out.out, &mut cx.text));
            true
        }
    };
    match changed {
        true => out.skip_to(value.end),
        // As it was.
        false => out.out.truncate(before),
    }
    Ok(())
}

/// What a value says: the characters of a string, the JSON text of anything else.
fn text_of<'s>(first: u8, raw: &'s [u8], scratch: &'s mut Vec<u8>) -> Result<&'s [u8], JsonError> {
    scratch.clear();
    match first {
        b'"' => {
            let token = Scanner::new(raw).string()?;
            // Half a surrogate pair stands for no text: then it counts as it is written.
            if !token.escaped || token.decode_onto(scratch).is_err() {
                return Ok(token.raw);
            }
        }
        b'{' => minify(raw, scratch)?,
        _ => return Ok(raw),
    }
    Ok(scratch)
}

/// Writes a value with most of its characters replaced.
fn mask(first: u8, raw: &[u8], keep: (usize, usize), (out, scratch): (&mut Vec<u8>, &mut Vec<u8>)) {
    let text = match first {
        b'"' | b'-' | b'0'..=b'9' => text_of(first, raw, scratch).ok().and_then(|text| std::str::from_utf8(text).ok()),
        // The length alone would say which of two words it is.
        _ => None,
    };
    let Some(text) = text else {
        push_string(out, MASKED.as_bytes());
        return;
    };
    let count = text.chars().count();
    let (from, to) = if count > keep.0 + keep.1 { (keep.0, count - keep.1) } else { (0, count) };
    out.push(b'"');
    for (index, character) in text.chars().enumerate() {
        match (from..to).contains(&index) {
            true => out.push(b'*'),
            false => push_escaped(out, character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
