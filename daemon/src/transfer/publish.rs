//! Publishes a task: per destination and stream the checksums, the manifest, and last the pointer that readers follow.
//!
//! A manifest's bytes are composed once from ledger rows and stored there before they are sent, so that a repetition
//! after a crash sends the same bytes. `latest.json` is the one object that is replaced, and it only moves forward.

use super::TaskRun;
use super::deliver::key;
use super::error::TransferError;
use crate::base::crash;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::Name;
use crate::destinations::{Destination, DestinationError, LATEST};
use crate::host::messages::Message;
use crate::ledger::rows::{ChainManifest, Composed, LaneRow, Link, SegmentRow, StreamRow};
use crate::model::mark::Mark;
use crate::model::offset::Offset;
use crate::model::segment::Role;
use crate::seal::{AGE, Sealing};
use saas_export_api::plural;
use saas_export_manifest::{
    Counts, Encryption, LaneOffsets, Latest, LatestEntry, MANIFEST_NAME, Manifest, Marks, ParseError, SIGNATURE_NAME,
    SUMS_NAME, Segment, crc32c_hex, sha256sums,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The largest `latest.json` that is read back.
const MAX_LATEST: u64 = 16 << 20;

/// Publishes every whole stream of the task at one destination. All manifests are there before the first pointer moves,
/// so that a failure never shows readers a part of the task.
pub async fn publish(task: &TaskRun, name: &Name, destination: &dyn Destination) -> Result<(), TransferError> {
    let at = |source| TransferError::Destination { name: name.to_string(), source };
    let rows = task.ledger.streams(&task.row.id).await?;
    let mut written = Vec::new();
    let mut before = task.ledger.manifests(&task.row.id).await?;
    before.retain(|manifest| manifest.destination == name.as_str());
    for row in rows.iter().filter(|row| row.extracted && row.error.is_none()) {
        let before = before.iter().find(|manifest| manifest.stream == row.stream);
        // Retention has removed it since: a task that goes on (`on_stream_error: publish_rest`, then `retry`) must not bring its
        // manifest back.
        if before.is_some_and(|before| before.pruned_at.is_some()) {
            continue;
        }
        // What another destination holds up comes by here at each try.
        let told = before.is_some_and(|before| before.published_at.is_some());
        written.push((write_manifest(task, row, name, destination).await?, told));
    }
    if let Some(before) = task.ledger.awaited(&task.row.id, name.as_str()).await? {
        let message = format!("publish before the task {before}, which comes earlier in the chain");
        return Err(TransferError::Broken { message, class: ErrorClass::Transient });
    }
    for (stream, told) in &written {
        // A task with parameters is another data set, which nobody follows.
        if task.row.chained {
            point_latest(task, stream, name, destination).await?;
        } else {
            task.ledger.manifest_published(&task.row.id, &stream.stream, name.as_str()).await?;
        }
        if !told {
            tell(task, stream, name, destination);
        }
        crash::point_at("manifest.committed", name.as_str());
    }
    for row in &rows {
        let segments = task.ledger.segments(&task.row.id, &row.stream).await?;
        // Parts never left the spool.
        for segment in segments.iter().filter(|row| row.superseded && row.role != Role::Part) {
            let object = key(task, &row.stream, &segment.name);
            let Err(error) = destination.delete(&object).await else { continue };
            // No manifest lists it. A server that removes nothing must not hold up what is published beside it.
            if error.class().retryable() || error.class() == ErrorClass::Full {
                return Err(at(error));
            }
            tracing::warn!(
                MESSAGE_ID = Message::LeftBehind.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
                EXPORT_DESTINATION = %name,
                "{} holds records that were read again; no manifest lists it, and it stays there: failed to {}",
                destination.location(&object), Chain(&error)
            );
        }
    }
    Ok(())
}

/// Stores the checksums, the signature if there is one, and then the manifest of a stream.
async fn write_manifest(
    task: &TaskRun,
    row: &StreamRow,
    name: &Name,
    destination: &dyn Destination,
) -> Result<Manifest, TransferError> {
    let at = |source| TransferError::Destination { name: name.to_string(), source };
    let (id, stream) = (&task.row.id, row.stream.as_str());
    let link = task.ledger.link(id, stream).await?.ok_or_else(|| TransferError::Broken {
        message: format!("publish stream {stream}: it has no place in a chain"),
        class: ErrorClass::Bug,
    })?;
    let (segments, lanes) = (task.ledger.segments(id, stream).await?, task.ledger.lanes(id, stream).await?);
    let mut manifest = Manifest { offsets: lane_offsets(&lanes, &segments), ..manifest(task, row, &segments, link) };
    manifest.marks = marks(task, row, manifest.marks).await?;
    let bytes = json(manifest.to_bytes())?;
    let signature = task.spool.protection().signer.as_ref().map(|key| key.sign(&bytes));
    let composed = Composed { bytes, signature };
    let composed = task.ledger.compose_signed(id, stream, name.as_str(), composed).await?;
    crash::point_at("manifest.composed", name.as_str());
    let sums = sha256sums(&manifest, &composed.bytes);
    destination.put_bytes(&key(task, stream, SUMS_NAME), sums.into_bytes().into()).await.map_err(at)?;
    crash::point_at("manifest.sums_written", name.as_str());
    if let Some(signature) = composed.signature {
        destination.put_bytes(&key(task, stream, SIGNATURE_NAME), signature.into()).await.map_err(at)?;
        crash::point_at("manifest.signed", name.as_str());
    }
    destination.put_bytes(&key(task, stream, MANIFEST_NAME), composed.bytes.into()).await.map_err(at)?;
    crash::point_at("manifest.written", name.as_str());
    Ok(manifest)
}

fn tell(task: &TaskRun, manifest: &Manifest, name: &Name, destination: &dyn Destination) {
    let location = destination.location(&key(task, &manifest.stream, MANIFEST_NAME));
    let (rows, files) = (manifest.counts.written, manifest.segments.len());
    tracing::info!(
        MESSAGE_ID = Message::Published.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
        EXPORT_STREAM = %manifest.stream, EXPORT_DESTINATION = %name,
        "wrote {rows} {} in {files} {}: {location}", plural(rows, "record"), plural(files, "file")
    );
}

/// Moves `latest.json` to this manifest, unless it already points at a task that was created later, and notes that the
/// manifest is published.
async fn point_latest(
    task: &TaskRun,
    manifest: &Manifest,
    name: &Name,
    destination: &dyn Destination,
) -> Result<(), TransferError> {
    let at = |source| TransferError::Destination { name: name.to_string(), source };
    let pointer = format!("{}/{}/{LATEST}", task.row.export, manifest.stream);
    // Two tasks of an export may publish at once: looking and replacing must be one step.
    let lock = pointer_lock(&destination.location(&pointer));
    let _held = lock.lock().await;
    let seen = destination.read_small(&pointer, MAX_LATEST).await.map_err(at)?;
    let found = match seen.as_ref().map(|seen| Latest::parse(&seen.bytes)) {
        None => None,
        Some(Ok(found)) => Some(found),
        Some(Err(ParseError::Newer { .. })) => {
            return Err(at(DestinationError::Newer { location: destination.location(&pointer) }));
        }
        Some(Err(error)) => {
            let location = destination.location(&pointer);
            tracing::warn!(
                MESSAGE_ID = Message::LatestStays.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
                EXPORT_DESTINATION = %name, "{location} is damaged and will be replaced: {error}"
            );
            None
        }
    };
    let entries = whole(task.ledger.chain_beyond(&task.row.id, &manifest.stream, name.as_str()).await?);
    match overtaken(task, &manifest.stream, found).await? {
        // The destination is younger than the chain: what it has is no whole data set, and must not look like one.
        None if entries.len() as u64 <= manifest.chain.position => {
            let note = format!(
                "{} does not have the chain from its start, so that {} is not written; `exportctl run {} --full` starts one",
                name,
                destination.location(&pointer),
                task.row.export
            );
            tracing::warn!(
                MESSAGE_ID = Message::LatestStays.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
                EXPORT_STREAM = %manifest.stream, EXPORT_DESTINATION = %name, "{note}"
            );
            task.ledger.add_note(&task.row.id, &manifest.stream, &note).await?;
        }
        Some(later) => tracing::info!(
            MESSAGE_ID = Message::LatestStays.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
            EXPORT_STREAM = %manifest.stream, EXPORT_DESTINATION = %name,
            "{} stays with the newer task {later}", destination.location(&pointer)
        ),
        None => {
            let bytes = json(latest(task, manifest, entries).to_bytes())?;
            destination.replace(&pointer, bytes.into(), seen.as_ref()).await.map_err(at)?;
        }
    }
    crash::point_at("manifest.latest_written", name.as_str());
    Ok(task.ledger.manifest_published(&task.row.id, &manifest.stream, name.as_str()).await?)
}

/// The chain from its start to the first gap: what a reader may follow.
fn whole(chain: Vec<ChainManifest>) -> Vec<ChainManifest> {
    let in_place = |(index, link): &(usize, ChainManifest)| link.chain.position == *index as u64;
    chain.into_iter().enumerate().take_while(in_place).map(|(_, link)| link).collect()
}

fn latest(task: &TaskRun, manifest: &Manifest, chain: Vec<ChainManifest>) -> Latest {
    let entry = |link: ChainManifest| LatestEntry {
        path: format!("{}/{MANIFEST_NAME}", link.task),
        task: link.task.to_string(),
        sha256: link.sha256,
        mode: link.mode,
        primary_key: link.primary_key,
        cursor_field: link.cursor_field,
    };
    // A task that is filled back may close a gap in front of others: the list ends with the newest of them.
    let newest = chain.last().map_or(&manifest.chain, |link| &link.chain).clone();
    Latest {
        version: 1,
        export: task.row.export.clone(),
        stream: manifest.stream.clone(),
        chain: newest,
        manifests: chain.into_iter().map(entry).collect(),
    }
}

/// The task that `latest.json` points at, if it is newer than this one.
async fn overtaken(task: &TaskRun, stream: &str, found: Option<Latest>) -> Result<Option<String>, TransferError> {
    let Some(newest) = found.and_then(|mut latest| latest.manifests.pop()) else { return Ok(None) };
    let newer = task.ledger.is_newer(stream, &newest.task, &task.row.id).await?;
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

fn manifest(task: &TaskRun, row: &StreamRow, segments: &[SegmentRow], link: Link) -> Manifest {
    let Link { place: chain, as_new: link } = link;
    let mark = |mark: Option<Mark>| mark.and_then(|mark| serde_json::to_value(mark).ok());
    let live = || segments.iter().filter(|segment| segment.listed());
    let offset = |offset| serde_json::to_value(offset).unwrap_or_default();
    let protection = task.spool.protection();
    let encryption = match &protection.sealing {
        Sealing::Age(recipients) => Some(Encryption { format: AGE.into(), recipients: recipients.texts() }),
        Sealing::None | Sealing::Own(_) => None,
    };
    Manifest {
        version: 1,
        export: task.row.export.clone(),
        stream: row.stream.clone(),
        task: task.row.id.to_string(),
        created_at: task.row.created_at.to_string(),
        mode: link.mode,
        format: task.export.format.word().into(),
        compression: task.export.format.compression(),
        encryption,
        parquet_encryption: protection.parquet.is_some(),
        encrypted_columns: protection.parquet.as_ref().map(|keys| keys.columns()).unwrap_or_default(),
        signature: protection.signer.as_ref().map(|key| key.signed()),
        schema: serde_json::to_value(&row.schema).unwrap_or_default(),
        schema_version: row.schema_version,
        primary_key: link.primary_key,
        cursor_field: link.cursor_field,
        shift_protection: row.shift_protection.clone(),
        limited_by: row.limited.clone(),
        chain,
        offsets: Vec::new(),
        marks: Marks { before: mark(link.mark_before), after: mark(link.mark_after), ..Marks::default() },
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
                plain_sha256: segment.plain.as_ref().map(|plain| plain.sha256.clone()),
                plain_bytes: segment.plain.as_ref().map(|plain| plain.bytes),
                lane: segment.id.lane,
                n: if segment.role == Role::Single { 0 } else { segment.id.n },
                revision: segment.id.revision,
                first_offset: offset(&segment.first),
                last_offset: offset(&segment.last),
            })
            .collect(),
        daemon_version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// A mark with what a ledger needs to go on from it that has lost everything else.
async fn marks(task: &TaskRun, row: &StreamRow, marks: Marks) -> Result<Marks, TransferError> {
    if marks.after.is_none() {
        return Ok(marks);
    }
    let marks = Marks { fingerprint: row.fingerprint.clone(), ..marks };
    let protection = task.spool.protection();
    // Records with few possible values could be guessed by their digests.
    if matches!(protection.sealing, Sealing::Age(_)) || protection.parquet.is_some() {
        return Ok(marks);
    }
    let newest = task.ledger.boundary(&task.row.id, &row.stream).await?;
    // A later task that moves the mark may forget what this one knew. Asked afterwards: the one goes with the other.
    let set = task.ledger.marks(&task.row.export).await?;
    match set.iter().any(|mark| mark.stream == row.stream && mark.task == task.row.id) {
        true => Ok(marks.with_boundary(&newest)),
        false => Ok(marks),
    }
}

/// From where to where each lane was read, its empty pages at the end included.
fn lane_offsets(lanes: &[LaneRow], segments: &[SegmentRow]) -> Vec<LaneOffsets> {
    let json = |offset: &Offset| serde_json::to_value(offset).unwrap_or_default();
    let offsets = |lane: &LaneRow| {
        let of_lane = segments.iter().find(|segment| segment.read() && segment.id.lane == lane.lane);
        let first = of_lane.map_or(&lane.offset, |segment| &segment.first);
        LaneOffsets { lane: lane.lane, first: json(first), last: json(&lane.offset) }
    };
    lanes.iter().map(offsets).collect()
}
