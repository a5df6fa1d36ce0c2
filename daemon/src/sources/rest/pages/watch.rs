//! What is remembered of a partition's counted pages to notice that they have shifted; all of it can be learned again.

use std::collections::HashSet;

/// Keys after which the older half of those that are remembered goes.
const REMEMBERED: usize = 1 << 15;

/// What is remembered of the pages so far.
#[derive(Debug, Default)]
pub struct Watch {
    /// Keys of the last pages.
    pub keys: Keys,
    /// The page (its number in the lane) in front of whose end the one before was compared.
    pub compared: Option<u64>,
    /// Comparisons in a row that the total made useless.
    pub tries: u32,
    /// CRC-32C of records without a key that were others than expected: are some still the same, asked once more?
    pub mistrusted: Option<Vec<u32>>,
    /// Pages in front of which a short one was compared.
    pub short: u32,
    /// Pages around which every answer said another total.
    pub restless: u32,
    /// Whether records without a key change from one answer to the next, so that nothing can be compared.
    pub blind: bool,
    /// Whether the page before the one at hand has grown behind what was read of it.
    pub grew: bool,
}

/// Keys of the last pages of a partition; never more than twice [`REMEMBERED`], and those of one page.
#[derive(Debug, Default)]
pub struct Keys {
    newer: HashSet<u64>,
    older: HashSet<u64>,
    /// Whether the key has shown itself as one that does not tell records apart.
    useless: bool,
}

/// What the keys of a page say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// They are new.
    New,
    /// One of them was on a page before this one.
    Again,
    /// Records of this very page have the same key.
    Useless,
}

impl Keys {
    /// Remembers the keys of a page.
    pub fn add(&mut self, keys: &[u64]) -> Told {
        if self.useless {
            return Told::New;
        }
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair.first() == pair.last()) {
            self.useless = true;
            return Told::Useless;
        }
        if keys.iter().any(|key| self.newer.contains(key) || self.older.contains(key)) {
            return Told::Again;
        }
        if self.newer.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.extend(keys);
        Told::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_again_is_noticed_for_a_long_while_in_bounded_memory() {
        let mut keys = Keys::default();
        let pages = 10 * REMEMBERED as u64 / 100;
        for page in 0..pages {
            let new: Vec<u64> = (page * 100..(page + 1) * 100).collect();
            assert_eq!(keys.add(&new), Told::New, "{page}");
            assert!(keys.newer.len() + keys.older.len() <= 2 * REMEMBERED + 200);
        }
        assert_eq!(keys.add(&[pages * 100 - REMEMBERED as u64]), Told::Again);
        assert_eq!(keys.add(&[pages * 100, pages * 100 - 1]), Told::Again);
    }

    #[test]
    fn a_key_that_is_none_is_no_shift() {
        let mut keys = Keys::default();
        assert_eq!([keys.add(&[1, 2]), keys.add(&[3, 4, 3]), keys.add(&[1])], [Told::New, Told::Useless, Told::New]);
    }
}
