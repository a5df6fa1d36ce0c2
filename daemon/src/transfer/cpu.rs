//! The threads that convert and encode: a fixed number, shared by all tasks, so that their memory stays where it is.

use super::error::TransferError;
use crate::base::clock;
use crate::base::pool::{Lost, Pool};
use crate::metrics::METERS;

/// A handle to the threads; they end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Cpu(Pool);

impl Cpu {
    /// `threads` threads; 0 = one for each processor.
    pub fn new(threads: usize) -> Self {
        Self(Pool::new(threads))
    }

    /// The threads themselves, for work that is no conversion.
    pub fn pool(&self) -> Pool {
        self.0.clone()
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.0.threads()
    }

    /// Runs `work` when a thread is free, in the order of asking; it may share out to the other threads.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pool) -> T + Send + 'static,
    ) -> Result<T, TransferError> {
        self.0.run(self.metered(work)).await.map_err(lost)
    }

    /// The same, before what is asked for with [`Self::run`]: for what all the rest of a lane waits for.
    pub async fn run_first<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pool) -> T + Send + 'static,
    ) -> Result<T, TransferError> {
        self.0.run_first(self.metered(work)).await.map_err(lost)
    }

    fn metered<T, W: FnOnce(&Pool) -> T>(&self, work: W) -> impl FnOnce() -> T + use<T, W> {
        let pool = self.0.clone();
        move || {
            let began = clock::monotonic();
            let result = work(&pool);
            METERS.converting.add(clock::since(began));
            METERS.conversions.add(1);
            result
        }
    }
}

fn lost(lost: Lost) -> TransferError {
    TransferError::Worker(match lost {
        Lost::Panicked => "it panicked".into(),
        Lost::Gone => "its thread is gone".into(),
    })
}
