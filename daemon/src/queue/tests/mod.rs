//! The dispatcher over a real ledger, with runs that do as they are told.

mod commands;
mod fake;
mod runs;

use super::handle::{Act, Refusal, Target};
use crate::base::error::ErrorClass;
use crate::base::ids::{Name, TaskId};
use crate::ledger::Ledger;
use crate::ledger::input::Change;
use crate::model::task::{TaskEvent, TaskState, Waiting};
use crate::transfer::Outcome;
use fake::{Bench, Script, soon};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

fn waiting(missing: &str) -> Waiting {
    Waiting { reason: format!("disk full: {missing} MB missing at /srv"), until: None }
}

fn full(missing: &str) -> Outcome {
    Outcome::Wait(waiting(missing), Duration::from_millis(10))
}

fn transient() -> Outcome {
    let soon = Some(Duration::from_millis(1));
    Outcome::RetryAfter(soon, ErrorClass::Transient, "connect to the source".into())
}
