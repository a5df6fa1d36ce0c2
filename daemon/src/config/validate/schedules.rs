//! When exports run by themselves.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Export, Schedule};
use crate::model::timetable::Timetable;

/// What is told beside a mistake in an expression of the calendar.
const CALENDAR: &str =
    "write e.g. \"Mon..Fri 02:30 Europe/Paris\", \"*-*-01 06:00 UTC\" or \"daily\"; systemd-analyze calendar tries it";
/// The same for cron.
const CRON: &str = "write minute, hour, day, month and weekday, e.g. \"30 2 * * 1-5\", or \"@daily\"";

impl Check<'_> {
    pub(super) fn schedule(&mut self, path: &KeyPath, export: &Export) {
        let Some(schedule) = &export.schedule else { return };
        let path = path.key("schedule");
        let whole = schedule.whole();
        let place = |key| if matches!(schedule, Schedule::Text(_)) { path.clone() } else { path.key(key) };
        match (&whole.calendar, &whole.cron) {
            (Some(_), Some(_)) => {
                self.wrong(Mistake::key(&path, "has both calendar and cron").hint("leave one of them out"));
            }
            (None, None) => {
                let mistake = Mistake::key(&path, "says no time");
                self.wrong(mistake.hint("write calendar: \"Mon..Fri 02:30 Europe/Paris\" or cron: \"30 2 * * 1-5\""));
            }
            (Some(_), None) => {
                if whole.timezone.is_some() {
                    let mistake = Mistake::key(&path.key("timezone"), "a calendar has its time zone in the expression");
                    self.wrong(mistake.hint("write e.g. calendar: \"02:30 Europe/Paris\""));
                }
                if let Err(why) = whole.timetable() {
                    let mistake = Mistake::value(&place("calendar"), why);
                    self.wrong(match Timetable::cron(whole.expression(), None) {
                        Ok(_) => {
                            mistake.hint(format!("cron has a key of its own: {{ cron: {:?} }}", whole.expression()))
                        }
                        Err(_) => mistake.hint(CALENDAR),
                    });
                }
            }
            (None, Some(_)) => match whole.timetable() {
                Err(why) if why.contains("time zone") => self.wrong(Mistake::value(&place("timezone"), why)),
                Err(why) => self.wrong(Mistake::value(&place("cron"), why).hint(CRON)),
                Ok(_) => {}
            },
        }
        // A run by itself gives no parameters.
        for name in export.params.iter().filter(|(_, param)| param.default.is_none()).map(|(name, _)| name.as_str()) {
            let mistake = Mistake::key(&path, format!("a run by itself gives no value to the parameter {name:?}"));
            self.wrong(mistake.hint("give the parameter a default"));
        }
    }
}
