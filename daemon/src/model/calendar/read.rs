//! Reads an expression of the calendar, as strictly as systemd does; what is refused is told with the way to write it.

use super::{Calendar, Days, Part, Run, YEARS};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The longest expression, in characters.
const MAX_TEXT: usize = 500;
/// The most values in a list, as in systemd.
const MAX_LIST: usize = 240;

/// The days of the week.
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Words that stand for a whole expression.
const WORDS: [(&str, &str); 13] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("anually", "*-01-01 00:00:00"),
];

/// A part of a date or time, and what it may be.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    least: u32,
    most: u32,
}

const YEAR: Kind = Kind { name: "year", least: *YEARS.start(), most: *YEARS.end() };
const MONTH: Kind = Kind { name: "month", least: 1, most: 12 };
const DAY: Kind = Kind { name: "day", least: 1, most: 31 };
/// Counted from the end of the month; no month is so short that it has none.
const DAY_FROM_END: Kind = Kind { name: "day from the end of a month", least: 1, most: 28 };
const HOUR: Kind = Kind { name: "hour", least: 0, most: 23 };
const MINUTE: Kind = Kind { name: "minute", least: 0, most: 59 };
const SECOND: Kind = Kind { name: "second", least: 0, most: 59 };

impl Kind {
    fn bounds(self) -> RangeInclusive<u32> {
        self.least..=self.most
    }

    fn check(self, value: u32) -> Result<(), String> {
        match self.bounds().contains(&value) {
            true => Ok(()),
            false => Err(format!("{value} is no {}: it is {} to {}", self.name, self.least, self.most)),
        }
    }
}

impl FromStr for Calendar {
    type Err = String;

    /// Reads an expression without a time zone: `Mon..Fri 02:30`, `*-*~01 06:00`, `daily`. The error says what is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_TEXT {
            return Err(format!("is longer than {MAX_TEXT} characters"));
        }
        let meant = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
        let mut words = meant.map_or(text, |(_, meant)| *meant).split_whitespace().peekable();
        if words.peek().is_none() {
            return Err("is empty".into());
        }
        let weekdays = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
        let weekdays = weekdays.map(read_weekdays).transpose()?.unwrap_or(0x7f);
        let date = words.next_if(|word| word.contains(['-', '~'])).map(read_date).transpose()?.unwrap_or_default();
        let [hours, minutes, seconds] = match words.next() {
            None => [Part::one(0), Part::one(0), Part::one(0)],
            Some(word) => read_time(word)?,
        };
        if let Some(more) = words.next() {
            return Err(format!("{} is too much: weekdays, a date, a time and a time zone are all", shown(more)));
        }
        Ok(Self {
            weekdays,
            years: date.years,
            months: date.months.bits(MONTH.bounds()),
            days: Days { part: date.days, from_end: date.from_end },
            hours: hours.bits(HOUR.bounds()),
            minutes: minutes.bits(MINUTE.bounds()),
            seconds: seconds.bits(SECOND.bounds()),
        })
    }
}

impl Part {
    fn one(value: u32) -> Self {
        Self(vec![Run { start: value, stop: None, step: 0 }])
    }
}

/// A text of the operator as it may stand in a message.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

/// `Mon`, `Mon,Thursday`, `Mon..Fri`; also `Mon-Fri`, as it was written long ago. Bits from Monday on.
fn read_weekdays(word: &str) -> Result<u8, String> {
    let mut bits = 0;
    for part in word.strip_suffix(',').unwrap_or(word).split(',') {
        let (first, last) = part.split_once("..").or_else(|| part.split_once('-')).unwrap_or((part, part));
        let (from, to) = (weekday(first)?, weekday(last)?);
        if from > to {
            return Err(format!("{} goes backwards: a week begins on Monday, write e.g. Sat,Sun,Mon", shown(part)));
        }
        bits |= (from..=to).fold(0, |bits, day| bits | 1 << day);
    }
    Ok(bits)
}

fn weekday(name: &str) -> Result<u8, String> {
    let lower = name.to_ascii_lowercase();
    let found = DAYS.iter().zip(0..).find(|(day, _)| **day == lower || day.get(..3) == Some(lower.as_str()));
    found.map(|(_, number)| number).ok_or_else(|| {
        let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).filter(|word| !word.contains(['-', 'i'])).collect();
        format!("{} is neither a day (Mon to Sun) nor one of {}", shown(name), words.join(", "))
    })
}

#[derive(Default)]
struct ReadDate {
    years: Part,
    months: Part,
    days: Part,
    from_end: bool,
}

/// `YEAR-MONTH-DAY` or `MONTH-DAY`; behind `~` days count from the end of the month.
fn read_date(word: &str) -> Result<ReadDate, String> {
    let wrong =
        || format!("{} is no date: write e.g. *-*-01, 12-24, or *-*~01 for the last day of a month", shown(word));
    let from_end = word.contains('~');
    let (before, days) = word.rsplit_once(['-', '~']).ok_or_else(wrong)?;
    if before.contains('~') || days.is_empty() {
        return Err(wrong());
    }
    let (years, months) = match before.split_once('-') {
        Some((years, months)) => (read_part(years, YEAR)?, months),
        None => (Part::default(), before),
    };
    if months.contains('-') {
        return Err(wrong());
    }
    let kind = if from_end { DAY_FROM_END } else { DAY };
    Ok(ReadDate { years, months: read_part(months, MONTH)?, days: read_part(days, kind)?, from_end })
}

/// `HOUR:MINUTE` or `HOUR:MINUTE:SECOND`.
fn read_time(word: &str) -> Result<[Part; 3], String> {
    let parts: Vec<&str> = word.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (hours, minutes, None),
        [hours, minutes, seconds] => (hours, minutes, Some(seconds)),
        _ => return Err(format!("{} is neither a date nor a time: write e.g. 02:30, or *-*-01 02:30", shown(word))),
    };
    let seconds = seconds.map(|text| read_seconds(text)).transpose()?.unwrap_or_else(|| Part::one(0));
    Ok([read_part(hours, HOUR)?, read_part(minutes, MINUTE)?, seconds])
}

fn read_seconds(text: &str) -> Result<Part, String> {
    let fraction = text.split(['/', ',']).flat_map(|part| part.split("..")).any(|number| number.contains('.'));
    match fraction {
        true => Err(format!("{}: seconds are whole numbers here", shown(text))),
        false => read_part(text, SECOND),
    }
}

/// `*`, or a list of what is written in the docs of [`Run`].
fn read_part(text: &str, kind: Kind) -> Result<Part, String> {
    if text == "*" {
        return Ok(Part::default());
    }
    if let Some(step) = text.strip_prefix("*/") {
        return Err(format!("{}: a step needs a start, write {}/{step}", shown(text), kind.least));
    }
    let runs: Vec<Run> = text.split(',').map(|item| read_run(item, kind)).collect::<Result<_, _>>()?;
    match runs.len() > MAX_LIST {
        true => Err(format!("a list has more than {MAX_LIST} values")),
        false => Ok(Part(runs)),
    }
}

fn read_run(item: &str, kind: Kind) -> Result<Run, String> {
    let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
    let (start, stop) = range.split_once("..").map_or((range, None), |(start, stop)| (start, Some(stop)));
    let year = |n: u32| match n {
        0..70 if kind.name == YEAR.name => n + 2000,
        70..100 if kind.name == YEAR.name => n + 1900,
        n => n,
    };
    let value = |text: &str| {
        let value = year(number(text, kind)?);
        kind.check(value).map(|()| value)
    };
    let start = value(start)?;
    let stop = stop.map(value).transpose()?;
    let step = step.map(|text| number(text, kind)).transpose()?;
    if step == Some(0) || step.is_some_and(|step| step > kind.most - kind.least) {
        return Err(format!("{}: a step of {} is not possible", shown(item), step.unwrap_or_default()));
    }
    match stop {
        Some(stop) if stop < start => Err(format!("{} goes backwards", shown(item))),
        Some(stop) => {
            let step = step.unwrap_or(1);
            let last = stop - (stop - start) % step;
            Ok(if last == start { Run { start, stop: None, step: 0 } } else { Run { start, stop: Some(last), step } })
        }
        None => {
            let step = step.unwrap_or(0);
            let fits = match kind.name == DAY_FROM_END.name {
                true => start.checked_sub(step).is_some_and(|day| day >= kind.least),
                false => start + step <= kind.most,
            };
            let once = || format!("{} comes only once: leave the step out", shown(item));
            fits.then_some(Run { start, stop: None, step }).ok_or_else(once)
        }
    }
}

fn number(text: &str, kind: Kind) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = digits.then(|| text.parse::<u32>().ok()).flatten();
    value.ok_or_else(|| format!("{} is no {}: it is {} to {}, or *", shown(text), kind.name, kind.least, kind.most))
}
