//! Tells recipients how tasks ended: what the ledger's outbox holds, one message after the other to each.
//!
//! ```text
//! a task's end ─one transaction─▶ outbox ─▶ sender ─▶ compose (facts, links) ─▶ mail │ webhook ─▶ outbox: sent, later, given up
//! ```

mod compose;
mod mail;
mod outcome;
mod sender;
mod webhook;

pub use sender::{Notifier, run};

#[cfg(test)]
mod tests;
