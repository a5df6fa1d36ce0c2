//! One column while it is filled: its buffers, and which JSON values it takes.

use super::bits::Bits;
use super::fit::Misfit;
use super::memory::Spare;
use super::object::Object;
use super::plan::Kind;
use super::rescue::{Rescue, Segment};
use super::take;
use crate::record::json::{JsonError, Scanner, Text};
use crate::record::scalar;
use arrow_schema::{FieldRef, Fields};

/// What the columns of a page share.
pub struct Context<'p> {
    /// The way from the record to the object or list that is being written.
    pub path: Vec<Segment<'p>>,
    /// What did not fit.
    pub rescue: Rescue,
    /// For strings with escapes.
    pub scratch: Vec<u8>,
}

impl Context<'_> {
    /// Keeps a member that has no column.
    #[cold]
    pub fn rescue_unknown(&mut self, key: Text, raw: &[u8]) {
        let name = key.decode(&mut self.scratch).unwrap_or(key.raw);
        self.rescue.add(&self.path, Segment::Key(name), raw);
        self.rescue.note(Misfit::Field, &self.path, Segment::Key(name));
        if !self.path.is_empty() {
            self.rescue.misfit = true;
        } else if let Ok(name) = std::str::from_utf8(name) {
            self.rescue.observe(name, raw);
        }
    }
}

/// A column. Rows without a value are not written until a later one has one, or the end.
pub struct Column<'p> {
    pub(super) validity: Bits,
    pub(super) values: Values<'p>,
}

/// What a column holds, a row each but for structs.
pub(super) enum Values<'p> {
    Unknown(Pieces),
    Boolean(Bits),
    Integer(Vec<i64>),
    Float(Vec<f64>),
    Text(Pieces),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    Binary(Pieces),
    Json(Pieces),
    Empty(Pieces),
    List { ends: Vec<i32>, item: Box<Column<'p>>, field: &'p FieldRef },
    Struct { object: Box<Object<'p>>, fields: &'p Fields },
}

/// Byte strings, one after the other.
pub struct Pieces {
    pub bytes: Vec<u8>,
    /// Where each one ends; starts with 0.
    pub ends: Vec<i32>,
}

impl Pieces {
    fn new(rows: usize, bytes: usize, spare: &mut Spare) -> Self {
        Self { bytes: spare.take(bytes), ends: ends(rows, spare) }
    }

    /// Ends the string that has been appended to `bytes`. (No page reaches 2 GiB, see `MAX_PAGE`.)
    #[inline]
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len() as i32);
    }

    /// Drops what has been appended since the last end.
    pub fn undo(&mut self) {
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }
}

/// A typical short text, for the first allocation of a column.
const TEXT_GUESS: usize = 16;

impl<'p> Column<'p> {
    /// An empty column with room for `rows`.
    pub fn new(kind: &'p Kind, rows: usize, spare: &mut Spare) -> Self {
        let validity = Bits::new(rows, spare);
        let texts = rows * TEXT_GUESS;
        let values = match kind {
            Kind::Unknown => Values::Unknown(Pieces::new(rows, 0, spare)),
            Kind::Boolean => Values::Boolean(Bits::new(rows, spare)),
            Kind::Integer => Values::Integer(spare.take(rows)),
            Kind::Float => Values::Float(spare.take(rows)),
            Kind::Text => Values::Text(Pieces::new(rows, texts, spare)),
            Kind::Timestamp => Values::Timestamp(spare.take(rows)),
            Kind::Date => Values::Date(spare.take(rows)),
            Kind::Time => Values::Time(spare.take(rows)),
            Kind::Decimal { precision, scale } => {
                Values::Decimal { values: spare.take(rows), precision: *precision, scale: *scale }
            }
            Kind::Binary => Values::Binary(Pieces::new(rows, texts, spare)),
            Kind::Json => Values::Json(Pieces::new(rows, texts, spare)),
            Kind::Empty => Values::Empty(Pieces::new(rows, 0, spare)),
            Kind::List(field, item) => {
                let ends = ends(rows, spare);
                Values::List { ends, item: Box::new(Self::new(item, rows, spare)), field }
            }
            Kind::Struct(fields, plan) => Values::Struct { object: Box::new(Object::new(plan, rows, spare)), fields },
        };
        Self { validity, values }
    }

    /// The column of what did not fit.
    pub fn rescued(spare: &mut Spare) -> Self {
        Self { validity: Bits::new(0, spare), values: Values::Json(Pieces::new(0, 0, spare)) }
    }

    /// Rows written so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.validity.len()
    }

    /// Writes nulls up to row `row`.
    #[inline]
    pub(super) fn fill_up(&mut self, row: usize) {
        if row > self.len() {
            self.push_nulls(row - self.len());
        }
    }

    #[inline(never)]
    fn push_nulls(&mut self, count: usize) {
        self.validity.push_unset(count);
        fn extend<T: Copy + Default>(values: &mut Vec<T>, count: usize) {
            values.resize(values.len() + count, T::default());
        }
        fn repeat(ends: &mut Vec<i32>, count: usize) {
            ends.resize(ends.len() + count, ends.last().copied().unwrap_or(0));
        }
        match &mut self.values {
            Values::Boolean(values) => values.push_unset(count),
            Values::Integer(values) | Values::Timestamp(values) | Values::Time(values) => extend(values, count),
            Values::Float(values) => extend(values, count),
            Values::Date(values) => extend(values, count),
            Values::Decimal { values, .. } => extend(values, count),
            Values::Unknown(pieces)
            | Values::Text(pieces)
            | Values::Binary(pieces)
            | Values::Json(pieces)
            | Values::Empty(pieces) => repeat(&mut pieces.ends, count),
            Values::List { ends, .. } => repeat(ends, count),
            Values::Struct { .. } => {}
        }
    }

    /// Writes the value here as row `row`; `segment` is the last step to it. What does not fit is rescued.
    #[inline]
    pub fn write(
        &mut self,
        row: usize,
        segment: Segment<'p>,
        scanner: &mut Scanner,
        context: &mut Context<'p>,
    ) -> Result<(), JsonError> {
        let first = scanner.skip_whitespace();
        if first == b'n' {
            return scanner.word(b"null");
        }
        self.fill_up(row);
        let start = scanner.pos();
        if self.take(first, segment, scanner, context)? {
            self.validity.push(true);
            return Ok(());
        }
        if scanner.pos() == start {
            scanner.skip_value()?;
        }
        context.rescue.add(&context.path, segment, scanner.slice(start..scanner.pos()));
        context.rescue.note(self.misfit(first), &context.path, segment);
        context.rescue.misfit = true;
        self.push_nulls(1);
        Ok(())
    }

    /// Why a value that starts with `first` does not fit.
    fn misfit(&self, first: u8) -> Misfit {
        match self.values {
            Values::Unknown(_) => Misfit::First,
            Values::Empty(_) if first == b'{' => Misfit::Field,
            _ => Misfit::Type,
        }
    }

    /// Takes the value here, which starts with `first`, if it fits. If it does not, the scanner stands before it or
    /// behind it.
    #[inline]
    fn take(
        &mut self,
        first: u8,
        segment: Segment<'p>,
        scanner: &mut Scanner,
        context: &mut Context<'p>,
    ) -> Result<bool, JsonError> {
        let scratch = &mut context.scratch;
        match &mut self.values {
            Values::Integer(values) => take::integer(first, scanner, values),
            Values::Float(values) => take::float(first, scanner, values),
            Values::Text(pieces) => take::text(first, scanner, pieces),
            Values::Timestamp(values) => take::parsed(first, scanner, scratch, values, scalar::timestamp),
            Values::Date(values) => take::parsed(first, scanner, scratch, values, scalar::date),
            Values::Time(values) => take::parsed(first, scanner, scratch, values, scalar::time),
            Values::Boolean(values) => take::boolean(first, scanner, values),
            Values::Json(pieces) => take::json(scanner, pieces),
            Values::List { ends, item, .. } if first == b'[' => take::list(segment, scanner, context, ends, item),
            Values::Struct { object, .. } if first == b'{' => {
                context.path.push(segment);
                object.write(self.validity.len(), scanner, context)?;
                context.path.pop();
                Ok(true)
            }
            Values::Decimal { values, precision, scale } => {
                take::decimal(first, scanner, values, |token| scalar::decimal(token, *precision, *scale))
            }
            Values::Binary(pieces) => take::binary(first, scanner, scratch, pieces),
            Values::Empty(pieces) => take::empty(first, scanner, pieces),
            Values::Unknown(_) | Values::List { .. } | Values::Struct { .. } => Ok(false),
        }
    }

    /// Writes what was rescued from row `row`, if anything was. An error says why it cannot be kept.
    pub fn append_rescued(&mut self, row: usize, rescue: &mut Rescue) -> Result<(), String> {
        let Some(text) = rescue.end()? else { return Ok(()) };
        if self.bytes_len() + text.len() > i32::MAX as usize {
            return Err("the values rescued from its page take more than 2 GiB".to_owned());
        }
        self.fill_up(row);
        if let Values::Json(pieces) = &mut self.values {
            pieces.bytes.extend_from_slice(text);
            pieces.end();
            self.validity.push(true);
        }
        rescue.commit();
        Ok(())
    }

    fn bytes_len(&self) -> usize {
        if let Values::Json(pieces) = &self.values { pieces.bytes.len() } else { 0 }
    }

    /// Drops what rows from `rows` on have written.
    pub fn truncate(&mut self, rows: usize) {
        self.validity.truncate(rows);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Integer(values) | Values::Timestamp(values) | Values::Time(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Date(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::Unknown(pieces)
            | Values::Text(pieces)
            | Values::Binary(pieces)
            | Values::Json(pieces)
            | Values::Empty(pieces) => {
                pieces.ends.truncate(rows + 1);
                pieces.undo();
            }
            // What was written within a list or struct that was not ended is dropped, too.
            Values::List { ends, item, .. } => {
                ends.truncate(rows + 1);
                item.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Values::Struct { object, .. } => object.truncate(rows),
        }
    }
}

/// An empty list of ends with room for `rows`: the first row starts at 0.
fn ends(rows: usize, spare: &mut Spare) -> Vec<i32> {
    let mut ends = spare.take(rows + 1);
    ends.push(0);
    ends
}
