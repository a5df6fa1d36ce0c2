//! The way of a text file to its writer: plain, or as a row of gzip members or zstd frames that each hold 1 MiB of text.
//!
//! Members and frames may follow one another (RFC 1952, section 2.2; RFC 8878, section 3), and every tool reads such a file
//! as one text. That they end where the text says, not where the compressor's buffers do, makes the size countable.

mod stored;

use crate::config::settings::{FileLayout, TextCompression, TextFormat};
use flate2::{Compression, write::GzEncoder};
use std::io::{self, Write};

/// Text in a member or frame; without compression, text that is gathered before it is written.
const BLOCK: usize = 1 << 20;

pub use stored::stored;

/// The level of gzip and deflate.
pub fn gzip_level(level: Option<u8>) -> Compression {
    Compression::new(level.unwrap_or(5).into())
}

/// The level of Zstandard.
pub fn zstd_level(level: Option<u8>) -> i32 {
    level.unwrap_or(1).into()
}

/// Takes text, writes it compressed.
pub struct Output {
    writer: Box<dyn Write + Send>,
    compressor: Compressor,
    /// The compression of members that stand alone, where the file is to become a part of another.
    apart: Option<TextCompression>,
    pending: Vec<u8>,
    written: u64,
}

enum Compressor {
    None,
    Gzip(Compression),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Output {
    /// An output with the compression of a format's settings.
    pub fn new(settings: &TextFormat, layout: FileLayout, writer: Box<dyn Write + Send>) -> io::Result<Self> {
        let compressor = match settings.compression {
            TextCompression::None => Compressor::None,
            TextCompression::Gzip => Compressor::Gzip(gzip_level(settings.level)),
            TextCompression::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(zstd_level(settings.level))?;
                compressor.include_checksum(true)?;
                Compressor::Zstd(Box::new(compressor))
            }
        };
        let single = layout == FileLayout::Single && settings.compression != TextCompression::None;
        let apart = single.then_some(settings.compression);
        Ok(Self { writer, compressor, apart, pending: Vec::with_capacity(BLOCK), written: 0 })
    }

    /// Adds text that stands once in a file, at its start or end: apart from the rest where files are to become one.
    pub fn push_frame(&mut self, text: &[u8]) -> io::Result<()> {
        let Some(compression) = self.apart else { return self.push(text) };
        if !self.pending.is_empty() {
            self.write_block()?;
        }
        let member = stored(compression, text);
        self.writer.write_all(&member)?;
        self.written += member.len() as u64;
        Ok(())
    }

    /// Adds text.
    pub fn push(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            let (now, later) = text.split_at(text.len().min(BLOCK - self.pending.len()));
            self.pending.extend_from_slice(now);
            text = later;
            if self.pending.len() == BLOCK {
                self.write_block()?;
            }
        }
        Ok(())
    }

    /// Bytes of the file so far; of a compressed one, those of the closed members or frames.
    pub fn counted_bytes(&self) -> u64 {
        match self.compressor {
            Compressor::None => self.written + self.pending.len() as u64,
            Compressor::Gzip(_) | Compressor::Zstd(_) => self.written,
        }
    }

    /// Writes what is left and flushes the writer. A compressed file has at least one member or frame.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.pending.is_empty() || self.written == 0 {
            self.write_block()?;
        }
        self.writer.flush()
    }

    fn write_block(&mut self) -> io::Result<()> {
        let compressed;
        let block = match &mut self.compressor {
            Compressor::None => &self.pending,
            Compressor::Gzip(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), *level);
                encoder.write_all(&self.pending)?;
                compressed = encoder.finish()?;
                &compressed
            }
            Compressor::Zstd(compressor) => {
                compressed = compressor.compress(&self.pending)?;
                &compressed
            }
        };
        self.writer.write_all(block)?;
        self.written += block.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
