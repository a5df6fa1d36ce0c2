//! What became of a time of a schedule, for the wire.

use crate::ledger::rows::SlotOutcome;
use saas_export_api as api;

/// What was decided on a time of a schedule.
pub fn outcome(outcome: SlotOutcome) -> api::SlotOutcome {
    match outcome {
        SlotOutcome::Run => api::SlotOutcome::Run,
        SlotOutcome::Open => api::SlotOutcome::Skipped,
        SlotOutcome::Missed => api::SlotOutcome::Missed,
    }
}
