//! The columns of an object's members while they are filled.

use super::column::{Column, Context};
use super::memory::{Block, Spare};
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
    /// Its first eight bytes, and which bits of them count: most keys are compared without a call.
    head: u64,
    mask: u64,
}

impl<'p> Guess<'p> {
    fn new(member: usize, key: &'p [u8]) -> Self {
        let mut head = [0; 8];
        let short = key.len().min(8);
        head[..short].copy_from_slice(&key[..short]);
        let mask = u64::MAX.checked_shr(64 - 8 * short as u32).unwrap_or(0);
        Self { member, key, head: u64::from_le_bytes(head), mask }
    }

    /// Whether the key stands at the start of `text`.
    #[inline]
    fn is_at(&self, text: &[u8]) -> bool {
        let Some(head) = text.first_chunk() else { return !self.key.is_empty() && text.starts_with(self.key) };
        if u64::from_le_bytes(*head) & self.mask != self.head {
            return false;
        }
        match self.key.len() {
            0 => false,
            1..=8 => true,
            // Overlapping the first eight.
            length @ 9..=16 => eight(text, length) == eight(self.key, length),
            _ => text.starts_with(self.key),
        }
    }
}

impl<'p> Object<'p> {
    /// Empty columns with room for `rows`.
    pub fn new(plan: &'p ObjectPlan, rows: usize, spare: &mut Spare) -> Self {
        let columns: Vec<_> = plan.kinds.iter().map(|kind| Column::new(kind, rows, spare)).collect();
        let after = (0..=columns.len()).map(|member| Guess::new(member, plan.key(member))).collect();
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
            let guess = &self.after[previous];
            let member = if guess.is_at(scanner.rest()) {
                let member = guess.member;
                scanner.advance(guess.key.len());
                scanner.colon()?;
                member
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
            self.after[previous] = Guess::new(member, self.plan.key(member));
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

    /// Ends the columns behind row `rows`.
    pub fn end(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.end(rows));
    }

    /// Shows each buffer of the columns, once they have ended.
    pub fn buffers(&self, see: &mut dyn FnMut(&[u8])) {
        self.columns.iter().for_each(|column| column.buffers(see));
    }

    /// The arrays of the columns, from a block that has their buffers.
    pub fn arrays(&self, block: &mut Block) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.iter().map(|column| column.array(block)).collect()
    }

    /// Gives the memory of the columns back.
    pub fn give_back(self, spare: &mut Spare) {
        self.columns.into_iter().rev().for_each(|column| column.give_back(spare));
    }
}

/// The eight bytes that end at `end`.
#[inline]
fn eight(text: &[u8], end: usize) -> Option<u64> {
    text.get(end - 8..end)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_it_stands_and_nowhere_else() {
        for length in 2..40 {
            let key: Vec<u8> = (0..length).map(|n| b'a' + n % 26).collect();
            let guess = Guess::new(0, &key);
            let text = [&key[..], b":1,\"more of the text\""].concat();
            assert!(guess.is_at(&text) && guess.is_at(&key), "{length}");
            for wrong in 0..key.len() {
                let mut other = text.clone();
                other[wrong] ^= 1;
                assert!(!guess.is_at(&other), "{length} {wrong}");
            }
            assert!(!guess.is_at(&text[..key.len() - 1]) && !guess.is_at(b""));
        }
        assert!(!Guess::new(0, b"").is_at(b"anything at all") && !Guess::new(0, b"").is_at(b""));
    }
}
