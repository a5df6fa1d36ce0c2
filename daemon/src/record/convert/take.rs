//! Which JSON values a column takes. Each function takes one value if it fits; if it does not, the buffers are as before
//! and the scanner stands before the value or behind it.

use super::bits::Bits;
use super::column::{Column, Context, Pieces};
use super::lines;
use super::rescue::Segment;
use crate::record::json::{JsonError, Scanner};
use crate::record::scalar;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Whether the value was taken.
type Taken = Result<bool, JsonError>;

#[inline]
fn keep<T>(values: &mut Vec<T>, value: Option<T>) -> Taken {
    let Some(value) = value else { return Ok(false) };
    values.push(value);
    Ok(true)
}

/// An integer that i64 holds.
#[inline]
pub fn integer(first: u8, scanner: &mut Scanner, values: &mut Vec<i64>) -> Taken {
    if let Some((value, length)) = scalar::short_integer(scanner.rest()) {
        scanner.advance(length);
        values.push(value);
        return Ok(true);
    }
    number(first, scanner, values, scalar::integer)
}

/// A number that f64 gives back.
#[inline]
pub fn float(first: u8, scanner: &mut Scanner, values: &mut Vec<f64>) -> Taken {
    if let Some((value, length)) = scalar::short_float(scanner.rest()) {
        scanner.advance(length);
        values.push(value);
        return Ok(true);
    }
    number(first, scanner, values, scalar::float)
}

/// A number that `read` gives back.
fn number<T>(first: u8, scanner: &mut Scanner, values: &mut Vec<T>, read: impl Fn(&[u8]) -> Option<T>) -> Taken {
    if !matches!(first, b'-' | b'0'..=b'9') {
        return Ok(false);
    }
    let token = scanner.number()?;
    keep(values, read(token))
}

/// true or false.
#[inline]
pub fn boolean(first: u8, scanner: &mut Scanner, values: &mut Bits) -> Taken {
    match first {
        b't' => scanner.word(b"true")?,
        b'f' => scanner.word(b"false")?,
        _ => return Ok(false),
    }
    values.push(first == b't');
    Ok(true)
}

/// Any text.
#[inline]
pub fn text(first: u8, scanner: &mut Scanner, pieces: &mut Pieces) -> Taken {
    if first != b'"' {
        return Ok(false);
    }
    let taken = scanner.string_onto(&mut pieces.bytes)?;
    if taken {
        pieces.end();
    }
    Ok(taken)
}

/// A text that `read` understands.
#[inline]
pub fn parsed<T>(
    first: u8,
    scanner: &mut Scanner,
    scratch: &mut Vec<u8>,
    values: &mut Vec<T>,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Taken {
    if first != b'"' {
        return Ok(false);
    }
    let token = scanner.string()?;
    keep(values, token.decode(scratch).ok().and_then(read))
}

/// A decimal as a number, or as a text, in which many sources hide what their own numbers cannot hold.
pub fn decimal(
    first: u8,
    scanner: &mut Scanner,
    values: &mut Vec<i128>,
    read: impl Fn(&[u8]) -> Option<i128>,
) -> Taken {
    if first != b'"' {
        return number(first, scanner, values, read);
    }
    let token = scanner.string()?;
    let mut inner = Scanner::new(token.raw);
    let value = inner.number().ok().filter(|number| number.len() == token.raw.len()).and_then(read);
    keep(values, value)
}

/// Base64 (RFC 4648, section 4).
pub fn binary(first: u8, scanner: &mut Scanner, scratch: &mut Vec<u8>, pieces: &mut Pieces) -> Taken {
    if first != b'"' {
        return Ok(false);
    }
    let token = scanner.string()?;
    let decoded = token.decode(scratch).ok().map(|text| STANDARD.decode_vec(text, &mut pieces.bytes));
    if !matches!(decoded, Some(Ok(()))) {
        pieces.undo();
        return Ok(false);
    }
    pieces.end();
    Ok(true)
}

/// Any value, as JSON text.
pub fn json(scanner: &mut Scanner, pieces: &mut Pieces) -> Taken {
    let blanks = scanner.blanks();
    let value = scanner.skip_value()?;
    let raw = scanner.slice(value);
    if scanner.blanks() == blanks {
        pieces.bytes.extend_from_slice(raw);
    } else {
        lines::minify(raw, &mut pieces.bytes)?;
    }
    pieces.end();
    Ok(true)
}

/// `{}`.
pub fn empty(first: u8, scanner: &mut Scanner, pieces: &mut Pieces) -> Taken {
    let mut inner = scanner.clone();
    if first != b'{' || inner.open(b'{')? {
        return Ok(false);
    }
    *scanner = inner;
    pieces.bytes.extend_from_slice(b"{}");
    pieces.end();
    Ok(true)
}

/// An array, whatever its elements are: those that do not fit are rescued one by one.
pub fn list<'p>(
    segment: Segment<'p>,
    scanner: &mut Scanner,
    context: &mut Context<'p>,
    ends: &mut Vec<i32>,
    item: &mut Column<'p>,
) -> Taken {
    context.path.push(segment);
    let base = ends.last().map_or(0, |end| *end as usize);
    let mut more = scanner.open(b'[')?;
    let mut count = 0;
    while more {
        item.write(base + count, Segment::Index(count), scanner, context)?;
        count += 1;
        more = scanner.more(b']')?;
    }
    context.path.pop();
    // It fits: a page has less than 2^31 bytes.
    ends.push((base + count) as i32);
    Ok(true)
}
