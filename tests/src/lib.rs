//! What the end-to-end tests and the demo stand on: a sample SaaS API with an oracle, and a harness for the real programs.

pub mod harness;
pub mod hooks;
pub mod hostile;
pub mod sample;
