//! HTTP as every source needs it: a tuned client, origin rules, a shared budget of requests, retries that end.

pub mod coding;
pub mod credential;
pub mod digest;
pub mod error;
pub mod fetch;
pub mod held;
pub mod http;
pub mod judge;
pub mod limit;
pub mod mask;
pub mod origin;
pub mod probe;
pub mod query;
mod refusal;
pub mod retry;
pub mod stats;
mod waits;
