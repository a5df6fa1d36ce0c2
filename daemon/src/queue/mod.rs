//! The queue: one dispatcher loop owns what is running; policy is a pure function.

pub mod handle;
