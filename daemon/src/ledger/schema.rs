//! The versions of the ledger's schema and how an older ledger is brought to the newest.

use super::error::LedgerError;
use rusqlite::{Connection, TransactionBehavior};

/// Marks an SQLite file as our ledger (`PRAGMA application_id`): "SXLG".
pub(super) const APPLICATION_ID: i32 = 0x5358_4c47;

/// Step i leads from version i to version i + 1. Released steps are never edited.
pub(super) const STEPS: &[&str] = &[
    include_str!("v1.sql"),
    include_str!("v2.sql"),
    include_str!("v3.sql"),
    include_str!("v4.sql"),
    include_str!("v5.sql"),
    include_str!("v6.sql"),
    include_str!("v7.sql"),
    include_str!("v8.sql"),
    include_str!("v9.sql"),
    include_str!("v10.sql"),
];

/// The newest version known here (`PRAGMA user_version`).
pub(super) const NEWEST: i64 = STEPS.len() as i64;

/// Brings a ledger to the newest version, each step in a transaction of its own.
pub(super) fn migrate(sql: &mut Connection) -> Result<(), LedgerError> {
    let version: i64 = sql.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    for (i, step) in STEPS.iter().enumerate().skip(done) {
        let tx = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", i as i64 + 1)?;
        tx.commit()?;
    }
    Ok(())
}
