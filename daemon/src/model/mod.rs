//! The pure state machines and values that the ledger stores and every layer above it speaks.

pub mod offset;
pub mod progress;
pub mod schema;
pub mod segment;
pub mod task;
pub mod window;
