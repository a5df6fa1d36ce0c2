//! The page journal of an open segment: what a slow source gave since the last commit, so that hours are never asked again.
//!
//! ```text
//! entry* where entry = u32 length, u32 CRC-32C of the payload, payload (zstd, and then sealed where the export hides data);
//! little-endian
//! first entry: JSON header; later ones: u32 length of JSON page head, head, record bytes
//! ```
//! A torn tail (crash in the middle of a write, zeros after a power failure) ends the journal at the last whole entry. A
//! sealed entry is bound to the journal's place, to its first entry and to its number in it, so that entries cannot be
//! exchanged or left out.

use super::error::TransferError;
use super::protect;
use crate::base::blocking::aside;
use crate::base::fsio;
use crate::base::ids::hex;
use crate::host::messages::Message;
use crate::model::offset::Offset;
use crate::model::segment::SegmentId;
use crate::record::page::{Facts, Page, digest};
use crate::seal::{Seal, SealError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Compression of an entry: the fastest, since a slow source is never bound by it.
const LEVEL: i32 = 1;
/// The largest entry that is read back: the largest body of an answer, and its head.
const MAX_ENTRY: u32 = 1 << 30;

/// What identifies the records of a page, without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageDigest {
    /// [`digest`] of the records.
    pub digest: u64,
    /// Bytes of the records.
    pub bytes: u64,
    /// Number of records.
    pub records: u32,
}

impl PageDigest {
    /// The digest of a page's records; what surrounds them (a request id, a fresh cursor) does not count.
    pub fn of(page: &Page) -> Self {
        let digest = page.facts.digest.unwrap_or_else(|| digest(page.raw_records()));
        let records = u32::try_from(page.records.len()).unwrap_or(u32::MAX);
        Self { digest, bytes: page.record_bytes(), records }
    }
}

/// What a journal belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The open segment.
    pub segment: SegmentId,
    /// The committed offset that it starts at.
    pub from: Offset,
    /// The pages of the segment that were encoded before the journal began; recovery asks for them again.
    pub before: Vec<PageDigest>,
}

#[derive(Serialize, Deserialize)]
struct PageHead {
    before: Offset,
    after: Offset,
    total: Option<u64>,
    lengths: Vec<u32>,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    unsynced: u64,
    binding: Option<Binding>,
}

impl Journal {
    /// Starts a journal; the first [`Journal::sync`] makes it count.
    pub fn create(path: &Path, header: &Header, own: Option<Arc<Seal>>) -> Result<Self, TransferError> {
        let file = fsio::create_fresh(path, 0o600).map_err(TransferError::spool("create", path))?;
        let mut journal =
            Self { file, path: path.to_owned(), unsynced: 0, binding: own.map(|own| Binding::new(own, path)) };
        let header = serde_json::to_vec(header).map_err(|error| journal.failed(error.into()))?;
        journal.append(&header)?;
        journal.sync()?;
        if let Some(dir) = path.parent() {
            fsio::sync_dir(dir).map_err(TransferError::spool("sync", dir))?;
        }
        Ok(journal)
    }

    fn failed(&self, source: io::Error) -> TransferError {
        TransferError::Spool { action: "write", path: self.path.clone(), source }
    }

    fn append(&mut self, payload: &[u8]) -> Result<(), TransferError> {
        let mut packed = zstd::bulk::compress(payload, LEVEL).map_err(|error| self.failed(error))?;
        if let Some(binding) = &mut self.binding {
            let sealed = binding.seal(&packed);
            packed = sealed.map_err(|error| self.failed(io::Error::other(error)))?;
        }
        let mut entry = Vec::with_capacity(packed.len() + 8);
        let length = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        entry.extend_from_slice(&length.to_le_bytes());
        entry.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        entry.extend_from_slice(&packed);
        self.file.write_all(&entry).map_err(|error| self.failed(error))?;
        self.unsynced += entry.len() as u64;
        Ok(())
    }

    /// Adds a page. It counts after the next [`Journal::sync`].
    pub fn add(&mut self, page: &Page) -> Result<(), TransferError> {
        let head = PageHead {
            before: page.offset_before.clone(),
            after: page.offset_after.clone(),
            total: page.total,
            lengths: page.records.iter().map(|r| r.end - r.start).collect(),
        };
        let head = serde_json::to_vec(&head).map_err(|error| self.failed(error.into()))?;
        let mut payload = Vec::with_capacity(head.len() + 4 + page.body.len());
        payload.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
        payload.extend_from_slice(&head);
        for record in page.raw_records() {
            payload.extend_from_slice(record);
        }
        self.append(&payload)
    }

    /// Bytes written since the last sync.
    pub fn unsynced(&self) -> u64 {
        self.unsynced
    }

    /// Makes what was added durable.
    pub fn sync(&mut self) -> Result<(), TransferError> {
        aside(|| self.file.sync_data()).map_err(|error| self.failed(error))?;
        self.unsynced = 0;
        Ok(())
    }
}

/// What an entry of a sealed journal is bound to.
#[derive(Debug)]
struct Binding {
    own: Arc<Seal>,
    about: String,
    /// The last bytes of the first entry: a journal that took the place of another one is another journal.
    first: String,
    number: u64,
}

impl Binding {
    fn new(own: Arc<Seal>, path: &Path) -> Self {
        Self { own, about: protect::about("journal", path), first: String::new(), number: 0 }
    }

    fn about(&self) -> String {
        format!("{} {} {}", self.about, self.number, self.first)
    }

    fn seal(&mut self, packed: &[u8]) -> Result<Vec<u8>, SealError> {
        let sealed = self.own.seal(&self.about(), packed)?;
        self.passed(&sealed);
        Ok(sealed)
    }

    fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let packed = self.own.open(&self.about(), sealed)?;
        self.passed(sealed);
        Ok(packed)
    }

    fn passed(&mut self, sealed: &[u8]) {
        if self.number == 0 {
            self.first = hex(sealed.last_chunk::<16>().map_or(&[], <[u8; 16]>::as_slice));
        }
        self.number += 1;
    }
}

/// A journal that is being read after a restart.
#[derive(Debug)]
pub struct Replay {
    /// What it belongs to.
    pub header: Header,
    reader: BufReader<File>,
    path: PathBuf,
    good: u64,
    binding: Option<Binding>,
}

/// What is found where a journal may be.
#[derive(Debug)]
pub enum Found {
    /// None, or nothing that was written whole.
    Nothing,
    /// One that this state-key does not open, or that is plain where it must be sealed.
    Closed,
    /// A journal.
    Replay(Box<Replay>),
}

impl Replay {
    /// Opens a journal, which `own` must have sealed, if there is one.
    pub fn open(path: &Path, own: Option<&Arc<Seal>>) -> Result<Found, TransferError> {
        aside(|| Self::find(path, own))
    }

    fn find(path: &Path, own: Option<&Arc<Seal>>) -> Result<Found, TransferError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(TransferError::spool("open", path)(error)),
        };
        let mut reader = BufReader::new(file);
        let mut binding = own.map(|own| Binding::new(own.clone(), path));
        let entry = read_entry(&mut reader, &mut binding).map_err(TransferError::spool("read", path))?;
        let (payload, good) = match entry {
            Entry::Whole(payload, length) => (payload, length),
            Entry::Torn => return Ok(Found::Nothing),
            Entry::Closed => return Ok(Found::Closed),
        };
        let Ok(header) = serde_json::from_slice(&payload) else { return Ok(Found::Nothing) };
        Ok(Found::Replay(Box::new(Self { header, reader, path: path.to_owned(), good, binding })))
    }

    /// The next page, or `None` at the end of what was written whole.
    pub fn next_page(&mut self) -> Result<Option<Page>, TransferError> {
        let entry = read_entry(&mut self.reader, &mut self.binding);
        let (payload, length) = match entry.map_err(TransferError::spool("read", &self.path))? {
            Entry::Whole(payload, length) => (payload, length),
            Entry::Torn => return Ok(None),
            Entry::Closed => {
                // Whole by its checksum, but not what the daemon wrote here: the pages from here on are asked for again.
                tracing::warn!(
                    MESSAGE_ID = Message::ReadAgain.id(),
                    "{} does not go on with what was written there; the rest is dropped",
                    self.path.display()
                );
                return Ok(None);
            }
        };
        let Some(page) = decode(payload) else {
            self.binding.iter_mut().for_each(|binding| binding.number -= 1);
            return Ok(None);
        };
        self.good += length;
        Ok(Some(page))
    }

    /// Goes on writing after the last whole entry; `None` when the segment has been sealed meanwhile and the file is gone.
    pub fn into_journal(self) -> Result<Option<Journal>, TransferError> {
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).open(&self.path)?;
            file.set_len(self.good)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        match aside(open) {
            Ok(file) => Ok(Some(Journal { file, path: self.path, unsynced: 0, binding: self.binding })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TransferError::spool("open", &self.path)(error)),
        }
    }
}

/// What stands at a place of a journal.
enum Entry {
    /// An entry's payload, and its length in the file.
    Whole(Vec<u8>, u64),
    /// The end, or a torn tail.
    Torn,
    /// An entry that is not sealed as it should be.
    Closed,
}

/// The next entry.
fn read_entry(reader: &mut impl Read, binding: &mut Option<Binding>) -> io::Result<Entry> {
    let mut head = [0; 8];
    if !read_whole(reader, &mut head)? {
        return Ok(Entry::Torn);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    // After a power failure a file may be longer than what was written of it, with zeros at its end: no entry is empty.
    if length == 0 || length > MAX_ENTRY {
        return Ok(Entry::Torn);
    }
    let mut packed = Vec::new();
    reader.take(u64::from(length)).read_to_end(&mut packed)?;
    if packed.len() as u64 != u64::from(length) || crc32c::crc32c(&packed) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Ok(Entry::Torn);
    }
    if binding.is_some() || Seal::is_sealed(&packed) {
        let opened = binding.as_mut().and_then(|binding| binding.open(&packed).ok());
        let Some(opened) = opened else { return Ok(Entry::Closed) };
        packed = opened;
    }
    let unpack = |payload: &mut Vec<u8>| {
        zstd::stream::read::Decoder::new(packed.as_slice())?.take(u64::from(MAX_ENTRY)).read_to_end(payload)
    };
    let mut payload = Vec::new();
    if unpack(&mut payload).is_err() {
        binding.iter_mut().for_each(|binding| binding.number -= 1);
        return Ok(Entry::Torn);
    }
    Ok(Entry::Whole(payload, u64::from(length) + 8))
}

fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn decode(payload: Vec<u8>) -> Option<Page> {
    let (length, rest) = payload.split_first_chunk::<4>()?;
    let head_end = u32::from_le_bytes(*length) as usize;
    let head: PageHead = serde_json::from_slice(rest.get(..head_end)?).ok()?;
    let body = Bytes::from(payload).slice_ref_from(head_end + 4);
    let mut end = 0u32;
    let mut records = Vec::with_capacity(head.lengths.len());
    for length in head.lengths {
        let start = end;
        end = end.checked_add(length)?;
        records.push(start..end);
    }
    if end as usize != body.len() {
        return None;
    }
    let (offset_before, offset_after) = (head.before, head.after);
    Some(Page {
        body,
        records,
        facts: Facts::default(),
        offset_before,
        offset_after,
        total: head.total,
        made: None,
        permit: None,
    })
}

trait SliceFrom {
    fn slice_ref_from(self, start: usize) -> Bytes;
}

impl SliceFrom for Bytes {
    fn slice_ref_from(self, start: usize) -> Bytes {
        self.slice(start.min(self.len())..)
    }
}

#[cfg(test)]
mod tests;
