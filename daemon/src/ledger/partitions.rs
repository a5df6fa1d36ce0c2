//! The list of a stream's partitions: stored in batches before it is dealt to lanes, and from then on fixed.

use super::Ledger;
use super::codec::{Json, one, run};
use super::error::LedgerError;
use super::streams::ensure;
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::partitions::Partitions;
use rusqlite::Connection;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of one transaction: some 20 ms, so that no other task waits long for the writer.
const BATCH: u32 = 5_000;

/// The stored list, if it is whole.
fn stored(sql: &Connection, task: &TaskId, stream: &str) -> Result<Option<Partitions>, LedgerError> {
    let whole = "SELECT count FROM partition_lists WHERE task = ?1 AND stream = ?2";
    let Some(count) = one(sql, whole, (task.as_str(), stream), |row| row.get::<_, u32>(0))? else { return Ok(None) };
    let broken = |what: &str| LedgerError::Broken(format!("the stored partitions of stream {stream}: {what}"));
    let mut list: Option<Partitions> = None;
    let text = "SELECT \"values\" FROM partitions WHERE task = ?1 AND stream = ?2 ORDER BY idx";
    let mut statement = sql.prepare_cached(text)?;
    let mut rows = statement.query((task.as_str(), stream))?;
    while let Some(row) = rows.next()? {
        let Json(values) = row.get::<_, Json<BTreeMap<String, String>>>(0)?;
        let list = list.get_or_insert_with(|| Partitions::new(values.keys().cloned().collect()));
        if !list.keys().iter().eq(values.keys()) {
            return Err(broken("they do not have the same values"));
        }
        list.push(values.values().map(String::as_str)).map_err(|error| broken(&error.to_string()))?;
    }
    let list = list.unwrap_or_default();
    if list.len() == count { Ok(Some(list)) } else { Err(broken("some are missing")) }
}

/// Stores a batch. What an attempt that was cut short has left is written over.
fn store(tx: &Tx<'_>, task: &TaskId, stream: &str, list: &Partitions, from: u32) -> Result<(), LedgerError> {
    ensure(tx, task, stream)?;
    for index in from..list.len().min(from + BATCH) {
        let values: BTreeMap<&str, &str> = list.pairs(index).collect();
        let text = "INSERT OR REPLACE INTO partitions (task, stream, idx, \"values\") VALUES (?1, ?2, ?3, ?4)";
        run(tx, text, (task.as_str(), stream, index, Json(values)))?;
    }
    Ok(())
}

/// Makes the list count. One that counts already stays.
fn close(tx: &Tx<'_>, task: &TaskId, stream: &str, count: u32) -> Result<(), LedgerError> {
    ensure(tx, task, stream)?;
    run(tx, "DELETE FROM partitions WHERE task = ?1 AND stream = ?2 AND idx >= ?3", (task.as_str(), stream, count))?;
    let text = "INSERT INTO partition_lists (task, stream, count) VALUES (?1, ?2, ?3)";
    run(tx, text, (task.as_str(), stream, count))?;
    tx.audit_task(task, "partitions_stored", json!({ "stream": stream, "partitions": count }))
}

impl Ledger {
    /// The partitions of a stream, in order, if they are stored.
    pub async fn partitions(&self, task: &TaskId, stream: &str) -> Result<Option<Partitions>, LedgerError> {
        let (task, stream) = (task.clone(), stream.to_owned());
        self.read(move |sql| stored(sql, &task, &stream)).await
    }

    /// Stores the partitions of a stream before they are dealt to lanes. There may be none. If a list is stored already,
    /// that one is returned and counts. One caller at a time per stream.
    pub async fn store_partitions(
        &self,
        task: &TaskId,
        stream: &str,
        partitions: Partitions,
    ) -> Result<Partitions, LedgerError> {
        if let Some(stored) = self.partitions(task, stream).await? {
            return Ok(stored);
        }
        let list = Arc::new(partitions);
        for from in (0..list.len()).step_by(BATCH as usize) {
            let (task, stream, list) = (task.clone(), stream.to_owned(), list.clone());
            self.write(move |tx| store(tx, &task, &stream, &list, from)).await?;
        }
        let (id, name, count) = (task.clone(), stream.to_owned(), list.len());
        self.write(move |tx| close(tx, &id, &name, count)).await?;
        // As it is read back after a restart: with its keys in the same order.
        self.partitions(task, stream).await?.ok_or_else(|| LedgerError::NotThere {
            task: task.clone(),
            what: format!("the partitions of stream {stream}"),
        })
    }
}
