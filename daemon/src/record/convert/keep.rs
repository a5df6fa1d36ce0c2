//! Cuts a converted page behind its first rows, for an export that may have no more.

use super::{Converted, Data};

impl Converted {
    /// Keeps the first `rows` rows. What is cut counts as over the limit; rejected records stay rejected wherever they stood.
    pub fn keep(&mut self, rows: u64) {
        if rows >= self.counts.written {
            return;
        }
        self.counts.over_limit += self.counts.written - rows;
        self.counts.written = rows;
        // It is less than the rows of a page, which lie in memory.
        let keep = usize::try_from(rows).unwrap_or(usize::MAX);
        match &mut self.data {
            Data::Batch(batch) => *batch = batch.slice(0, keep.min(batch.num_rows())),
            Data::Lines(lines) => {
                let end = match keep {
                    0 => Some(0),
                    keep => memchr::memchr_iter(b'\n', lines).nth(keep - 1).map(|at| at + 1),
                };
                lines.truncate(end.unwrap_or(lines.len()));
            }
        }
    }
}
