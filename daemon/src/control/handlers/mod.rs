//! What answers on each route: asks the queue or the ledger, and leaves the JSON to `wire`.

pub mod daemon;
pub mod deliver;
pub mod downloads;
pub mod events;
pub mod exports;
pub mod files;
pub mod ledger;
pub mod notifications;
pub mod offsets;
pub mod prune;
pub mod schedules;
pub mod schema;
pub mod tasks;
