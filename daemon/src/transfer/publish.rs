//! Publishes a task: per destination and stream the checksums, the manifest, and last the pointer that readers follow.
//!
//! A manifest's bytes are composed once from ledger rows and stored there before they are sent, so that a repetition
//! after a crash sends the same bytes. `latest.json` is the one object that is replaced, and it only moves forward.

use super::TaskRun;
use super::deliver::key;
use super::error::TransferError;
use crate::base::error::ErrorClass;
use crate::base::ids::{Name, hex};
use crate::base::{crash, ids::TaskId};
use crate::destinations::{Destination, DestinationError, LATEST};
use crate::ledger::input::NewLink;
use crate::ledger::rows::{SegmentRow, StreamRow};
use saas_export_manifest::{
    ChainPosition, Counts, LaneOffsets, Latest, LatestEntry, MANIFEST_NAME, Manifest, Marks, Mode, SUMS_NAME, Segment,
    crc32c_hex, sha256sums,
};
use sha2::{Digest as _, Sha256};

/// The largest `latest.json` that is read back.
const MAX_LATEST: u64 = 16 << 20;

/// Publishes every whole stream of the task at every destination.
pub async fn publish(task: &TaskRun) -> Result<(), TransferError> {
    let rows = task.ledger.streams(&task.row.id).await?;
    let failed: Vec<_> = rows.iter().filter(|row| row.error.is_some()).collect();
    for (name, destination) in &task.destinations {
        for row in rows.iter().filter(|row| row.extracted) {
            publish_stream(task, row, name, destination).await?;
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = failed.iter().map(|row| row.stream.as_str()).collect();
    let first = failed.first().and_then(|row| row.error.as_deref()).unwrap_or_default();
    let message = format!("read {} (the other streams are published): {first}", names.join(", "));
    Err(TransferError::Broken { message, class: ErrorClass::Data })
}

async fn publish_stream(
    task: &TaskRun,
    row: &StreamRow,
    name: &Name,
    destination: &Destination,
) -> Result<(), TransferError> {
    let at = |source| TransferError::Destination { name: name.to_string(), source };
    let (id, stream) = (&task.row.id, row.stream.as_str());
    let segments = task.ledger.segments(id, stream).await?;
    let plan = task.streams.iter().find(|plan| plan.name.as_str() == stream);
    let link = NewLink {
        mode: Mode::Full,
        primary_key: plan.map(|plan| plan.settings.primary_key.clone()).unwrap_or_default(),
        cursor_field: None,
        mark_before: None,
        mark_after: None,
    };
    let chain = task.ledger.link(id, stream, link.clone()).await?;
    let manifest = manifest(task, row, &segments, (chain, link));
    let composed = task.ledger.compose_manifest(id, stream, name.as_str(), json(manifest.to_bytes())?).await?;
    crash::point("manifest.composed");
    let digest = hex(&Sha256::digest(&composed));
    let sums = sha256sums(&manifest, &composed);
    destination.put_bytes(&key(task, stream, SUMS_NAME), sums.into_bytes()).await.map_err(at)?;
    crash::point("manifest.sums_written");
    destination.put_bytes(&key(task, stream, MANIFEST_NAME), composed).await.map_err(at)?;
    crash::point("manifest.written");
    if task.row.params.is_empty() {
        point_latest(task, &manifest, &digest, destination).await?.map_err(at)?;
        crash::point("manifest.latest_written");
    }
    task.ledger.manifest_published(id, stream, name.as_str()).await?;
    crash::point("manifest.committed");
    let location = destination.location(&key(task, stream, MANIFEST_NAME));
    tracing::info!(
        EXPORT_TASK = %id, EXPORT_NAME = %task.row.export, EXPORT_STREAM = %stream,
        "published {} records in {} files: {location}", row.counts.written, segments.len()
    );
    Ok(())
}

/// Moves `latest.json` to this manifest, unless it already points at a later task's. A task with parameters is another
/// data set, so it never gets here.
async fn point_latest(
    task: &TaskRun,
    manifest: &Manifest,
    digest: &str,
    destination: &Destination,
) -> Result<Result<(), DestinationError>, TransferError> {
    let at = format!("{}/{}/{LATEST}", task.row.export, manifest.stream);
    let found = match destination.read_small(&at, MAX_LATEST).await {
        Ok(found) => found.and_then(|bytes| Latest::parse(&bytes).ok()),
        Err(error) => return Ok(Err(error)),
    };
    if found.is_some_and(|latest| is_later(&latest, &task.row.id)) {
        return Ok(Ok(()));
    }
    let latest = Latest {
        version: 1,
        export: task.row.export.clone(),
        stream: manifest.stream.clone(),
        chain: manifest.chain.clone(),
        manifests: vec![LatestEntry {
            task: manifest.task.clone(),
            path: format!("{}/{MANIFEST_NAME}", task.row.id),
            sha256: digest.to_owned(),
            mode: manifest.mode,
            primary_key: manifest.primary_key.clone(),
            cursor_field: manifest.cursor_field.clone(),
        }],
    };
    Ok(destination.replace(&at, json(latest.to_bytes())?).await)
}

fn json(bytes: Result<Vec<u8>, serde_json::Error>) -> Result<Vec<u8>, TransferError> {
    bytes.map_err(|error| TransferError::Broken {
        message: format!("compose a manifest: {error}"),
        class: ErrorClass::Bug,
    })
}

/// Task ids begin with their creation time, so they sort in the order of the tasks.
fn is_later(latest: &Latest, task: &TaskId) -> bool {
    latest.manifests.iter().any(|entry| entry.task.as_str() > task.as_str())
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
        chain,
        offsets: lane_offsets(segments),
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

fn lane_offsets(segments: &[SegmentRow]) -> Vec<LaneOffsets> {
    let json = |offset| serde_json::to_value(offset).unwrap_or_default();
    let mut lanes: Vec<LaneOffsets> = Vec::new();
    for segment in segments.iter().filter(|segment| !segment.superseded) {
        match lanes.iter_mut().find(|lane| lane.lane == segment.id.lane) {
            Some(lane) => lane.last = json(&segment.last),
            None => {
                lanes.push(LaneOffsets {
                    lane: segment.id.lane,
                    first: json(&segment.first),
                    last: json(&segment.last),
                });
            }
        }
    }
    lanes
}
