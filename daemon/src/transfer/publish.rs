//! Publishes a task: per destination and stream the checksums, the manifest, and last the pointer that readers follow.
//!
//! A manifest's bytes are composed once from ledger rows and stored there before they are sent, so that a repetition
//! after a crash sends the same bytes. `latest.json` is the one object that is replaced, and it only moves forward.

use super::TaskRun;
use super::deliver::key;
use super::error::TransferError;
use crate::base::crash;
use crate::base::error::ErrorClass;
use crate::base::ids::{Name, hex};
use crate::destinations::{Destination, DestinationError, LATEST};
use crate::ledger::input::NewLink;
use crate::ledger::rows::{LaneRow, SegmentRow, StreamRow};
use crate::model::offset::Offset;
use saas_export_manifest::{
    ChainPosition, Counts, LaneOffsets, Latest, LatestEntry, MANIFEST_NAME, Manifest, Marks, Mode, ParseError,
    SUMS_NAME, Segment, crc32c_hex, sha256sums,
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The largest `latest.json` that is read back.
const MAX_LATEST: u64 = 16 << 20;

/// A stream's manifest as it lies at the destination.
struct Written {
    manifest: Manifest,
    /// SHA-256 of its bytes.
    digest: String,
}

/// Publishes every whole stream of the task at one destination. All manifests are there before the first pointer moves,
/// so that a failure never shows readers a part of the task.
pub async fn publish(task: &TaskRun, name: &Name, destination: &Destination) -> Result<(), TransferError> {
    let at = |source| TransferError::Destination { name: name.to_string(), source };
    let rows = task.ledger.streams(&task.row.id).await?;
    let mut written = Vec::new();
    for row in rows.iter().filter(|row| row.extracted && row.error.is_none()) {
        written.push(write_manifest(task, row, name, destination).await?);
    }
    for stream in &written {
        // A task with parameters is another data set, which nobody follows.
        if task.row.params.is_empty() {
            point_latest(task, stream, name, destination).await?;
        } else {
            task.ledger.manifest_published(&task.row.id, &stream.manifest.stream, name.as_str()).await?;
        }
        crash::point("manifest.committed");
    }
    for row in &rows {
        for segment in task.ledger.segments(&task.row.id, &row.stream).await?.iter().filter(|row| row.superseded) {
            destination.delete(&key(task, &row.stream, &segment.name)).await.map_err(at)?;
        }
    }
    Ok(())
}

/// Stores the checksums and then the manifest of a stream.
async fn write_manifest(
    task: &TaskRun,
    row: &StreamRow,
    name: &Name,
    destination: &Destination,
) -> Result<Written, TransferError> {
    let at = |source| TransferError::Destination { name: name.to_string(), source };
    let (id, stream) = (&task.row.id, row.stream.as_str());
    let plan = task.streams.iter().find(|plan| plan.name.as_str() == stream);
    let link = NewLink {
        mode: Mode::Full,
        primary_key: plan.map(|plan| plan.settings.primary_key.clone()).unwrap_or_default(),
        cursor_field: None,
        mark_before: None,
        mark_after: None,
    };
    let chain = task.ledger.link(id, stream, link.clone()).await?;
    let (segments, lanes) = (task.ledger.segments(id, stream).await?, task.ledger.lanes(id, stream).await?);
    let manifest =
        Manifest { offsets: lane_offsets(&lanes, &segments), ..manifest(task, row, &segments, (chain, link)) };
    let composed = task.ledger.compose_manifest(id, stream, name.as_str(), json(manifest.to_bytes())?).await?;
    crash::point("manifest.composed");
    let digest = hex(&Sha256::digest(&composed));
    let sums = sha256sums(&manifest, &composed);
    destination.put_bytes(&key(task, stream, SUMS_NAME), sums.into_bytes()).await.map_err(at)?;
    crash::point("manifest.sums_written");
    destination.put_bytes(&key(task, stream, MANIFEST_NAME), composed).await.map_err(at)?;
    crash::point("manifest.written");
    let location = destination.location(&key(task, stream, MANIFEST_NAME));
    tracing::info!(
        EXPORT_TASK = %id, EXPORT_NAME = %task.row.export, EXPORT_STREAM = %stream,
        "wrote {} records in {} files: {location}", row.counts.written, manifest.segments.len()
    );
    Ok(Written { manifest, digest })
}

/// Moves `latest.json` to this manifest, unless it already points at a task that was created later, and notes that the
/// manifest is published.
async fn point_latest(
    task: &TaskRun,
    written: &Written,
    name: &Name,
    destination: &Destination,
) -> Result<(), TransferError> {
    let at = |source| TransferError::Destination { name: name.to_string(), source };
    let manifest = &written.manifest;
    let pointer = format!("{}/{}/{LATEST}", task.row.export, manifest.stream);
    // Two tasks of an export may publish at once: looking and replacing must be one step.
    let lock = pointer_lock(&destination.location(&pointer));
    let _held = lock.lock().await;
    let found = destination.read_small(&pointer, MAX_LATEST).await.map_err(at)?;
    let found = match found.as_deref().map(Latest::parse) {
        None => None,
        Some(Ok(found)) => Some(found),
        Some(Err(ParseError::Newer { .. })) => {
            return Err(at(DestinationError::Newer { location: destination.location(&pointer) }));
        }
        Some(Err(error)) => {
            let location = destination.location(&pointer);
            tracing::warn!(EXPORT_TASK = %task.row.id, "{location} is damaged and will be replaced: {error}");
            None
        }
    };
    match overtaken(task, found).await? {
        Some(later) => tracing::info!(
            EXPORT_TASK = %task.row.id, EXPORT_STREAM = %manifest.stream,
            "{} stays with the newer task {later}", destination.location(&pointer)
        ),
        None => {
            let bytes = json(latest(task, written).to_bytes())?;
            destination.replace(&pointer, bytes).await.map_err(at)?;
        }
    }
    crash::point("manifest.latest_written");
    Ok(task.ledger.manifest_published(&task.row.id, &manifest.stream, name.as_str()).await?)
}

fn latest(task: &TaskRun, Written { manifest, digest }: &Written) -> Latest {
    Latest {
        version: 1,
        export: task.row.export.clone(),
        stream: manifest.stream.clone(),
        chain: manifest.chain.clone(),
        manifests: vec![LatestEntry {
            task: manifest.task.clone(),
            path: format!("{}/{MANIFEST_NAME}", task.row.id),
            sha256: digest.clone(),
            mode: manifest.mode,
            primary_key: manifest.primary_key.clone(),
            cursor_field: manifest.cursor_field.clone(),
        }],
    }
}

/// The task that `latest.json` points at, if it is newer than this one.
async fn overtaken(task: &TaskRun, found: Option<Latest>) -> Result<Option<String>, TransferError> {
    let Some(newest) = found.and_then(|mut latest| latest.manifests.pop()) else { return Ok(None) };
    let newer = task.ledger.is_newer(&newest.task, &task.row.id).await?;
    Ok(newer.then_some(newest.task))
}

/// The lock of one `latest.json` within this daemon.
fn pointer_lock(location: &str) -> Arc<tokio::sync::Mutex<()>> {
    static LOCKS: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    locks.retain(|_, lock| lock.strong_count() > 0);
    if let Some(lock) = locks.get(location).and_then(Weak::upgrade) {
        return lock;
    }
    let lock = Arc::default();
    locks.insert(location.to_owned(), Arc::downgrade(&lock));
    lock
}

fn json(bytes: Result<Vec<u8>, serde_json::Error>) -> Result<Vec<u8>, TransferError> {
    bytes.map_err(|error| TransferError::Broken {
        message: format!("compose a manifest: {error}"),
        class: ErrorClass::Bug,
    })
}

fn manifest(task: &TaskRun, row: &StreamRow, segments: &[SegmentRow], place: (ChainPosition, NewLink)) -> Manifest {
    let (chain, link) = place;
    let live = || segments.iter().filter(|segment| !segment.superseded);
    let offset = |offset| serde_json::to_value(offset).unwrap_or_default();
    Manifest {
        version: 1,
        export: task.row.export.clone(),
        stream: row.stream.clone(),
        task: task.row.id.to_string(),
        created_at: task.row.created_at.to_string(),
        mode: link.mode,
        format: task.export.format.word().into(),
        compression: task.export.format.compression(),
        schema: serde_json::to_value(&row.schema).unwrap_or_default(),
        schema_version: row.schema_version,
        primary_key: link.primary_key,
        cursor_field: link.cursor_field,
        shift_protection: "none".into(),
        limited_by: row.limited.clone(),
        chain,
        offsets: Vec::new(),
        marks: Marks::default(),
        counts: Counts {
            read: row.counts.read,
            written: row.counts.written,
            rejected: row.counts.rejected,
            duplicate: row.counts.duplicate,
            filtered: row.counts.filtered,
            over_limit: row.counts.over_limit,
            rescued: row.counts.rescued,
        },
        pages: row.pages,
        source_bytes: row.source_bytes,
        segments: live()
            .map(|segment| Segment {
                name: segment.name.clone(),
                rows: segment.counts.written,
                bytes: segment.bytes,
                sha256: segment.sha256.clone(),
                crc32c: crc32c_hex(segment.crc32c),
                lane: segment.id.lane,
                n: segment.id.n,
                first_offset: offset(&segment.first),
                last_offset: offset(&segment.last),
            })
            .collect(),
        daemon_version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// From where to where each lane was read, its empty pages at the end included.
fn lane_offsets(lanes: &[LaneRow], segments: &[SegmentRow]) -> Vec<LaneOffsets> {
    let json = |offset: &Offset| serde_json::to_value(offset).unwrap_or_default();
    let offsets = |lane: &LaneRow| {
        let of_lane = segments.iter().find(|segment| !segment.superseded && segment.id.lane == lane.lane);
        let first = of_lane.map_or(&lane.offset, |segment| &segment.first);
        LaneOffsets { lane: lane.lane, first: json(first), last: json(&lane.offset) }
    };
    lanes.iter().map(offsets).collect()
}
