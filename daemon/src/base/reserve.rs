//! Large buffers that are filled again: of new memory, the system clears each 4 KiB when it is first touched.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The least room of a buffer that is kept: smaller ones come from the allocator's heap, not from the system. Debug builds keep
/// small ones, too, so that tests need no large pages.
const LEAST: usize = if cfg!(debug_assertions) { 4 << 10 } else { 1 << 20 };

/// What is asked of a reader at once.
const STEP: u64 = 256 << 10;

/// Buffers whose bytes nobody reads any more, the oldest first; clones share them.
#[derive(Clone, Default)]
pub struct Reserve(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    buffers: VecDeque<Vec<u8>>,
    held: usize,
    most: usize,
    /// The size of the next one where nobody tells it: that of the last, or a little less than before
    /// where a small one came between large ones.
    likely: usize,
}

impl Reserve {
    /// A reserve that keeps so many bytes at most.
    pub fn new(most: usize) -> Self {
        let reserve = Self::default();
        reserve.keep(most);
        reserve
    }

    /// Keeps so many bytes at most from now on.
    pub fn keep(&self, most: usize) {
        self.kept().most = most;
    }

    /// An empty buffer with room for so many bytes, or for as many as are likely: the smallest that is kept and fits, unless it
    /// has more than half as much room again.
    pub fn take(&self, room: Option<usize>) -> Filling {
        let mut kept = self.kept();
        let wanted = room.unwrap_or(kept.likely);
        let fits = |buffer: &Vec<u8>| (wanted..=wanted.saturating_add(wanted / 2)).contains(&buffer.capacity());
        let fitting = kept.buffers.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let best = fitting.min_by_key(|(_, buffer)| buffer.capacity()).map(|(at, _)| at);
        let found = best.and_then(|at| kept.buffers.remove(at));
        kept.held -= found.as_ref().map_or(0, Vec::capacity);
        drop(kept);
        let buffer = found.unwrap_or_else(|| {
            // Pages differ a little: an eighth more room, whose memory is not touched, so that it fits the next one, too.
            let spare = if room.is_none_or(|room| room >= LEAST) { wanted / 8 } else { 0 };
            Vec::with_capacity(wanted.saturating_add(spare))
        });
        Filling { buffer, reserve: self.clone() }
    }

    fn give(&self, mut buffer: Vec<u8>) {
        let mut kept = self.kept();
        let room = buffer.capacity();
        if !(LEAST..=kept.most).contains(&room) {
            return;
        }
        let mut left = Vec::new();
        while kept.held + room > kept.most {
            let Some(oldest) = kept.buffers.pop_front() else { break };
            kept.held -= oldest.capacity();
            left.push(oldest);
        }
        buffer.clear();
        kept.held += room;
        kept.buffers.push_back(buffer);
        drop(kept);
        // To give them back to the system takes a while, for which nobody is to wait.
        drop(left);
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
    buffer: Vec<u8>,
    reserve: Reserve,
}

impl Filling {
    /// Adds bytes, making room for them.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds all that a reader has; when it fails, what came before.
    pub fn read(&mut self, reader: &mut impl Read) -> io::Result<()> {
        // In steps: the library clears all the room that it hands to a reader, and hands out more and more of it.
        while reader.by_ref().take(STEP).read_to_end(&mut self.buffer)? > 0 {}
        Ok(())
    }

    /// Adds so many zeros.
    pub fn extend_zeros(&mut self, bytes: usize) {
        self.buffer.resize(self.buffer.len() + bytes, 0);
    }

    /// Bytes in it.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What was filled in. Few bytes do not keep the memory of many: no more than twice what they take.
    pub fn full(self) -> Bytes {
        let bytes = self.bytes();
        let mut kept = self.reserve.kept();
        kept.likely = bytes.max(kept.likely - kept.likely / 8);
        drop(kept);
        if self.buffer.capacity() < LEAST || bytes > self.buffer.capacity() / 2 {
            return Bytes::from_owner(self);
        }
        Bytes::copy_from_slice(&self.buffer)
    }
}

impl AsRef<[u8]> for Filling {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
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

    /// The room of the buffers that are kept, in units of the least.
    fn kept(reserve: &Reserve) -> Vec<usize> {
        let kept = reserve.kept();
        assert_eq!(kept.held, kept.buffers.iter().map(Vec::capacity).sum::<usize>());
        kept.buffers.iter().map(|buffer| buffer.capacity() / LEAST).collect()
    }

    #[test]
    fn a_buffer_is_filled_again_when_its_last_reader_is_gone() {
        let reserve = Reserve::new(10 * LEAST);
        let first = filled(&reserve, 2 * LEAST);
        let (at, part) = (first.as_ptr(), first.slice(5..9));
        drop(first);
        assert!(kept(&reserve).is_empty());
        assert_eq!(&part[..], b"xxxx");
        drop(part);
        assert_eq!(kept(&reserve), [2]);
        let mut second = reserve.take(Some(2 * LEAST + 100));
        assert!(second.as_ref().is_empty() && second.as_ref().as_ptr() == at);
        second.extend(&vec![b'y'; 2 * LEAST]);
        second.extend_zeros(2);
        assert_eq!(second.bytes(), 2 * LEAST + 2);
        let full = second.full();
        assert!(full.as_ptr() == at && full.ends_with(b"yy\0\0") && !full.contains(&b'x'));
    }

    #[test]
    fn one_of_another_size_is_left() {
        let reserve = Reserve::new(20 * LEAST);
        drop(filled(&reserve, 8 * LEAST));
        let small = filled(&reserve, 4 * LEAST);
        assert_eq!(kept(&reserve), [9]);
        let larger = filled(&reserve, 16 * LEAST);
        assert_eq!(kept(&reserve), [9]);
        drop(small);
        assert_eq!(kept(&reserve), [9, 4]);
        drop(filled(&reserve, 3 * LEAST));
        assert_eq!(kept(&reserve), [9, 4], "the smallest that fits");
        drop((larger, filled(&reserve, 100)));
        assert_eq!(kept(&reserve), [18], "the newest takes the place of the oldest");
        drop(filled(&reserve, 21 * LEAST));
        assert_eq!(kept(&reserve), [18], "nothing small is kept, and nothing that is too large");
    }

    #[test]
    fn where_no_size_is_told_it_is_that_of_the_last_ones() {
        let reserve = Reserve::new(100 * LEAST);
        let untold = |bytes: usize| {
            let mut filling = reserve.take(None);
            let room = filling.buffer.capacity();
            (0..bytes / 16).for_each(|_| filling.extend(b"sixteen bytes of"));
            (filling.full(), room)
        };
        let (first, _) = untold(3 * LEAST);
        assert_eq!((first.len(), &first[first.len() - 18..]), (3 * LEAST, &b"ofsixteen bytes of"[..]));
        drop(first);
        assert_eq!(kept(&reserve).len(), 1);
        let (few, room) = untold(16);
        assert!(room >= 3 * LEAST);
        assert_eq!(&few[..], b"sixteen bytes of");
        assert_eq!(kept(&reserve).len(), 1, "few bytes keep nothing large");
        assert!(untold(16).1 >= 5 * LEAST / 2, "one small one may be the exception");
        (0..100).for_each(|_| drop(untold(16)));
        assert!(untold(16).1 < LEAST, "where all are small, nothing large is asked for");
    }

    #[test]
    fn a_reserve_of_nothing_keeps_nothing() {
        let reserve = Reserve::default();
        drop(filled(&reserve, LEAST));
        assert!(kept(&reserve).is_empty());
        reserve.keep(2 * LEAST);
        drop(filled(&reserve, LEAST));
        assert_eq!(kept(&reserve), [1]);
    }
}
