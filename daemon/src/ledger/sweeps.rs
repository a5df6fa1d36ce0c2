//! Sweeps: the claim on an ended task while its files are removed, and the manifests that a cancelled one left behind.

use super::Ledger;
use super::codec::{all, run};
use super::error::LedgerError;
use super::rows::{TaskRow, UploadRow};
use super::tasks;
use crate::base::ids::TaskId;
use crate::model::task::TaskState;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The tasks whose files are being removed. They stand in memory: this daemon alone owns the ledger, and a removal ends with it.
pub(super) type Claims = Arc<Mutex<BTreeSet<String>>>;

/// A manifest that may lie at a destination although the ledger has taken it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Name of the stream.
    pub stream: String,
    /// Name of the destination.
    pub destination: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

/// A task whose files may be removed: it is not retried for as long as this lives.
#[derive(Debug)]
pub struct SweepClaim {
    claims: Claims,
    task: String,
}

impl Drop for SweepClaim {
    fn drop(&mut self) {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.task);
    }
}

/// Refuses a retry of a task whose files are being removed. Asked on the writer's thread, where claims are made as well.
pub(super) fn unclaimed(claims: &Claims, task: &TaskId) -> Result<(), LedgerError> {
    match claims.lock().unwrap_or_else(PoisonError::into_inner).contains(task.as_str()) {
        false => Ok(()),
        true => Err(LedgerError::Refused(format!(
            "retry the task {task}: files of its last run are being removed right now; ask again in some minutes"
        ))),
    }
}

impl Ledger {
    /// Claims a failed or cancelled task, if it still is as it was looked at: no retry comes between the removals of its files.
    ///
    /// # Errors
    /// `Refused` where it was retried since, or somebody else has claimed it.
    pub async fn claim_sweep(&self, task: &TaskRow) -> Result<SweepClaim, LedgerError> {
        let (seen, claims) = (task.clone(), self.shared.claims.clone());
        self.write(move |tx| {
            let refused = |why: &str| {
                Err(LedgerError::Refused(format!("remove the unpublished files of the task {}: {why}", seen.id)))
            };
            let now = tasks::get(tx, &seen.id)?;
            let ended = |row: &TaskRow| (row.state, row.ended_at.map(|at| at.as_microsecond()));
            if !matches!(now.state, TaskState::Failed | TaskState::Cancelled) || ended(&now) != ended(&seen) {
                return refused("it was retried meanwhile");
            }
            if !claims.lock().unwrap_or_else(PoisonError::into_inner).insert(seen.id.to_string()) {
                return refused("they are being removed already");
            }
            Ok(SweepClaim { claims: claims.clone(), task: seen.id.to_string() })
        })
        .await
    }

    /// Manifests that a task has composed, and that the ledger has taken back since: they may lie at their destinations. None
    /// once they are noted as withdrawn.
    pub async fn to_withdraw(&self, task: &TaskId) -> Result<Vec<Withdrawal>, LedgerError> {
        let task = task.clone();
        let text = "SELECT DISTINCT detail ->> 'stream' AS stream, detail ->> 'destination' AS destination,
                        detail ->> 'sha256' AS sha256 FROM audit
                    WHERE task = ?1 AND action = 'manifest_composed' AND seq > coalesce(
                        (SELECT max(seq) FROM audit WHERE task = ?1 AND action = 'manifests_withdrawn'), 0)
                        AND detail ->> 'stream' NOT IN (SELECT stream FROM manifests WHERE task = ?1)
                    ORDER BY stream, destination";
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Withdrawal {
                stream: row.get("stream")?,
                destination: row.get("destination")?,
                sha256: row.get::<_, Option<String>>("sha256")?.unwrap_or_default(),
            })
        };
        self.read(move |sql| all(sql, text, [task.as_str()], row)).await
    }

    /// Notes that the manifests that a task had composed are gone from their destinations.
    pub async fn withdrawn(&self, task: &TaskId, manifests: usize) -> Result<(), LedgerError> {
        let task = task.clone();
        self.write(move |tx| tx.audit_task(&task, "manifests_withdrawn", json!({ "manifests": manifests }))).await
    }

    /// Forgets an upload that was given up, unless another one of its object was begun meanwhile.
    pub async fn gave_up(&self, task: &TaskId, upload: &UploadRow) -> Result<(), LedgerError> {
        let (task, upload) = (task.clone(), upload.clone());
        self.write(move |tx| {
            let text = "DELETE FROM uploads WHERE task = ?1 AND destination = ?2 AND key = ?3 AND id = ?4";
            run(tx, text, (task.as_str(), &upload.destination, &upload.key, &upload.id)).map(drop)
        })
        .await
    }
}
