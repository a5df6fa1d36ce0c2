//! The rows of one stream of an adopted task, made of its manifest.

use super::super::codec::{At, Json, U64, all, one, run};
use super::super::error::LedgerError;
use super::super::rows::{Composed, TaskRow};
use super::super::segments::insert;
use super::super::streams::{add_note, ensure, newest_schema};
use super::super::writer::Tx;
use super::super::{marks, tasks};
use super::{AdoptedStream, Adoption, LeftBehind, refused};
use crate::base::ids::TaskId;
use crate::model::mark::Mark;
use crate::model::offset::Offset;
use crate::model::schema::Schema;
use crate::model::segment::{CheckpointDelta, Counts, CutReason, Plain, Role, SealedSegment, SegmentId};
use rusqlite::{Connection, named_params};
use saas_export_manifest::{Digests, Manifest, Segment};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Takes in what the ledger lacks of a published stream.
pub(super) fn adopt(tx: &Tx<'_>, order: &Adoption, adopted: &AdoptedStream) -> Result<(), LedgerError> {
    let (id, manifest) = (&order.id, &adopted.manifest);
    if !has(tx, id, manifest)? {
        let text = "SELECT 1 FROM manifests WHERE task = ?1 AND stream = ?2 AND published_at IS NOT NULL";
        if one(tx, text, (id.as_str(), &manifest.stream), |_| Ok(()))?.is_some() {
            let why = format!("the ledger has published other files of its stream {}", manifest.stream);
            return Err(refused(id, &why));
        }
        if let Some(holder) = holder(tx, manifest)?.filter(|holder| holder != id.as_str()) {
            let (stream, place) = (&manifest.stream, manifest.chain.position);
            let why = format!("the ledger has the task {holder} in place {place} of that chain of stream {stream}");
            return Err(refused(id, &why));
        }
        clear(tx, id, &manifest.stream)?;
        fill(tx, order, manifest)?;
        lanes(tx, order, manifest)?;
        link(tx, order, manifest)?;
        move_mark(tx, order, manifest)?;
    }
    adopted.places.iter().try_for_each(|(name, composed)| publish(tx, order, manifest, (name, composed)))
}

/// The task that the ledger has in a manifest's place.
pub(super) fn holder(sql: &Connection, manifest: &Manifest) -> Result<Option<String>, LedgerError> {
    let text = "SELECT task FROM chain_links WHERE chain = ?1 AND stream = ?2 AND position = ?3 AND export = ?4";
    let place = (&manifest.chain.id, &manifest.stream, U64(manifest.chain.position), &manifest.export);
    one(sql, text, place, |row| row.get(0))
}

/// Whether the ledger has the stream in its chain already, with the same files.
fn has(tx: &Tx<'_>, id: &TaskId, manifest: &Manifest) -> Result<bool, LedgerError> {
    if holder(tx, manifest)?.is_none_or(|holder| holder != id.as_str()) {
        return Ok(false);
    }
    let text = "SELECT name, sha256 FROM segments WHERE task = ?1 AND stream = ?2 AND NOT superseded AND role <> 'part'
                ORDER BY name";
    let found: Vec<(String, String)> =
        all(tx, text, (id.as_str(), &manifest.stream), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut listed: Vec<(String, String)> =
        manifest.segments.iter().map(|segment| (segment.name.clone(), segment.sha256.clone())).collect();
    listed.sort();
    Ok(found == listed)
}

/// Forgets how far the ledger thought the stream to be.
fn clear(tx: &Tx<'_>, id: &TaskId, stream: &str) -> Result<(), LedgerError> {
    // In the order in which they refer to one another.
    for table in [
        "deliveries",
        "parent_values",
        "boundary",
        "segments",
        "cuts",
        "lanes",
        "partition_lists",
        "partitions",
        "manifests",
        "chain_links",
    ] {
        run(tx, &format!("DELETE FROM {table} WHERE task = ?1 AND stream = ?2"), (id.as_str(), stream))?;
    }
    Ok(())
}

fn of<T: DeserializeOwned>(task: &TaskId, what: &str, value: &Value) -> Result<T, LedgerError> {
    serde_json::from_value(value.clone())
        .map_err(|error| refused(task, &format!("the {what} in its manifest is not understood: {error}")))
}

fn mark(order: &Adoption, value: Option<&Value>) -> Result<Option<Mark>, LedgerError> {
    value.map(|value| of(&order.id, "mark", value)).transpose()
}

fn fill(tx: &Tx<'_>, order: &Adoption, manifest: &Manifest) -> Result<(), LedgerError> {
    let (id, stream, counts) = (&order.id, manifest.stream.as_str(), &manifest.counts);
    ensure(tx, id, stream)?;
    let schema: Option<Schema> = of(&order.id, "schema", &manifest.schema)?;
    let version = schema.as_ref().map_or(Ok(0), |schema| version(tx, order, manifest, schema))?;
    tx.prepare_cached(
        "UPDATE task_streams SET fingerprint = :fingerprint, schema = :schema, schema_version = :version, observed = NULL,
             read = :read, written = :written, rejected = :rejected, duplicate = :duplicate, filtered = :filtered,
             over_limit = :over_limit, rescued = :rescued, pages = :pages, source_bytes = :source_bytes, bytes = :bytes,
             segments = :segments, extracted = 1, error = NULL, follows = :follows, mode = :mode, mark_before = :before,
             mark_task = NULL, mark_after = :after, limited = :limited, shift_protection = :protection
         WHERE task = :task AND stream = :stream",
    )?
    .execute(named_params! {
        ":task": id.as_str(), ":stream": stream, ":fingerprint": manifest.marks.fingerprint,
        ":schema": schema.as_ref().map(Json), ":version": version,
        ":read": U64(counts.read), ":written": U64(counts.written), ":rejected": U64(counts.rejected),
        ":duplicate": U64(counts.duplicate), ":filtered": U64(counts.filtered),
        ":over_limit": U64(counts.over_limit), ":rescued": U64(counts.rescued), ":pages": U64(manifest.pages),
        ":source_bytes": U64(manifest.source_bytes),
        ":bytes": U64(manifest.segments.iter().map(|segment| segment.bytes).fold(0, u64::saturating_add)),
        ":segments": U64(manifest.segments.len() as u64), ":follows": manifest.cursor_field.is_some(),
        ":mode": manifest.mode.word(), ":before": mark(order, manifest.marks.before.as_ref())?.as_ref().map(Json),
        ":after": mark(order, manifest.marks.after.as_ref())?.as_ref().map(Json),
        ":limited": manifest.limited_by, ":protection": manifest.shift_protection,
    })?;
    add_note(tx, id, stream, &order.reason)
}

/// The version of a schema: the number that the manifest gives it, where no other schema has that here.
fn version(tx: &Tx<'_>, order: &Adoption, manifest: &Manifest, schema: &Schema) -> Result<u32, LedgerError> {
    let (export, stream) = (&manifest.export, &manifest.stream);
    let text = "SELECT schema FROM schemas WHERE export = ?1 AND stream = ?2 AND version = ?3";
    let taken = one(tx, text, (export, stream, manifest.schema_version), |row| row.get::<_, Json<Schema>>(0))?;
    let version = match (taken, newest_schema(tx, export, stream)?) {
        (Some(Json(known)), _) if &known == schema => return Ok(manifest.schema_version),
        (_, Some((newest, version))) if &newest == schema => return Ok(version),
        (None, newest) => newest.map_or(manifest.schema_version, |(_, newest)| manifest.schema_version.max(newest + 1)),
        (Some(_), newest) => newest.map_or(manifest.schema_version, |(_, newest)| newest) + 1,
    };
    let text =
        "INSERT INTO schemas (export, stream, version, schema, task, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    run(tx, text, (export, stream, version, Json(schema), order.id.as_str(), At(order.new.at)))?;
    Ok(version)
}

fn lanes(tx: &Tx<'_>, order: &Adoption, manifest: &Manifest) -> Result<(), LedgerError> {
    let stream = manifest.stream.as_str();
    for lane in &manifest.offsets {
        let id = &order.id;
        let (first, last): (Offset, Offset) = (of(id, "offset", &lane.first)?, of(id, "offset", &lane.last)?);
        let own = || manifest.segments.iter().filter(|segment| segment.lane == lane.lane && !is_single(segment));
        let next = own().map(|segment| segment.n + 1).max().unwrap_or(0);
        let revision = own().map(|segment| segment.revision).max().unwrap_or(0);
        let text = "INSERT INTO lanes (task, stream, lane, revision, start, \"offset\", next_n, done)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)";
        run(tx, text, (order.id.as_str(), stream, lane.lane, revision, Json(&first), Json(&last), U64(next)))?;
    }
    for (n, segment) in manifest.segments.iter().enumerate() {
        let role = if is_single(segment) { Role::Single } else { Role::File };
        let mut sealed = sealed(&order.id, stream, segment)?;
        if n + 1 == manifest.segments.len() {
            // Which file they stood beside is not known; the sums of the stream must be those of its files.
            sealed.counts.rejected = manifest.counts.rejected;
            sealed.counts.read += manifest.counts.rejected;
        }
        insert(tx, &order.id, &sealed, role)?;
    }
    Ok(())
}

/// Whether a file is the one file of its stream: others are named after their lane.
fn is_single(segment: &Segment) -> bool {
    let id = SegmentId { stream: String::new(), lane: segment.lane, n: segment.n, revision: segment.revision };
    !segment.name.starts_with(id.file_name("").trim_end_matches('.'))
}

fn sealed(task: &TaskId, stream: &str, segment: &Segment) -> Result<SealedSegment, LedgerError> {
    let (from, to): (Offset, Offset) =
        (of(task, "offset", &segment.first_offset)?, of(task, "offset", &segment.last_offset)?);
    let id = match is_single(segment) {
        true => SegmentId::single(stream, segment.revision),
        false => SegmentId { stream: stream.to_owned(), lane: segment.lane, n: segment.n, revision: segment.revision },
    };
    let crc32c = u32::from_str_radix(&segment.crc32c, 16)
        .map_err(|_| refused(task, &format!("the CRC-32C of {} is none", segment.name)))?;
    let plain = segment.plain_sha256.clone().map(|sha256| Plain { bytes: segment.plain_bytes.unwrap_or(0), sha256 });
    Ok(SealedSegment {
        id,
        name: segment.name.clone(),
        bytes: segment.bytes,
        sha256: segment.sha256.clone(),
        crc32c,
        plain,
        // What else was read lies in the sums of the stream alone.
        counts: Counts { read: segment.rows, written: segment.rows, ..Counts::default() },
        pages: to.pages.saturating_sub(from.pages),
        source_bytes: 0,
        cut: CutReason::End,
        delta: CheckpointDelta { from, to },
    })
}

/// Notes the files of a manifest that was never published, so that they are removed with those that the ledger knows of its task.
pub(super) fn leave(tx: &Tx<'_>, left: &LeftBehind) -> Result<(), LedgerError> {
    let (task, stream) = (TaskId::known(left.manifest.task.clone()), left.manifest.stream.as_str());
    for segment in &left.manifest.segments {
        let sealed = sealed(&task, stream, segment)?;
        let text = "INSERT INTO lanes (task, stream, lane, start, \"offset\") VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING";
        run(tx, text, (task.as_str(), stream, sealed.id.lane, Json(&sealed.delta.from)))?;
        let text = "SELECT 1 FROM segments WHERE task = ?1 AND stream = ?2 AND (name = ?3 OR (lane = ?4 AND n = ?5
                        AND revision = ?6))";
        let key = (task.as_str(), stream, &segment.name, sealed.id.lane, U64(sealed.id.n), sealed.id.revision);
        if one(tx, text, key, |_| Ok(()))?.is_none() {
            insert(tx, &task, &sealed, Role::File)?;
            let text = "UPDATE segments SET superseded = 1 WHERE task = ?1 AND stream = ?2 AND name = ?3";
            run(tx, text, (task.as_str(), stream, &segment.name))?;
        }
    }
    let detail = json!({ "stream": stream, "destination": left.destination, "sha256": left.sha256 });
    tx.audit_task(&task, "manifest_composed", detail)
}

fn link(tx: &Tx<'_>, order: &Adoption, manifest: &Manifest) -> Result<(), LedgerError> {
    run(
        tx,
        "INSERT INTO chain_links (task, stream, export, chain, position, mode, primary_key, cursor_field, mark_before,
             mark_after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            order.id.as_str(),
            &manifest.stream,
            &manifest.export,
            &manifest.chain.id,
            U64(manifest.chain.position),
            manifest.mode.word(),
            Json(&manifest.primary_key),
            &manifest.cursor_field,
            mark(order, manifest.marks.before.as_ref())?.as_ref().map(Json),
            mark(order, manifest.marks.after.as_ref())?.as_ref().map(Json),
        ),
    )
    .map(drop)
}

/// Moves the mark to where the task left it, with the newest records as far as they are known, unless a later task moved it.
fn move_mark(tx: &Tx<'_>, order: &Adoption, manifest: &Manifest) -> Result<(), LedgerError> {
    let (id, export, stream) = (order.id.as_str(), manifest.export.as_str(), manifest.stream.as_str());
    let row = tasks::get(tx, &order.id)?;
    let Some(after) = mark(order, manifest.marks.after.as_ref())?.filter(|_| row.chained) else { return Ok(()) };
    let before = marks::mark_of(tx, export, stream)?;
    if let Some(before) = &before {
        let text = "SELECT it.seq > me.seq FROM tasks it, tasks me WHERE it.id = ?1 AND me.id = ?2";
        if one(tx, text, (before.task.as_str(), id), |row| row.get(0))?.unwrap_or(false) {
            return Ok(());
        }
    }
    let listed = manifest.marks.boundary().map_err(|why| refused(&order.id, &why))?;
    match (&listed, &before) {
        (Some(records), _) => {
            for (cursor, record) in records {
                let text = "INSERT INTO boundary (task, stream, cursor, record) VALUES (?1, ?2, ?3, ?4)";
                run(tx, text, (id, stream, cursor, record.as_slice()))?;
            }
        }
        // Nothing newer was read: what is known of the mark holds.
        (None, Some(before)) if before.mark == after && before.task != order.id => {
            let text = "INSERT INTO boundary (task, stream, cursor, record)
                        SELECT ?1, stream, cursor, record FROM boundary WHERE task = ?2 AND stream = ?3";
            run(tx, text, (id, before.task.as_str(), stream))?;
        }
        (None, _) => {}
    }
    let text =
        "DELETE FROM boundary WHERE stream = ?1 AND task <> ?2 AND task IN (SELECT id FROM tasks WHERE export = ?3)";
    run(tx, text, (stream, id, export))?;
    let text = "INSERT INTO marks (export, stream, mark, fingerprint, task, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                ON CONFLICT (export, stream) DO UPDATE SET mark = excluded.mark, fingerprint = excluded.fingerprint,
                    task = excluded.task, updated_at = excluded.updated_at";
    run(tx, text, (export, stream, Json(&after), &manifest.marks.fingerprint, id, At(tx.at)))?;
    let from = before.map(|before| before.mark.to_string());
    tx.audit_task(&order.id, "mark_moved", json!({ "stream": stream, "from": from, "to": after.to_string() }))
}

/// Notes that the stream is published at a destination: everything that the manifest lists is there.
fn publish(
    tx: &Tx<'_>,
    order: &Adoption,
    manifest: &Manifest,
    (name, composed): (&str, &Composed),
) -> Result<(), LedgerError> {
    let key = (order.id.as_str(), &manifest.stream, name);
    let sha256 = Digests::of(&composed.bytes).sha256;
    let text = "SELECT sha256 FROM manifests WHERE task = ?1 AND stream = ?2 AND destination = ?3
                AND published_at IS NOT NULL";
    if let Some(known) = one(tx, text, key, |row| row.get::<_, String>(0))? {
        let why = format!("{name} has another manifest of stream {} than the ledger published there", manifest.stream);
        return if known == sha256 { Ok(()) } else { Err(refused(&order.id, &why)) };
    }
    let text = "INSERT INTO deliveries (task, stream, lane, n, revision, destination, verified_at)
         SELECT task, stream, lane, n, revision, ?3, ?4 FROM segments
         WHERE task = ?1 AND stream = ?2 AND NOT superseded AND role <> 'part'
         ON CONFLICT DO UPDATE SET verified_at = coalesce(verified_at, excluded.verified_at), error = NULL";
    run(tx, text, (order.id.as_str(), &manifest.stream, name, At(tx.at)))?;
    let text = "INSERT INTO manifests (task, stream, destination, bytes, sha256, composed_at, published_at, signature)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)
         ON CONFLICT DO UPDATE SET bytes = excluded.bytes, sha256 = excluded.sha256, published_at = excluded.published_at,
             signature = excluded.signature, pruned_at = NULL, gone_at = NULL";
    let row = (&composed.bytes, &sha256, At(order.new.at), &composed.signature);
    run(tx, text, (key.0, key.1, key.2, row.0, row.1, row.2, row.3))?;
    tx.audit_task(&order.id, "published", json!({ "stream": manifest.stream, "destination": name, "adopted": true }))
}

/// Gives up the streams of a task that are published nowhere, with their marks and places: the next task reads them.
pub(super) fn forget_unpublished(tx: &Tx<'_>, task: &TaskRow, reason: &str) -> Result<(), LedgerError> {
    let text = "SELECT stream, mark_before, mark_task, fingerprint FROM task_streams s WHERE task = ?1 AND NOT EXISTS (
                    SELECT 1 FROM manifests m WHERE m.task = s.task AND m.stream = s.stream AND m.published_at IS NOT NULL)";
    type Before = (String, Option<String>, Option<String>, Option<String>);
    let open: Vec<Before> =
        all(tx, text, [task.id.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let error = format!("it is published nowhere: {reason}");
    for (stream, mark, by, fingerprint) in open {
        let key = (&task.export, &stream, task.id.as_str());
        let moved = run(tx, "DELETE FROM marks WHERE export = ?1 AND stream = ?2 AND task = ?3", key)? > 0;
        if let (true, Some(mark), Some(by)) = (moved, mark, by) {
            let text = "INSERT INTO marks (export, stream, mark, fingerprint, task, updated_at)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            run(tx, text, (&task.export, &stream, mark, fingerprint, by, At(tx.at)))?;
        }
        clear(tx, &task.id, &stream)?;
        let text = "UPDATE task_streams SET extracted = 0, mark_after = NULL, error = coalesce(error, ?3), read = 0,
                        written = 0, rejected = 0, duplicate = 0, filtered = 0, over_limit = 0, rescued = 0, pages = 0,
                        source_bytes = 0, bytes = 0, segments = 0 WHERE task = ?1 AND stream = ?2";
        run(tx, text, (task.id.as_str(), &stream, &error))?;
    }
    Ok(())
}
