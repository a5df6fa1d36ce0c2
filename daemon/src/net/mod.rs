//! HTTP as every source needs it: a tuned client, origin rules, a shared budget of requests, retries that end.

pub mod error;
pub mod fetch;
pub mod http;
pub mod limit;
pub mod mask;
pub mod origin;
pub mod probe;
pub mod query;
pub mod retry;
pub mod stats;
