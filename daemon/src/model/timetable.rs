//! The instants of a schedule: an expression of the calendar or of cron in a time zone, and what becomes of it in the nights
//! when clocks are changed.
//!
//! A schedule that names hours runs once for each of its times: one that is skipped runs at the moment of the jump, one that
//! comes twice runs the first time. A schedule that names every hour (`hourly`, `*:0/15`) is about elapsed time: it runs
//! whenever the clock on the wall shows a time of it, so in both passes of a repeated hour, and nothing is made up for a skipped
//! one.

use super::calendar::Calendar;
use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// The times of a schedule.
#[derive(Clone, Debug)]
pub struct Timetable {
    rule: Rule,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Rule {
    Calendar(Calendar),
    /// Read as one of UTC, which stands for the clock on the wall.
    Cron {
        crontab: Box<Crontab>,
        every_hour: bool,
    },
}

/// Words of cron that stand for a whole expression.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The longest expression of cron, in characters.
const MAX_CRON: usize = 500;
/// How often the next time is looked for behind four years in which there is none; a 29 February needs it once.
const LOOKS: usize = 45;

impl Timetable {
    /// Reads an expression of the calendar with its time zone: `Mon..Fri 02:30 Europe/Paris`. Without one it is the machine's.
    pub fn calendar(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let Some((last, before)) = words.split_last().filter(|(last, before)| !before.is_empty() && names_zone(last))
        {
            return Ok(Self { zone: zone(last)?, rule: Rule::Calendar(before.join(" ").parse()?) });
        }
        Ok(Self { zone: TimeZone::system(), rule: Rule::Calendar(words.join(" ").parse()?) })
    }

    /// Reads an expression of cron with five fields, or one of its words (`@daily`). Without a time zone it is the machine's.
    pub fn cron(text: &str, timezone: Option<&str>) -> Result<Self, String> {
        if text.chars().count() > MAX_CRON {
            return Err(format!("is longer than {MAX_CRON} characters"));
        }
        let zone = timezone.map_or_else(|| Ok(TimeZone::system()), zone)?;
        let text = text.trim();
        if text.starts_with('@') && !WORDS.iter().any(|(word, _)| *word == text) {
            let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            return Err(format!("{text:?} is none of {}", words.join(", ")));
        }
        let text = WORDS.iter().find(|(word, _)| *word == text).map_or(text, |(_, fields)| *fields);
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [_, hours, ..] = fields.as_slice() else {
            return Err("an expression of cron has five fields".into());
        };
        if fields.len() != 5 {
            return Err(format!("has {} fields, and not minute, hour, day, month and weekday", fields.len()));
        }
        let every_hour = read_cron(&format!("0 {hours} * * *")).is_ok_and(|hours| {
            (0..24).all(|hour| hours.matches(MakeTimestamp(Timestamp::UNIX_EPOCH + hour.hours())).unwrap_or(false))
        });
        let crontab = Box::new(read_cron(&fields.join(" "))?);
        Ok(Self { zone, rule: Rule::Cron { crontab, every_hour } })
    }

    /// The time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Name of the time zone: `UTC` where the machine does not say which one is its own, `local` where that has no name.
    pub fn zone_name(&self) -> &str {
        if self.zone.is_unknown() { "UTC" } else { self.zone.iana_name().unwrap_or("local") }
    }

    /// Its first instant behind `after`; `None` where there is none.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let every_hour = match &self.rule {
            Rule::Calendar(calendar) => calendar.every_hour(),
            Rule::Cron { every_hour, .. } => *every_hour,
        };
        if every_hour { self.next_shown(after) } else { self.next_named(after) }
    }

    /// Its last instant behind `after` and not behind `until`; `None` where there is none.
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let within = |from| self.next(from).filter(|slot| *slot <= until);
        let mut found = within(after)?;
        // Looks back from the end in ever longer steps, then halves what is left.
        let mut step = SignedDuration::from_secs(1);
        while let Some(from) = until.checked_sub(step).ok().filter(|from| *from > found) {
            if let Some(slot) = within(from) {
                found = slot;
                break;
            }
            step = step.saturating_add(step);
        }
        let mut end = until;
        while let Some(slot) = within(found) {
            let half = found.duration_until(end) / 2;
            let middle = found.checked_add(half).unwrap_or(found);
            match self.next(middle.max(slot)).filter(|later| *later <= until) {
                Some(later) => found = later,
                None if middle <= slot => return Some(slot),
                None => {
                    found = slot;
                    end = middle;
                }
            }
        }
        Some(found)
    }

    /// The next time on the wall behind `after`.
    fn civil(&self, after: DateTime) -> Option<DateTime> {
        match &self.rule {
            Rule::Calendar(calendar) => calendar.next(after),
            Rule::Cron { crontab, .. } => {
                let mut from = TimeZone::UTC.to_timestamp(after).ok()?;
                for _ in 0..LOOKS {
                    if let Ok(found) = crontab.find_next(MakeTimestamp(from)) {
                        return Some(found.datetime());
                    }
                    from = from.to_zoned(TimeZone::UTC).checked_add(4.years()).ok()?.timestamp();
                }
                None
            }
        }
    }

    /// Each time once: where it is skipped at the jump, where it comes twice the first time. Instants never decrease while the
    /// times on the wall grow, so that the first one behind `after` is the next.
    fn next_named(&self, after: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(after);
        loop {
            wall = self.civil(wall)?;
            let there = self.zone.to_ambiguous_zoned(wall);
            let instant = match there.offset() {
                AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok()?,
                AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok()?,
                // As if the clock had not been changed: that is behind the jump, which is the last change before it.
                AmbiguousOffset::Gap { before, .. } => {
                    let behind = before.to_timestamp(wall).ok()? + 1.nanosecond();
                    self.zone.preceding(behind).next()?.timestamp()
                }
            };
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// Whenever the clock on the wall shows a time of it: from one change of the clock to the next.
    fn next_shown(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        loop {
            let offset = self.zone.to_offset(from);
            let change = self.zone.following(from).next().map(|change| change.timestamp());
            let shown = self.civil(offset.to_datetime(from)).and_then(|wall| offset.to_timestamp(wall).ok());
            match (shown, change) {
                (Some(shown), Some(change)) if shown >= change => {
                    // A time of it may be shown at the very moment of the change.
                    let offset = self.zone.to_offset(change);
                    let wall = offset.to_datetime(change);
                    if self.civil(wall.checked_sub(1.second()).ok()?) == Some(wall) {
                        return Some(change);
                    }
                    from = change;
                }
                (shown, _) => return shown,
            }
        }
    }
}

/// Whether the last word of an expression of the calendar is meant as a time zone.
fn names_zone(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn zone(name: &str) -> Result<TimeZone, String> {
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    let unknown = || format!("{name:?} is not a time zone that this machine knows: write e.g. Europe/Paris or UTC");
    let zone = TimeZone::get(name).map_err(|_| unknown())?;
    match zone.iana_name() {
        // systemd and other machines want the name as it is written there.
        Some(right) if right != name => Err(format!("{name:?} is not a time zone: write {right}")),
        _ => Ok(zone),
    }
}

fn read_cron(text: &str) -> Result<Crontab, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    parse_crontab_with(text, options).map_err(|error| {
        let text = error.to_string();
        // It shows the expression again, with a mark below the mistake.
        text.lines().last().unwrap_or_default().trim().trim_start_matches('^').trim().to_owned()
    })
}

#[cfg(test)]
mod tests;
