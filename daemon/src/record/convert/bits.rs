//! One bit a row, as Arrow keeps them (the lowest bit of a byte first): which rows hold a value, and which values are true.

use super::memory::Spare;
use arrow_buffer::ToByteSlice as _;

/// The bits of the rows so far; those of the last rows are kept in the value itself until a word is full.
#[derive(Debug, Default)]
pub struct Bits {
    len: usize,
    /// The bits of the rows after the full words.
    word: u64,
    words: Vec<u64>,
    unset: bool,
}

impl Bits {
    /// No rows yet, with room for some.
    pub fn new(rows: usize, spare: &mut Spare) -> Self {
        Self { words: spare.take(rows.div_ceil(64)), ..Self::default() }
    }

    /// Rows so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no row has an unset bit.
    pub fn all_set(&self) -> bool {
        !self.unset
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, bit: bool) {
        self.word |= u64::from(bit) << (self.len % 64);
        self.unset |= !bit;
        self.len += 1;
        if self.len.is_multiple_of(64) {
            self.next_word();
        }
    }

    fn next_word(&mut self) {
        self.words.push(self.word);
        self.word = 0;
    }

    /// Adds rows whose bit is not set.
    pub fn push_unset(&mut self, count: usize) {
        self.unset |= count > 0;
        let full = self.len / 64;
        self.len += count;
        for _ in full..self.len / 64 {
            self.next_word();
        }
    }

    /// Drops the rows from `len` on.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        if let Some(word) = self.words.get(len / 64) {
            self.word = *word;
        }
        self.words.truncate(len / 64);
        self.word &= (1 << (len % 64)) - 1;
        self.len = len;
    }

    /// Ends it: nothing is added any more.
    pub fn end(&mut self) {
        self.next_word();
        self.words.iter_mut().for_each(|word| *word = word.to_le());
    }

    /// The bits, once it has ended.
    pub fn bytes(&self) -> &[u8] {
        self.words.to_byte_slice()
    }

    /// Gives its memory back.
    pub fn give_back(self, spare: &mut Spare) {
        spare.give(self.words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Values(usize),
        Nulls(usize),
        Truncate(usize),
    }

    proptest! {
        #[test]
        fn holds_what_was_pushed(
            steps in proptest::collection::vec(prop_oneof![
                (0usize..150).prop_map(Step::Values),
                (0usize..150).prop_map(Step::Nulls),
                (0usize..400).prop_map(Step::Truncate),
            ], 0..12)
        ) {
            let (mut expected, mut bits) = (Vec::new(), Bits::default());
            for step in steps {
                match step {
                    Step::Values(count) => {
                        (0..count).for_each(|_| bits.push(true));
                        expected.resize(expected.len() + count, true);
                    }
                    Step::Nulls(count) => {
                        bits.push_unset(count);
                        expected.resize(expected.len() + count, false);
                    }
                    Step::Truncate(len) => {
                        bits.truncate(len);
                        expected.truncate(len);
                    }
                }
                prop_assert_eq!(bits.len(), expected.len());
            }
            bits.end();
            prop_assert!(!bits.all_set() || expected.iter().all(|bit| *bit));
            let found = arrow_buffer::BooleanBuffer::new(bits.bytes().into(), 0, expected.len());
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        }
    }
}
