//! Schedules: how far each has been looked at. A slot is noted in the transaction that makes its task, so that it neither runs
//! twice nor gets lost.

use super::Ledger;
use super::audit::Entry;
use super::codec::{At, all, one, run, time};
use super::error::LedgerError;
use super::input::NewTask;
use super::rows::{ScheduleRow, SlotOutcome};
use super::tasks;
use super::writer::Tx;
use crate::base::ids::TaskId;
use crate::model::due::Seen;
use jiff::Timestamp;
use rusqlite::{Connection, Row};

const COLUMNS: &str = "export, fingerprint, since, slot, decided_at, outcome, task";

fn row(row: &Row<'_>) -> rusqlite::Result<ScheduleRow> {
    let outcome: Option<String> = row.get("outcome")?;
    Ok(ScheduleRow {
        export: row.get("export")?,
        fingerprint: row.get("fingerprint")?,
        seen: Seen { since: row.get::<_, At>("since")?.0, slot: time(row, "slot")? },
        decided_at: time(row, "decided_at")?,
        outcome: outcome.as_deref().and_then(SlotOutcome::from_word),
        task: row.get::<_, Option<String>>("task")?.map(TaskId::known),
    })
}

fn find(sql: &Connection, export: &str) -> Result<Option<ScheduleRow>, LedgerError> {
    one(sql, &format!("SELECT {COLUMNS} FROM schedules WHERE export = ?1"), [export], row)
}

/// Whether a slot is still to be decided on: its schedule is the one that was seen, and nobody has paused the export.
fn open(tx: &Tx<'_>, slot: &Slot) -> Result<bool, LedgerError> {
    let paused = one(tx, "SELECT 1 FROM paused_exports WHERE export = ?1", [&slot.export], |_| Ok(()))?.is_some();
    let known = find(tx, &slot.export)?.filter(|row| row.fingerprint == slot.fingerprint);
    Ok(!paused && known.is_some_and(|row| row.seen.slot.unwrap_or(row.seen.since) < slot.at))
}

fn note(tx: &Tx<'_>, slot: &Slot, outcome: SlotOutcome, task: Option<&TaskId>) -> Result<(), LedgerError> {
    let text = "UPDATE schedules SET slot = ?2, decided_at = ?3, outcome = ?4, task = ?5 WHERE export = ?1";
    run(tx, text, (&slot.export, At(slot.at), At(tx.at), outcome.word(), task.map(TaskId::as_str)))?;
    Ok(())
}

/// A time that a schedule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The export.
    pub export: String,
    /// Of its schedule.
    pub fingerprint: String,
    /// The time.
    pub at: Timestamp,
}

impl Ledger {
    /// The schedules that were seen, by the name of their export.
    pub async fn schedules(&self) -> Result<Vec<ScheduleRow>, LedgerError> {
        self.read(|sql| all(sql, &format!("SELECT {COLUMNS} FROM schedules ORDER BY export"), [], row)).await
    }

    /// Sees a schedule for the first time, or another one than before: no slot up to now counts. What was decided last stays
    /// to be shown.
    pub async fn see_schedule(&self, export: &str, fingerprint: &str) -> Result<(), LedgerError> {
        let (export, fingerprint) = (export.to_owned(), fingerprint.to_owned());
        self.write(move |tx| {
            let text = "INSERT INTO schedules (export, fingerprint, since) VALUES (?1, ?2, ?3) ON CONFLICT (export) DO
                        UPDATE SET fingerprint = excluded.fingerprint, since = excluded.since, slot = NULL";
            run(tx, text, (&export, &fingerprint, At(tx.at)))?;
            tx.audit(Entry { export: Some(&export), action: "schedule_seen", reason: &fingerprint, ..Entry::default() })
        })
        .await
    }

    /// Forgets the schedules of exports that have none any more.
    pub async fn keep_schedules(&self, exports: Vec<String>) -> Result<(), LedgerError> {
        self.write(move |tx| {
            let known = all(tx, "SELECT export FROM schedules", [], |row| row.get::<_, String>(0))?;
            for export in known.iter().filter(|known| !exports.contains(known)) {
                run(tx, "DELETE FROM schedules WHERE export = ?1", [export])?;
                tx.audit(Entry { export: Some(export), action: "schedule_removed", ..Entry::default() })?;
            }
            Ok(())
        })
        .await
    }

    /// Makes the task of a slot, and notes the slot; `false` where a task of an equal request is open, so that the slot is
    /// skipped. `None` where the slot does not count any more: it was decided on before, its schedule is another one by now, or
    /// its export is paused.
    pub async fn create_slot_task(&self, new: NewTask, slot: Slot) -> Result<Option<(TaskId, bool)>, LedgerError> {
        self.write(move |tx| {
            if !open(tx, &slot)? {
                return Ok(None);
            }
            let before = find(tx, &slot.export)?;
            let (task, created) = tasks::create(tx, &new)?;
            let outcome = if created { SlotOutcome::Run } else { SlotOutcome::Open };
            note(tx, &slot, outcome, Some(&task))?;
            // While one task is open only the first slot that it costs is told.
            let told = before.is_some_and(|row| row.outcome == Some(outcome) && row.task.as_ref() == Some(&task));
            if !told {
                let reason = match created {
                    true => format!("for {:.0}", slot.at),
                    false => format!("{:.0} is skipped: the task is still open", slot.at),
                };
                let action = if created { "slot_run" } else { "slot_skipped" };
                let entry = Entry { task: Some(&task), export: Some(&slot.export), action, ..Entry::default() };
                tx.audit(Entry { reason: &reason, ..entry })?;
            }
            Ok(Some((task, created)))
        })
        .await
    }

    /// Notes that a slot was missed and is not made up for.
    pub async fn miss_slot(&self, slot: Slot) -> Result<(), LedgerError> {
        self.write(move |tx| {
            if !open(tx, &slot)? {
                return Ok(());
            }
            note(tx, &slot, SlotOutcome::Missed, None)?;
            let reason = format!("{:.0} was missed, and is not made up for", slot.at);
            tx.audit(Entry { export: Some(&slot.export), action: "slot_missed", reason: &reason, ..Entry::default() })
        })
        .await
    }
}
