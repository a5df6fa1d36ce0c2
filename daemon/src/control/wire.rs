//! Every conversion between the daemon's own types and the wire's: exhaustive, and nowhere else.

mod deliveries;
mod offsets;
mod schedules;

pub use deliveries::{stored, task_destination};
pub use offsets::{lane, mark, mark_value, offset};
pub use schedules::outcome;

use super::access::{Access, Caller};
use super::reply::Failure;
use crate::base::clock;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::{Name, TaskId};
use crate::config::settings::{self, Config};
use crate::destinations::object_key;
use crate::ledger::LedgerError;
use crate::ledger::rows::{AuditRow, ManifestRow, SegmentRow, StreamRow, Sums, TaskRow};
use crate::model::progress::Progress;
use crate::model::schema::Type;
use crate::model::schema::diff::{Difference, diff};
use crate::model::segment::Counts;
use crate::model::task::{TaskState, Waiting};
use crate::net::held::held_reason;
use crate::net::limit::{Held, Origin, Shown, Standing};
use crate::queue::handle::{Refusal, ReloadReport};
use bytes::Bytes;
use jiff::Timestamp;
use saas_export_api as api;
use saas_export_api::ErrorCode;
use serde_json::value::RawValue;
use std::time::Instant;

/// RFC 3339 in UTC.
pub fn time(at: Timestamp) -> api::Time {
    at.to_string()
}

/// A task's state.
pub fn state(state: TaskState) -> api::TaskState {
    match state {
        TaskState::Pending => api::TaskState::Pending,
        TaskState::Processing => api::TaskState::Processing,
        TaskState::Paused => api::TaskState::Paused,
        TaskState::Succeeded => api::TaskState::Succeeded,
        TaskState::Failed => api::TaskState::Failed,
        TaskState::Cancelled => api::TaskState::Cancelled,
    }
}

/// The states of a query: words separated by commas; none means all.
pub fn states(words: &str) -> Result<Vec<TaskState>, Failure> {
    let known = |word: &str| {
        TaskState::from_word(word).ok_or_else(|| {
            let all: Vec<&str> = api::TaskState::ALL.iter().map(|state| state.word()).collect();
            Failure::invalid(format!("parameter \"state\": {word:?} is not a state: use {}", all.join(", ")))
        })
    };
    words.split(',').filter(|word| !word.is_empty()).map(known).collect()
}

/// What a caller may do.
pub fn caller(caller: &Caller) -> api::Caller {
    let access = match caller.access {
        // A caller without any right gets no answer that would hold this.
        None | Some(Access::Read) => api::Access::Read,
        Some(Access::Operate) => api::Access::Operate,
        Some(Access::Admin) => api::Access::Admin,
    };
    api::Caller { actor: caller.actor.0.clone(), access }
}

/// A refusal of the queue.
pub fn refusal(refusal: Refusal) -> Failure {
    let code = match refusal {
        Refusal::NotFound(_) => ErrorCode::NotFound,
        Refusal::Conflict(_) => ErrorCode::Conflict,
        Refusal::Invalid(_) => ErrorCode::Invalid,
        Refusal::Unavailable(_) => ErrorCode::Unavailable,
    };
    Failure::new(code, refusal.to_string())
}

/// A failure of the ledger.
pub fn ledger_error(error: LedgerError) -> Failure {
    let missing = matches!(error, LedgerError::NoSuchTask(_) | LedgerError::NotThere { .. });
    let code = match error.class() {
        _ if missing => ErrorCode::NotFound,
        ErrorClass::Conflict => ErrorCode::Conflict,
        ErrorClass::Transient | ErrorClass::Throttled(_) | ErrorClass::Full | ErrorClass::Stopped => {
            ErrorCode::Unavailable
        }
        ErrorClass::Auth | ErrorClass::Config | ErrorClass::Data | ErrorClass::Bug => ErrorCode::Internal,
    };
    Failure::new(code, format!("failed to {}", Chain(&error)))
}

/// Path of a task.
pub fn task_path(id: &TaskId) -> String {
    format!("/v1/tasks/{id}")
}

/// A task in a list. `live` are the figures of a run, `read` those of the ledger.
pub fn summary(row: &TaskRow, live: Option<&Progress>, read: Sums) -> api::TaskSummary {
    let waiting = live.and_then(|live| live.waiting.as_ref()).or(row.waiting.as_ref());
    api::TaskSummary {
        id: row.id.to_string(),
        export: row.export.clone(),
        params: row.params.iter().cloned().collect(),
        format: row.format.clone(),
        state: state(row.state),
        reason: row.reason.clone(),
        error_class: row.error_class.clone(),
        waiting: waiting.filter(|_| !row.state.closed()).map(self::waiting),
        attempt: row.attempt,
        actor: row.actor.clone(),
        extracted: row.extracted,
        created_at: time(row.created_at),
        started_at: row.started_at.map(time),
        ended_at: row.ended_at.map(time),
        retry_at: row.not_before.map(time),
        progress: live.map_or_else(|| sums(read), progress),
        destinations: Vec::new(),
    }
}

pub(super) fn waiting(waiting: &Waiting) -> api::Waiting {
    api::Waiting { reason: waiting.reason.clone(), until: waiting.until.map(time) }
}

/// The budget of a source.
pub fn source_rate(name: &Name, standing: &Standing) -> api::SourceRate {
    let at = |instant: Instant| {
        let left = instant.saturating_duration_since(clock::monotonic());
        time(clock::now().saturating_add(left).unwrap_or(Timestamp::MAX))
    };
    let limit = |(per_second, origin): (f64, Origin)| {
        let from = match origin {
            Origin::Configured => "configured",
            Origin::Server => "server",
            Origin::Learnt => "learnt",
        };
        api::RateLimit { per_second, from: from.into() }
    };
    let window = |window: &Shown| api::RateWindow { limit: window.limit, left: window.left, ends_at: at(window.end) };
    let waiting = |held: &Held| api::Waiting { reason: held_reason(name.as_str(), held), until: Some(at(held.until)) };
    api::SourceRate {
        source: name.to_string(),
        rate: standing.rate,
        under_way: standing.under_way,
        concurrency: standing.concurrency,
        limit: standing.limit.map(limit),
        window: standing.window.as_ref().map(window),
        requests: standing.requests,
        refused: standing.refused,
        waiting: standing.held.as_ref().map(waiting),
    }
}

fn progress(live: &Progress) -> api::Progress {
    let left = live.total.map(|total| total.saturating_sub(live.records));
    // Below a thousandth of a record per second the answer would be a joke, and the division near zero.
    let eta_seconds = left.filter(|_| live.rate > 0.001).map(|left| (left as f64 / live.rate).ceil() as u64);
    api::Progress {
        records: live.records,
        source_bytes: live.source_bytes,
        bytes: live.bytes,
        pages: live.pages,
        total: live.total,
        retries: live.retries,
        rate: if live.rate.is_finite() { live.rate } else { 0.0 },
        eta_seconds,
    }
}

fn sums(read: Sums) -> api::Progress {
    let Sums { records, source_bytes, bytes, pages, total } = read;
    api::Progress { records, source_bytes, bytes, pages, total, ..api::Progress::default() }
}

/// A task, briefly.
pub fn task_ref(row: &TaskRow) -> api::TaskRef {
    api::TaskRef {
        id: row.id.to_string(),
        state: state(row.state),
        created_at: time(row.created_at),
        ended_at: row.ended_at.map(time),
    }
}

/// A stream of a task.
pub fn stream(row: &StreamRow) -> api::StreamDetail {
    api::StreamDetail {
        name: row.stream.clone(),
        counts: counts(&row.counts),
        pages: row.pages,
        source_bytes: row.source_bytes,
        bytes: row.bytes,
        segments: row.segments,
        total: row.total,
        columns: row.schema.as_ref().and_then(|schema| u32::try_from(schema.fields.len()).ok()),
        mode: row.mode.map(|mode| mode.word().to_owned()),
        extracted: row.extracted,
        limited_by: row.limited.clone(),
        error: row.error.clone(),
        notes: row.notes.clone(),
    }
}

fn counts(counts: &Counts) -> api::Counts {
    let Counts { read, written, rejected, duplicate, filtered, over_limit, rescued } = *counts;
    api::Counts { read, written, rejected, duplicate, filtered, over_limit, rescued }
}

/// What differs in a stream between two tasks.
pub fn stream_diff(name: &str, older: Option<&StreamRow>, newer: Option<&StreamRow>) -> api::StreamDiff {
    let schema = |row: Option<&StreamRow>| row.and_then(|row| row.schema.clone());
    let version = |row: Option<&StreamRow>| row.filter(|row| row.schema.is_some()).map(|row| row.schema_version);
    let fields = match (schema(older), schema(newer)) {
        (Some(older), Some(newer)) => diff(&older, &newer).into_iter().map(field_diff).collect(),
        _ => Vec::new(),
    };
    api::StreamDiff { stream: name.to_owned(), older: version(older), newer: version(newer), fields }
}

fn field_diff(difference: Difference) -> api::FieldDiff {
    let widens = difference.widens();
    let (field, change, from, to) = match difference {
        Difference::Added(field, kind) => (field, "added", None, Some(kind)),
        Difference::Removed(field, kind) => (field, "removed", Some(kind), None),
        Difference::Changed(field, from, to) => {
            (field, if widens { "widened" } else { "changed" }, Some(from), Some(to))
        }
    };
    let word = |kind: Option<Type>| kind.map(|kind| kind.to_string());
    api::FieldDiff { field, change: change.to_owned(), from: word(from), to: word(to) }
}

/// A manifest at a destination.
pub fn published(row: &ManifestRow) -> api::Published {
    api::Published {
        stream: row.stream.clone(),
        destination: row.destination.clone(),
        published_at: row.published_at.map(time),
        pruned_at: row.pruned_at.map(time),
    }
}

/// The streams of an export: those it names, else all of its source.
pub fn streams_of(export: &settings::Export, config: &Config) -> Vec<String> {
    if !export.streams.is_empty() {
        return export.streams.iter().map(Name::to_string).collect();
    }
    match config.sources.get(&export.source) {
        Some(settings::Source::Rest(rest)) => rest.streams.keys().map(Name::to_string).collect(),
        None => Vec::new(),
    }
}

/// A parameter of an export.
pub fn param(param: &settings::Param) -> api::ParamSpec {
    let kind = match param.kind {
        settings::ParamType::String => "string",
        settings::ParamType::Integer => "integer",
        settings::ParamType::Date => "date",
    };
    api::ParamSpec { kind: kind.into(), one_of: param.one_of.clone(), default: param.default.clone() }
}

/// Destinations with their settings.
pub type Places = [(String, settings::Destination)];

/// The destinations that a task was made for, in the order of its export: as its own configuration says, whatever was
/// reloaded since.
pub fn places(row: &TaskRow) -> Result<Vec<(String, settings::Destination)>, Failure> {
    let broken = |why: String| {
        let message = format!("failed to use the stored configuration of task {}: {why}", row.id);
        Failure::new(ErrorCode::Internal, message)
    };
    let stored = serde_json::from_str(&row.config).map_err(|error| broken(error.to_string()))?;
    let config = Config::from_effective(&stored).map_err(|problems| broken(problems.to_string()))?;
    let export = config.exports.get(row.export.as_str()).ok_or_else(|| broken("the export is not in it".into()))?;
    let place = |name: &Name| match config.destinations.get(name) {
        Some(settings) => Ok((name.to_string(), settings.clone())),
        None => Err(broken(format!("the destination {name} is not in it"))),
    };
    // What it published at a destination that it goes without by now stays there.
    let without = config.destinations.keys().filter(|name| !export.to.contains(name));
    export.to.iter().chain(without).map(place).collect()
}

/// A data file at a destination.
pub fn file(
    row: &TaskRow,
    segment: &SegmentRow,
    destination: &str,
    places: &Places,
) -> Result<api::FileEntry, Failure> {
    let place = places.iter().find(|(name, _)| name == destination);
    let (_, place) = place.ok_or_else(|| {
        let message = format!("failed to find the destination {destination} of task {}", row.id);
        Failure::new(ErrorCode::Internal, message)
    })?;
    let key = object_key(&row.export, &segment.id.stream, &row.id, &segment.name);
    Ok(api::FileEntry {
        task: row.id.to_string(),
        stream: segment.id.stream.clone(),
        destination: destination.to_owned(),
        name: segment.name.clone(),
        path: place.location(&key),
        bytes: segment.bytes,
        rows: segment.counts.written,
        sha256: segment.sha256.clone(),
    })
}

/// What a reload did, or would do.
pub fn reload_report(report: ReloadReport) -> api::ReloadReport {
    let ReloadReport { applied, needs_restart, notes } = report;
    api::ReloadReport { applied, needs_restart, notes }
}

/// A line of the audit as a line of JSON. The ledger wrote the detail, so it is JSON; if it is not, it is left out.
pub fn event_line(row: AuditRow) -> Bytes {
    let event = api::Event::<Box<RawValue>> {
        seq: row.seq,
        at: time(row.at),
        task: row.task,
        export: row.export,
        actor: row.actor,
        action: row.action,
        from: row.from_state.map(state),
        to: row.to_state.map(state),
        reason: row.reason,
        detail: row.detail.and_then(|text| RawValue::from_string(text).ok()),
    };
    line(&event)
}

/// The last line of a stream that cannot go on.
pub fn error_line(failure: Failure) -> Bytes {
    line(&api::Answer::<()>::Error { error: failure.error })
}

fn line<T: serde::Serialize>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_of_both_sides_have_the_same_words() {
        for word in api::TaskState::ALL.map(api::TaskState::word) {
            let parsed = states(word).unwrap();
            assert_eq!(parsed.iter().map(|one| state(*one).word()).collect::<Vec<_>>(), [word]);
        }
        assert!(states("").unwrap().is_empty());
        assert_eq!(states("failed,paused").unwrap().len(), 2);
        assert!(states("gone").is_err());
    }

    #[test]
    fn the_end_is_told_only_where_it_is_known() {
        let live = Progress { records: 100, total: Some(1100), rate: 10.0, ..Progress::default() };
        assert_eq!(progress(&live).eta_seconds, Some(100));
        assert_eq!(progress(&Progress { rate: 0.0, ..live.clone() }).eta_seconds, None);
        assert_eq!(progress(&Progress { rate: f64::NAN, ..live.clone() }).eta_seconds, None);
        assert_eq!(progress(&Progress { total: None, ..live.clone() }).eta_seconds, None);
        assert_eq!(progress(&Progress { total: Some(7), ..live }).eta_seconds, Some(0));
    }
}
