//! Puts the parts of each stream together to its one file, once all of them are in the spool (`layout: single`).
//!
//! ```text
//! parts ─▶ <name>.open ─ sync, read back ─▶ <name> ─ one transaction ─▶ deliver ─▶ everywhere: file and parts go
//! ```
//! Until the transaction everything is done again after a crash; the parts stay until the file is at every destination.

use super::TaskRun;
use super::error::TransferError;
use super::progress::Counters;
use super::protect;
use super::spool::{Spool, read_back};
use crate::base::error::ErrorClass;
use crate::base::{crash, fsio};
use crate::config::settings::{FileLayout, Format};
use crate::formats::single::Part;
use crate::formats::{self, FormatError};
use crate::host::messages::Message;
use crate::ledger::input::NewSingle;
use crate::ledger::rows::{SegmentRow, StreamRow};
use crate::model::schema::Schema;
use crate::model::segment::{Plain, Role, SegmentId};
use crate::record::convert::Plan;
use crate::seal::{SealError, Writer, Written};
use saas_export_manifest::Digests;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 << 10;
/// Bytes after which the file is synced, so that the last sync, which nothing can stop, is short.
const SYNC_EVERY: u64 = 64 << 20;

/// Makes the file of every whole stream that has none yet, where the export wants one.
pub async fn assemble(task: &Arc<TaskRun>) -> Result<(), TransferError> {
    if task.export.layout != FileLayout::Single {
        return Ok(());
    }
    let rows = task.ledger.streams(&task.row.id).await?;
    for row in rows.into_iter().filter(|row| row.extracted && row.error.is_none()) {
        let result = stream(task, row).await;
        task.progress.puts_together(None);
        result?;
    }
    Ok(())
}

/// Removes the parts of a stream whose file is everywhere.
pub async fn forget_parts(task: &TaskRun, stream: &str) -> Result<(), TransferError> {
    for part in task.ledger.segments(&task.row.id, stream).await?.iter().filter(|row| row.role == Role::Part) {
        let path = task.spool.segment(stream, &part.name);
        fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
        crash::point("single.part_removed");
    }
    Ok(())
}

async fn stream(task: &Arc<TaskRun>, row: StreamRow) -> Result<(), TransferError> {
    let segments = task.ledger.segments(&task.row.id, &row.stream).await?;
    let singles = segments.iter().filter(|segment| segment.role == Role::Single);
    let (done, revision) = singles.fold((false, 0), |(done, n), row| (done || !row.superseded, n + 1));
    let parts: Vec<SegmentRow> =
        segments.into_iter().filter(|segment| segment.role == Role::Part && !segment.superseded).collect();
    let Some(schema) = row.schema.filter(|_| !done && !parts.is_empty()) else { return Ok(()) };
    let id = SegmentId::single(&row.stream, revision);
    let work = Assembly {
        name: id.single_name(&task.export.extension()),
        bytes: parts.iter().map(|part| part.bytes).sum(),
        stream: row.stream,
        parts,
        format: task.export.format.clone(),
        schema,
        spool: task.spool.clone(),
        stop: task.stop.clone(),
        progress: task.progress.clone(),
    };
    let (work, written) = tokio::task::spawn_blocking(move || work.make().map(|written| (work, written))).await??;
    let plain = written.plain.map(|plain| Plain { bytes: plain.bytes, sha256: plain.sha256 });
    let Digests { bytes, sha256, crc32c } = written.stored;
    tracing::info!(
        MESSAGE_ID = Message::Assembled.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
        EXPORT_STREAM = %work.stream, EXPORT_SEGMENT = %work.name,
        "put {} together from {} parts, {bytes} bytes", work.name, work.parts.len()
    );
    let parts = work.parts.into_iter().map(|part| part.id).collect();
    let new =
        NewSingle { id, name: work.name, bytes, sha256, crc32c, plain, parts, destinations: task.destination_names() };
    task.ledger.add_single(&task.row.id, new).await?;
    crash::point("single.committed");
    task.sealed.send_modify(|count| *count += 1);
    Ok(())
}

/// The file of a stream in the making.
struct Assembly {
    stream: String,
    name: String,
    /// Bytes of its parts, which it will have about itself.
    bytes: u64,
    parts: Vec<SegmentRow>,
    format: Format,
    schema: Schema,
    spool: Spool,
    stop: CancellationToken,
    progress: Arc<Counters>,
}

impl Assembly {
    /// Makes it durable under its name.
    fn make(&self) -> Result<Written, TransferError> {
        let missing = self.spool.missing_for(self.bytes)?;
        if missing > 0 {
            return Err(TransferError::Room { name: self.name.clone(), bytes: self.bytes, missing });
        }
        self.say(0);
        let path = self.spool.segment(&self.stream, &self.name);
        let open = fsio::sibling(&path, ".open");
        let made = self.check_parts().and_then(|()| self.write(&open)).and_then(|written| {
            self.check(&open, (written.stored.bytes, written.stored.crc32c))?;
            crash::point("single.verified");
            Ok(written)
        });
        let written = match made {
            Ok(written) => written,
            Err(error) => {
                // Its room is needed: by others, or by the next try.
                let _ = fsio::remove(&open);
                return Err(if self.stop.is_cancelled() { TransferError::Stopped } else { error });
            }
        };
        fs::rename(&open, &path).map_err(TransferError::spool("rename", &open))?;
        let dir = self.spool.stream(&self.stream);
        fsio::sync_dir(&dir).map_err(TransferError::spool("sync", &dir))?;
        crash::point("single.renamed");
        Ok(written)
    }

    /// Parts may have lain there for long: each must still be what the ledger says.
    fn check_parts(&self) -> Result<(), TransferError> {
        for part in &self.parts {
            self.check(&self.spool.segment(&self.stream, &part.name), (part.bytes, part.crc32c))?;
            self.opens(part)?;
        }
        Ok(())
    }

    /// A part is sealed with the state-key; another key that came meanwhile opens none of them.
    fn opens(&self, row: &SegmentRow) -> Result<(), TransferError> {
        let opened = self.part(row).open().and_then(|file| file.from(0).read(&mut [0]));
        let Err(error) = opened else { return Ok(()) };
        let other = error.get_ref().is_some_and(|inner| inner.is::<SealError>());
        let advice = if other { "; put its state-key back, or cancel the task and run the export again" } else { "" };
        let message = format!("read part {} of stream {}: {error}{advice}", row.name, self.stream);
        Err(TransferError::Broken { message, class: ErrorClass::Config })
    }

    fn part(&self, row: &SegmentRow) -> Part {
        let path = self.spool.segment(&self.stream, &row.name);
        let seal = self.spool.part_seal(&path);
        let bytes = row.plain.as_ref().map_or(row.bytes, |plain| plain.bytes);
        Part { path, bytes, rows: row.counts.written, seal }
    }

    fn check(&self, path: &Path, expected: (u64, u32)) -> Result<(), TransferError> {
        let found = read_back(path, || self.go_on()).map_err(TransferError::spool("read", path))?;
        if found == expected { Ok(()) } else { Err(TransferError::ReadBack { path: path.to_owned() }) }
    }

    fn write(&self, path: &Path) -> Result<Written, TransferError> {
        let file = self.spool.create(path)?;
        crash::point("single.begun");
        let (sealing, about) = (&self.spool.protection().sealing, protect::about("segment", path));
        let out = Out { assembly: self, file: BufWriter::with_capacity(BUFFER, file), unsynced: 0, bytes: 0 };
        let mut writer = Writer::new(sealing, &about, out).map_err(TransferError::spool("write", path))?;
        self.write_plain(&mut writer).map_err(|error| match error {
            FormatError::Io(source) => TransferError::Spool { action: "write", path: path.to_owned(), source },
            other => TransferError::Format(other),
        })?;
        crash::point("single.written");
        let finish = || -> io::Result<(File, Written)> {
            let (out, written) = writer.finish()?;
            Ok((out.file.into_inner().map_err(io::IntoInnerError::into_error)?, written))
        };
        let (file, written) = finish().map_err(TransferError::spool("write", path))?;
        file.sync_all().map_err(TransferError::spool("sync", path))?;
        crash::point("single.synced");
        Ok(written)
    }

    /// Writes the plain bytes of the file.
    fn write_plain(&self, out: &mut (dyn Write + Send)) -> Result<(), FormatError> {
        let plan = Plan::new(&self.schema, formats::layout(&self.format));
        let parts: Vec<Part> = self.parts.iter().map(|row| self.part(row)).collect();
        formats::single::write(&self.format, &plan, &parts, out)
    }

    fn go_on(&self) -> io::Result<()> {
        if self.stop.is_cancelled() { Err(io::Error::other("the task was asked to stop")) } else { Ok(()) }
    }

    /// Tells how far it is.
    fn say(&self, done: u64) {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        self.progress.puts_together(Some(format!(
            "puts {} together from {} parts: {:.1} of {:.1} MB",
            self.name,
            self.parts.len(),
            mb(done),
            mb(self.bytes)
        )));
    }
}

/// The file being written: synced now and then, given up where the task stops.
struct Out<'a> {
    assembly: &'a Assembly,
    file: BufWriter<File>,
    unsynced: u64,
    bytes: u64,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.assembly.go_on()?;
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY {
            self.file.flush()?;
            self.file.get_ref().sync_data()?;
            self.unsynced = 0;
            self.assembly.say(self.bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
