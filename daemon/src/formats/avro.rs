//! Avro object container files (Avro 1.11, "Object Container Files"): a header, then blocks of records that each end with the
//! file's sync marker.
//!
//! Everything in the file follows from the schema, the codec and the records: the marker is the start of a digest of the
//! header, so that the blocks of two files of a stream may stand in one file. A block ends at the record at which it holds
//! [`BLOCK`] bytes before compression.

mod codec;
mod row;
mod schema;

use super::blocks::{Block, Blocks};
use super::{FormatError, SegmentEncoder, batch};
use crate::base::pool::Pool;
use crate::config::settings::AvroFormat;
use crate::record::convert::{Converted, Plan};
use codec::Codec;
use row::{Values, push_bytes, push_long};
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};

/// Bytes of records in a block: readers decompress a whole one, and smaller ones compress worse.
const BLOCK: usize = 256 << 10;

/// Room for a block, which ends with the record that fills it.
const ROOM: usize = BLOCK + (BLOCK >> 2);

/// About the bytes of records that become one in the file.
const RECORDS_PER_BYTE: u64 = 2;

/// Length of the marker behind each block.
const SYNC: usize = 16;

/// Writes a segment.
pub struct Encoder {
    writer: Box<dyn Write + Send>,
    full: Blocks<Codec>,
    sync: [u8; SYNC],
    /// The block in the making.
    open: Block,
    /// What stands before a block's records.
    frame: Vec<u8>,
    written: u64,
}

impl Encoder {
    /// Starts a file.
    pub fn new(
        settings: &AvroFormat,
        plan: &Plan,
        chunk_size: u64,
        mut writer: Box<dyn Write + Send>,
    ) -> Result<Self, FormatError> {
        let (header, sync) = header(settings, plan)?;
        writer.write_all(&header)?;
        let settings = settings.clone();
        let mut full = Blocks::new(chunk_size, move || Codec::new(&settings));
        let open = full.empty(ROOM);
        Ok(Self { writer, full, sync, open, frame: Vec::new(), written: header.len() as u64 })
    }

    /// Ends the open block. True when there are enough to be written.
    fn end_block(&mut self) -> Result<bool, FormatError> {
        let block = std::mem::replace(&mut self.open, self.full.empty(ROOM));
        Ok(self.full.add(block))
    }

    /// Does something with the full blocks; those that are packed by then go to the writer.
    fn blocks(
        &mut self,
        work: impl FnOnce(&mut Blocks<Codec>, &mut dyn FnMut(&Block) -> io::Result<()>) -> io::Result<()>,
    ) -> Result<(), FormatError> {
        let mut write = |block: &Block| {
            self.frame.clear();
            push_long(&mut self.frame, block.records);
            push_long(&mut self.frame, block.packed.len() as i64);
            for part in [&self.frame, &block.packed, &self.sync[..]] {
                self.writer.write_all(part)?;
            }
            self.written += (self.frame.len() + block.packed.len() + SYNC) as u64;
            Ok(())
        };
        Ok(work(&mut self.full, &mut write)?)
    }
}

impl SegmentEncoder for Encoder {
    fn write(&mut self, page: Converted, pool: &Pool) -> Result<(), FormatError> {
        let batch = batch(page, "avro")?;
        let columns = batch.columns().iter().map(Values::new).collect::<Option<Vec<_>>>();
        let columns = columns.ok_or_else(|| FormatError::Encode {
            format: "avro",
            message: "it was given a column of another type".to_owned(),
        })?;
        for row in 0..batch.num_rows() {
            for column in &columns {
                column.push(&mut self.open.text, row);
            }
            self.open.records += 1;
            if self.open.text.len() >= BLOCK && self.end_block()? {
                self.blocks(|full, write| full.pack(pool, write))?;
            }
        }
        Ok(())
    }

    fn counted_bytes(&self) -> u64 {
        self.written
    }

    fn growing_bytes(&self) -> u64 {
        self.written + (self.full.bytes() + self.open.text.len() as u64) / RECORDS_PER_BYTE
    }

    fn finish(mut self: Box<Self>, pool: &Pool) -> Result<(), FormatError> {
        if self.open.records > 0 {
            self.end_block()?;
        }
        self.blocks(|full, write| full.finish(pool, write))?;
        Ok(self.writer.flush()?)
    }
}

/// What a file of these settings and columns begins with, and the marker at its end.
pub fn header(settings: &AvroFormat, plan: &Plan) -> Result<(Vec<u8>, [u8; SYNC]), FormatError> {
    let schema = schema::of(plan.arrow_schema()).ok_or_else(|| FormatError::Encode {
        format: "avro",
        message: "a column has a type that Avro does not have".to_owned(),
    })?;
    let schema = schema.to_string();
    let mut header = b"Obj\x01".to_vec();
    // A map of two entries, in one block.
    push_long(&mut header, 2);
    for (key, value) in [("avro.schema", schema.as_str()), ("avro.codec", codec::word(settings.compression))] {
        push_bytes(&mut header, key.as_bytes());
        push_bytes(&mut header, value.as_bytes());
    }
    push_long(&mut header, 0);
    let mut sync = [0; SYNC];
    for (byte, digest) in sync.iter_mut().zip(Sha256::digest(&header)) {
        *byte = digest;
    }
    header.extend_from_slice(&sync);
    Ok((header, sync))
}

#[cfg(test)]
pub mod tests;
