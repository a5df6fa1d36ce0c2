//! The partitions of a stream in a compact form: the names of their values once, all values in one text.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most partitions of a stream; each has a row in the ledger.
pub const MAX_PARTITIONS: u32 = 1_000_000;

/// The most bytes of their values, which stay in memory while the stream is read.
pub const MAX_BYTES: usize = 256 << 20;

/// More partitions, or more bytes of values, than a stream may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keep the partitions: there are more than {MAX_PARTITIONS}, or more than {} MiB of their values", MAX_BYTES >> 20)]
pub struct TooMany;

/// Rows of texts under common keys: the parts of a stream, each read in order by itself, or values to make them of. A
/// partition is known by its position.
///
/// A key without a dot is `{{ partition.KEY }}` in the stream's templates; one with a dot is the whole reference, e.g.
/// `parent.id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitions {
    keys: Vec<String>,
    /// The values of all rows, one behind the other.
    texts: String,
    /// Where each value ends in `texts`.
    ends: Vec<u32>,
    /// Rows; not told by `ends` where there are no keys.
    count: u32,
}

impl Partitions {
    /// No rows yet, under these keys.
    pub fn new(keys: Vec<String>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// The one partition of a stream that is not cut into parts.
    pub fn single() -> Self {
        Self { count: 1, ..Self::default() }
    }

    /// Adds a row; a value that is missing is empty, and one too many is left out.
    pub fn push<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) -> Result<(), TooMany> {
        if self.count >= MAX_PARTITIONS {
            return Err(TooMany);
        }
        let mut values = values.into_iter();
        for _ in 0..self.keys.len() {
            let value = values.next().unwrap_or_default();
            if self.texts.len() + value.len() > MAX_BYTES {
                return Err(TooMany);
            }
            self.texts.push_str(value);
            self.ends.push(u32::try_from(self.texts.len()).map_err(|_| TooMany)?);
        }
        self.count += 1;
        Ok(())
    }

    /// The keys of every row.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Number of rows.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values of a row, in the order of the keys; nothing where there is no such row.
    pub fn row(&self, index: u32) -> impl ExactSizeIterator<Item = &str> {
        let width = if index < self.count { self.keys.len() } else { 0 };
        let first = index as usize * self.keys.len();
        (first..first + width).map(|at| self.text(at))
    }

    fn text(&self, at: usize) -> &str {
        let end = |at: usize| self.ends.get(at).map_or(0, |end| *end as usize);
        let start = at.checked_sub(1).map_or(0, end);
        self.texts.get(start..end(at)).unwrap_or_default()
    }

    /// Keys and values of a row.
    pub fn pairs(&self, index: u32) -> impl Iterator<Item = (&str, &str)> {
        self.keys.iter().map(String::as_str).zip(self.row(index))
    }

    /// Keys and values of a row; `None` where there is no such row.
    pub fn values(&self, index: u32) -> Option<BTreeMap<&str, &str>> {
        (index < self.count).then(|| self.pairs(index).collect())
    }

    /// Every row with every row of `inner`: the rows of `self` change slowest.
    pub fn times(&self, inner: &Self) -> Result<Self, TooMany> {
        let mut product = Self::new(self.keys.iter().chain(&inner.keys).cloned().collect());
        for outer in 0..self.count {
            for row in 0..inner.count {
                product.push(self.row(outer).chain(inner.row(row)))?;
            }
        }
        Ok(product)
    }

    /// The same rows, each with one value more.
    pub fn with(&self, key: &str, value: &str) -> Result<Self, TooMany> {
        let mut one = Self::new(vec![key.to_owned()]);
        one.push([value])?;
        self.times(&one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(keys: &[&str], rows: &[Vec<String>]) -> Partitions {
        let mut list = Partitions::new(keys.iter().map(|key| (*key).to_owned()).collect());
        for row in rows {
            list.push(row.iter().map(String::as_str)).unwrap();
        }
        list
    }

    #[test]
    fn the_whole_stream_is_one_part_without_values() {
        let single = Partitions::single();
        assert_eq!((single.len(), single.pairs(0).count()), (1, 0));
        assert_eq!(single.values(0), Some(BTreeMap::new()));
        assert_eq!(single.values(1), None);
        let with = single.with("incremental.start", "7").unwrap();
        assert_eq!(with.pairs(0).collect::<Vec<_>>(), [("incremental.start", "7")]);
    }

    #[test]
    fn a_product_may_be_empty_and_is_bounded() {
        let some = list(&["a"], &[vec!["1".into()], vec!["2".into()]]);
        assert!(some.times(&list(&["b"], &[])).unwrap().is_empty());
        let mut many = Partitions::new(vec![]);
        for _ in 0..MAX_PARTITIONS {
            many.push([]).unwrap();
        }
        assert_eq!(many.push([]), Err(TooMany));
        assert_eq!(many.times(&some), Err(TooMany));
    }

    proptest! {
        #[test]
        fn rows_come_back_also_from_json(rows in prop::collection::vec(prop::collection::vec("\\PC{0,8}", 3), 0..20)) {
            let made = list(&["a", "b", "parent.c"], &rows);
            let read: Partitions = serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap();
            prop_assert_eq!(&read, &made);
            prop_assert_eq!(read.len() as usize, rows.len());
            for (index, row) in rows.iter().enumerate() {
                prop_assert_eq!(read.row(index as u32).collect::<Vec<_>>(), row.iter().collect::<Vec<_>>());
            }
            prop_assert_eq!(read.row(rows.len() as u32).len(), 0);
        }

        #[test]
        fn a_product_goes_through_the_last_factor_first(outer in 0u32..7, inner in 0u32..7) {
            let numbers = |count: u32| (0..count).map(|n| vec![n.to_string()]).collect::<Vec<_>>();
            let product = list(&["o"], &numbers(outer)).times(&list(&["i"], &numbers(inner))).unwrap();
            prop_assert_eq!(product.len(), outer * inner);
            for index in 0..product.len() {
                let wanted = [(index / inner).to_string(), (index % inner).to_string()];
                prop_assert_eq!(product.row(index).collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
            }
        }
    }
}
