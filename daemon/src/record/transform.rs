//! Rewrites the records of a page as its stream's `transform` says, before anything else sees them.
//!
//! ```text
//! record text ─step─▶ buffer ─step─▶ buffer … ─last step─▶ body of the page (one buffer for all records)
//! ```
//! Each step copies what it does not touch byte for byte and in large pieces; no value is built, nothing is allocated for a
//! record. A key that is written with escapes is the same key, and of a repeated key every value counts.

mod cast;
mod change;
mod flatten;
mod hash;
mod prune;
mod rename;
mod tree;
mod writer;

#[cfg(test)]
mod tests;

use super::json::{JsonError, Scanner};
use crate::base::secret::Resolve;
use crate::config::settings::TransformStep;
use bytes::Bytes;
use change::Change;
use std::ops::Range;
use tree::Tree;
use writer::{Writer, push_string};

/// The largest transformed page; hashes and constants may make a page longer than the source sent it.
const MAX_PAGE: usize = 1 << 30;

/// A compiled transformation; shared by all pages of a stream.
#[derive(Debug)]
pub struct Transform {
    steps: Vec<Step>,
    /// Whether a record that is no object could hold what a step hides: it becomes null, and so is rejected without its text.
    guarded: bool,
    /// What each cast is, for the report.
    casts: Vec<String>,
}

#[derive(Debug)]
enum Step {
    Select(Tree<()>),
    Drop(Tree<()>),
    Rename(Tree<rename::Name>),
    Add(rename::Adds),
    Flatten(flatten::Flatten),
    Change(Tree<Change>),
}

/// A step that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadStep {
    /// Its index.
    pub index: usize,
    /// What is wrong with it, without a secret.
    pub reason: String,
}

/// The records of a page after the transformation.
#[derive(Debug)]
pub struct Rewritten {
    /// Their text, one after the other.
    pub body: Bytes,
    /// Where each one lies.
    pub records: Vec<Range<u32>>,
    /// Indexes of casts that left a value as it was; see [`Transform::note`].
    pub stayed: Vec<usize>,
}

/// Why a page cannot be transformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// It becomes too large.
    #[error("transform the page: it becomes larger than 1 GiB")]
    TooLarge,
    /// A record is no JSON, which the search for records should have seen.
    #[error("transform a record")]
    Json(#[from] JsonError),
}

/// What the steps share while they rewrite: buffers that are kept from record to record.
#[derive(Debug, Default)]
struct Context {
    key: Vec<u8>,
    text: Vec<u8>,
    flat: flatten::Flat,
    /// One flag for each cast.
    stayed: Vec<bool>,
}

impl Transform {
    /// Compiles the steps; `None` where there is none.
    pub fn compile(steps: &[TransformStep], secrets: &dyn Resolve) -> Result<Option<Self>, BadStep> {
        let mut compiled = Self { steps: Vec::new(), guarded: false, casts: Vec::new() };
        for (index, step) in steps.iter().enumerate() {
            let step = compiled.step(step, secrets).map_err(|reason| BadStep { index, reason })?;
            compiled.guarded |= matches!(step, Step::Select(_) | Step::Drop(_) | Step::Change(_));
            compiled.steps.push(step);
        }
        Ok((!compiled.steps.is_empty()).then_some(compiled))
    }

    fn step(&mut self, step: &TransformStep, secrets: &dyn Resolve) -> Result<Step, String> {
        Ok(match step {
            TransformStep::Select(fields) => Step::Select(Tree::of(fields.iter().map(|field| (field, ())))?),
            TransformStep::Drop(fields) => Step::Drop(Tree::of(fields.iter().map(|field| (field, ())))?),
            TransformStep::Rename(names) => Step::Rename(rename::compile(names)?),
            TransformStep::Add(constants) => Step::Add(rename::Adds::compile(constants)?),
            TransformStep::Flatten(flat) => Step::Flatten(flatten::Flatten::compile(flat)?),
            TransformStep::Cast(casts) => {
                let mut changes = Vec::new();
                for (field, kind) in casts {
                    let to = cast::To::parse(kind)?;
                    changes.push((field, Change::Cast(to, self.casts.len())));
                    self.casts.push(format!("{field:?} to {kind}"));
                }
                Step::Change(Tree::of(changes.into_iter())?)
            }
            TransformStep::Hash(wanted) => {
                let key = wanted.key.as_ref().map(|key| secrets.resolve(&key.0)).transpose()?;
                let hash = Box::new(hash::Hash::new(key.as_ref().map(|key| key.expose().as_bytes())));
                Step::Change(Tree::of(wanted.fields.iter().map(|field| (field, Change::Hash(hash.clone()))))?)
            }
            TransformStep::Mask(mask) => {
                let change = Change::mask(mask);
                Step::Change(Tree::of(mask.fields.iter().map(|field| (field, change.clone())))?)
            }
        })
    }

    /// Rewrites the records of a page.
    pub fn page(&self, body: &[u8], records: &[Range<u32>]) -> Result<Rewritten, TransformError> {
        let slice = |range: &Range<u32>| body.get(range.start as usize..range.end as usize).unwrap_or_default();
        let size: usize = records.iter().map(|range| range.len()).sum();
        let mut out = Vec::with_capacity(size + size / 8);
        let mut ends = Vec::with_capacity(records.len());
        let mut cx = Context { stayed: vec![false; self.casts.len()], ..Context::default() };
        let mut buffers = [Vec::new(), Vec::new()];
        for range in records {
            let start = out.len();
            self.record(slice(range), &mut out, &mut buffers, &mut cx)?;
            if out.len() > MAX_PAGE {
                return Err(TransformError::TooLarge);
            }
            // Both fit, see `MAX_PAGE`.
            ends.push(start as u32..out.len() as u32);
        }
        let stayed = cx.stayed.iter().enumerate().filter(|(_, stayed)| **stayed).map(|(index, _)| index).collect();
        Ok(Rewritten { body: out.into(), records: ends, stayed })
    }

    /// Appends a record as it is after all steps.
    fn record(
        &self,
        raw: &[u8],
        out: &mut Vec<u8>,
        [from, to]: &mut [Vec<u8>; 2],
        cx: &mut Context,
    ) -> Result<(), JsonError> {
        if self.guarded && Scanner::new(raw).skip_whitespace() != b'{' {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        let Some((last, steps)) = self.steps.split_last() else { return Ok(()) };
        let Some((first, steps)) = steps.split_first() else { return last.apply(raw, out, cx) };
        from.clear();
        first.apply(raw, from, cx)?;
        for step in steps {
            to.clear();
            step.apply(from, to, cx)?;
            std::mem::swap(from, to);
        }
        last.apply(from, out, cx)
    }

    /// The sentence for the report about a cast that left values as they were.
    pub fn note(&self, cast: usize) -> String {
        let cast = self.casts.get(cast).map_or("", String::as_str);
        format!("transform: values that the cast of {cast} does not hold exactly stay as they are")
    }
}

impl Step {
    fn apply(&self, raw: &[u8], out: &mut Vec<u8>, cx: &mut Context) -> Result<(), JsonError> {
        let (mut scanner, mut writer) = (Scanner::new(raw), Writer::new(raw, out));
        match self {
            Self::Select(tree) => prune::select(tree, &mut scanner, &mut writer, cx)?,
            Self::Drop(tree) => prune::drop(tree, &mut scanner, &mut writer, cx)?,
            Self::Rename(tree) => rename::rename(tree, &mut scanner, &mut writer, cx)?,
            Self::Add(adds) => adds.apply(&mut scanner, &mut writer, cx)?,
            Self::Flatten(flatten) => flatten.apply(&mut scanner, &mut writer, cx)?,
            Self::Change(tree) => change::change(tree, &mut scanner, &mut writer, cx)?,
        }
        writer.end();
        Ok(())
    }
}

/// A name as a JSON string, quotes included.
fn quoted(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_string(&mut out, name.as_bytes());
    out
}
