//! Which rows of a column hold a value: one bit a row, kept in the column itself until a word is full.

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

/// The bits of the rows so far.
#[derive(Debug, Default)]
pub struct Validity {
    len: usize,
    /// The bits of the rows after the full words.
    word: u64,
    words: Vec<u64>,
    nulls: bool,
}

impl Validity {
    /// Rows so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a row with a value.
    #[inline]
    pub fn push(&mut self) {
        self.word |= 1 << (self.len % 64);
        self.len += 1;
        if self.len.is_multiple_of(64) {
            self.next_word();
        }
    }

    fn next_word(&mut self) {
        self.words.push(self.word);
        self.word = 0;
    }

    /// Adds rows without a value.
    pub fn push_nulls(&mut self, count: usize) {
        self.nulls |= count > 0;
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

    /// The bits, if there is a null at all.
    pub fn finish(mut self) -> Option<NullBuffer> {
        if !self.nulls {
            return None;
        }
        self.next_word();
        // Arrow counts bits from the lowest of the first byte.
        let words: Vec<u64> = self.words.into_iter().map(u64::to_le).collect();
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(words), 0, self.len)))
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
            let (mut expected, mut validity) = (Vec::new(), Validity::default());
            for step in steps {
                match step {
                    Step::Values(count) => {
                        (0..count).for_each(|_| validity.push());
                        expected.resize(expected.len() + count, true);
                    }
                    Step::Nulls(count) => {
                        validity.push_nulls(count);
                        expected.resize(expected.len() + count, false);
                    }
                    Step::Truncate(len) => {
                        validity.truncate(len);
                        expected.truncate(len);
                    }
                }
                prop_assert_eq!(validity.len(), expected.len());
            }
            let bits = validity.finish().map_or(vec![true; expected.len()], |nulls| nulls.iter().collect());
            prop_assert_eq!(bits, expected);
        }
    }
}
