//! The records of a batch in Avro's binary encoding, straight from the columns: nothing is allocated for a record.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array as _, ArrayRef, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};

/// The branches of every union: null comes first, because it is the default.
const NULL: u8 = 0;
const VALUE: u8 = 2;

/// The values of a nullable column.
pub struct Values<'a> {
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Boolean(&'a BooleanArray),
    Long(&'a [i64]),
    Int(&'a [i32]),
    Double(&'a [f64]),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Decimal(&'a PrimitiveArray<Decimal128Type>),
    List(&'a ListArray, Box<Values<'a>>),
    Struct(Vec<Values<'a>>),
}

impl<'a> Values<'a> {
    /// The values of a column; none where it is of a type that conversion does not make.
    pub fn new(array: &'a ArrayRef) -> Option<Self> {
        let kind = match array.data_type() {
            DataType::Boolean => Kind::Boolean(array.as_boolean_opt()?),
            DataType::Int64 => Kind::Long(array.as_primitive_opt::<Int64Type>()?.values()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Kind::Long(array.as_primitive_opt::<TimestampMicrosecondType>()?.values())
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Kind::Long(array.as_primitive_opt::<Time64MicrosecondType>()?.values())
            }
            DataType::Date32 => Kind::Int(array.as_primitive_opt::<Date32Type>()?.values()),
            DataType::Float64 => Kind::Double(array.as_primitive_opt::<Float64Type>()?.values()),
            DataType::Utf8 => Kind::Text(array.as_string_opt()?),
            DataType::Binary => Kind::Bytes(array.as_binary_opt()?),
            DataType::Decimal128(..) => Kind::Decimal(array.as_primitive_opt()?),
            DataType::List(_) => {
                let list = array.as_list_opt::<i32>()?;
                Kind::List(list, Box::new(Self::new(list.values())?))
            }
            DataType::Struct(_) => {
                let columns = array.as_struct_opt()?.columns().iter().map(Self::new);
                Kind::Struct(columns.collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Self { nulls: array.nulls().filter(|nulls| nulls.null_count() > 0), kind })
    }

    /// Appends the value of a row.
    pub fn push(&self, out: &mut Vec<u8>, row: usize) {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.push(NULL);
            return;
        }
        out.push(VALUE);
        match &self.kind {
            Kind::Boolean(values) => out.push(u8::from(values.value(row))),
            Kind::Long(values) => push_long(out, values.get(row).copied().unwrap_or_default()),
            Kind::Int(values) => push_long(out, values.get(row).copied().unwrap_or_default().into()),
            Kind::Double(values) => {
                out.extend_from_slice(&values.get(row).copied().unwrap_or_default().to_le_bytes());
            }
            Kind::Text(values) => push_bytes(out, values.value(row).as_bytes()),
            Kind::Bytes(values) => push_bytes(out, values.value(row)),
            Kind::Decimal(values) => push_decimal(out, values.value(row)),
            Kind::List(list, items) => {
                let offsets = list.value_offsets();
                let at = |index: usize| offsets.get(index).map_or(0, |offset| *offset as usize);
                let (start, end) = (at(row), at(row + 1));
                if end > start {
                    push_long(out, (end - start) as i64);
                    for item in start..end {
                        items.push(out, item);
                    }
                }
                push_long(out, 0);
            }
            Kind::Struct(columns) => {
                for column in columns {
                    column.push(out, row);
                }
            }
        }
    }
}

/// Appends a number: zigzag, then seven bits a byte, the lowest first.
#[inline]
pub fn push_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends bytes behind their length.
#[inline]
pub fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Appends the unscaled value in two's complement, big-endian, in as few bytes as hold its sign.
fn push_decimal(out: &mut Vec<u8>, value: i128) {
    let bytes = value.to_be_bytes();
    let same = if value < 0 { value.leading_ones() } else { value.leading_zeros() };
    let skip = (same.saturating_sub(1) / 8) as usize;
    push_bytes(out, bytes.get(skip..).unwrap_or(&bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_specification_writes_them() {
        let long = |value| {
            let mut out = Vec::new();
            push_long(&mut out, value);
            out
        };
        assert_eq!([0, -1, 1, -2, 2].map(|n| long(n)[0]), [0, 1, 2, 3, 4]);
        assert_eq!((long(-64), long(64)), (vec![0x7f], vec![0x80, 0x01]));
        assert_eq!(long(i64::MIN).len(), 10);
        assert_eq!(long(i64::MAX), [&[0xfe], &[0xff; 8][..], &[0x01]].concat());
    }

    #[test]
    fn decimals_take_no_byte_more_than_they_need() {
        let decimal = |value| {
            let mut out = Vec::new();
            push_decimal(&mut out, value);
            out.split_off(1)
        };
        assert_eq!(
            (decimal(0), decimal(-1), decimal(127), decimal(128)),
            (vec![0], vec![255], vec![127], vec![0, 128])
        );
        assert_eq!((decimal(-128), decimal(-129)), (vec![128], vec![255, 127]));
        assert_eq!((decimal(i128::MAX).len(), decimal(i128::MIN).len()), (16, 16));
    }
}
