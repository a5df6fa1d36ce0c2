//! Which JSON values a column takes. Each function takes one value if it fits; if it does not, the buffers are as before
//! and the scanner stands before the value or behind it.

use super::column::{Column, Context, Pieces};
use super::lines;
use super::rescue::Segment;
use crate::record::json::{JsonError, Scanner};
use arrow_buffer::BooleanBufferBuilder;
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

/// A number that `read` can give back.
#[inline]
pub fn number<T>(first: u8, scanner: &mut Scanner, values: &mut Vec<T>, read: impl Fn(&[u8]) -> Option<T>) -> Taken {
    if !matches!(first, b'-' | b'0'..=b'9') {
        return Ok(false);
    }
    let token = scanner.number()?;
    keep(values, read(token))
}

/// true or false.
#[inline]
pub fn boolean(first: u8, scanner: &mut Scanner, values: &mut BooleanBufferBuilder) -> Taken {
    match first {
        b't' => scanner.word(b"true")?,
        b'f' => scanner.word(b"false")?,
        _ => return Ok(false),
    }
    values.append(first == b't');
    Ok(true)
}

/// Any text.
#[inline]
pub fn text(first: u8, scanner: &mut Scanner, pieces: &mut Pieces) -> Taken {
    if first != b'"' {
        return Ok(false);
    }
    let token = scanner.string()?;
    if !token.escaped {
        pieces.bytes.extend_from_slice(token.raw);
    } else if token.decode_onto(&mut pieces.bytes).is_err() {
        pieces.undo();
        return Ok(false);
    }
    pieces.end();
    Ok(true)
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
    let value = scanner.skip_value()?;
    let raw = scanner.bytes().get(value).unwrap_or_default();
    lines::minify(raw, &mut pieces.bytes)?;
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
    let mut more = scanner.open(b'[')?;
    let mut index = 0;
    while more {
        item.write(Segment::Index(index), scanner, context)?;
        index += 1;
        more = scanner.more(b']')?;
    }
    context.path.pop();
    // It fits: a page has less than 2^31 bytes.
    ends.push(item.len() as i32);
    Ok(true)
}
