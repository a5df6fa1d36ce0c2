//! `select` and `drop`: members that stay, and members that go.

use super::Context;
use super::tree::Tree;
use super::writer::{Members, Writer};
use crate::record::json::{JsonError, Scanner};

/// Keeps the fields of `tree` alone. Where one of its paths goes through a value that is no object, nothing of that value is
/// selected: null takes its place.
pub fn select(tree: &Tree<()>, scanner: &mut Scanner, out: &mut Writer, cx: &mut Context) -> Result<(), JsonError> {
    match scanner.skip_whitespace() {
        b'{' => {
            if !scanner.open(b'{')? {
                return Ok(());
            }
            let (mut members, mut start) = (Members::default(), scanner.pos());
            loop {
                let at = key_start(scanner);
                let key = scanner.key()?;
                let member = key.decode(&mut cx.key).ok().and_then(|name| tree.find(name));
                match member.map(|member| (member.action, &member.inside)) {
                    Some((None, Some(inside))) => {
                        members.keep(at, out);
                        select(inside, scanner, out, cx)?;
                    }
                    Some(_) => {
                        members.keep(at, out);
                        scanner.skip_value()?;
                    }
                    None => {
                        let end = scanner.skip_value()?.end;
                        members.drop(start, end, out);
                    }
                }
                start = comma(scanner);
                if !scanner.more(b'}')? {
                    return Ok(());
                }
            }
        }
        b'[' => elements(scanner, |scanner| select(tree, scanner, out, cx)),
        _ => {
            let value = scanner.skip_value()?;
            out.copy_to(value.start);
            out.out.extend_from_slice(b"null");
            out.skip_to(value.end);
            Ok(())
        }
    }
}

/// Removes the fields of `tree`.
pub fn drop(tree: &Tree<()>, scanner: &mut Scanner, out: &mut Writer, cx: &mut Context) -> Result<(), JsonError> {
    match scanner.skip_whitespace() {
        b'{' => {
            if !scanner.open(b'{')? {
                return Ok(());
            }
            let (mut members, mut start) = (Members::default(), scanner.pos());
            loop {
                let at = key_start(scanner);
                let key = scanner.key()?;
                let member = key.decode(&mut cx.key).ok().and_then(|name| tree.find(name));
                match member.map(|member| (member.action, &member.inside)) {
                    Some((Some(()), _)) => {
                        let end = scanner.skip_value()?.end;
                        members.drop(start, end, out);
                    }
                    Some((None, Some(inside))) => {
                        members.keep(at, out);
                        drop(inside, scanner, out, cx)?;
                    }
                    _ => {
                        members.keep(at, out);
                        scanner.skip_value()?;
                    }
                }
                start = comma(scanner);
                if !scanner.more(b'}')? {
                    return Ok(());
                }
            }
        }
        b'[' => elements(scanner, |scanner| drop(tree, scanner, out, cx)),
        _ => skip(scanner),
    }
}

/// Where the key that comes next starts.
#[inline]
pub fn key_start(scanner: &mut Scanner) -> usize {
    scanner.skip_whitespace();
    scanner.pos()
}

/// Where the comma (or the closing bracket) behind a member stands.
#[inline]
pub fn comma(scanner: &mut Scanner) -> usize {
    key_start(scanner)
}

/// Does something with each element of the array here.
pub fn elements<'a>(
    scanner: &mut Scanner<'a>,
    mut each: impl FnMut(&mut Scanner<'a>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    if scanner.open(b'[')? {
        loop {
            each(scanner)?;
            if !scanner.more(b']')? {
                break;
            }
        }
    }
    Ok(())
}

/// Skips the value here.
#[inline]
pub fn skip(scanner: &mut Scanner) -> Result<(), JsonError> {
    scanner.skip_value()?;
    Ok(())
}
