//! Runs exports at the times of their schedules: what is due goes into the queue, as if somebody had asked for it.
//!
//! ```text
//! configuration, ledger, clock ─▶ model/due (pure) ─▶ queue: task and slot in one transaction
//! ```

use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::config::settings::{Config, ScheduleMap};
use crate::host::machine;
use crate::host::messages::Message;
use crate::ledger::rows::{ScheduleRow, SlotOutcome};
use crate::ledger::{Ledger, LedgerError, Slot};
use crate::model::due::{Decision, Plan};
use crate::queue::handle::{Actor, QueueHandle, Refusal, Request, Scope};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Who asks for the tasks of schedules.
pub const ACTOR: &str = "schedule";
/// How often the clock is looked at: it may be set, or stand still while the machine sleeps.
const LOOK: Duration = Duration::from_secs(1);
/// Everything is looked at again after this long, whatever happened.
const AT_MOST: Duration = Duration::from_secs(60);
/// What could not be done is tried again after this long.
const RETRY: Duration = Duration::from_secs(10);
/// Changes of the ledger within this time are looked at together.
const GATHER: Duration = Duration::from_millis(500);

/// Runs what is due for as long as it is polled.
pub async fn run(queue: QueueHandle, ledger: Ledger, mut config: watch::Receiver<Arc<Config>>) {
    let mut scheduler = Scheduler { queue, ledger, machine: machine::id(), troubles: BTreeMap::new() };
    loop {
        // Before the look, so that nothing between it and the sleep is lost.
        let mut changes = scheduler.ledger.changes();
        changes.mark_unchanged();
        let now = config.borrow_and_update().clone();
        let (wake, paused) = match scheduler.look(&now).await {
            Ok(looked) => looked,
            Err(error) => {
                scheduler.trouble("", Some(format!("failed to look at the schedules: {}", Chain(&error))));
                (Wake::within(RETRY), false)
            }
        };
        tokio::select! {
            () = until(wake) => {}
            changed = config.changed() => if changed.is_err() {
                return;
            },
            // Somebody may have let an export go on.
            Ok(()) = changes.changed(), if paused => tokio::time::sleep(GATHER).await,
        }
    }
}

/// When to look again: at this time of the clock, or after this long, whatever comes first.
#[derive(Clone, Copy, Debug, Default)]
struct Wake {
    at: Option<Timestamp>,
    within: Option<Duration>,
}

impl Wake {
    const NOW: Self = Self::within(Duration::ZERO);

    const fn within(wait: Duration) -> Self {
        Self { at: None, within: Some(wait) }
    }

    fn sooner(self, other: Self) -> Self {
        let at = [self.at, other.at].into_iter().flatten().min();
        Self { at, within: [self.within, other.within].into_iter().flatten().min() }
    }
}

/// Sleeps until then, or until the clock has been put back.
async fn until(wake: Wake) {
    let (started, limit) = (clock::monotonic(), wake.within.unwrap_or(AT_MOST));
    let mut before = clock::now();
    while clock::since(started) < limit {
        let now = clock::now();
        if now < before || wake.at.is_some_and(|at| at <= now) {
            return;
        }
        before = now;
        let due = wake.at.and_then(|at| Duration::try_from(now.duration_until(at)).ok());
        let left = limit.saturating_sub(clock::since(started));
        tokio::time::sleep(due.map_or(LOOK, |due| due.min(LOOK)).min(left)).await;
    }
}

struct Scheduler {
    queue: QueueHandle,
    ledger: Ledger,
    machine: String,
    /// What went wrong lately, by export, so that it is told once.
    troubles: BTreeMap<String, String>,
}

impl Scheduler {
    /// Looks at every schedule, and does what is due. Says when to look again, and whether one of them is held back by a pause.
    async fn look(&mut self, config: &Config) -> Result<(Wake, bool), LedgerError> {
        let scheduled: Vec<(String, ScheduleMap)> = config
            .exports
            .iter()
            .filter_map(|(name, export)| Some((name.to_string(), export.schedule.as_ref()?.whole())))
            .collect();
        let rows: BTreeMap<String, ScheduleRow> =
            self.ledger.schedules().await?.into_iter().map(|row| (row.export.clone(), row)).collect();
        let names: BTreeSet<&String> = scheduled.iter().map(|(name, _)| name).collect();
        if rows.keys().any(|known| !names.contains(known)) {
            self.ledger.keep_schedules(names.into_iter().cloned().collect()).await?;
        }
        let paused = self.ledger.paused_exports().await?;
        let (mut wake, mut held) = (Wake::default(), false);
        for (export, schedule) in &scheduled {
            let Some(plan) = schedule.plan(&self.machine, export) else { continue };
            if rows.contains_key(export) && paused.contains(export) {
                held = true;
                continue;
            }
            let one = One { export, fingerprint: schedule.fingerprint(), plan };
            wake = wake.sooner(self.one(one, rows.get(export)).await?);
        }
        self.trouble("", None);
        Ok((wake, held))
    }

    /// Does what is due for one export.
    async fn one(&mut self, one: One<'_>, row: Option<&ScheduleRow>) -> Result<Wake, LedgerError> {
        let Some(row) = row.filter(|row| row.fingerprint == one.fingerprint) else {
            self.ledger.see_schedule(one.export, &one.fingerprint).await?;
            return Ok(Wake::NOW);
        };
        let slot = |at| Slot { export: one.export.clone(), fingerprint: one.fingerprint.clone(), at };
        match one.plan.decide(row.seen, clock::now()) {
            Decision::Wait(until) => return Ok(Wake { at: until, within: None }),
            Decision::Anew => {
                tracing::warn!(
                    MESSAGE_ID = Message::SystemTrouble.id(),
                    EXPORT_NAME = one.export,
                    "the clock was put back behind the last run of the schedule of {}: it counts from now on",
                    one.export
                );
                self.ledger.see_schedule(one.export, &one.fingerprint).await?;
            }
            Decision::Miss { slot: at } => {
                tracing::info!(
                    MESSAGE_ID = Message::ScheduleSkipped.id(),
                    EXPORT_NAME = one.export,
                    "export {}: {at:.0} was missed, and catch_up is off",
                    one.export
                );
                self.ledger.miss_slot(slot(at)).await?;
            }
            Decision::Run { slot: at, first } => {
                if first < at {
                    let text = "missed slots are made up for by one run";
                    tracing::info!(
                        MESSAGE_ID = Message::ScheduleSkipped.id(),
                        EXPORT_NAME = one.export,
                        "export {}: {text}, from {first:.0} to {at:.0}",
                        one.export
                    );
                }
                return Ok(self.submit(one.export, slot(at), row).await);
            }
        }
        Ok(Wake::NOW)
    }

    async fn submit(&mut self, export: &str, slot: Slot, row: &ScheduleRow) -> Wake {
        let at = slot.at;
        let request = Request {
            export: export.to_owned(),
            params: BTreeMap::new(),
            format: None,
            scope: Scope::default(),
            actor: Actor(ACTOR.into()),
            notify: Vec::new(),
        };
        match self.queue.submit_slot(request, slot).await {
            Ok(made) => {
                // While one task is open only the first slot that it costs is told.
                let told = |task: &TaskId| row.outcome == Some(SlotOutcome::Open) && row.task.as_ref() == Some(task);
                let open = made.filter(|made| !made.created && !told(&made.task));
                if let Some(made) = open {
                    let task = &made.task;
                    tracing::warn!(
                        MESSAGE_ID = Message::ScheduleSkipped.id(),
                        EXPORT_TASK = %task,
                        EXPORT_NAME = export,
                        "export {export}: {at:.0} is skipped, because task {task} is still open"
                    );
                }
                self.trouble(export, None);
                Wake::NOW
            }
            Err(refused) => {
                self.trouble(export, Some(refusal(export, &refused)));
                Wake::within(RETRY)
            }
        }
    }

    /// Tells what goes wrong once, not at every look.
    fn trouble(&mut self, export: &str, text: Option<String>) {
        match text {
            Some(text) if self.troubles.get(export) != Some(&text) => {
                tracing::error!(MESSAGE_ID = Message::ScheduleTrouble.id(), EXPORT_NAME = export, "{text}");
                self.troubles.insert(export.to_owned(), text);
            }
            Some(_) => {}
            None => {
                self.troubles.remove(export);
            }
        }
    }
}

struct One<'a> {
    export: &'a String,
    fingerprint: String,
    plan: Plan,
}

fn refusal(export: &str, refused: &Refusal) -> String {
    format!("failed to run export {export} at its time: {refused}")
}

/// The export that runs next by itself, and when, with the times of its clock; `None` where none will.
pub async fn next(ledger: &Ledger, config: &Config) -> Option<String> {
    let (rows, paused) = (ledger.schedules().await.ok()?, ledger.paused_exports().await.ok()?);
    let (machine, now) = (machine::id(), clock::now());
    let due = config.exports.iter().filter(|(name, _)| !paused.iter().any(|paused| paused == name.as_str()));
    let due = due.filter_map(|(name, export)| {
        let plan = export.schedule.as_ref()?.whole().plan(&machine, name.as_str())?;
        let seen = rows.iter().find(|row| row.export == name.as_str()).map(|row| row.seen);
        let slot = plan.upcoming(seen, now).next()?;
        Some((plan.due(slot), name, plan))
    });
    let (at, name, plan) = due.min_by_key(|(at, _, _)| *at)?;
    Some(format!("{name} {}", at.to_zoned(plan.timetable.zone().clone()).strftime("%a %Y-%m-%d %H:%M %Z")))
}
