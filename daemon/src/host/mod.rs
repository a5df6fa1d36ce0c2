//! systemd and the kernel: the only modules that know on what kind of machine the daemon runs.

pub mod error_log;
pub mod fold;
pub mod lines;
pub mod log;
pub mod machine;
pub mod memory;
pub mod messages;
pub mod notify;
pub mod peer;
pub mod process;
pub mod socket;
