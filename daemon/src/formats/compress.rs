//! The way of a text file to its writer: plain, or as a row of gzip members or zstd frames that each hold 1 MiB of text.
//!
//! Members and frames may follow one another (RFC 1952, section 2.2; RFC 8878, section 3), and every tool reads such a file
//! as one text. That they end where the text says, not where the compressor's buffers do, makes the size countable.

mod stored;

use super::blocks::{Block, Blocks, Packer};
use crate::base::pool::Pool;
use crate::config::settings::{FileLayout, TextCompression, TextFormat};
use flate2::{Compression, write::GzEncoder};
use std::io::{self, Write};

/// Text in a member or frame; without compression, text that is gathered before it is written.
const BLOCK: usize = 1 << 20;

/// Text that is written without being copied to other text first.
const DIRECT: usize = 64 << 10;

/// About the bytes of text that become one in the file.
const TEXT_PER_BYTE: u64 = 4;

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
    gathered: Gathered,
    /// The compression of members that stand alone, where the file is to become a part of another.
    apart: Option<TextCompression>,
    written: u64,
}

/// Text that is not yet written.
enum Gathered {
    Plain(Vec<u8>),
    Packed { full: Blocks<Compressor>, open: Block },
}

/// The compressor of a member or frame.
enum Compressor {
    Gzip(Compression),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Compressor {
    fn zstd(level: i32) -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        compressor.include_checksum(true)?;
        Ok(Self::Zstd(Box::new(compressor)))
    }
}

impl Packer for Compressor {
    fn pack(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(level) => {
                let mut encoder = GzEncoder::new(out, *level);
                encoder.write_all(text)?;
                encoder.finish()?;
            }
            Self::Zstd(compressor) => {
                out.reserve(zstd::zstd_safe::compress_bound(text.len()));
                compressor.compress_to_buffer(text, out)?;
            }
        }
        Ok(())
    }
}

impl Output {
    /// An output with the compression of a format's settings, for a file that is meant to have `chunk_size` bytes.
    pub fn new(
        settings: &TextFormat,
        layout: FileLayout,
        chunk_size: u64,
        writer: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let gathered = match settings.compression {
            TextCompression::None => Gathered::Plain(Vec::new()),
            TextCompression::Gzip => {
                let level = gzip_level(settings.level);
                Gathered::packed(Blocks::new(chunk_size, move || Ok(Compressor::Gzip(level))))
            }
            TextCompression::Zstd => {
                let level = zstd_level(settings.level);
                Gathered::packed(Blocks::new(chunk_size, move || Compressor::zstd(level)))
            }
        };
        let single = layout == FileLayout::Single && settings.compression != TextCompression::None;
        let apart = single.then_some(settings.compression);
        Ok(Self { writer, gathered, apart, written: 0 })
    }

    /// Adds text that stands once in a file, at its start or end: apart from the rest where files are to become one.
    pub fn push_frame(&mut self, text: &[u8], pool: &Pool) -> io::Result<()> {
        let Some(compression) = self.apart else { return self.push(text, pool) };
        self.write_out(pool)?;
        let member = stored(compression, text);
        self.writer.write_all(&member)?;
        self.written += member.len() as u64;
        Ok(())
    }

    /// Adds text.
    pub fn push(&mut self, mut text: &[u8], pool: &Pool) -> io::Result<()> {
        if text.len() >= DIRECT && matches!(self.gathered, Gathered::Plain(_)) {
            self.end_block()?;
            self.writer.write_all(text)?;
            self.written += text.len() as u64;
            return Ok(());
        }
        while !text.is_empty() {
            let (Gathered::Plain(gathered) | Gathered::Packed { open: Block { text: gathered, .. }, .. }) =
                &mut self.gathered;
            let (now, later) = text.split_at(text.len().min(BLOCK - gathered.len()));
            gathered.extend_from_slice(now);
            text = later;
            if gathered.len() == BLOCK && self.end_block()? {
                self.blocks(|full, write| full.pack(pool, write))?;
            }
        }
        Ok(())
    }

    /// Bytes of the file so far; of a compressed one, those of the members or frames that are written.
    pub fn counted_bytes(&self) -> u64 {
        match &self.gathered {
            Gathered::Plain(gathered) => self.written + gathered.len() as u64,
            Gathered::Packed { .. } => self.written,
        }
    }

    /// The same with a guess at what is gathered, and at `coming` bytes of text.
    pub fn growing_bytes(&self, coming: u64) -> u64 {
        match &self.gathered {
            Gathered::Plain(_) => self.counted_bytes() + coming,
            Gathered::Packed { full, .. } => self.written + (full.bytes() + coming) / TEXT_PER_BYTE,
        }
    }

    /// Writes what is left and flushes the writer. A compressed file has at least one member or frame.
    pub fn finish(mut self, pool: &Pool) -> io::Result<()> {
        self.write_out(pool)?;
        if self.written == 0 {
            self.end_block()?;
            self.blocks(|full, write| full.finish(pool, write))?;
        }
        self.writer.flush()
    }

    /// Writes everything that is gathered.
    fn write_out(&mut self, pool: &Pool) -> io::Result<()> {
        let (Gathered::Plain(text) | Gathered::Packed { open: Block { text, .. }, .. }) = &self.gathered;
        if !text.is_empty() {
            self.end_block()?;
        }
        self.blocks(|full, write| full.finish(pool, write))
    }

    /// Ends the open block, whatever is in it. True when there are enough to be written.
    fn end_block(&mut self) -> io::Result<bool> {
        match &mut self.gathered {
            Gathered::Packed { full, open } => {
                let block = std::mem::replace(open, full.empty(BLOCK));
                Ok(full.add(block))
            }
            Gathered::Plain(text) => {
                self.writer.write_all(text)?;
                self.written += text.len() as u64;
                text.clear();
                Ok(false)
            }
        }
    }

    /// Does something with the full blocks; those that are packed by then go to the writer.
    fn blocks(
        &mut self,
        work: impl FnOnce(&mut Blocks<Compressor>, &mut dyn FnMut(&Block) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Gathered::Packed { full, .. } = &mut self.gathered else { return Ok(()) };
        work(full, &mut |block| {
            self.written += block.packed.len() as u64;
            self.writer.write_all(&block.packed)
        })
    }
}

impl Gathered {
    fn packed(mut full: Blocks<Compressor>) -> Self {
        let open = full.empty(BLOCK);
        Self::Packed { full, open }
    }
}
