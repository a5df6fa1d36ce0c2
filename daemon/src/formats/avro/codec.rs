//! Compression of the blocks of an Avro file.

use crate::config::settings::{AvroCompression, AvroFormat};
use crate::formats::blocks::Packer;
use crate::formats::compress::{gzip_level, zstd_level};
use flate2::{Compression, Crc, write::DeflateEncoder};
use std::io::{self, Write as _};

/// How a block is compressed.
pub enum Codec {
    Null,
    Deflate(Compression),
    Snappy(Box<snap::raw::Encoder>),
    Zstd(zstd::bulk::Compressor<'static>),
}

/// The name of a codec in a file's header.
pub fn word(compression: AvroCompression) -> &'static str {
    match compression {
        AvroCompression::None => "null",
        AvroCompression::Deflate => "deflate",
        AvroCompression::Snappy => "snappy",
        AvroCompression::Zstd => "zstandard",
    }
}

impl Codec {
    /// The codec of a format's settings.
    pub fn new(settings: &AvroFormat) -> io::Result<Self> {
        Ok(match settings.compression {
            AvroCompression::None => Self::Null,
            AvroCompression::Deflate => Self::Deflate(gzip_level(settings.level)),
            AvroCompression::Snappy => Self::Snappy(Box::new(snap::raw::Encoder::new())),
            AvroCompression::Zstd => Self::Zstd(zstd::bulk::Compressor::new(zstd_level(settings.level))?),
        })
    }
}

impl Packer for Codec {
    fn pack(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Null => out.extend_from_slice(block),
            Self::Deflate(level) => {
                let mut encoder = DeflateEncoder::new(out, *level);
                encoder.write_all(block)?;
                encoder.finish()?;
            }
            Self::Snappy(encoder) => {
                out.resize(snap::raw::max_compress_len(block.len()), 0);
                let length = encoder.compress(block, out).map_err(io::Error::other)?;
                out.truncate(length);
                // Of the uncompressed bytes, as the specification wants it.
                let mut crc = Crc::new();
                crc.update(block);
                out.extend_from_slice(&crc.sum().to_be_bytes());
            }
            Self::Zstd(compressor) => {
                out.reserve(zstd::zstd_safe::compress_bound(block.len()));
                compressor.compress_to_buffer(block, out)?;
            }
        }
        Ok(())
    }
}
