//! Times of a calendar in the syntax of systemd (`OnCalendar=`, systemd.time(7)): read, and the next one behind another.
//!
//! Everything here is a clock on a wall: which instants its times are, also in the nights when clocks are changed, is
//! [`super::timetable`].

mod read;

use jiff::civil::{Date, DateTime, Weekday, date};
use std::ops::RangeInclusive;

/// The years that an expression may name.
pub(super) const YEARS: RangeInclusive<u32> = 1970..=2199;

/// The times that an expression stands for, as a clock on the wall shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Bit 0 is Monday; all seven where none is named.
    weekdays: u8,
    years: Part,
    months: u64,
    days: Days,
    hours: u64,
    minutes: u64,
    seconds: u64,
}

/// What an expression says of one part of a date or time; nothing is every value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part(Vec<Run>);

/// `start`, `start/step`, `start..stop` or `start..stop/step`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    start: u32,
    stop: Option<u32>,
    /// 0 where `start` stands alone.
    step: u32,
}

/// Days of a month, counted from its first day, or behind `~` from its last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Days {
    part: Part,
    from_end: bool,
}

impl Run {
    /// The values up to `most`.
    fn values(&self, most: u32) -> impl Iterator<Item = u32> + use<> {
        let last = match (self.step, self.stop) {
            (0, _) => self.start,
            (_, Some(stop)) => stop.min(most),
            (_, None) => most,
        };
        (self.start..=last).step_by(self.step.max(1) as usize)
    }

    /// The smallest value that is not below `least`.
    fn at_least(&self, least: u32, most: u32) -> Option<u32> {
        self.values(most).find(|value| *value >= least)
    }
}

impl Part {
    /// The values within `bounds` as bits.
    fn bits(&self, bounds: RangeInclusive<u32>) -> u64 {
        let bit = |value: u32| 1_u64.checked_shl(value).unwrap_or(0);
        if self.0.is_empty() {
            return bounds.map(bit).sum();
        }
        let values = self.0.iter().flat_map(|run| run.values(*bounds.end()));
        values.fold(0, |bits, value| bits | bit(value))
    }
}

impl Days {
    /// The days of a month of so many days, as bits.
    fn bits(&self, length: u32) -> u64 {
        if self.part.0.is_empty() || !self.from_end {
            let within = (1_u64 << (length + 1)) - 1;
            return self.part.bits(1..=31) & within;
        }
        // The first of a range from the end is the last day of it.
        let turned = self.part.0.iter().map(|run| {
            let day = |n: u32| (length + 1).saturating_sub(n);
            match run.stop {
                Some(stop) => Run { start: day(stop), stop: Some(day(run.start)), step: run.step },
                None => Run { start: day(run.start), ..run.clone() },
            }
        });
        Part(turned.collect()).bits(1..=length)
    }
}

/// The lowest bit that is set from `from` on.
fn at_least(bits: u64, from: u32) -> Option<u32> {
    let left = bits & u64::MAX.checked_shl(from)?;
    (left != 0).then(|| left.trailing_zeros())
}

impl Calendar {
    /// The first time of it behind `after`; `None` where there is none up to the end of the year 2199.
    pub fn next(&self, after: DateTime) -> Option<DateTime> {
        if self.has(after.date())
            && let Some(time) = self.later_that_day(after)
        {
            return Some(time);
        }
        let day = self.first_day(after.date().tomorrow().ok()?)?;
        let [hour, minute, second] = [self.hours, self.minutes, self.seconds].map(|bits| at_least(bits, 0));
        at(day, hour?, minute?, second?)
    }

    /// Whether it names every hour of a day.
    pub fn every_hour(&self) -> bool {
        self.hours == Part::default().bits(0..=23)
    }

    fn has(&self, day: Date) -> bool {
        self.first_day(day) == Some(day)
    }

    fn later_that_day(&self, after: DateTime) -> Option<DateTime> {
        let [hour, minute, second] =
            [after.hour(), after.minute(), after.second()].map(|n| u32::from(n.unsigned_abs()));
        let first = |bits| at_least(bits, 0);
        let in_hour = || {
            let in_minute = at_least(self.seconds, second + 1).filter(|_| self.minutes >> minute & 1 == 1);
            match in_minute {
                Some(second) => Some((minute, second)),
                None => Some((at_least(self.minutes, minute + 1)?, first(self.seconds)?)),
            }
        };
        let now = (self.hours >> hour & 1 == 1).then(in_hour).flatten();
        match now {
            Some((minute, second)) => at(after.date(), hour, minute, second),
            None => at(after.date(), at_least(self.hours, hour + 1)?, first(self.minutes)?, first(self.seconds)?),
        }
    }

    /// The first day of it that is not before `from`.
    fn first_day(&self, from: Date) -> Option<Date> {
        let start = u32::from(from.year().unsigned_abs());
        for year in start.max(*YEARS.start())..=*YEARS.end() {
            let named = &self.years.0;
            if !named.is_empty() && !named.iter().any(|run| run.at_least(year, *YEARS.end()) == Some(year)) {
                continue;
            }
            for month in (1..=12).filter(|month| self.months >> month & 1 == 1) {
                let first = date(i16::try_from(year).ok()?, month, 1);
                if first.last_of_month() < from {
                    continue;
                }
                let days = self.days.bits(u32::from(first.days_in_month().unsigned_abs()));
                let found = (1..=first.days_in_month()).filter(|day| days >> day & 1 == 1).find_map(|day| {
                    let day = Date::new(first.year(), month, day).ok()?;
                    (day >= from && self.on(day.weekday())).then_some(day)
                });
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn on(&self, weekday: Weekday) -> bool {
        self.weekdays >> weekday.to_monday_zero_offset() & 1 == 1
    }
}

fn at(day: Date, hour: u32, minute: u32, second: u32) -> Option<DateTime> {
    let [hour, minute, second] = [hour, minute, second].map(|n| i8::try_from(n).ok());
    Some(day.at(hour?, minute?, second?, 0))
}

#[cfg(test)]
mod tests;
