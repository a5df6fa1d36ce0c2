//! Metrics: collected from the counters, the ledger and the kernel, for the control socket and a loopback listener.

mod collect;
mod listen;

pub use collect::Collector;
pub use listen::listen;
