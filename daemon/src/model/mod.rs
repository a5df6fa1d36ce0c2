//! The pure state machines and values that the ledger stores and every layer above it speaks.

pub mod calendar;
pub mod delivery;
pub mod due;
pub mod mark;
pub mod notice;
pub mod offset;
pub mod partitions;
pub mod progress;
pub mod schema;
pub mod scope;
pub mod segment;
pub mod task;
pub mod timetable;
pub mod upload;
pub mod window;
