//! The page journal of an open segment: what a slow source gave since the last commit, so that hours are never asked again.
//!
//! ```text
//! entry* where entry = u32 length, u32 CRC-32C of the payload, payload (zstd); little-endian
//! first entry: JSON header; later ones: u32 length of JSON page head, head, record bytes
//! ```
//! A torn tail (crash in the middle of a write) ends the journal at the last whole entry.

use super::error::TransferError;
use crate::base::fsio;
use crate::model::offset::Offset;
use crate::model::segment::SegmentId;
use crate::record::page::Page;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Compression of an entry: the fastest, since a slow source is never bound by it.
const LEVEL: i32 = 1;
/// The largest entry that is read back: the largest body of an answer, and its head.
const MAX_ENTRY: u32 = 1 << 30;

/// What identifies the records of a page, without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageDigest {
    /// CRC-32C over the records, in order.
    pub crc32c: u32,
    /// Bytes of the records.
    pub bytes: u64,
    /// Number of records.
    pub records: u32,
}

impl PageDigest {
    /// The digest of a page's records; what surrounds them (a request id, a fresh cursor) does not count.
    pub fn of(page: &Page) -> Self {
        let mut crc32c = 0;
        for record in page.raw_records() {
            crc32c = crc32c::crc32c_append(crc32c, record);
        }
        let records = u32::try_from(page.records.len()).unwrap_or(u32::MAX);
        Self { crc32c, bytes: page.record_bytes(), records }
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
}

impl Journal {
    /// Starts a journal; the first [`Journal::sync`] makes it count.
    pub fn create(path: &Path, header: &Header) -> Result<Self, TransferError> {
        let file = fsio::create_fresh(path, 0o600).map_err(TransferError::spool("create", path))?;
        let mut journal = Self { file, path: path.to_owned(), unsynced: 0 };
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
        let packed = zstd::bulk::compress(payload, LEVEL).map_err(|error| self.failed(error))?;
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
        self.file.sync_data().map_err(|error| self.failed(error))?;
        self.unsynced = 0;
        Ok(())
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
}

impl Replay {
    /// Opens a journal; `None` where there is none that can be read.
    pub fn open(path: &Path) -> Result<Option<Self>, TransferError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TransferError::spool("open", path)(error)),
        };
        let mut reader = BufReader::new(file);
        let Some((payload, good)) = read_entry(&mut reader).map_err(TransferError::spool("read", path))? else {
            return Ok(None);
        };
        let Ok(header) = serde_json::from_slice(&payload) else { return Ok(None) };
        Ok(Some(Self { header, reader, path: path.to_owned(), good }))
    }

    /// The next page, or `None` at the end of what was written whole.
    pub fn next_page(&mut self) -> Result<Option<Page>, TransferError> {
        let entry = read_entry(&mut self.reader).map_err(TransferError::spool("read", &self.path))?;
        let Some((payload, length)) = entry else { return Ok(None) };
        let Some(page) = decode(payload) else { return Ok(None) };
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
        match open() {
            Ok(file) => Ok(Some(Journal { file, path: self.path, unsynced: 0 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TransferError::spool("open", &self.path)(error)),
        }
    }
}

/// The next whole entry and its length in the file; `None` at the end or at a torn tail.
fn read_entry(reader: &mut impl Read) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut head = [0; 8];
    if !read_whole(reader, &mut head)? {
        return Ok(None);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if length > MAX_ENTRY {
        return Ok(None);
    }
    let mut packed = Vec::new();
    reader.take(u64::from(length)).read_to_end(&mut packed)?;
    if packed.len() as u64 != u64::from(length) || crc32c::crc32c(&packed) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Ok(None);
    }
    let mut payload = Vec::new();
    zstd::stream::read::Decoder::new(packed.as_slice())?.take(u64::from(MAX_ENTRY)).read_to_end(&mut payload)?;
    Ok(Some((payload, u64::from(length) + 8)))
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
    Some(Page { body, records, offset_before: head.before, offset_after: head.after, total: head.total, permit: None })
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(n: u64, texts: &[String]) -> Page {
        let mut body = b"[".to_vec();
        let mut records = Vec::new();
        for text in texts {
            let start = body.len() as u32;
            body.extend_from_slice(text.as_bytes());
            records.push(start..body.len() as u32);
            body.push(b',');
        }
        let offset = |pages| Offset { pages, ..Offset::start(0) };
        Page {
            body: body.into(),
            records,
            offset_before: offset(n),
            offset_after: offset(n + 1),
            total: Some(9),
            permit: None,
        }
    }

    fn header() -> Header {
        let segment = SegmentId { stream: "s".into(), lane: 0, n: 3, revision: 0 };
        Header { segment, from: Offset::start(0), before: vec![PageDigest { crc32c: 1, bytes: 2, records: 3 }] }
    }

    proptest! {
        #[test]
        fn whole_entries_survive_any_torn_tail(
            pages in prop::collection::vec(prop::collection::vec("[a-z{}\"]{0,30}", 0..5), 1..6),
            cut in 0u64..400,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("j");
            let mut journal = Journal::create(&path, &header()).unwrap();
            let mut ends = vec![std::fs::metadata(&path).unwrap().len()];
            for (n, texts) in pages.iter().enumerate() {
                journal.add(&page(n as u64, texts)).unwrap();
                ends.push(std::fs::metadata(&path).unwrap().len());
            }
            drop(journal);
            let length = ends.last().unwrap().saturating_sub(cut);
            OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
            let whole = ends.iter().filter(|end| **end <= length).count();
            match Replay::open(&path).unwrap() {
                None => prop_assert_eq!(whole, 0),
                Some(mut replay) => {
                    prop_assert_eq!(&replay.header, &header());
                    let mut read = 0;
                    while let Some(got) = replay.next_page().unwrap() {
                        let want = page(read as u64, &pages[read]);
                        prop_assert_eq!(PageDigest::of(&got), PageDigest::of(&want));
                        prop_assert_eq!(got.offset_after, want.offset_after);
                        read += 1;
                    }
                    prop_assert_eq!(read + 1, whole);
                    let mut journal = replay.into_journal().unwrap().unwrap();
                    journal.add(&page(99, &["{}".into()])).unwrap();
                    let mut again = Replay::open(&path).unwrap().unwrap();
                    let mut count = 0;
                    while again.next_page().unwrap().is_some() { count += 1; }
                    prop_assert_eq!(count, read + 1);
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("j");
            std::fs::write(&path, bytes).unwrap();
            let _ = Replay::open(&path);
        }
    }
}
