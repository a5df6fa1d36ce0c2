//! The columns of an object's members while they are filled.

use super::column::{Column, Context};
use super::plan::ObjectPlan;
use super::rescue::Segment;
use crate::record::json::{JsonError, Scanner};
use arrow_array::ArrayRef;
use arrow_schema::ArrowError;

/// The columns of the members, and a guess at which one comes next.
pub struct Object<'p> {
    plan: &'p ObjectPlan,
    columns: Vec<Column<'p>>,
    /// `after[i]` is the member that last came after member i-1; `after[0]` the one that last came first. Records of a
    /// stream mostly have their members in the same order, so that a key is found by comparing it with one name.
    after: Vec<Guess<'p>>,
}

/// A member, and its key as a record has it, quotes included; an empty key is in no record.
#[derive(Clone, Copy)]
struct Guess<'p> {
    member: usize,
    key: &'p [u8],
}

impl<'p> Object<'p> {
    /// Empty columns with room for `rows`.
    pub fn new(plan: &'p ObjectPlan, rows: usize) -> Self {
        let columns: Vec<_> = plan.kinds.iter().map(|kind| Column::new(kind, rows)).collect();
        let after = (0..=columns.len()).map(|member| Guess { member, key: plan.key(member) }).collect();
        Self { plan, columns, after }
    }

    /// Writes the object here as row `row`. Members that it does not have are left to be filled up later.
    pub fn write(&mut self, row: usize, scanner: &mut Scanner, context: &mut Context<'p>) -> Result<(), JsonError> {
        if !scanner.open(b'{')? {
            return Ok(());
        }
        let mut previous = 0;
        loop {
            scanner.skip_whitespace();
            let guess = self.after[previous];
            let member = if !guess.key.is_empty() && scanner.rest().starts_with(guess.key) {
                scanner.advance(guess.key.len());
                scanner.colon()?;
                guess.member
            } else {
                self.other_member(previous, scanner, context)?
            };
            scanner.skip_whitespace();
            let start = scanner.pos();
            if let Some(column) = self.columns.get_mut(member) {
                previous = member + 1;
                let segment = Segment::Name(&self.plan.names[member]);
                if column.len() <= row {
                    column.write(row, segment, scanner, context)?;
                } else {
                    // The same key once more: the first value stays.
                    let value = scanner.skip_value()?;
                    context.rescue.add(&context.path, segment, scanner.slice(value));
                }
                if context.rescue.misfit && context.path.is_empty() {
                    context.rescue.observe(&self.plan.names[member], scanner.slice(start..scanner.pos()));
                }
            }
            if !scanner.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads a key that was not guessed. For one without a column the value is kept elsewhere, and what is returned leads
    /// to no column.
    #[inline(never)]
    fn other_member(
        &mut self,
        previous: usize,
        scanner: &mut Scanner,
        context: &mut Context,
    ) -> Result<usize, JsonError> {
        let key = scanner.key()?;
        let name = key.decode(&mut context.scratch).ok();
        if let Some(member) = name.and_then(|name| self.plan.find(name)) {
            self.after[previous] = Guess { member, key: self.plan.key(member) };
            return Ok(member);
        }
        let value = scanner.skip_value()?;
        let raw = scanner.slice(value);
        if raw != b"null" {
            context.rescue_unknown(key, raw);
        }
        Ok(usize::MAX)
    }

    /// Drops what rows from `rows` on have written.
    pub fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// The arrays of the columns, filled up to `rows`.
    pub fn finish(self, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.into_iter().map(|column| column.finish(rows)).collect()
    }
}
