//! The end-to-end tests: the real daemon and exportctl over real sockets and files, judged by an oracle outside of them.
//!
//! One binary, because each test binary costs a link. `TORTURE=1` runs the long forms.

mod answers;
mod auth;
mod big;
mod compare;
mod concurrency;
mod control;
mod crash;
mod crowd;
mod encryption;
mod ends;
mod examples;
mod faults;
mod formats;
mod fulldisk;
mod get;
mod hostile;
mod incremental;
mod journal;
mod journald;
mod keep;
mod lanes;
mod large;
mod ledger_adopt;
mod ledger_keep;
mod ledger_refused;
mod lifecycle;
mod limits;

mod machine;
mod malformed;
mod matrix;
mod memory;
mod metrics;
mod moved;
mod network;
mod notifications;
mod once;
mod origins;
mod owner;
mod paging;
mod partitions;
mod power;
mod preflight;
mod product;
mod put;
mod queue;
mod rate;
mod read;
mod reload;
mod schedules;
mod schema;
mod sealed;
mod service;
mod several;
mod sftp;
mod shift;
mod single;
mod soak;
mod stores;
mod transform;
mod verify;
mod windows;

/// Whether the long forms are asked for.
fn torture() -> bool {
    std::env::var_os("TORTURE").is_some_and(|value| value != "0" && !value.is_empty())
}
