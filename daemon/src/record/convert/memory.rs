//! The memory of columns: buffers that are filled anew for each page, and one block a page that keeps what they held.
//!
//! Columns are made by one thread and freed by another one, and an allocator makes the two wait for one another. A page asks
//! it for one block instead of some buffers for each column, of about the size that it takes.

use crate::base::reserve::{self, Reserve};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, ScalarBuffer};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Most bytes of buffers that are kept of one page, and of all pages of a plan.
const MOST_SPARE: usize = 8 << 20;
const MOST_ON_SHELF: usize = 16 << 20;

/// Most bytes of blocks that wait for a page: a row group of many columns gives back all of its pages at once.
const MOST_BLOCKS: usize = 64 << 20;

/// What a buffer in the block begins at a multiple of: the size of the largest value.
const ALIGNMENT: usize = size_of::<i128>();

/// About the bytes of an array beside those of its buffers.
const ARRAY: usize = 200;

/// Empty buffers of an earlier page. They are taken in the order in which columns are made and given back in the opposite one,
/// so that each column gets its own again.
#[derive(Default)]
pub struct Spare {
    bytes: Vec<Vec<u8>>,
    i32s: Vec<Vec<i32>>,
    i64s: Vec<Vec<i64>>,
    u64s: Vec<Vec<u64>>,
    f64s: Vec<Vec<f64>>,
    i128s: Vec<Vec<i128>>,
    held: usize,
}

/// What buffers hold.
pub trait Value: Sized {
    /// The spare buffers of this type.
    fn of(spare: &mut Spare) -> &mut Vec<Vec<Self>>;
}

macro_rules! values {
    ($($type:ty: $field:ident),*) => { $(
        impl Value for $type {
            fn of(spare: &mut Spare) -> &mut Vec<Vec<Self>> {
                &mut spare.$field
            }
        }
    )* };
}

values!(u8: bytes, i32: i32s, i64: i64s, u64: u64s, f64: f64s, i128: i128s);

impl Spare {
    /// An empty buffer with room for some values.
    pub fn take<T: Value>(&mut self, values: usize) -> Vec<T> {
        let mut buffer = T::of(self).pop().unwrap_or_default();
        self.held = self.held.saturating_sub(buffer.capacity() * size_of::<T>());
        buffer.reserve(values);
        buffer
    }

    /// Keeps a buffer, or one without room in its place where enough is kept.
    pub fn give<T: Value>(&mut self, mut buffer: Vec<T>) {
        let bytes = buffer.capacity() * size_of::<T>();
        let fits = self.held + bytes <= MOST_SPARE;
        self.held += if fits { bytes } else { 0 };
        buffer.clear();
        T::of(self).push(if fits { buffer } else { Vec::new() });
    }
}

/// Memory for the pages of a plan: spare buffers, as many as are converted at the same time, and blocks that nobody reads any more.
pub struct Shelf {
    spare: Mutex<Vec<Spare>>,
    blocks: Reserve,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { spare: Mutex::default(), blocks: Reserve::new(MOST_BLOCKS) }
    }
}

impl Shelf {
    /// An empty block with room for so many bytes.
    pub fn block(&self, bytes: usize) -> Filling {
        Filling(self.blocks.take(Some(bytes)))
    }

    /// Those of an earlier page, or none.
    pub fn take(&self) -> Spare {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps them for another page, unless enough is kept.
    pub fn give(&self, spare: Spare) {
        let mut kept = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.iter().map(|spare| spare.held).sum::<usize>() + spare.held <= MOST_ON_SHELF {
            kept.push(spare);
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Shelf")
    }
}

/// A block while it is filled.
pub struct Filling(reserve::Filling);

impl Filling {
    /// Bytes that a buffer takes in the block.
    pub fn size(buffer: &[u8]) -> usize {
        buffer.len().next_multiple_of(ALIGNMENT)
    }

    /// Adds a buffer.
    pub fn add(&mut self, buffer: &[u8]) {
        self.0.extend(buffer);
        self.0.extend_zeros(Self::size(buffer) - buffer.len());
    }
}

/// A full block, whose buffers are taken in the order in which they were added.
pub struct Block {
    buffer: Buffer,
    at: usize,
    arrays: usize,
}

impl Block {
    /// About the bytes of the block and of the arrays that were made of it.
    pub fn bytes(&self) -> usize {
        self.buffer.len() + self.arrays * ARRAY
    }

    /// Counts an array.
    pub fn array(&mut self) {
        self.arrays += 1;
    }

    /// The next buffer, which has so many bytes.
    pub fn next(&mut self, bytes: usize) -> Buffer {
        let buffer = self.buffer.slice_with_length(self.at, bytes);
        self.at += bytes.next_multiple_of(ALIGNMENT);
        buffer
    }

    /// The next buffer, which has so many values.
    pub fn values<T: ArrowNativeType>(&mut self, values: usize) -> ScalarBuffer<T> {
        self.next(values * size_of::<T>()).into()
    }

    /// The next buffer, which has the bits of so many rows and takes so many bytes.
    pub fn bits(&mut self, rows: usize, bytes: usize) -> BooleanBuffer {
        BooleanBuffer::new(self.next(bytes), 0, rows)
    }
}

impl From<Filling> for Block {
    fn from(filling: Filling) -> Self {
        let bytes = filling.0.full();
        // Every allocator that is known gives memory for values of any size; where one does not, the block is copied.
        let aligned = bytes.as_ptr().align_offset(ALIGNMENT) == 0;
        let buffer = if aligned { bytes.into() } else { Buffer::from(bytes.as_ref()) };
        Self { buffer, at: 0, arrays: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_gets_its_own_buffer_again() {
        let mut spare = Spare::default();
        let (mut first, second): (Vec<i64>, Vec<i64>) = (spare.take(100), spare.take(2000));
        first.push(7);
        spare.give(second);
        spare.give(first);
        let (first, second): (Vec<i64>, Vec<i64>) = (spare.take(1), spare.take(1));
        assert!(first.is_empty() && (100..2000).contains(&first.capacity()) && second.capacity() >= 2000);
        assert!(spare.take::<u8>(3).is_empty() && spare.held == 0);
    }

    #[test]
    fn a_page_of_unusual_size_leaves_nothing() {
        let mut spare = Spare::default();
        spare.give::<u8>(Vec::with_capacity(MOST_SPARE + 1));
        assert!(spare.bytes == [b""] && spare.bytes[0].capacity() == 0);
        for _ in 0..20 {
            spare.give::<f64>(Vec::with_capacity(MOST_SPARE / 8 / 10));
        }
        let kept = |buffer: &&Vec<f64>| buffer.capacity() > 0;
        assert_eq!((spare.f64s.len(), spare.f64s.iter().filter(kept).count()), (20, 10));
        let shelf = Shelf::default();
        for _ in 0..10 {
            shelf.give(Spare { held: MOST_SPARE, ..Spare::default() });
        }
        assert_eq!(shelf.spare.lock().unwrap().len(), MOST_ON_SHELF / MOST_SPARE);
    }

    #[test]
    fn a_block_gives_back_what_was_added() {
        let mut filling = Shelf::default().block(0);
        filling.add(b"abc");
        filling.add(&[]);
        filling.add(&7_i128.to_ne_bytes());
        filling.add(&[0b101]);
        let mut block = Block::from(filling);
        block.array();
        assert_eq!(block.bytes(), 48 + ARRAY);
        assert_eq!(block.next(3).as_slice(), b"abc");
        assert!(block.values::<i64>(0).is_empty());
        assert_eq!(block.values::<i128>(1).as_ref(), [7]);
        assert_eq!(block.bits(3, 1).iter().collect::<Vec<_>>(), [true, false, true]);
    }
}
