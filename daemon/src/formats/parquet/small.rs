//! Joins pages of a few records: each costs some hundred bytes and a call for each column, however few rows it has.

use super::super::FormatError;
use super::refused;
use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;

/// Rows from which on a page stays as it came, and small ones become one.
const ENOUGH_ROWS: usize = 64;

/// The last pages, until they have enough rows.
#[derive(Default)]
pub struct Small {
    pages: Vec<RecordBatch>,
    rows: usize,
}

impl Small {
    /// Takes a page; what there is to encode now, in order.
    pub fn add(&mut self, page: RecordBatch) -> Result<[Option<RecordBatch>; 2], FormatError> {
        if page.num_rows() >= ENOUGH_ROWS {
            return Ok([self.join()?, Some(page)]);
        }
        self.rows += page.num_rows();
        self.pages.push(page);
        Ok([if self.rows >= ENOUGH_ROWS { self.join()? } else { None }, None])
    }

    /// The pages that wait, as one.
    pub fn join(&mut self) -> Result<Option<RecordBatch>, FormatError> {
        self.rows = 0;
        let pages = std::mem::take(&mut self.pages);
        match &pages[..] {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            [first, ..] => concat_batches(first.schema_ref(), &pages).map(Some).map_err(|error| refused(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::Float64Type;
    use arrow_array::{ArrayRef, Float64Array};
    use std::sync::Arc;

    #[test]
    fn pages_of_few_rows_become_one() {
        let page = |n: usize, rows: usize| {
            let values: ArrayRef = Arc::new(Float64Array::from(vec![n as f64; rows]));
            RecordBatch::try_from_iter([("f", values)]).unwrap()
        };
        let rows = [3, ENOUGH_ROWS - 4, 1, 200, 2, ENOUGH_ROWS, 1, 1];
        let (mut small, mut pages) = (Small::default(), Vec::new());
        for (n, rows) in rows.into_iter().enumerate() {
            pages.extend(small.add(page(n, rows)).unwrap().into_iter().flatten());
        }
        let kept: Vec<_> = pages.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(kept, [ENOUGH_ROWS, 200, 2, ENOUGH_ROWS]);
        pages.extend(small.join().unwrap());
        assert_eq!(pages.last().map(RecordBatch::num_rows), Some(2));
        assert!(small.join().unwrap().is_none());
        let values = pages.iter().flat_map(|page| page.column(0).as_primitive::<Float64Type>().values().to_vec());
        let wanted = rows.into_iter().enumerate().flat_map(|(n, rows)| vec![n as f64; rows]);
        assert_eq!(values.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    }
}
