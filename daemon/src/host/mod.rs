//! systemd and the kernel: the only modules that know on what kind of machine the daemon runs.

pub mod log;
pub mod machine;
pub mod memory;
pub mod notify;
pub mod peer;
pub mod socket;
