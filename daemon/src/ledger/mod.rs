//! The ledger: the SQLite database that is the only truth.

pub mod rows;
