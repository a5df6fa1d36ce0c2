//! When an export runs by itself.

use crate::config::units::Span;
use crate::model::due::{self, Plan};
use crate::model::timetable::Timetable;
use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// When an export runs by itself, as it is written: an expression of the calendar, or a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Schedule {
    /// Only the expression.
    Text(String),
    /// The whole.
    Map(ScheduleMap),
}

/// When an export runs by itself. A text stands for `{ calendar: … }`. One of `calendar` and `cron` must be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleMap {
    /// Weekdays, date, time and time zone, each of them but one may be left out, in the syntax of systemd's `OnCalendar=`:
    /// `Mon..Fri 02:30 Europe/Paris`, `*-*~01 06:00 UTC` (the last day of a month), `*:0/15`, `daily`. Without a time zone it
    /// is the machine's. See docs/schedules.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// The five fields of cron, `30 2 * * 1-5`, or one of `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Time zone of `cron`, e.g. `Europe/Paris`; the machine's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Each run comes later by up to this long: always the same on a machine, and another time for every export, so that they
    /// do not all begin at once.
    #[serde(default = "no_delay", skip_serializing_if = "is_no_delay")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub randomized_delay: Span,
    /// Whether times that were missed, because the daemon did not run or the export was paused, are made up for by one run.
    #[serde(default = "yes")]
    pub catch_up: bool,
}

fn no_delay() -> Span {
    Span(Duration::ZERO)
}

fn is_no_delay(span: &Span) -> bool {
    span.0.is_zero()
}

fn yes() -> bool {
    true
}

impl JsonSchema for Schedule {
    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = ScheduleMap::json_schema(generator);
        schema.insert("type".into(), serde_json::json!(["object", "string"]));
        // For the walk: a text stands for the map with this key.
        schema.insert("x-text".into(), "calendar".into());
        schema
    }
}

impl Schedule {
    /// It as a map.
    pub fn whole(&self) -> ScheduleMap {
        match self {
            Self::Map(map) => map.clone(),
            Self::Text(text) => ScheduleMap {
                calendar: Some(text.clone()),
                cron: None,
                timezone: None,
                randomized_delay: no_delay(),
                catch_up: true,
            },
        }
    }
}

impl ScheduleMap {
    /// Its times. The error says what is wrong with the expression.
    pub fn timetable(&self) -> Result<Timetable, String> {
        match (&self.calendar, &self.cron) {
            (Some(text), None) => Timetable::calendar(text),
            (None, Some(text)) => Timetable::cron(text, self.timezone.as_deref()),
            (Some(_), Some(_)) | (None, None) => Err("one of calendar and cron must be there".into()),
        }
    }

    /// What it means for an export on a machine; `None` for one that the checks refuse.
    pub fn plan(&self, machine: &str, export: &str) -> Option<Plan> {
        let delay = match self.randomized_delay.0 {
            Duration::ZERO => SignedDuration::ZERO,
            most => due::delay(machine, export, most),
        };
        Some(Plan { timetable: self.timetable().ok()?, delay, catch_up: self.catch_up })
    }

    /// The expression for a person, as it is written.
    pub fn expression(&self) -> &str {
        self.calendar.as_deref().or(self.cron.as_deref()).unwrap_or_default()
    }

    /// What makes it another schedule when it changes: its expression and its time zone as they are written.
    pub fn fingerprint(&self) -> String {
        let kind = if self.cron.is_some() { "cron" } else { "calendar" };
        let words: Vec<&str> = self.expression().split_whitespace().chain(self.timezone.as_deref()).collect();
        format!("{kind} {}", words.join(" "))
    }
}
