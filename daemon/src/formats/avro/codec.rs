//! Compression of the blocks of an Avro file.

use crate::config::settings::{AvroCompression, AvroFormat};
use flate2::{Compression, Crc, write::DeflateEncoder};
use std::io::{self, Write as _};

/// How a block is compressed, with the buffers for it.
pub struct Codec {
    kind: Kind,
    packed: Vec<u8>,
}

enum Kind {
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
        let kind = match settings.compression {
            AvroCompression::None => Kind::Null,
            AvroCompression::Deflate => Kind::Deflate(crate::formats::compress::gzip_level(settings.level)),
            AvroCompression::Snappy => Kind::Snappy(Box::new(snap::raw::Encoder::new())),
            AvroCompression::Zstd => {
                let level = crate::formats::compress::zstd_level(settings.level);
                Kind::Zstd(zstd::bulk::Compressor::new(level)?)
            }
        };
        Ok(Self { kind, packed: Vec::new() })
    }

    /// A block as it stands in the file.
    pub fn pack<'a>(&'a mut self, block: &'a [u8]) -> io::Result<&'a [u8]> {
        self.packed.clear();
        match &mut self.kind {
            Kind::Null => return Ok(block),
            Kind::Deflate(level) => {
                let mut encoder = DeflateEncoder::new(&mut self.packed, *level);
                encoder.write_all(block)?;
                encoder.finish()?;
            }
            Kind::Snappy(encoder) => {
                self.packed.resize(snap::raw::max_compress_len(block.len()), 0);
                let length = encoder.compress(block, &mut self.packed).map_err(io::Error::other)?;
                self.packed.truncate(length);
                // Of the uncompressed bytes, as the specification wants it.
                let mut crc = Crc::new();
                crc.update(block);
                self.packed.extend_from_slice(&crc.sum().to_be_bytes());
            }
            Kind::Zstd(compressor) => {
                self.packed.reserve(zstd::zstd_safe::compress_bound(block.len()));
                compressor.compress_to_buffer(block, &mut self.packed)?;
            }
        }
        Ok(&self.packed)
    }
}
