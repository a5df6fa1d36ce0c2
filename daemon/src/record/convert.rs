//! Turns the raw records of a page into what an encoder takes.
//!
//! The bytes are read once, from left to right, straight into column buffers: no value is built, nothing is allocated for
//! a record or a value. A value that its column cannot give back goes with its original text into the column
//! [`RESCUED`](crate::model::schema::RESCUED), so that nothing is lost and no record has to be read twice.

mod array;
mod bits;
mod column;
mod eager;
mod fit;
mod keep;
mod lines;
mod memory;
mod object;
mod plan;
mod rescue;
mod take;

#[cfg(test)]
mod tests;

use super::follow::Followed;
use super::infer::Observed;
use super::json::{JsonError, Problem, Scanner};
use super::page::Page;
use crate::model::schema::Schema;
use crate::model::segment::Counts;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use column::{Column, Context};
use memory::{Block, Filling, Spare};
use object::Object;
use rescue::Rescue;
use std::sync::Arc;

pub use eager::{Eager, Made};
pub use fit::{Failed, Fit, React};
pub use lines::minify;
pub use plan::{Layout, Plan};

/// Largest record that is represented; a larger one is rejected.
pub const MAX_RECORD: usize = 16_000_000;

/// Most JSON bytes of one page that become columns, so that no column outgrows the 2 GiB that its offsets can address.
const MAX_PAGE: u64 = 1 << 30;

/// A converted page.
#[derive(Debug)]
pub struct Converted {
    /// The records.
    pub data: Data,
    /// What became of each record.
    pub counts: Counts,
    /// The rejected ones.
    pub rejected: Vec<Rejected>,
    /// Types seen in fields that the task's schema does not have or that did not fit; for the next task's schema.
    pub observed: Option<Schema>,
    /// JSON bytes of the records.
    pub source_bytes: u64,
    /// The first record that the task must not take; then nothing of the page counts.
    pub failed: Option<Failed>,
}

/// The records of a page in the form that the format takes.
#[derive(Debug)]
pub enum Data {
    /// Columns, for Parquet and CSV.
    Batch(RecordBatch),
    /// Each record as compact JSON in a line of its own, for NDJSON and JSON.
    Lines(Vec<u8>),
}

/// A record that cannot be represented.
#[derive(Debug)]
pub struct Rejected {
    /// Position in the page, from 0.
    pub index: u32,
    /// Why, without data.
    pub reason: String,
    /// The record as the source wrote it.
    pub raw: Vec<u8>,
}

impl Plan {
    /// Converts a page. Every record is either in the data, among the rejected, or one that `followed` says is not written.
    pub fn convert(&self, page: &Page, followed: Option<&Followed>) -> Converted {
        let utf8 = page.facts.utf8 || simdutf8::basic::from_utf8(&page.body).is_ok();
        let mut sink = Sink::new(self, page);
        let mut rejected = Vec::new();
        let mut failed = None;
        let mut source_bytes = 0;
        for (index, raw) in (0..).zip(page.raw_records()) {
            source_bytes += raw.len() as u64;
            if followed.is_some_and(|followed| followed.keep.get(index as usize) == Some(&false)) {
                continue;
            }
            let checked = check(raw, utf8, source_bytes);
            let added = checked.map_err(Unfit::from).and_then(|()| self.valid(raw)).and_then(|()| sink.add(raw));
            if let Err(Unfit { reason, fails }) = added {
                if fails && failed.is_none() {
                    failed = Some(Failed { index, reason: reason.clone() });
                }
                rejected.push(Rejected { index, reason, raw: raw.to_vec() });
            }
        }
        let read = page.records.len() as u64;
        let (data, observed, rescued) = match sink.finish() {
            Ok(finished) => finished,
            // Cannot happen, but if it does it must not lose anything: all records go the way of the bad ones.
            Err(_) => {
                let reason = "the columns of its page do not fit together";
                let kept = |index: u32| followed.is_none_or(|f| f.keep.get(index as usize) != Some(&false));
                let all = (0..).zip(page.raw_records()).filter(|(index, _)| kept(*index));
                rejected = all.map(|(index, raw)| Rejected::new(index, reason, raw)).collect();
                (Data::Batch(RecordBatch::new_empty(Arc::clone(self.arrow_schema()))), None, 0)
            }
        };
        let bad = rejected.len() as u64;
        let (duplicate, filtered) = followed.map_or((0, 0), |followed| (followed.duplicate, followed.filtered));
        let written = read - bad - duplicate - filtered;
        let counts = Counts { read, written, rejected: bad, duplicate, filtered, rescued, ..Counts::default() };
        Converted { data, counts, rejected, observed, source_bytes, failed }
    }

    /// Asks the stream's JSON Schema, if it has one.
    fn valid(&self, raw: &[u8]) -> Result<(), Unfit> {
        let Some((checker, react)) = &self.checker else { return Ok(()) };
        checker.check(raw).map_err(|reason| Unfit { reason, fails: *react == React::Fail })
    }
}

/// Why a record is not taken.
struct Unfit {
    reason: String,
    /// Whether the task must not go on.
    fails: bool,
}

impl From<String> for Unfit {
    fn from(reason: String) -> Self {
        Self { reason, fails: false }
    }
}

impl Rejected {
    fn new(index: u32, reason: &str, raw: &[u8]) -> Self {
        Self { index, reason: reason.to_owned(), raw: raw.to_vec() }
    }
}

/// What every layout asks of a record.
fn check(raw: &[u8], page_is_utf8: bool, page_bytes: u64) -> Result<(), String> {
    if Scanner::new(raw).skip_whitespace() != b'{' {
        return Err("it is no JSON object".to_owned());
    }
    if raw.len() > MAX_RECORD {
        return Err(format!("it is larger than {} MB", MAX_RECORD / 1_000_000));
    }
    if page_bytes > MAX_PAGE {
        return Err("its page is larger than 1 GiB".to_owned());
    }
    if !page_is_utf8 && simdutf8::basic::from_utf8(raw).is_err() {
        return Err("it is not UTF-8".to_owned());
    }
    Ok(())
}

/// Where the records of a page go.
enum Sink<'p> {
    Lines { out: Vec<u8>, compact: bool, shadow: Option<Box<Columns<'p>>> },
    Columns(Box<Columns<'p>>),
}

/// The columns of a page while they are filled.
struct Columns<'p> {
    plan: &'p Plan,
    spare: Spare,
    root: Object<'p>,
    rescued: Column<'p>,
    rows: usize,
    context: Context<'p>,
}

impl<'p> Sink<'p> {
    fn new(plan: &'p Plan, page: &Page) -> Self {
        if plan.layout == Layout::Lines {
            let size = page.record_bytes() as usize + page.records.len();
            let shadow = plan.shadow.as_ref().map(|shadow| Box::new(Columns::new(shadow, page.records.len())));
            return Self::Lines { out: Vec::with_capacity(size), compact: page.facts.compact, shadow };
        }
        Self::Columns(Box::new(Columns::new(plan, page.records.len())))
    }

    fn add(&mut self, raw: &[u8]) -> Result<(), Unfit> {
        match self {
            Self::Lines { out, compact, shadow } => {
                if let Some(columns) = shadow {
                    columns.add(raw)?;
                }
                if *compact {
                    out.extend_from_slice(raw);
                    out.push(b'\n');
                    return Ok(());
                }
                lines::push(raw, out).map_err(|error| error.to_string().into())
            }
            Self::Columns(columns) => columns.add(raw),
        }
    }

    fn finish(self) -> Result<(Data, Option<Schema>, u64), ArrowError> {
        match self {
            // What the columns would have rescued stands in the lines.
            Self::Lines { out, shadow, .. } => Ok((Data::Lines(out), shadow.and_then(|columns| columns.observed()), 0)),
            Self::Columns(columns) => {
                let (batch, _, observed, rescued) = columns.finish()?;
                Ok((Data::Batch(batch), observed, rescued))
            }
        }
    }
}

impl<'p> Columns<'p> {
    fn new(plan: &'p Plan, rows: usize) -> Self {
        let mut spare = plan.shelf.take();
        Self {
            plan,
            root: Object::new(&plan.root, rows, &mut spare),
            rescued: Column::rescued(&mut spare),
            spare,
            rows: 0,
            context: Context { path: Vec::new(), rescue: Rescue::new(plan.fit), scratch: Vec::new() },
        }
    }

    fn add(&mut self, raw: &[u8]) -> Result<(), Unfit> {
        let mut scanner = Scanner::new(raw);
        self.context.rescue.start();
        let written = self.root.write(self.rows, &mut scanner, &mut self.context).and_then(|()| scanner.end());
        self.settle(written)
    }

    /// Ends the record that was written: it is a row now, or nothing is left of it.
    #[inline]
    fn settle(&mut self, written: Result<(), JsonError>) -> Result<(), Unfit> {
        let kept = match (written, self.context.rescue.unfit()) {
            (Ok(()), Some((react, reason))) => Err(Unfit { reason, fails: react == React::Fail }),
            (Ok(()), None) => self.rescued.append_rescued(self.rows, &mut self.context.rescue).map_err(Unfit::from),
            (Err(error), _) if error.problem == Problem::Depth => Err(error.to_string().into()),
            (Err(error), _) => Err(format!("it is not JSON: {error}").into()),
        };
        match kept {
            Ok(()) => self.rows += 1,
            Err(_) => {
                self.root.truncate(self.rows);
                self.context.path.clear();
            }
        }
        kept
    }

    /// What was seen beside the schema.
    fn observed(self) -> Option<Schema> {
        self.context.rescue.finish().0
    }

    /// The batch, the bytes that it takes, what was seen beside the schema, and how many values were rescued.
    fn finish(mut self) -> Result<(RecordBatch, u64, Option<Schema>, u64), ArrowError> {
        self.root.end(self.rows);
        self.rescued.end(self.rows);
        let mut size = 0;
        self.buffers(&mut |buffer| size += Filling::size(buffer));
        let mut filling = self.plan.shelf.block(size);
        self.buffers(&mut |buffer| filling.add(buffer));
        let mut block = Block::from(filling);
        let mut arrays = self.root.arrays(&mut block)?;
        arrays.push(self.rescued.array(&mut block)?);
        let bytes = block.bytes();
        let batch = RecordBatch::try_new(Arc::clone(self.plan.arrow_schema()), arrays)?;
        self.rescued.give_back(&mut self.spare);
        self.root.give_back(&mut self.spare);
        self.plan.shelf.give(self.spare);
        let (observed, count) = self.context.rescue.finish();
        Ok((batch, bytes as u64, observed, count))
    }

    fn buffers(&self, see: &mut dyn FnMut(&[u8])) {
        self.root.buffers(see);
        self.rescued.buffers(see);
    }
}

// A plan is shared by the threads that convert.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Plan>();
    shared::<Observed>();
};
