//! The queue: one dispatcher loop owns what is running; policy is a pure function.

mod carry;
pub mod commands;
pub mod dispatcher;
pub mod handle;
mod live;
pub mod policy;
mod runs;

#[cfg(test)]
mod tests;
