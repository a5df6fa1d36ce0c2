//! saas-export-daemon: every configured SaaS, exported into files you own, exactly once.

pub mod app;
pub mod auth;
pub mod base;
pub mod config;
pub mod control;
pub mod destinations;
pub mod formats;
pub mod host;
pub mod ledger;
pub mod metrics;
pub mod model;
pub mod net;
pub mod notify;
pub mod queue;
pub mod record;
pub mod retention;
pub mod schedule;
pub mod seal;
pub mod sources;
pub mod transfer;
