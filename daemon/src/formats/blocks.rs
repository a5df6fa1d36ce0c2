//! Blocks of a file that are compressed by themselves: some are gathered, then packed side by side, while the next are gathered,
//! and written in order.

use super::AHEAD;
use crate::base::pool::{Pool, Started};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes of text that are gathered before any is packed.
const GROUP: u64 = 4 << 20;

/// Compresses one block at a time.
pub trait Packer: Send + 'static {
    /// Appends to the empty `out` what stands in the file for `text`.
    fn pack(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()>;
}

/// A block in the making, or on its way.
#[derive(Default)]
pub struct Block {
    /// What is packed.
    pub text: Vec<u8>,
    /// Records in it, where somebody counts them.
    pub records: i64,
    /// What it is in the file.
    pub packed: Vec<u8>,
}

/// Compressors, as many as pack at the same time: the state of one may be tens of MB.
struct Packers<P> {
    idle: Mutex<Vec<P>>,
    make: Box<dyn Fn() -> io::Result<P> + Send + Sync>,
}

impl<P: Packer> Packers<P> {
    fn pack(&self, block: &mut Block) -> io::Result<()> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // By itself, so that the list is free while one is made.
        let taken = idle().pop();
        let mut packer = taken.map_or_else(&self.make, Ok)?;
        packer.pack(&block.text, &mut block.packed)?;
        idle().push(packer);
        Ok(())
    }
}

/// The full blocks that are not yet written; buffers and compressors are used again.
pub struct Blocks<P> {
    full: Vec<Block>,
    idle: Vec<Block>,
    gathered: u64,
    /// The blocks before them.
    packing: Option<Started<io::Result<Block>>>,
    /// The bytes of their text.
    away: u64,
    group: u64,
    /// Whether they are written when the next ones are full.
    ahead: bool,
    packers: Arc<Packers<P>>,
}

impl<P: Packer> Blocks<P> {
    /// None yet; `make` makes a compressor. The counted size of a file moves when a group is written, so how much that is
    /// follows from `chunk_size` alone, never from the number of threads, and is little beside it.
    pub fn new(chunk_size: u64, make: impl Fn() -> io::Result<P> + Send + Sync + 'static) -> Self {
        let packers = Arc::new(Packers { idle: Mutex::default(), make: Box::new(make) });
        let (group, ahead) = ((chunk_size / 2).min(GROUP), chunk_size >= AHEAD);
        Self { full: Vec::new(), idle: Vec::new(), gathered: 0, packing: None, away: 0, group, ahead, packers }
    }

    /// An empty block with room for `bytes`.
    pub fn empty(&mut self, bytes: usize) -> Block {
        self.idle.pop().unwrap_or_else(|| Block { text: Vec::with_capacity(bytes), ..Block::default() })
    }

    /// Bytes of text that are not yet written.
    pub fn bytes(&self) -> u64 {
        self.away + self.gathered
    }

    /// Adds a full block. True when there are enough to go on with [`Self::pack`].
    pub fn add(&mut self, block: Block) -> bool {
        self.gathered += block.text.len() as u64;
        self.full.push(block);
        self.gathered >= self.group
    }

    /// Packs the full ones, and hands those to `write`, in order, that are packed by then: where segments are large the ones
    /// before them.
    pub fn pack(&mut self, pool: &Pool, mut write: impl FnMut(&Block) -> io::Result<()>) -> io::Result<()> {
        self.write(&mut write)?;
        let packers = self.packers.clone();
        let pack = move |mut block: Block| packers.pack(&mut block).map(|()| block);
        self.packing = Some(pool.start(std::mem::take(&mut self.full), pack));
        self.away = std::mem::take(&mut self.gathered);
        if self.ahead { Ok(()) } else { self.write(write) }
    }

    /// Packs all of them and hands them to `write`, in order.
    pub fn finish(&mut self, pool: &Pool, mut write: impl FnMut(&Block) -> io::Result<()>) -> io::Result<()> {
        self.pack(pool, &mut write)?;
        self.write(write)
    }

    fn write(&mut self, mut write: impl FnMut(&Block) -> io::Result<()>) -> io::Result<()> {
        self.away = 0;
        for block in self.packing.take().map(Started::wait).unwrap_or_default() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Copy;

    impl Packer for Copy {
        fn pack(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
            std::thread::sleep(std::time::Duration::from_millis(1));
            out.extend_from_slice(text);
            Ok(())
        }
    }

    #[test]
    fn no_more_compressors_are_made_than_pack_at_the_same_time() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let mut blocks = Blocks::new(AHEAD, move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Copy)
        });
        let pool = Pool::new(2);
        for round in 0..3u8 {
            let mut found = Vec::new();
            let mut take = |block: &Block| {
                found.extend_from_slice(&block.packed);
                Ok(())
            };
            for n in 0..40u8 {
                let mut block = blocks.empty(4);
                block.text.extend_from_slice(&[round, n]);
                blocks.add(block);
                if n % 16 == 0 {
                    blocks.pack(&pool, &mut take).unwrap();
                }
            }
            blocks.finish(&pool, take).unwrap();
            assert_eq!(found, (0..40u8).flat_map(|n| [round, n]).collect::<Vec<_>>());
        }
        // Whoever shares the work out does some of it, beside both threads.
        assert!((1..=3).contains(&made.load(Ordering::Relaxed)), "{made:?}");
    }
}
