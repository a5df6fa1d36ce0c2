//! Schedules: when exports run by themselves.

use crate::base::clock;
use crate::base::ids::Name;
use crate::config::settings::Export;
use crate::control::ControlState;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::host::machine;
use crate::ledger::rows::ScheduleRow;
use crate::model::due::Plan;
use jiff::Timestamp;
use saas_export_api::{ErrorCode, LastSlot, Schedule, ScheduledTime};

/// Next times that are told unless another number is asked for.
const NEXT: usize = 1;
/// The most next times of a schedule.
const MAX_NEXT: usize = 100;

/// `GET /v1/schedules?next=5`: the schedules of all exports that have one.
pub async fn list(call: Call) -> Result<Reply, Failure> {
    let next = wanted(&call)?;
    let config = call.state.config();
    let known = Known::read(&call.state).await?;
    let mut all = Vec::new();
    for export in config.exports.iter().filter(|(_, export)| export.schedule.is_some()) {
        all.extend(known.describe(&call.state, export, next).await?);
    }
    Reply::sync(all)
}

/// `GET /v1/exports/{export}/schedule?next=5`.
pub async fn show(call: Call) -> Result<Reply, Failure> {
    let next = wanted(&call)?;
    let config = call.state.config();
    let export = reads::export(&config, call.arg(0))?;
    let known = Known::read(&call.state).await?;
    match known.describe(&call.state, export, next).await? {
        Some(schedule) => Reply::sync(schedule),
        None => Err(Failure::new(ErrorCode::NotFound, format!("export {} has no schedule", export.0))
            .hint("give it one in its configuration, e.g. schedule: Mon..Fri 02:30 Europe/Paris")),
    }
}

fn wanted(call: &Call) -> Result<usize, Failure> {
    call.target.query.only(&["next"])?;
    call.target.query.number("next", NEXT, MAX_NEXT)
}

/// What the ledger knows of schedules.
struct Known {
    rows: Vec<ScheduleRow>,
    paused: Vec<String>,
    machine: String,
    now: Timestamp,
}

impl Known {
    async fn read(state: &ControlState) -> Result<Self, Failure> {
        let rows = state.ledger.schedules().await.map_err(wire::ledger_error)?;
        Ok(Self { rows, paused: reads::paused(state).await?, machine: machine::id(), now: clock::now() })
    }

    async fn describe(
        &self,
        state: &ControlState,
        (name, export): (&Name, &Export),
        next: usize,
    ) -> Result<Option<Schedule>, Failure> {
        let Some(schedule) = export.schedule.as_ref().map(|schedule| schedule.whole()) else { return Ok(None) };
        let Some(plan) = schedule.plan(&self.machine, name.as_str()) else { return Ok(None) };
        let row = self.rows.iter().find(|row| row.export == name.as_str());
        Ok(Some(Schedule {
            export: name.to_string(),
            kind: if schedule.cron.is_some() { "cron" } else { "calendar" }.into(),
            expression: schedule.expression().to_owned(),
            timezone: plan.timetable.zone_name().to_owned(),
            delay_seconds: plan.delay.as_secs().unsigned_abs(),
            catch_up: plan.catch_up,
            paused: self.paused.iter().any(|paused| paused == name.as_str()),
            next: plan.upcoming(row.map(|row| row.seen), self.now).take(next).map(|slot| time(&plan, slot)).collect(),
            last: match row {
                Some(row) => last(state, row).await?,
                None => None,
            },
        }))
    }
}

fn time(plan: &Plan, slot: Timestamp) -> ScheduledTime {
    let at = plan.due(slot);
    let local = at.to_zoned(plan.timetable.zone().clone());
    ScheduledTime { at: wire::time(at), local: local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string() }
}

async fn last(state: &ControlState, row: &ScheduleRow) -> Result<Option<LastSlot>, Failure> {
    let (Some(slot), Some(decided_at), Some(outcome)) = (row.seen.slot, row.decided_at, row.outcome) else {
        return Ok(None);
    };
    let task = match &row.task {
        Some(id) => state.ledger.task(id).await.map_err(wire::ledger_error)?,
        None => None,
    };
    let task = task.as_ref().map(wire::task_ref);
    Ok(Some(LastSlot {
        slot: wire::time(slot),
        decided_at: wire::time(decided_at),
        outcome: wire::outcome(outcome),
        task,
    }))
}
