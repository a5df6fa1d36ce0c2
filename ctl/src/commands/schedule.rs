//! `schedule`: when exports run by themselves, and how that last went.

use super::show;
use crate::args;
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use crate::table::{Cell, Table};
use jiff::Timestamp;
use saas_export_api::{LastSlot, Schedule, ScheduledTime, SlotOutcome};
use serde_json::Value;

/// Shows the schedules, each with its next times.
pub async fn schedule(args: args::Schedule, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = match &args.export {
        None => format!("/v1/schedules?next={}", args.next),
        Some(export) => format!("/v1/exports/{}/schedule?next={}", encode(export), args.next),
    };
    let document: Value = client.get(&path).await?;
    // One or all: the same list, for programs too.
    let all = if document.is_array() { document } else { Value::Array(vec![document]) };
    let Some(all) = show::<Vec<Schedule>>(all, out)? else { return Ok(Exit::Ok) };
    if all.is_empty() {
        out.say("no export has a schedule: docs/schedules.md");
        return Ok(Exit::Ok);
    }
    out.data(&table(&all, Timestamp::now()).render(out.colours, out.width))?;
    Ok(Exit::Ok)
}

fn table(all: &[Schedule], now: Timestamp) -> Table {
    let header = &["EXPORT", "NEXT", "NEXT (UTC)", "IN", "LAST", "SCHEDULE"];
    let mut table = Table::new(header);
    for schedule in all {
        let first = schedule.next.first();
        table.row([
            human::clean(&schedule.export).into(),
            match first {
                _ if schedule.paused => Cell::coloured("paused", Colour::Yellow),
                Some(time) => local(time, &schedule.timezone).into(),
                None => Cell::coloured("never", Colour::Yellow),
            },
            first.filter(|_| !schedule.paused).map(|time| human::moment(&time.at)).unwrap_or_default().into(),
            first.filter(|_| !schedule.paused).map(|time| left(time, now)).unwrap_or_default().into(),
            schedule.last.as_ref().map_or_else(Cell::default, |slot| last(slot, now)),
            words(schedule).into(),
        ]);
        for time in schedule.next.iter().skip(1).filter(|_| !schedule.paused) {
            table.row([
                Cell::default(),
                local(time, &schedule.timezone).into(),
                human::moment(&time.at).into(),
                left(time, now).into(),
                Cell::default(),
                Cell::default(),
            ]);
        }
    }
    table
}

/// `2026-11-23 02:30:00 +01:00 Europe/Paris`.
fn local(time: &ScheduledTime, zone: &str) -> String {
    let text = human::clean(&time.local);
    let (day, time) = text.split_once('T').unwrap_or(("", &text));
    let (time, offset) = time.split_at_checked(8).unwrap_or((time, ""));
    format!("{day} {time} {offset} {}", human::clean(zone))
}

fn left(time: &ScheduledTime, now: Timestamp) -> String {
    let seconds = human::seconds_between(Some(&now.to_string()), Some(&time.at));
    seconds.map_or_else(|| "now".into(), human::duration)
}

fn last(slot: &LastSlot, now: Timestamp) -> Cell {
    let ago = human::ago(&slot.decided_at, now);
    match (slot.outcome, &slot.task) {
        (SlotOutcome::Missed, _) => Cell::coloured(format!("missed {ago}"), Colour::Yellow),
        (SlotOutcome::Skipped, Some(task)) => {
            Cell::coloured(format!("skipped {ago}: {} was open", human::clean(&task.id)), Colour::Yellow)
        }
        (SlotOutcome::Skipped, None) => Cell::coloured(format!("skipped {ago}"), Colour::Yellow),
        (SlotOutcome::Run, Some(task)) => {
            Cell::coloured(format!("{} {ago}", task.state.word()), Colour::of_state(task.state))
        }
        (SlotOutcome::Run, None) => format!("ran {ago}").into(),
    }
}

/// The expression and what else is said of it.
fn words(schedule: &Schedule) -> String {
    let mut text = human::clean(&schedule.expression);
    if schedule.kind == "cron" {
        text = format!("cron {text}");
    }
    if schedule.delay_seconds > 0 {
        text.push_str(&format!(" + {}", human::duration(schedule.delay_seconds)));
    }
    if !schedule.catch_up {
        text.push_str(", no catch-up");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use saas_export_api::{TaskRef, TaskState};

    fn sample() -> Schedule {
        let time = |at: &str, local: &str| ScheduledTime { at: at.into(), local: local.into() };
        Schedule {
            export: "shop-nightly".into(),
            kind: "calendar".into(),
            expression: "Mon..Fri 02:30 Europe/Paris".into(),
            timezone: "Europe/Paris".into(),
            delay_seconds: 90,
            catch_up: false,
            paused: false,
            next: vec![
                time("2026-11-23T01:31:30Z", "2026-11-23T02:31:30+01:00"),
                time("2026-11-24T01:31:30Z", "2026-11-24T02:31:30+01:00"),
            ],
            last: Some(LastSlot {
                slot: "2026-11-20T01:30:00Z".into(),
                decided_at: "2026-11-20T01:31:30Z".into(),
                outcome: SlotOutcome::Run,
                task: Some(TaskRef {
                    id: "20261120T013130Z-9f86d081".into(),
                    state: TaskState::Succeeded,
                    created_at: "2026-11-20T01:31:30Z".into(),
                    ended_at: None,
                }),
            }),
        }
    }

    #[test]
    fn a_schedule_tells_its_times_here_and_there() {
        let now: Timestamp = "2026-11-21T01:31:30Z".parse().unwrap();
        let mut schedule = sample();
        let text = table(std::slice::from_ref(&schedule), now).render(false, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        for part in [
            "2026-11-23 02:31:30 +01:00 Europe/Paris",
            "2026-11-23T01:31:30Z",
            "2d 0h",
            "succeeded 1d 0h ago",
            "Mon..Fri 02:30 Europe/Paris + 1m 30s, no catch-up",
        ] {
            assert!(lines[1].contains(part), "{part} is not in {text}");
        }
        assert!(lines[2].contains("2026-11-24T01:31:30Z") && lines[2].ends_with("3d 0h"), "{text}");
        schedule.paused = true;
        let text = table(std::slice::from_ref(&schedule), now).render(false, None);
        assert!(text.contains("paused") && !text.contains("2026-11-23T"), "{text}");
        if let Some(last) = &mut schedule.last {
            last.outcome = SlotOutcome::Skipped;
        }
        let text = table(&[schedule], now).render(false, None);
        assert!(text.contains("skipped 1d 0h ago: 20261120T013130Z-9f86d081 was open"), "{text}");
    }
}
