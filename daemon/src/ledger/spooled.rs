//! What lies in the spools by the ledger: bytes that wait for a destination, and for which most.

use super::Ledger;
use super::codec::{Word, all, count, one, run};
use super::error::LedgerError;
use super::rows::{DeliverySum, Holder, Spooled};
use crate::base::ids::TaskId;
use rusqlite::Connection;

/// Segments that some destination waits for. One that is delivered on its spool's own mount shares its bytes with the
/// delivered file; those of a back-fill come one by one, and are counted where they are fetched.
const HELD: &str = "FROM segments g JOIN tasks t ON t.id = g.task
     WHERE NOT g.superseded AND EXISTS (SELECT 1 FROM deliveries d WHERE d.task = g.task AND d.stream = g.stream
             AND d.lane = g.lane AND d.n = g.n AND d.revision = g.revision AND d.verified_at IS NULL)
         AND NOT EXISTS (SELECT 1 FROM deliveries h WHERE h.task = g.task AND h.stream = g.stream
             AND h.lane = g.lane AND h.n = g.n AND h.revision = g.revision AND h.destination = t.home
             AND h.verified_at IS NOT NULL)
         AND t.state <> 'succeeded' AND g.task IN (SELECT DISTINCT task FROM deliveries WHERE verified_at IS NULL)";

fn spooled(sql: &Connection) -> Result<Spooled, LedgerError> {
    let bytes = one(sql, &format!("SELECT coalesce(sum(g.bytes), 0) AS bytes {HELD}"), [], |row| count(row, "bytes"))?;
    let text = format!(
        "SELECT p.task, (SELECT state FROM tasks WHERE id = p.task) AS state, p.destination, sum(held.bytes) AS bytes
         FROM (SELECT g.task, g.stream, g.lane, g.n, g.revision, g.bytes {HELD}) held
         JOIN deliveries p USING (task, stream, lane, n, revision)
         WHERE p.verified_at IS NULL GROUP BY p.task, p.destination ORDER BY 3 DESC, 1, 2 LIMIT 1"
    );
    let holder = one(sql, &text, [], |row| {
        Ok(Holder {
            task: TaskId::known(row.get::<_, String>("task")?),
            state: row.get::<_, Word>("state")?.0,
            destination: row.get("destination")?,
            bytes: count(row, "bytes")?,
        })
    })?;
    Ok(Spooled { bytes: bytes.unwrap_or(0), holder })
}

/// What of a task is where, by destination.
pub(super) fn sums(sql: &Connection, task: &TaskId) -> Result<Vec<DeliverySum>, LedgerError> {
    let text = "WITH sums AS (
             SELECT d.destination, count(*) AS files, count(d.verified_at) AS delivered, sum(g.bytes) AS bytes,
                 sum(CASE WHEN d.verified_at IS NOT NULL THEN g.bytes END) AS delivered_bytes,
                 max(CASE WHEN d.verified_at IS NULL THEN d.error END) AS error
             FROM deliveries d JOIN segments g USING (task, stream, lane, n, revision)
             WHERE d.task = ?1 AND NOT g.superseded GROUP BY d.destination),
         places AS (SELECT destination FROM sums UNION SELECT destination FROM manifests WHERE task = ?1)
         SELECT p.destination, coalesce(files, 0) AS files, coalesce(delivered, 0) AS delivered,
             coalesce(bytes, 0) AS bytes, coalesce(delivered_bytes, 0) AS delivered_bytes, error,
             NOT EXISTS (SELECT 1 FROM task_streams s LEFT JOIN manifests m
                 ON m.task = s.task AND m.stream = s.stream AND m.destination = p.destination
                 WHERE s.task = ?1 AND s.error IS NULL AND m.published_at IS NULL) AS published,
             EXISTS (SELECT 1 FROM back_fills b WHERE b.task = ?1 AND b.destination = p.destination) AS filling
         FROM places p LEFT JOIN sums USING (destination) ORDER BY p.destination";
    all(sql, text, [task.as_str()], |row| {
        Ok(DeliverySum {
            destination: row.get("destination")?,
            files: count(row, "files")?,
            delivered: count(row, "delivered")?,
            bytes: count(row, "bytes")?,
            delivered_bytes: count(row, "delivered_bytes")?,
            error: row.get("error")?,
            published: row.get("published")?,
            filling: row.get("filling")?,
        })
    })
}

impl Ledger {
    /// The bytes of all tasks that lie in spools and wait for a destination, and the destination that holds most of them.
    pub async fn spooled(&self) -> Result<Spooled, LedgerError> {
        self.read(spooled).await
    }

    /// Notes on the mount of which destination a task's spool lies, if on that of one.
    pub async fn set_home(&self, task: &TaskId, home: Option<&str>) -> Result<(), LedgerError> {
        let (task, home) = (task.clone(), home.map(str::to_owned));
        self.write(move |tx| {
            let text = "UPDATE tasks SET home = ?2 WHERE id = ?1 AND home IS NOT ?2";
            run(tx, text, (task.as_str(), &home)).map(drop)
        })
        .await
    }

    /// Destinations that have a segment verified, and from which retention does not remove it, in order of name.
    pub async fn verified_at(
        &self,
        task: &TaskId,
        id: &crate::model::segment::SegmentId,
    ) -> Result<Vec<String>, LedgerError> {
        let (task, id) = (task.clone(), id.clone());
        let text = "SELECT destination FROM deliveries WHERE task = ?1 AND stream = ?2 AND lane = ?3 AND n = ?4
                        AND revision = ?5 AND verified_at IS NOT NULL AND NOT EXISTS (
                            SELECT 1 FROM manifests m WHERE m.task = ?1 AND m.stream = ?2
                                AND m.destination = deliveries.destination AND m.pruned_at IS NOT NULL)
                    ORDER BY destination";
        self.read(move |sql| {
            let key = (task.as_str(), &id.stream, id.lane, super::codec::U64(id.n), id.revision);
            all(sql, text, key, |row| row.get(0))
        })
        .await
    }
}
