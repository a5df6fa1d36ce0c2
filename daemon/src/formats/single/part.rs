//! A part of a stream's one file: a spooled segment, plain or sealed with the state-key, read at any place.

use crate::seal::{FrameFile, Seal};
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of a plain file that are read at a time.
const PIECE: usize = 1 << 20;

/// A part of the file: a segment that was written with [`FileLayout::Single`](crate::config::settings::FileLayout).
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length in bytes, unsealed.
    pub bytes: u64,
    /// Records in it.
    pub rows: u64,
    /// The state-key that it is sealed with and what it is about, where it is sealed.
    pub seal: Option<(Arc<Seal>, String)>,
}

impl Part {
    /// Opens it.
    pub fn open(&self) -> io::Result<PartFile> {
        let file = File::open(&self.path)?;
        let file = match &self.seal {
            None => Inner::Plain(file),
            Some((seal, about)) => Inner::Sealed(Box::new(FrameFile::new(seal, about, file)?)),
        };
        Ok(PartFile(Arc::new(file)))
    }
}

enum Inner {
    Plain(File),
    Sealed(Box<FrameFile>),
}

/// An open part.
#[derive(Clone)]
pub struct PartFile(Arc<Inner>);

impl PartFile {
    /// Its bytes from `at` on.
    pub fn from(&self, at: u64) -> PartReader {
        PartReader { file: self.clone(), next: at, piece: Vec::new(), used: 0 }
    }

    fn piece(&self, at: u64) -> io::Result<Vec<u8>> {
        match &*self.0 {
            Inner::Sealed(file) => file.read_from(at),
            Inner::Plain(file) => {
                let mut piece = vec![0; PIECE];
                let length = file.read_at(&mut piece, at)?;
                piece.truncate(length);
                Ok(piece)
            }
        }
    }
}

/// Reads a part from some place to its end.
pub struct PartReader {
    file: PartFile,
    next: u64,
    piece: Vec<u8>,
    used: usize,
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() {
            self.piece = self.file.piece(self.next)?;
            self.next += self.piece.len() as u64;
            self.used = 0;
        }
        let mut rest = self.piece.get(self.used..).unwrap_or_default();
        let length = rest.read(buffer)?;
        self.used += length;
        Ok(length)
    }
}

impl Length for PartFile {
    fn len(&self) -> u64 {
        match &*self.0 {
            Inner::Plain(file) => file.metadata().map_or(0, |meta| meta.len()),
            Inner::Sealed(file) => file.plain_bytes(),
        }
    }
}

impl ChunkReader for PartFile {
    type T = PartReader;

    fn get_read(&self, start: u64) -> Result<PartReader, ParquetError> {
        Ok(self.from(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        self.from(start).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}
