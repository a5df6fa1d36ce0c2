//! Converts the records of a body while they are found in it, so that the body is read once.

use super::{Columns, Converted, Counts, Data, Layout, MAX_PAGE, MAX_RECORD, Plan};
use crate::record::json::{JsonError, Scanner};
use crate::record::locate::Taker;
use std::sync::Arc;

/// What the records of a page became while they were found.
#[derive(Debug)]
pub struct Made {
    /// How they were converted.
    pub plan: Arc<Plan>,
    /// What [`Plan::convert`] would make of the page.
    pub converted: Converted,
    /// Bytes that its columns take.
    pub bytes: u64,
}

/// Takes the records of one body into columns. Where one of them cannot be taken, nothing is made of any: the page is then
/// converted later, which says what is wrong with which record.
pub struct Eager<'p> {
    plan: &'p Arc<Plan>,
    columns: Columns<'p>,
    source_bytes: u64,
    gave_up: bool,
}

impl<'p> Eager<'p> {
    /// Whether a plan asks for columns and nothing else.
    pub fn serves(plan: &Plan) -> bool {
        plan.layout != Layout::Lines && plan.checker.is_none()
    }

    /// Empty columns with room for `rows`; none where the plan asks for more than columns, or the body is too large for them.
    pub fn new(plan: &'p Arc<Plan>, body: &[u8], rows: usize) -> Option<Self> {
        let columns = Self::serves(plan) && body.len() as u64 <= MAX_PAGE;
        columns.then(|| Self { plan, columns: Columns::new(plan, rows), source_bytes: 0, gave_up: false })
    }

    /// What was made, where it is all of so many records.
    pub fn finish(self, records: usize) -> Option<Made> {
        if self.gave_up || self.columns.rows != records {
            return None;
        }
        let (batch, bytes, observed, rescued) = self.columns.finish().ok()?;
        let data = Data::Batch(batch);
        let read = records as u64;
        let counts = Counts { read, written: read, rescued, ..Counts::default() };
        let (rejected, failed) = (Vec::new(), None);
        let converted = Converted { data, counts, rejected, observed, source_bytes: self.source_bytes, failed };
        Some(Made { plan: Arc::clone(self.plan), converted, bytes })
    }
}

impl Taker for Eager<'_> {
    fn take(&mut self, scanner: &mut Scanner) -> Result<(), JsonError> {
        if self.gave_up || scanner.skip_whitespace() != b'{' {
            self.gave_up = true;
            return scanner.skip_value().map(drop);
        }
        let (start, columns) = (scanner.pos(), &mut self.columns);
        columns.context.rescue.start();
        columns.root.write(columns.rows, scanner, &mut columns.context)?;
        let length = scanner.pos() - start;
        self.source_bytes += length as u64;
        self.gave_up = length > MAX_RECORD || columns.settle(Ok(())).is_err();
        Ok(())
    }

    fn miss(&mut self) {
        self.gave_up = true;
    }
}
