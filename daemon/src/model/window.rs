//! Times at which something may run, by the wall clock of a time zone: pure, also in the nights when clocks are changed.
//!
//! A moment lies in a window if the clock on the wall there shows a time of it, on a day of it. So a window that is crossed
//! by a clock that is put back is longer by that hour, and one that lies in the hour that is left out is not there that night.

use super::task::Waiting;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};
use std::fmt;
use std::str::FromStr;

/// How far ahead the next opening is looked for: a weekly window can fall into a missing hour once.
const AHEAD_DAYS: i64 = 15;
/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// The days of the week, as they are written.
const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// A part of certain days: `Mon..Fri 22:00-06:00 Europe/Paris`.
#[derive(Clone, Debug)]
pub struct Window {
    text: String,
    /// The days on which it opens, from Monday on.
    days: [bool; 7],
    /// Minute of the day at which it opens.
    start: u16,
    /// Minute at which it closes, on the next day where it is not behind the start.
    end: u16,
    zone: TimeZone,
}

impl FromStr for Window {
    type Err = String;

    /// Reads `[DAYS] HH:MM-HH:MM [ZONE]`: days like `Mon..Fri`, `Sat,Sun` (all without them), UTC without a zone.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let days = match words.next_if(|word| word.starts_with(char::is_alphabetic)) {
            None => [true; 7],
            Some(word) => days(word)?,
        };
        let times = words.next().ok_or("has no times: write e.g. 22:00-06:00")?;
        let (start, end) = times.split_once('-').ok_or_else(|| format!("{times:?}: write e.g. 22:00-06:00"))?;
        let (start, end) = (minute(start)?, minute(end)?);
        if start == end || start == DAY || end == 0 {
            return Err(format!(
                "{times:?} is no span of time: a whole day is 00:00-24:00, midnight is an end as 24:00"
            ));
        }
        let zone = match words.next() {
            None | Some("UTC" | "Z") => TimeZone::UTC,
            Some(name) => TimeZone::get(name)
                .map_err(|_| format!("{name:?} is not a time zone that this machine knows: write e.g. Europe/Paris"))?,
        };
        match words.next() {
            None => Ok(Self { text: text.split_whitespace().collect::<Vec<_>>().join(" "), days, start, end, zone }),
            Some(more) => Err(format!("{more:?} is too much: write e.g. Mon..Fri 22:00-06:00 Europe/Paris")),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn days(text: &str) -> Result<[bool; 7], String> {
    let index = |name: &str| {
        let found = DAYS.iter().position(|(day, _)| *day == name);
        found.ok_or_else(|| format!("{name:?} is not a day: write Mon, Tue, Wed, Thu, Fri, Sat or Sun"))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (mut at, last) = (index(first)?, index(last)?);
        days[at] = true;
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Ok(days)
}

fn minute(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is not a time: write e.g. 06:30");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let two = |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u16>());
    match (two(hours).and_then(Result::ok), two(minutes).and_then(Result::ok)) {
        (Some(hours @ 0..24), Some(minutes @ 0..60)) => Ok(hours * 60 + minutes),
        (Some(24), Some(0)) => Ok(DAY),
        _ => Err(wrong()),
    }
}

impl Window {
    /// Whether the clock on the wall shows a time of it.
    pub fn contains(&self, at: Timestamp) -> bool {
        let local = at.to_zoned(self.zone.clone());
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
        let today = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(0);
        let opens = |day: usize| self.days.get(day % 7).copied().unwrap_or(false);
        if self.start < self.end {
            opens(today) && (self.start..self.end).contains(&minute)
        } else {
            (opens(today) && minute >= self.start) || (opens(today + 6) && minute < self.end)
        }
    }

    /// Every moment behind `at` at which it may open or close, unordered; between two of them nothing changes.
    fn edges(&self, at: Timestamp) -> Vec<Timestamp> {
        let mut edges = Vec::new();
        let local = at.to_zoned(self.zone.clone());
        for day in -1..=AHEAD_DAYS {
            let Ok(date) = local.date().checked_add(day.days()) else { continue };
            for minute in [self.start, self.end % DAY, 0] {
                let (hour, minute) = (minute / 60, minute % 60);
                let time = date.at(i8::try_from(hour).unwrap_or(0), i8::try_from(minute).unwrap_or(0), 0, 0);
                // A time that comes twice is an edge twice; one that is left out is where the clock is put forward.
                let there = self.zone.to_ambiguous_zoned(time);
                let both = [there.clone().earlier(), there.later()];
                edges.extend(both.iter().flatten().map(Zoned::timestamp));
            }
        }
        let end = at.checked_add((AHEAD_DAYS * 24).hours()).unwrap_or(Timestamp::MAX);
        edges.extend(self.zone.following(at).map(|change| change.timestamp()).take_while(|change| *change <= end));
        edges.retain(|edge| *edge > at);
        edges
    }
}

/// Why nothing may run at `now`, and when it may again; `None` while it may. Without windows it always may.
pub fn closed(windows: &[Window], now: Timestamp) -> Option<Waiting> {
    let open = |at| windows.iter().any(|window| window.contains(at));
    if windows.is_empty() || open(now) {
        return None;
    }
    let mut edges: Vec<Timestamp> = windows.iter().flat_map(|window| window.edges(now)).collect();
    edges.sort();
    let until = edges.into_iter().find(|edge| open(*edge));
    let texts: Vec<&str> = windows.iter().map(|window| window.text.as_str()).collect();
    Some(Waiting { reason: format!("it may run only within its windows: {}", texts.join(", ")), until })
}

#[cfg(test)]
mod tests;
