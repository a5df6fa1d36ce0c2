//! Drives the real programs the way an operator does: files, processes, signals, the command line, the control socket.

pub mod bed;
pub mod chain;
pub mod chance;
pub mod config;
pub mod daemon;
pub mod faults;
pub mod http;
pub mod netns;
pub mod openmetrics;
pub mod programs;
pub mod proxy;
pub mod usage;
