//! Columns that are whole become arrays: their buffers are put into one block, and are free for the next page.

use super::bits::Bits;
use super::column::{Column, Pieces, Values};
use super::memory::{Block, Spare};
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ToByteSlice as _};
use arrow_schema::{ArrowError, Fields};
use std::sync::Arc;

impl Column<'_> {
    /// Ends the column behind row `rows`: nothing is written any more.
    pub fn end(&mut self, rows: usize) {
        self.fill_up(rows);
        self.validity.end();
        match &mut self.values {
            Values::Boolean(values) => values.end(),
            Values::List { ends, item, .. } => item.end(ends.last().map_or(0, |end| *end as usize)),
            Values::Struct { object, .. } => object.end(rows),
            _ => {}
        }
    }

    /// Shows each of its buffers, once it has ended.
    pub fn buffers(&self, see: &mut dyn FnMut(&[u8])) {
        if !self.validity.all_set() {
            see(self.validity.bytes());
        }
        match &self.values {
            Values::Boolean(values) => see(values.bytes()),
            Values::Integer(values) | Values::Timestamp(values) | Values::Time(values) => see(values.to_byte_slice()),
            Values::Float(values) => see(values.to_byte_slice()),
            Values::Date(values) => see(values.to_byte_slice()),
            Values::Decimal { values, .. } => see(values.to_byte_slice()),
            Values::Unknown(pieces)
            | Values::Text(pieces)
            | Values::Binary(pieces)
            | Values::Json(pieces)
            | Values::Empty(pieces) => {
                see(pieces.ends.to_byte_slice());
                see(&pieces.bytes);
            }
            Values::List { ends, item, .. } => {
                see(ends.to_byte_slice());
                item.buffers(see);
            }
            Values::Struct { object, .. } => object.buffers(see),
        }
    }

    /// The array of its buffers in the block, which were added in the order in which it shows them.
    pub fn array(&self, block: &mut Block) -> Result<ArrayRef, ArrowError> {
        block.array();
        let nulls = (!self.validity.all_set()).then(|| NullBuffer::new(bits(&self.validity, block)));
        Ok(match &self.values {
            Values::Boolean(values) => {
                let values = bits(values, block);
                if values.len() != self.len() {
                    return Err(ArrowError::InvalidArgumentError("a column has lost a value".to_owned()));
                }
                Arc::new(BooleanArray::new(values, nulls))
            }
            Values::Integer(values) => Arc::new(primitive::<Int64Type>(values, block, nulls)?),
            Values::Float(values) => Arc::new(primitive::<Float64Type>(values, block, nulls)?),
            Values::Timestamp(values) => {
                Arc::new(primitive::<TimestampMicrosecondType>(values, block, nulls)?.with_timezone("+00:00"))
            }
            Values::Date(values) => Arc::new(primitive::<Date32Type>(values, block, nulls)?),
            Values::Time(values) => Arc::new(primitive::<Time64MicrosecondType>(values, block, nulls)?),
            Values::Decimal { values, precision, scale } => {
                let values = primitive::<Decimal128Type>(values, block, nulls)?;
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            Values::Binary(pieces) => {
                let (ends, bytes) = texts(pieces, block);
                Arc::new(BinaryArray::try_new(ends, bytes, nulls)?)
            }
            Values::Unknown(pieces) | Values::Text(pieces) | Values::Json(pieces) | Values::Empty(pieces) => {
                let (ends, bytes) = texts(pieces, block);
                Arc::new(StringArray::try_new(ends, bytes, nulls)?)
            }
            Values::List { ends, item, field } => {
                let ends = OffsetBuffer::new(block.values(ends.len()));
                Arc::new(ListArray::try_new(Arc::clone(field), ends, item.array(block)?, nulls)?)
            }
            Values::Struct { object, fields } => {
                let (fields, columns) = (Fields::clone(fields), object.arrays(block)?);
                Arc::new(StructArray::try_new_with_length(fields, columns, nulls, self.len())?)
            }
        })
    }

    /// Gives its memory back, in the opposite order of [`Column::new`].
    pub fn give_back(self, spare: &mut Spare) {
        match self.values {
            Values::Boolean(values) => values.give_back(spare),
            Values::Integer(values) | Values::Timestamp(values) | Values::Time(values) => spare.give(values),
            Values::Float(values) => spare.give(values),
            Values::Date(values) => spare.give(values),
            Values::Decimal { values, .. } => spare.give(values),
            Values::Unknown(pieces)
            | Values::Text(pieces)
            | Values::Binary(pieces)
            | Values::Json(pieces)
            | Values::Empty(pieces) => {
                spare.give(pieces.ends);
                spare.give(pieces.bytes);
            }
            Values::List { ends, item, .. } => {
                item.give_back(spare);
                spare.give(ends);
            }
            Values::Struct { object, .. } => object.give_back(spare),
        }
        self.validity.give_back(spare);
    }
}

fn bits(bits: &Bits, block: &mut Block) -> BooleanBuffer {
    block.bits(bits.len(), bits.bytes().len())
}

fn primitive<T: ArrowPrimitiveType>(
    values: &[T::Native],
    block: &mut Block,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    PrimitiveArray::try_new(block.values(values.len()), nulls)
}

fn texts(pieces: &Pieces, block: &mut Block) -> (OffsetBuffer<i32>, Buffer) {
    (OffsetBuffer::new(block.values(pieces.ends.len())), block.next(pieces.bytes.len()))
}
