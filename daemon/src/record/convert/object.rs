//! The columns of an object's members while they are filled.

use super::column::{Column, Context};
use super::plan::ObjectPlan;
use super::rescue::Segment;
use crate::record::json::{JsonError, Scanner, Text};
use arrow_array::ArrayRef;
use arrow_schema::ArrowError;

/// The columns of the members, and a guess at which one comes next.
pub struct Object<'p> {
    plan: &'p ObjectPlan,
    columns: Vec<Column<'p>>,
    /// `after[i]` is the member that last came after member i-1; `after[0]` the one that last came first. Records of a
    /// stream mostly have their members in the same order, so that a key is found by comparing it with one name.
    after: Vec<usize>,
}

/// What a key leads to.
enum Key<'a> {
    Member(usize),
    Unknown(Text<'a>),
}

impl<'p> Object<'p> {
    /// Empty columns with room for `rows`.
    pub fn new(plan: &'p ObjectPlan, rows: usize) -> Self {
        let columns = plan.members.iter().map(|member| Column::new(&member.kind, rows)).collect();
        Self { plan, columns, after: (0..=plan.members.len()).collect() }
    }

    /// Writes the object here as row `row`. Members it does not have are left to be filled up later.
    pub fn write(&mut self, row: usize, scanner: &mut Scanner, context: &mut Context<'p>) -> Result<(), JsonError> {
        if !scanner.open(b'{')? {
            return Ok(());
        }
        let mut previous = 0;
        loop {
            let key = self.key(previous, scanner, context)?;
            scanner.skip_whitespace();
            let start = scanner.pos();
            match key {
                Key::Member(at) => {
                    previous = at + 1;
                    self.member(at, row, scanner, context)?;
                    if context.rescue.misfit && context.path.is_empty() {
                        let raw = scanner.bytes().get(start..scanner.pos()).unwrap_or_default();
                        context.rescue.observe(&self.plan.members[at].name, raw);
                    }
                }
                Key::Unknown(key) => {
                    let value = scanner.skip_value()?;
                    let raw = scanner.bytes().get(value).unwrap_or_default();
                    if raw != b"null" {
                        context.rescue_unknown(key, raw);
                    }
                }
            }
            if !scanner.more(b'}')? {
                return Ok(());
            }
        }
    }

    #[inline]
    fn key<'a>(
        &mut self,
        previous: usize,
        scanner: &mut Scanner<'a>,
        context: &mut Context,
    ) -> Result<Key<'a>, JsonError> {
        scanner.skip_whitespace();
        let guess = self.after[previous];
        if let Some(member) = self.plan.members.get(guess)
            && !member.quoted.is_empty()
            && scanner.rest().starts_with(&member.quoted)
        {
            scanner.advance(member.quoted.len());
            scanner.colon()?;
            return Ok(Key::Member(guess));
        }
        let key = scanner.key()?;
        match key.decode(&mut context.scratch).ok().and_then(|name| self.plan.find(name)) {
            Some(at) => {
                self.after[previous] = at;
                Ok(Key::Member(at))
            }
            None => Ok(Key::Unknown(key)),
        }
    }

    #[inline]
    fn member(
        &mut self,
        at: usize,
        row: usize,
        scanner: &mut Scanner,
        context: &mut Context<'p>,
    ) -> Result<(), JsonError> {
        let segment = Segment::Name(&self.plan.members[at].name);
        let column = &mut self.columns[at];
        if column.len() <= row {
            column.fill_up(row);
            return column.write(segment, scanner, context);
        }
        // The same key once more: the first value stays.
        let value = scanner.skip_value()?;
        let raw = scanner.bytes().get(value).unwrap_or_default();
        context.rescue.add(&context.path, segment, raw);
        Ok(())
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
