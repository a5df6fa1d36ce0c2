//! The spool: the open segment's file, its sealing (sync, read-back), and where everything of a task lies.

use super::error::TransferError;
use super::protect::{self, Protection};
use crate::base::blocking::aside;
use crate::base::error::ErrorClass;
use crate::base::ids::{Name, TaskId};
use crate::base::pool::Pool;
use crate::base::{crash, fsio};
use crate::config::settings::{Config, Export, FileLayout, Format, LocalDestination};
use crate::formats::{self, FormatError, SegmentEncoder};
use crate::model::segment::{Counts, Plain, SegmentId};
use crate::record::convert::{Converted, Plan, Rejected};
use crate::seal::{Seal, Sealing, Writer, Written};
use saas_export_manifest::Digests;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Room that is left free beside what a task needs, so that the ledger and others can go on.
pub const HEADROOM: u64 = 4_000_000;
/// Bytes of rejected records that one segment may keep.
const MAX_QUARANTINE: usize = 16_000_000;

/// The directory destination on whose mount the spool of a task lies: the one that was noted when it first ran, even if the
/// task goes on without it by now; else the first one that it goes to.
pub fn home<'a>(config: &'a Config, noted: Option<&str>) -> Option<(&'a Name, &'a LocalDestination)> {
    let local = |name: &str| {
        let (name, settings) = config.destinations.get_key_value(name)?;
        Some((name, settings.local()?))
    };
    let to = config.exports.values().next().map_or(&[][..], |export| export.to.as_slice());
    noted.and_then(local).or_else(|| to.iter().find_map(|name| local(name.as_str())))
}

/// Where the files of a task lie before they are delivered.
#[derive(Clone, Debug)]
pub struct Spool {
    /// Directory of this task's spool.
    dir: PathBuf,
    /// Directory of this task's rejected records.
    quarantine: PathBuf,
    /// Permission bits of segment files.
    mode: u32,
    /// What protects its files.
    protection: Protection,
}

impl Spool {
    /// The spool of `task` below `base` (`<root>/.saas-export` or the state directory).
    pub fn new(base: &Path, state_dir: &Path, task: &TaskId, mode: u32) -> Self {
        Self {
            dir: base.join("spool").join(task.as_str()),
            quarantine: state_dir.join("quarantine").join(task.as_str()),
            mode,
            protection: Protection::default(),
        }
    }

    /// The same with what protects its files.
    pub fn protected(self, protection: Protection) -> Self {
        Self { protection, ..self }
    }

    /// What seals the journals of the task, where they are sealed.
    pub fn own(&self) -> Option<&Arc<Seal>> {
        self.protection.own.as_ref()
    }

    /// How the segments of the task are written: parts of a file that is encrypted as a whole stay here, and are sealed.
    fn sealing(&self, layout: FileLayout) -> Sealing {
        match (layout, self.own()) {
            (FileLayout::Single, Some(own)) => Sealing::Own(own.clone()),
            _ => self.protection.sealing.clone(),
        }
    }

    /// What opens a part of a stream's one file, where it is sealed.
    pub fn part_seal(&self, path: &Path) -> Option<(Arc<Seal>, String)> {
        self.own().map(|own| (own.clone(), protect::about("segment", path)))
    }

    /// What protects its files.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The file of the rejected records of a segment.
    pub fn rejected(&self, id: &SegmentId) -> PathBuf {
        let end = if self.protection.own.is_some() { protect::SEALED } else { "" };
        self.quarantine.join(&id.stream).join(format!("{}{end}", id.file_name("ndjson")))
    }

    /// Directory of this task's spool.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Permission bits of segment files.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Directory of this task's rejected records.
    pub fn quarantine(&self) -> &Path {
        &self.quarantine
    }

    /// Directory of a stream.
    pub fn stream(&self, stream: &str) -> PathBuf {
        self.dir.join(stream)
    }

    /// A sealed segment.
    pub fn segment(&self, stream: &str, name: &str) -> PathBuf {
        self.stream(stream).join(name)
    }

    /// The page journal of an open segment.
    pub fn journal(&self, id: &SegmentId) -> PathBuf {
        self.stream(&id.stream).join(id.file_name("journal"))
    }

    /// Makes the directory of a stream.
    pub fn prepare(&self, stream: &str) -> Result<(), TransferError> {
        let dir = self.stream(stream);
        fsio::create_dir_durable(&dir).map_err(TransferError::spool("create", &dir))
    }

    /// Creates a file with the permissions of a segment, replacing what an earlier try left.
    pub fn create(&self, path: &Path) -> Result<File, TransferError> {
        let create = || -> io::Result<File> {
            let file = fsio::create_fresh(path, 0o600)?;
            file.set_permissions(fs::Permissions::from_mode(self.mode))?;
            Ok(file)
        };
        aside(create).map_err(TransferError::spool("create", path))
    }

    /// Bytes missing for another two segments of `chunk_size`; 0 when there is room.
    pub fn missing(&self, chunk_size: u64) -> Result<u64, TransferError> {
        self.missing_for(2 * chunk_size)
    }

    /// Bytes missing for a file of this size; 0 when there is room.
    pub fn missing_for(&self, bytes: u64) -> Result<u64, TransferError> {
        let existing = aside(|| self.dir.ancestors().find(|dir| dir.is_dir())).unwrap_or(Path::new("/"));
        let free = fsio::free_space(existing).map_err(TransferError::spool("look at", existing))?;
        Ok(bytes.saturating_add(HEADROOM).saturating_sub(free))
    }

    /// Removes everything of the task.
    pub fn remove(&self) -> Result<(), TransferError> {
        match aside(|| fs::remove_dir_all(&self.dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(TransferError::spool("remove", &self.dir)(error))
            }
            _ => Ok(()),
        }
    }
}

/// The open segment of a lane.
pub struct OpenSegment {
    /// Which.
    pub id: SegmentId,
    name: String,
    path: PathBuf,
    spool: Spool,
    encoder: Box<dyn SegmentEncoder>,
    file: SharedFile,
    /// What became of its records so far.
    pub counts: Counts,
    /// Pages so far.
    pub pages: u64,
    /// JSON bytes so far.
    pub source_bytes: u64,
    rejected: Vec<u8>,
}

/// What sealing found out.
pub struct Sealed {
    /// File name.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// CRC-32C.
    pub crc32c: u32,
    /// What is encrypted in it, where it is encrypted as a whole.
    pub plain: Option<Plain>,
    /// What became of its records.
    pub counts: Counts,
    /// Pages in it.
    pub pages: u64,
    /// JSON bytes in it.
    pub source_bytes: u64,
}

impl OpenSegment {
    /// Creates the file, replacing what an earlier try left.
    pub fn create(
        spool: &Spool,
        id: SegmentId,
        export: &Export,
        plan: &Plan,
        chunk_size: u64,
    ) -> Result<Self, TransferError> {
        let name = id.file_name(&export.extension());
        let path = fsio::sibling(&spool.segment(&id.stream, &name), ".open");
        let file = spool.create(&path)?;
        let file = SharedFile::new(file, &spool.sealing(export.layout), &path.with_file_name(&name));
        let file = file.map_err(TransferError::spool("create", &path))?;
        let writer = Box::new(file.clone());
        let encoder = match (&export.format, &spool.protection.parquet) {
            (Format::Parquet(settings), Some(keys)) => {
                formats::open_encrypted((settings, keys), plan, chunk_size, writer)?
            }
            (format, _) => formats::open((format, export.layout), plan, chunk_size, writer)?,
        };
        Ok(Self {
            id,
            name,
            path,
            spool: spool.clone(),
            encoder,
            file,
            counts: Counts::default(),
            pages: 0,
            source_bytes: 0,
            rejected: Vec::new(),
        })
    }

    /// Adds a page.
    pub fn add(&mut self, page: Converted, pool: &Pool) -> Result<(), TransferError> {
        self.counts.add(&page.counts);
        self.source_bytes += page.source_bytes;
        for rejected in &page.rejected {
            self.quarantine(rejected)?;
        }
        self.pages += 1;
        if page.counts.written > 0 {
            self.encoder.write(page, pool).map_err(|error| self.named(error))?;
        }
        crash::point("page.encoded");
        Ok(())
    }

    /// Bytes so far, as promise 4 counts them.
    pub fn counted_bytes(&self) -> u64 {
        self.encoder.counted_bytes()
    }

    /// Bytes so far, those that are still in memory estimated: for progress and foresight.
    pub fn growing_bytes(&self) -> u64 {
        self.encoder.growing_bytes()
    }

    fn named(&self, error: FormatError) -> TransferError {
        match error {
            FormatError::Io(source) => TransferError::Spool { action: "write", path: self.path.clone(), source },
            other => TransferError::Format(other),
        }
    }

    fn quarantine(&mut self, rejected: &Rejected) -> Result<(), TransferError> {
        if self.rejected.len() + rejected.raw.len() > MAX_QUARANTINE {
            let message = format!(
                "keep the rejected records of one segment: they are more than {MAX_QUARANTINE} bytes; the last reason was: {}",
                rejected.reason
            );
            return Err(TransferError::Broken { message, class: ErrorClass::Data });
        }
        let line = serde_json::json!({
            "lane": self.id.lane, "segment": self.id.n, "page": self.pages, "index": rejected.index,
            "reason": rejected.reason, "record": String::from_utf8_lossy(&rejected.raw),
        });
        self.rejected.extend_from_slice(line.to_string().as_bytes());
        self.rejected.push(b'\n');
        Ok(())
    }

    /// Ends the file: what the encoder still holds, and the footer.
    pub fn finish(self, pool: &Pool) -> Result<FinishedSegment, TransferError> {
        let Self { id, name, path, spool, encoder, file, counts, pages, source_bytes, rejected } = self;
        let spool_error = |source: io::Error| TransferError::Spool { action: "write", path: path.clone(), source };
        encoder.finish(pool).map_err(|error| match error {
            FormatError::Io(source) => spool_error(source),
            other => TransferError::Format(other),
        })?;
        crash::point("segment.finished");
        let (file, Written { stored, plain }) = file.finish().map_err(spool_error)?;
        let plain = plain.map(|plain| Plain { bytes: plain.bytes, sha256: plain.sha256 });
        let Digests { bytes, sha256, crc32c } = stored;
        let sealed = Sealed { name, bytes, sha256, crc32c, plain, counts, pages, source_bytes };
        Ok(FinishedSegment { id, path, spool, file, rejected, sealed })
    }

    /// Throws the file away; its pages will be encoded again.
    pub fn discard(self) {
        let _ = fsio::remove(&self.path);
    }
}

/// A segment whose file is written, but not yet durable.
pub struct FinishedSegment {
    id: SegmentId,
    path: PathBuf,
    spool: Spool,
    file: File,
    rejected: Vec<u8>,
    sealed: Sealed,
}

impl FinishedSegment {
    /// Sync, read-back, rename to its name, sync of the directory.
    pub fn seal(self) -> Result<Sealed, TransferError> {
        let Self { id, path, spool, file, rejected, sealed } = self;
        file.sync_all().map_err(TransferError::spool("sync", &path))?;
        crash::point("segment.synced");
        if read_back(&path, || Ok(())).map_err(TransferError::spool("read", &path))? != (sealed.bytes, sealed.crc32c) {
            return Err(TransferError::ReadBack { path });
        }
        crash::point("segment.verified");
        if !rejected.is_empty() {
            let file = spool.rejected(&id);
            let rejected = protect::quarantined(spool.own().map(Arc::as_ref), &file, rejected)?;
            fsio::create_dir_durable(&spool.quarantine.join(&id.stream))
                .and_then(|()| fsio::replace(&file, &rejected, 0o600))
                .map_err(TransferError::spool("write", &file))?;
        }
        fs::rename(&path, path.with_file_name(&sealed.name)).map_err(TransferError::spool("rename", &path))?;
        let dir = spool.stream(&id.stream);
        fsio::sync_dir(&dir).map_err(TransferError::spool("sync", &dir))?;
        Ok(sealed)
    }
}

/// Length and CRC-32C of a file as it is read now; `go_on` is asked before each piece.
pub fn read_back(path: &Path, mut go_on: impl FnMut() -> io::Result<()>) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let (mut bytes, mut crc) = (0, 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        go_on()?;
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, crc)),
            n => {
                crc = crc32c::crc32c_append(crc, buffer.get(..n).unwrap_or_default());
                bytes += n as u64;
            }
        }
    }
}

/// The segment's file behind what encrypts it, shared between the encoder, which owns its writer, and the sealing, which needs
/// it afterwards.
#[derive(Clone)]
struct SharedFile(Arc<Mutex<Option<Writer<BufWriter<File>>>>>);

impl SharedFile {
    fn new(file: File, sealing: &Sealing, path: &Path) -> io::Result<Self> {
        let buffered = BufWriter::with_capacity(256 << 10, file);
        let writer = Writer::new(sealing, &protect::about("segment", path), buffered)?;
        Ok(Self(Arc::new(Mutex::new(Some(writer)))))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Writer<BufWriter<File>>) -> io::Result<T>) -> io::Result<T> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(writer.as_mut().ok_or_else(|| io::Error::other("the segment is already finished"))?)
    }

    fn finish(&self) -> io::Result<(File, Written)> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writer.take().ok_or_else(|| io::Error::other("the segment is already finished"))?;
        let (buffered, written) = writer.finish()?;
        let file = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((file, written))
    }
}

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|writer| writer.write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(Write::flush)
    }
}
