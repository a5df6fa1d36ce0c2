//! The calendar beside systemd's own: a frozen list, and expressions from a seed wherever `systemd-analyze` is installed.

use crate::model::timetable::Timetable;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Times that are compared for each expression.
const TIMES: usize = 4;
/// Zones of the expressions; half of them change their clocks.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Tokyo",
];
/// What nobody would draw at random.
const SPECIAL: [&str; 40] = [
    "minutely",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "quarterly",
    "semiannually",
    "yearly",
    "annually",
    "Weekly",
    "bi-annually",
    "*-*~01",
    "*-*~28 12:00",
    "Mon *-*~07/1",
    "*-02~03",
    "*-*~02..05/2",
    "*-10~1..3",
    "*-*~05/4",
    "02-29",
    "Mon 02-29",
    "2027-02-29",
    "02-30",
    "2024-01-01",
    "20,69-1-1",
    "2026..2028-*-* 0:0",
    "2027/50-1-1",
    "*-*-1..10/20",
    "10..12/5:00",
    "0..23/23:00",
    "*:*:0..10/3",
    "*:*:*",
    "*:0/2",
    "3..5,4..9/2:00",
    "Mon,",
    "Mon..Sun",
    "mon-wed,fri 9:05",
    "Monday,tue 12:00",
    "007:00",
    "Fri *-*-13 13:13:13",
    "*-*-31",
];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/calendar/systemd.txt")
}

/// Numbers from a seed (Marsaglia, xorshift64).
struct Dice(u64);

impl Dice {
    fn upto(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % (most + 1)
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.upto(words.len() as u64 - 1)).unwrap()]
    }

    /// A part of a date or time; `*` more or less often.
    fn part(&mut self, least: u64, most: u64, any: u64) -> String {
        if self.upto(9) < any {
            return "*".into();
        }
        let items = 1 + self.upto(3) / 2;
        let item = |dice: &mut Self| {
            let start = least + dice.upto(most - least);
            let step = 1 + dice.upto((most - least) / 2);
            let stop = start + dice.upto(most - start);
            match dice.upto(5) {
                0 if stop > start => format!("{start}..{stop}"),
                1 if stop > start => format!("{start:02}..{stop}/{step}"),
                2 => format!("{start}/{step}"),
                _ => format!("{start:02}"),
            }
        };
        (0..items).map(|_| item(self)).collect::<Vec<_>>().join(",")
    }

    fn expression(&mut self) -> String {
        if self.upto(7) == 0 {
            return self.one_of(&SPECIAL).to_owned();
        }
        let mut words = Vec::new();
        if self.upto(3) == 0 {
            let days = ["Mon", "Tuesday", "Wed", "thu", "Fri", "Sat", "Sunday"];
            let (first, last) = (self.upto(6), self.upto(6));
            let day = |n: u64| days[usize::try_from(n).unwrap()];
            words.push(match self.upto(2) {
                0 => day(first).into(),
                1 => format!("{},{}", day(first), day(last)),
                _ => format!("{}..{}", day(first.min(last)), day(first.max(last))),
            });
        }
        if self.upto(2) > 0 {
            let (year, month) = (self.part(2026, 2031, 8), self.part(1, 12, 7));
            words.push(match self.upto(4) {
                // systemd takes 28 only in front of a comma, 25 behind it.
                0 => format!("{year}-{month}~{}", self.part(1, 25, 0)),
                1 => format!("{month}-{}", self.part(1, 31, 2)),
                _ => format!("{year}-{month}-{}", self.part(1, 31, 3)),
            });
        }
        if words.is_empty() || self.upto(3) > 0 {
            let (hour, minute) = (self.part(0, 23, 2), self.part(0, 59, 2));
            words.push(match self.upto(2) {
                0 => format!("{hour}:{minute}:{}", self.part(0, 59, 2)),
                _ => format!("{hour}:{minute}"),
            });
        }
        words.join(" ")
    }
}

/// What an expression gives behind a time: its next times, `never` at the end of them, or `invalid`.
type Told = Vec<String>;

fn ours(expression: &str, base: Timestamp) -> Told {
    let Ok(table) = Timetable::calendar(expression) else { return vec!["invalid".into()] };
    let mut told = Vec::new();
    let mut at = base;
    while told.len() < TIMES {
        let Some(next) = table.next(at) else {
            told.push("never".into());
            break;
        };
        told.push(next.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        at = next;
    }
    told
}

/// The same by `systemd-analyze`; `None` where it is not installed.
fn systemd(expressions: &[String], base: Timestamp) -> Option<BTreeMap<String, Told>> {
    let mut told = BTreeMap::new();
    let at = base.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    for some in expressions.chunks(50) {
        let mut command = Command::new("systemd-analyze");
        command.env("TZ", "UTC").env("LC_ALL", "C").arg("calendar").arg(format!("--iterations={TIMES}"));
        let output = command.arg(format!("--base-time={at}")).args(some).output().ok()?;
        let (text, failed) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        // It also gives up on some that it understands, in nights when clocks are changed; those are not compared.
        for line in failed.lines().filter(|line| line.starts_with("Failed to parse")) {
            let expression = some.iter().find(|expression| line.contains(&format!("'{expression}'")));
            told.extend(expression.map(|expression| (expression.clone(), vec!["invalid".into()])));
        }
        // One that is not understood ends nothing, but has no block.
        for block in text.split("\n\n") {
            let value = |line: &str| line.split_once(": ").map(|(_, value)| value.trim().to_owned());
            let form = block.lines().find(|line| line.contains("Original form:")).and_then(value);
            let normal = block.lines().find(|line| line.contains("Normalized form:")).and_then(value);
            let Some(name) = form.or(normal) else { continue };
            let mut times: Told = Vec::new();
            for line in block.lines().filter(|line| line.contains("Next elapse:") || line.contains("Iter")) {
                let found = value(line).unwrap();
                times.push(match found.split(' ').collect::<Vec<_>>().as_slice() {
                    [_, day, time, "UTC"] => format!("{day}T{time}Z"),
                    ["never"] => "never".into(),
                    other => panic!("{other:?}"),
                });
            }
            if times.len() < TIMES && times.last().is_some_and(|last| last != "never") {
                times.push("never".into());
            }
            told.insert(name, times);
        }
    }
    Some(told)
}

/// Whether the clocks of the expression's zone are changed within two days of a time.
fn changing(expression: &str, time: &str) -> bool {
    let (Ok(table), Ok(time)) = (Timetable::calendar(expression), time.parse::<Timestamp>()) else { return false };
    let before = time - SignedDuration::from_hours(48);
    table
        .zone()
        .following(before)
        .next()
        .is_some_and(|change| change.timestamp() < time + SignedDuration::from_hours(48))
}

/// Compares up to the first night in which clocks are changed; gives the number of times.
fn compare(base: Timestamp, expression: &str, wanted: &[String], wrong: &mut Vec<String>) -> usize {
    let got = ours(expression, base);
    let calm = |told: &[String]| told.iter().take_while(|time| !changing(expression, time)).count();
    let calm = calm(&got).min(calm(wanted));
    if got.iter().take(calm).ne(wanted.iter().take(calm)) {
        wrong.push(format!("{expression:?} behind {base}: {got:?}, but systemd says {wanted:?}"));
    }
    calm
}

fn drawn(seed: u64, count: usize) -> Vec<(Timestamp, Vec<String>)> {
    let mut dice = Dice(seed);
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let days = (0..10).map(|_| {
        let at = start + i64::try_from(dice.upto(3 * 365 * 86_400)).unwrap().seconds();
        let one = |dice: &mut Dice| format!("{} {}", dice.expression(), dice.one_of(&ZONES));
        (at, (0..count / 10).map(|_| one(&mut dice)).collect())
    });
    days.collect()
}

/// Notes what this machine cannot test, in the file that `SAAS_EXPORT_SKIPS` names.
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
    let Some(path) = std::env::var_os("SAAS_EXPORT_SKIPS") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| writeln!(file, "{why}")).unwrap();
}

#[test]
fn expressions_from_a_seed_are_as_systemd_says() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    let (mut wrong, mut compared, mut valid) = (Vec::new(), 0, 0);
    for (base, expressions) in drawn(seed, 640) {
        let Some(told) = systemd(&expressions, base) else {
            return skipped("the calendar beside systemd's own: systemd-analyze is not installed");
        };
        for (expression, wanted) in &told {
            valid += usize::from(wanted[0] != "invalid");
            compared += compare(base, expression, wanted, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "seed {seed}: {} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(valid >= 500 && compared >= 1000, "{valid} expressions, {compared} times");
}

#[test]
fn a_frozen_list_is_as_systemd_said() {
    if std::env::var_os("UPDATE_DOCS").is_some() && !fixture().exists() {
        let mut text =
            String::from("# base | expression | what systemd-analyze calendar (252) says comes next, in UTC\n");
        for (base, expressions) in drawn(4711, 600) {
            let told = systemd(&expressions, base).expect("systemd-analyze is installed");
            // Governments that decide anew each year would make it wrong.
            for (expression, told) in told.into_iter().filter(|(expression, _)| !expression.ends_with("Casablanca")) {
                text.push_str(&format!("{base} | {expression} | {}\n", told.join(" ")));
            }
        }
        std::fs::create_dir_all(fixture().parent().unwrap()).unwrap();
        std::fs::write(fixture(), text).unwrap();
    }
    let text = std::fs::read_to_string(fixture()).unwrap();
    let (mut wrong, mut lines, mut compared) = (Vec::new(), 0, 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [base, expression, told] = line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let told: Told = told.split(' ').map(str::to_owned).collect();
        lines += 1;
        compared += compare(base.parse().unwrap(), expression, &told, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(lines >= 500 && compared >= 1000, "{lines} expressions, {compared} times");
}

#[test]
fn mistakes_are_told_with_the_way_to_write_it() {
    for (text, told) in [
        ("", "is empty"),
        ("12", "neither a date nor a time"),
        ("30 2 * * *", "neither a date nor a time"),
        ("Noon", "neither a day (Mon to Sun) nor one of"),
        ("Sat..Mon 10:00", "goes backwards"),
        ("*:*/15", "write 0/15"),
        ("24:00", "24 is no hour: it is 0 to 23"),
        ("10:60", "60 is no minute"),
        ("10:00:00.5", "whole numbers"),
        ("5..3:00", "goes backwards"),
        ("0/24:00", "a step of 24"),
        ("20/10:00", "comes only once"),
        ("*:0/0", "a step of 0"),
        ("*-13-01", "13 is no month"),
        ("*-*~29", "29 is no day from the end"),
        ("2200-01-01", "2200 is no year"),
        ("1-2-3-4", "is no date"),
        ("*-*-* 10:00 11:00", "is too much"),
        ("10:00 Europe/Pariss", "is not a time zone"),
        ("10:00 europe/paris", "write Europe/Paris"),
        ("@1700000000", "neither a date nor a time"),
        ("Mon,,Tue", "neither a day"),
    ] {
        let error = Timetable::calendar(text).map(|_| ()).unwrap_err();
        assert!(error.contains(told), "{text:?}: {error}");
    }
    assert!(Timetable::calendar(&"1,".repeat(600)).is_err());
    // More spaces than systemd would take do no harm.
    assert!(Timetable::calendar("  Mon   10:00  UTC ").is_ok());
}
