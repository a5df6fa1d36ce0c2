//! The way of a text file to its writer: plain, or as a row of gzip members or zstd frames that each hold 1 MiB of text.
//!
//! Members and frames may follow one another (RFC 1952, section 2.2; RFC 8878, section 3), and every tool reads such a file
//! as one text. That they end where the text says, not where the compressor's buffers do, makes the size countable.

use crate::config::settings::TextCompression;
use flate2::{Compression, write::GzEncoder};
use std::io::{self, Write};

/// Text in a member or frame; without compression, text that is gathered before it is written.
const BLOCK: usize = 1 << 20;

const GZIP_LEVEL: u32 = 5;
const ZSTD_LEVEL: i32 = 1;

/// Takes text, writes it compressed.
pub struct Output {
    writer: Box<dyn Write + Send>,
    compressor: Compressor,
    pending: Vec<u8>,
    written: u64,
}

enum Compressor {
    None,
    Gzip,
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Output {
    /// An output with the compression of a format's settings.
    pub fn new(compression: TextCompression, writer: Box<dyn Write + Send>) -> io::Result<Self> {
        let compressor = match compression {
            TextCompression::None => Compressor::None,
            TextCompression::Gzip => Compressor::Gzip,
            TextCompression::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
                compressor.include_checksum(true)?;
                Compressor::Zstd(Box::new(compressor))
            }
        };
        Ok(Self { writer, compressor, pending: Vec::with_capacity(BLOCK), written: 0 })
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
            Compressor::Gzip | Compressor::Zstd(_) => self.written,
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
            Compressor::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
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
