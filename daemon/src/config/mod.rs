//! The configuration: what an operator writes, checked as a whole before anything uses it.

pub mod settings;
pub mod units;
