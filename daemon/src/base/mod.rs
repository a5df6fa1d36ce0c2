//! The foundation every other module stands on: ids, clock, secrets, errors, retry, byte budget, buffers, durable files, threads, crash points.

pub mod blocking;
pub mod budget;
pub mod clock;
pub mod crash;
pub mod error;
pub mod fault;
pub mod fsio;
pub mod ids;
pub mod pool;
pub mod reserve;
pub mod retry;
pub mod secret;
#[cfg(test)]
pub mod simulate;
