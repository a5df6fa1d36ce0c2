//! How a value of a column is written in a CSV field.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array as _, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_schema::DataType;
use base64::engine::general_purpose::STANDARD;
use std::io::{self, Write as _};

/// The values of a column.
pub enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Integer(&'a PrimitiveArray<Int64Type>),
    Float(&'a PrimitiveArray<Float64Type>),
    Text(&'a StringArray),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, usize),
    Binary(&'a BinaryArray),
}

impl<'a> Cells<'a> {
    /// The values of a column of scalars; none for another.
    pub fn new(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean_opt()?),
            DataType::Int64 => Self::Integer(array.as_primitive_opt()?),
            DataType::Float64 => Self::Float(array.as_primitive_opt()?),
            DataType::Utf8 => Self::Text(array.as_string_opt()?),
            DataType::Timestamp(..) => Self::Timestamp(array.as_primitive_opt()?),
            DataType::Date32 => Self::Date(array.as_primitive_opt()?),
            DataType::Time64(_) => Self::Time(array.as_primitive_opt()?),
            DataType::Decimal128(_, scale) => Self::Decimal(array.as_primitive_opt()?, usize::try_from(*scale).ok()?),
            DataType::Binary => Self::Binary(array.as_binary_opt()?),
            _ => return None,
        })
    }

    /// Appends the value of a row, which is not null.
    pub fn push(&self, out: &mut Vec<u8>, row: usize) -> io::Result<()> {
        match self {
            Self::Boolean(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Self::Integer(values) => push_integer(out, values.value(row).into(), 1),
            // The shortest text that gives the value back, written as in JSON.
            Self::Float(values) => serde_json::to_writer(out, &values.value(row))?,
            Self::Text(values) => push_text(out, values.value(row).as_bytes()),
            Self::Timestamp(values) => {
                let micros = values.value(row);
                push_date(out, micros.div_euclid(DAY));
                out.push(b'T');
                push_time(out, micros.rem_euclid(DAY));
                out.push(b'Z');
            }
            Self::Date(values) => push_date(out, values.value(row).into()),
            Self::Time(values) => push_time(out, values.value(row)),
            Self::Decimal(values, scale) => push_decimal(out, values.value(row), *scale),
            Self::Binary(values) => {
                write!(out, "{}", base64::display::Base64Display::new(values.value(row), &STANDARD))?
            }
        }
        Ok(())
    }
}

/// Appends a text, quoted if it must be (RFC 4180, section 2). The empty text is quoted, so that it is not taken for a null.
pub fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    if !text.is_empty() && !must_be_quoted(text) {
        out.extend_from_slice(text);
        return;
    }
    out.reserve(2 * text.len() + 2);
    out.push(b'"');
    push_doubled(out, text);
    out.push(b'"');
}

/// Bytes that are looked at together: as many as one register of every processor of 64 bits has.
const WIDE: usize = 16;

fn must_be_quoted(text: &[u8]) -> bool {
    let special = |byte: u8| (byte == b'"') | (byte == b',') | (byte == b'\n') | (byte == b'\r');
    let among = |bytes: &[u8; WIDE]| bytes.iter().fold(false, |any, byte| any | special(*byte));
    // The last ones overlap those before them.
    match text.last_chunk() {
        Some(last) => text.as_chunks().0.iter().any(among) || among(last),
        None => text.iter().any(|byte| special(*byte)),
    }
}

/// Appends a text with each quote twice. Texts of JSON have many, others few.
fn push_doubled(out: &mut Vec<u8>, text: &[u8]) {
    let (chunks, rest) = text.as_chunks::<WIDE>();
    for chunk in chunks {
        if chunk.iter().fold(false, |any, byte| any | (*byte == b'"')) {
            push_each(out, chunk);
        } else {
            out.extend_from_slice(chunk);
        }
    }
    push_each(out, rest);
}

/// The same with at most [`WIDE`] bytes, without a branch for each.
fn push_each(out: &mut Vec<u8>, bytes: &[u8]) {
    let (mut doubled, mut end) = ([0; 2 * WIDE], 0);
    for &byte in bytes.iter().take(WIDE) {
        doubled[end] = byte;
        doubled[end + 1] = b'"';
        end += 1 + usize::from(byte == b'"');
    }
    out.extend_from_slice(&doubled[..end]);
}

/// Appends an integer with at least `width` digits.
fn push_integer(out: &mut Vec<u8>, value: i128, width: usize) {
    if value < 0 {
        out.push(b'-');
    }
    let mut digits = [b'0'; 39];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    while rest > 0 {
        at -= 1;
        // Most values are small, and division of 128 bits is slow.
        (rest, digits[at]) = match u64::try_from(rest) {
            Ok(small) => ((small / 10).into(), b'0' + (small % 10) as u8),
            Err(_) => (rest / 10, b'0' + (rest % 10) as u8),
        };
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width.min(digits.len()))..]);
}

fn push_decimal(out: &mut Vec<u8>, value: i128, scale: usize) {
    let start = out.len();
    push_integer(out, value, scale + 1);
    if scale > 0 {
        let point = out.len().max(start + scale) - scale;
        out.insert(point, b'.');
    }
}

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Appends `YYYY-MM-DD`.
fn push_date(out: &mut Vec<u8>, days: i64) {
    // The year is counted from March, so that the leap day is its last.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + month / 10;
    push_padded(out, year, [1000, 100, 10, 1]);
    out.push(b'-');
    push_padded(out, (month + 2) % 12 + 1, [10, 1]);
    out.push(b'-');
    push_padded(out, day, [10, 1]);
}

/// Appends `HH:MM:SS`, with three or six digits of fraction if there is one.
fn push_time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros / 1_000_000;
    push_padded(out, seconds / 3600, [10, 1]);
    out.push(b':');
    push_padded(out, seconds / 60 % 60, [10, 1]);
    out.push(b':');
    push_padded(out, seconds % 60, [10, 1]);
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        out.push(b'.');
        push_padded(out, fraction / 1_000, [100, 10, 1]);
        if fraction % 1_000 != 0 {
            push_padded(out, fraction % 1_000, [100, 10, 1]);
        }
    }
}

/// Appends the digits of a number that stand at `units`.
fn push_padded<const N: usize>(out: &mut Vec<u8>, number: i64, units: [i64; N]) {
    out.extend_from_slice(&units.map(|unit| b'0' + (number / unit % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_is_quoted_as_csv_core_does(text in "([a-z]{0,20}|[\",\r\n#\\\\]|é){0,12}") {
            let mut ours = Vec::new();
            push_text(&mut ours, text.as_bytes());
            let mut theirs = vec![0; 2 * text.len() + 2];
            let mut writer = csv_core::Writer::new();
            let (_, _, written) = writer.field(text.as_bytes(), &mut theirs);
            let (_, ended) = writer.finish(&mut theirs[written..]);
            theirs.truncate(written + ended);
            let wanted = if text.is_empty() { b"\"\"".to_vec() } else { theirs };
            prop_assert_eq!(ours, wanted);
        }
    }
}
