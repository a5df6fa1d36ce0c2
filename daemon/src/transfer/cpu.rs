//! The threads that convert and encode: as many at once as there are processors to use, whoever asks.

use super::error::TransferError;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Shared by all tasks of the daemon.
#[derive(Clone, Debug)]
pub struct Cpu {
    slots: Arc<Semaphore>,
    threads: usize,
}

impl Cpu {
    /// `threads` slots; 0 = one for each processor.
    pub fn new(threads: usize) -> Self {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            n => n,
        };
        Self { slots: Arc::new(Semaphore::new(threads)), threads }
    }

    /// Number of slots.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` on a thread of its own when a slot is free; in the order of asking.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, TransferError> {
        let slot = self.slots.clone().acquire_owned().await;
        Ok(tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        })
        .await?)
    }
}
