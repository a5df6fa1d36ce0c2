//! The documents about schedules.

use super::{check, text};
use saas_export_api::{LastSlot, Schedule, ScheduledTime, SlotOutcome, TaskRef, TaskState};

#[test]
fn schedules() {
    let time = |at: &str, local: &str| ScheduledTime { at: text(at), local: text(local) };
    let whole = Schedule {
        export: text("shop-nightly"),
        kind: text("calendar"),
        expression: text("Mon..Fri 02:30 Europe/Paris"),
        timezone: text("Europe/Paris"),
        delay_seconds: 90,
        catch_up: true,
        paused: false,
        next: vec![time("2026-11-23T01:31:30.5Z", "2026-11-23T02:31:30+01:00")],
        last: Some(LastSlot {
            slot: text("2026-11-20T01:30:00Z"),
            decided_at: text("2026-11-20T01:31:30.7Z"),
            outcome: SlotOutcome::Skipped,
            task: Some(TaskRef {
                id: text("20261119T013130Z-9f86d081"),
                state: TaskState::Processing,
                created_at: text("2026-11-19T01:31:30.7Z"),
                ended_at: None,
            }),
        }),
    };
    check("schedule", &whole);
    check("schedule_small", &Schedule { next: Vec::new(), last: None, kind: text("cron"), ..whole });
}
