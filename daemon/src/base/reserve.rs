//! Large buffers that are filled again: of new memory, the system clears each 4 KiB when it is first touched.

use arrow_buffer::MutableBuffer;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The least room of a buffer that is kept: smaller ones come from the allocator's heap, not from the system.
const LEAST: usize = 1 << 20;

/// Buffers whose bytes nobody reads any more, the oldest first; clones share them.
#[derive(Clone)]
pub struct Reserve(Arc<Mutex<Kept>>);

struct Kept {
    buffers: VecDeque<MutableBuffer>,
    held: usize,
    most: usize,
    /// The size of the last one that was filled.
    last: usize,
}

impl Reserve {
    /// A reserve that keeps so many bytes at most.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept { buffers: VecDeque::new(), held: 0, most, last: 0 })))
    }

    /// An empty buffer with room for so many bytes, or for as many as the last one had, aligned for every type of values. One of
    /// much more room is left for those that need it.
    pub fn take(&self, room: Option<usize>) -> Filling {
        let mut kept = self.kept();
        let room = room.unwrap_or(kept.last);
        let fits = |buffer: &MutableBuffer| (room..=room.saturating_mul(2)).contains(&buffer.capacity());
        let found = kept.buffers.iter().position(fits).and_then(|at| kept.buffers.remove(at));
        kept.held -= found.as_ref().map_or(0, MutableBuffer::capacity);
        drop(kept);
        // Pages differ a little: a large one gets an eighth more room, whose memory is not touched, so that it fits the next.
        let room = if room < LEAST { room } else { room.saturating_add(room / 8) };
        Filling { buffer: found.unwrap_or_else(|| MutableBuffer::with_capacity(room)), reserve: self.clone() }
    }

    fn give(&self, mut buffer: MutableBuffer) {
        let mut kept = self.kept();
        let room = buffer.capacity();
        if (LEAST..=kept.most).contains(&room) {
            buffer.clear();
            while kept.held + room > kept.most {
                let oldest = kept.buffers.pop_front();
                kept.held -= oldest.map_or(0, |oldest| oldest.capacity());
            }
            kept.held += room;
            kept.buffers.push_back(buffer);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reserve {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Reserve")
    }
}

/// A buffer while it is filled; it goes back to its reserve when nobody needs its bytes any more.
pub struct Filling {
    buffer: MutableBuffer,
    reserve: Reserve,
}

impl Filling {
    /// Adds bytes, making room for them.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds so many zeros.
    pub fn extend_zeros(&mut self, bytes: usize) {
        self.buffer.extend_zeros(bytes);
    }

    /// Bytes in it.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What was filled in.
    pub fn full(self) -> Bytes {
        self.reserve.kept().last = self.buffer.len();
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Filling {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.reserve.give(mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(reserve: &Reserve, bytes: usize) -> Bytes {
        let mut filling = reserve.take(Some(bytes));
        filling.extend(&vec![b'x'; bytes]);
        filling.full()
    }

    fn kept(reserve: &Reserve) -> usize {
        let kept = reserve.kept();
        assert_eq!(kept.held, kept.buffers.iter().map(MutableBuffer::capacity).sum::<usize>());
        kept.buffers.len()
    }

    #[test]
    fn a_buffer_is_filled_again_when_its_last_reader_is_gone() {
        let reserve = Reserve::new(10 * LEAST);
        let first = filled(&reserve, 2 * LEAST);
        let (at, part) = (first.as_ptr(), first.slice(5..9));
        drop(first);
        assert_eq!(kept(&reserve), 0);
        assert_eq!(&part[..], b"xxxx");
        drop(part);
        assert_eq!(kept(&reserve), 1);
        let mut second = reserve.take(Some(2 * LEAST + 100));
        assert!(second.as_ref().is_empty() && second.as_ref().as_ptr() == at);
        second.extend(b"y");
        second.extend_zeros(2);
        assert_eq!((second.bytes(), &second.full()[..]), (3, &b"y\0\0"[..]));
        assert_eq!(kept(&reserve), 1);
    }

    #[test]
    fn one_of_another_size_is_left() {
        let reserve = Reserve::new(20 * LEAST);
        drop(filled(&reserve, 8 * LEAST));
        let small = filled(&reserve, LEAST);
        assert_eq!(kept(&reserve), 1);
        let larger = filled(&reserve, 16 * LEAST);
        assert_eq!(kept(&reserve), 1);
        drop((small, larger));
        assert_eq!(kept(&reserve), 2, "the newest take the place of the oldest");
        drop(filled(&reserve, 100));
        drop(filled(&reserve, 21 * LEAST));
        assert_eq!(kept(&reserve), 2, "nothing small is kept, and nothing that is too large");
    }

    #[test]
    fn where_no_size_is_told_it_is_that_of_the_last() {
        let reserve = Reserve::new(10 * LEAST);
        let mut first = reserve.take(None);
        first.extend(&vec![b'x'; 3 * LEAST]);
        drop(first.full());
        assert_eq!(kept(&reserve), 1);
        let second = reserve.take(None);
        assert_eq!(kept(&reserve), 0);
        assert!(second.buffer.capacity() >= 3 * LEAST);
    }
}
