//! An incremental stream in a task: from where to where it is read, what its records are compared with, what comes next.

use super::error::TransferError;
use super::stream::StreamRun;
use super::{StreamPlan, TaskRun};
use crate::config::cursor::CursorFormat;
use crate::config::settings::Incremental;
use crate::config::shift::Shift;
use crate::config::times::TimeFormat;
use crate::ledger::LedgerError;
use crate::ledger::input::{Newest, StreamEnd};
use crate::ledger::rows::Begun;
use crate::model::mark::{CursorKind, CursorValue};
use crate::record::follow::{Follow, Followed, RecordDigest};
use crate::sources::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a stream is read in a task.
#[derive(Default)]
pub struct Following {
    /// What its records are compared with.
    pub follow: Option<Arc<Follow>>,
    /// The most records that are remembered at the boundary.
    pub max_boundary: u32,
}

/// Begins a stream, or goes on with it as it was begun. The range is what the source is asked for.
pub async fn begin(task: &TaskRun, stream: &StreamPlan) -> Result<(Following, Option<Range>), TransferError> {
    let (id, name) = (&task.row.id, stream.name.as_str());
    let settings = stream.settings.incremental.as_ref();
    let begun = task.ledger.begin_stream(id, name, &stream.fingerprint, settings.is_some()).await?;
    let Some(settings) = settings else { return Ok((Following::default(), None)) };
    let rows = match &begun.boundary {
        Some(before) => task.ledger.boundary(before, name).await?,
        None => Vec::new(),
    };
    // Checked with the configuration.
    let format = CursorFormat::compile(settings).unwrap_or_default();
    let range = range(task, settings, &format, &begun);
    let unit = unit(settings);
    // What the records hold is known from those before. A configured time may stand for a number that counts it.
    let configured = range.start.as_ref().or(range.end.as_ref()).filter(|_| unit.is_none());
    let kind = begun.mark.as_ref().map(CursorValue::kind).or(format.kind()).or(configured.map(CursorValue::kind));
    let end =
        |kind: CursorKind| rows.iter().map(|(end, _)| end).max().and_then(|end| CursorValue::from_sort_key(kind, end));
    let path = |field: &String| field.split('.').map(str::to_owned).collect::<Vec<_>>();
    let follow = Follow {
        cursor: path(&settings.cursor_field),
        key: stream.settings.primary_key.iter().map(path).collect(),
        format,
        kind,
        boundary_end: kind.and_then(end),
        boundary: rows.into_iter().map(|(_, digest)| digest).collect(),
        from: range.start.clone(),
        to: range.end.clone(),
        look_back: settings.look_back.map(|span| span.0).unwrap_or_default(),
        unit,
        now: task.row.created_at,
        without: AtomicU64::new(0),
    };
    let following = Following { follow: Some(Arc::new(follow)), max_boundary: settings.max_boundary };
    Ok((following, Some(range)))
}

/// How long a unit of the cursor field is, where it is a number that counts time.
fn unit(settings: &Incremental) -> Option<Duration> {
    TimeFormat::parse(&settings.format).ok().and_then(|format| format.unit())
}

/// What the source is asked for: a back-fill's bounds, from the mark on, or everything from the configured start.
fn range(task: &TaskRun, settings: &Incremental, format: &CursorFormat, begun: &Begun) -> Range {
    let scope = &task.row.scope;
    let bound = |text: &Option<String>| text.as_deref().map(|text| format.bound(text));
    if scope.back_fill() {
        return Range { start: bound(&scope.from).or_else(|| bound(&settings.start)), end: bound(&scope.to) };
    }
    let look_back = settings.look_back.map(|span| span.0).unwrap_or_default();
    let mark = begun.mark.as_ref().map(|mark| mark.back(look_back, unit(settings)));
    Range { start: mark.or_else(|| bound(&settings.start)), end: None }
}

/// What the ledger needs to know at the end of a stream's extraction.
pub fn end(stream: &StreamPlan) -> StreamEnd {
    let settings = stream.settings.incremental.as_ref();
    StreamEnd {
        stream: stream.name.to_string(),
        fingerprint: stream.fingerprint.clone(),
        primary_key: stream.settings.primary_key.clone(),
        cursor_field: settings.map(|settings| settings.cursor_field.clone()),
        look_back: settings.and_then(|settings| settings.look_back).map(|span| span.0).unwrap_or_default(),
        unit: settings.and_then(unit),
        shift_protection: Shift::of(&stream.settings).word(),
    }
}

/// Tells the task's report about records that the next task cannot place.
pub async fn report(task: &TaskRun, run: &StreamRun) -> Result<(), TransferError> {
    let Some(follow) = &run.follow else { return Ok(()) };
    if follow.without.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    // Not how many: after a restart some would be missing from the count.
    let note = format!(
        "records without a readable {} were written; whether they change is not noticed by incremental tasks",
        follow.cursor.join(".")
    );
    Ok(task.ledger.add_note(&task.row.id, run.name.as_str(), &note).await?)
}

/// The newest records of a segment in the making.
#[derive(Default)]
pub struct Gathered {
    newest: Option<CursorValue>,
    records: Vec<(CursorValue, RecordDigest)>,
}

impl Gathered {
    /// Adds what was found in a page; older records than are needed go.
    pub fn add(&mut self, run: &StreamRun, page: Followed) -> Result<(), TransferError> {
        let Some(follow) = &run.follow else { return Ok(()) };
        self.records.extend(page.recent);
        if page.newest > self.newest {
            self.newest = page.newest;
            if let Some(limit) = self.newest.clone().map(|newest| follow.keep_from(newest)) {
                self.records.retain(|(value, _)| *value >= limit);
            }
        }
        if self.records.len() > run.max_boundary as usize {
            let stream = run.name.to_string();
            return Err(LedgerError::Boundary { stream, most: run.max_boundary }.into());
        }
        Ok(())
    }

    /// What goes into the ledger with the segment.
    pub fn finish(self, run: &StreamRun) -> Option<Newest> {
        let follow = run.follow.as_ref()?;
        let mark = self.newest?;
        let keep_from = follow.keep_from(mark.clone()).sort_key();
        let records = self.records.into_iter().map(|(value, digest)| (value.sort_key(), digest)).collect();
        Some(Newest { mark, records, keep_from, most: run.max_boundary })
    }
}
