//! A budget of bytes in flight: whoever holds data holds a permit for its size.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in KiB, so that a `u32` of permits covers 4 TiB.
const UNIT: u64 = 1024;

/// Bounds the bytes that the stages of one task hold between them.
#[derive(Clone, Debug)]
pub struct ByteBudget {
    semaphore: Arc<Semaphore>,
    units: u32,
}

/// The right to hold some bytes; given back when dropped.
#[derive(Debug)]
pub struct BytePermit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl ByteBudget {
    /// A budget of `bytes`, at least one unit.
    pub fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        Self { semaphore: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits until `bytes` fit. A piece larger than the whole budget waits for all of it, and then passes alone.
    pub async fn take(&self, bytes: u64) -> BytePermit {
        let want = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        match self.semaphore.clone().acquire_many_owned(want).await {
            Ok(permit) => BytePermit(permit),
            Err(_) => unreachable!("the semaphore is never closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_piece_larger_than_the_budget_passes_alone() {
        let budget = ByteBudget::new(4096);
        let big = budget.take(1 << 30).await;
        let small = budget.take(1);
        tokio::pin!(small);
        assert!(futures_util::poll!(small.as_mut()).is_pending());
        drop(big);
        small.await;
    }
}
