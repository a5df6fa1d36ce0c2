//! Blocks of a file that are compressed by themselves: some are gathered, then packed side by side and written in order.

use crate::base::pool::Pool;
use std::io;

/// Most bytes of text that are gathered before any is packed.
const GROUP: u64 = 8 << 20;

/// Compresses one block at a time.
pub trait Packer: Send + 'static {
    /// Appends to the empty `out` what stands in the file for `text`.
    fn pack(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()>;
}

/// A block in the making, or on its way.
pub struct Block<P> {
    /// What is packed.
    pub text: Vec<u8>,
    /// Records in it, where somebody counts them.
    pub records: i64,
    /// What it is in the file.
    pub packed: Vec<u8>,
    packer: P,
}

/// The full blocks that are not yet written; buffers and compressors are used again.
pub struct Blocks<P> {
    full: Vec<Block<P>>,
    idle: Vec<Block<P>>,
    gathered: u64,
    group: u64,
    make: Box<dyn Fn() -> io::Result<P> + Send>,
}

impl<P: Packer> Blocks<P> {
    /// None yet; `make` makes the compressor of a block. The counted size of a file moves when a group is written, so how
    /// much that is follows from `chunk_size` alone, never from the number of threads, and is little beside it.
    pub fn new(chunk_size: u64, make: impl Fn() -> io::Result<P> + Send + 'static) -> Self {
        let group = (chunk_size / 2).min(GROUP);
        Self { full: Vec::new(), idle: Vec::new(), gathered: 0, group, make: Box::new(make) }
    }

    /// An empty block with room for `bytes`.
    pub fn empty(&mut self, bytes: usize) -> io::Result<Block<P>> {
        if let Some(block) = self.idle.pop() {
            return Ok(block);
        }
        Ok(Block { text: Vec::with_capacity(bytes), records: 0, packed: Vec::new(), packer: (self.make)()? })
    }

    /// Bytes of text that wait to be packed.
    pub fn bytes(&self) -> u64 {
        self.gathered
    }

    /// Adds a full block. True when there are enough to be written.
    pub fn add(&mut self, block: Block<P>) -> bool {
        self.gathered += block.text.len() as u64;
        self.full.push(block);
        self.gathered >= self.group
    }

    /// Packs all of them and hands them to `write`, in order.
    pub fn write(&mut self, pool: &Pool, mut write: impl FnMut(&Block<P>) -> io::Result<()>) -> io::Result<()> {
        let pack = |mut block: Block<P>| {
            let packed = block.packer.pack(&block.text, &mut block.packed);
            packed.map(|()| block)
        };
        self.gathered = 0;
        for block in pool.share(std::mem::take(&mut self.full), pack) {
            let mut block = block?;
            write(&block)?;
            block.text.clear();
            block.packed.clear();
            block.records = 0;
            self.idle.push(block);
        }
        Ok(())
    }
}
