//! Both nights of five zones, time that passes in between, and cron.

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The instants from one to another, as a clock in the zone shows them with its offset.
fn shown(table: &Timetable, from: &str, to: &str) -> Vec<String> {
    let from: jiff::Zoned = from.parse().unwrap();
    let to: jiff::Zoned = to.parse().unwrap();
    let times = std::iter::successors(table.next(from.timestamp()), |slot| table.next(*slot));
    let times = times.take_while(|slot| *slot <= to.timestamp());
    times.map(|slot| slot.to_zoned(table.zone().clone()).strftime("%d %H:%M%:z").to_string()).collect()
}

/// A night: its zone, the evening before it, a time that is skipped, the moment of the jump and the first time behind it as
/// written here; or a time that comes twice and its first offset.
struct Night {
    zone: &'static str,
    day: &'static str,
    time: &'static str,
    runs: &'static str,
}

const SKIPPED: [Night; 5] = [
    Night { zone: "Europe/Paris", day: "2026-03-29", time: "02:30", runs: "29 03:00+02:00" },
    Night { zone: "America/New_York", day: "2026-03-08", time: "02:30", runs: "08 03:00-04:00" },
    Night { zone: "Australia/Lord_Howe", day: "2026-10-04", time: "02:15", runs: "04 02:30+11:00" },
    // At midnight, so that the day begins at 01:00.
    Night { zone: "America/Sao_Paulo", day: "2018-11-04", time: "00:30", runs: "04 01:00-02:00" },
    // Back to summer time after Ramadan.
    Night { zone: "Africa/Casablanca", day: "2026-03-22", time: "02:30", runs: "22 03:00+01:00" },
];

const REPEATED: [Night; 5] = [
    Night { zone: "Europe/Paris", day: "2026-10-25", time: "02:30", runs: "25 02:30+02:00" },
    Night { zone: "America/New_York", day: "2026-11-01", time: "01:30", runs: "01 01:30-04:00" },
    Night { zone: "Australia/Lord_Howe", day: "2026-04-05", time: "01:45", runs: "05 01:45+11:00" },
    Night { zone: "America/Sao_Paulo", day: "2019-02-16", time: "23:30", runs: "16 23:30-02:00" },
    Night { zone: "Africa/Casablanca", day: "2026-02-15", time: "02:30", runs: "15 02:30+01:00" },
];

fn night(night: &Night, expression: &str) -> Vec<String> {
    let table = Timetable::calendar(&format!("{expression} {}", night.zone)).unwrap();
    let day: jiff::civil::Date = night.day.parse().unwrap();
    let edge = |day: jiff::civil::Date| format!("{day}T12:00[{}]", night.zone);
    shown(&table, &edge(day.yesterday().unwrap()), &edge(day.tomorrow().unwrap()))
}

#[test]
fn a_skipped_time_runs_once_at_the_jump() {
    for one in &SKIPPED {
        let runs = night(one, &format!("*-*-* {}", one.time));
        let that_day = one.runs.get(..2).unwrap();
        let of_day: Vec<&String> = runs.iter().filter(|run| run.starts_with(that_day)).collect();
        assert_eq!(of_day, [one.runs], "{}: {runs:?}", one.zone);
        assert_eq!(runs.len(), 2, "and the next day as usual: {runs:?}");
        // Several skipped times are one run, and so is one together with the time at which the clock stands behind the jump.
        let after = one.runs.get(3..8).unwrap();
        let (hour, minute) = one.time.split_once(':').unwrap();
        let (later, end) = (minute.parse::<u32>().unwrap() + 5, after.split_once(':').unwrap());
        let lists = if end.0 == hour {
            format!("{hour}:{minute},{later},{}", end.1)
        } else {
            format!("{hour},{}:00,{minute},{later}", end.0)
        };
        let first = night(one, &format!("{} {lists}", one.day)).into_iter().filter(|run| run == one.runs).count();
        assert_eq!(first, 1, "{}: {lists}", one.zone);
    }
}

#[test]
fn a_repeated_time_runs_the_first_time_it_comes() {
    for one in &REPEATED {
        let runs = night(one, &format!("{} {}", one.day, one.time));
        assert_eq!(runs, [one.runs], "{}", one.zone);
        let cron = Timetable::cron(&format!("{} {} * * *", &one.time[3..], &one.time[..2]), Some(one.zone)).unwrap();
        let from = format!("{}T00:00[{}]", one.day, one.zone);
        let to = format!("{}T23:59[{}]", one.day, one.zone);
        assert_eq!(shown(&cron, &from, &to), [one.runs], "{} by cron", one.zone);
    }
}

#[test]
fn what_names_every_hour_is_about_elapsed_time() {
    for one in REPEATED.iter().chain(&SKIPPED) {
        for (expression, minutes) in [("*:0/15", 15), ("minutely", 1), ("*:*:0/30", 0), ("hourly", 60)] {
            let table = Timetable::calendar(&format!("{expression} {}", one.zone)).unwrap();
            let day: jiff::civil::Date = one.day.parse().unwrap();
            let from: jiff::Zoned = format!("{}T12:00[{}]", day.yesterday().unwrap(), one.zone).parse().unwrap();
            let slots: Vec<Timestamp> =
                std::iter::successors(table.next(from.timestamp()), |slot| table.next(*slot)).take(3000).collect();
            let gaps = slots.windows(2).map(|pair| pair[0].duration_until(pair[1]).as_secs());
            let step = if minutes == 0 { 30 } else { minutes * 60 };
            let end = from.timestamp() + SignedDuration::from_hours(24);
            let gaps = gaps.zip(&slots).take_while(|(_, slot)| **slot < end).map(|(gap, _)| gap);
            // A clock that is changed by half an hour shows the full hour half an hour later, once.
            let odd = if one.zone == "Australia/Lord_Howe" && minutes == 60 { 1 } else { 0 };
            assert!(gaps.filter(|gap| *gap != step).count() <= odd, "{expression} in {}", one.zone);
        }
    }
    let cron = Timetable::cron("*/20 * * * *", Some("Europe/Paris")).unwrap();
    let night = shown(&cron, "2026-10-25T02:30+02:00[Europe/Paris]", "2026-10-25T02:30+01:00[Europe/Paris]");
    assert_eq!(night, ["25 02:40+02:00", "25 02:00+01:00", "25 02:20+01:00"]);
}

#[test]
fn some_hours_of_a_day_are_named_hours() {
    let table = Timetable::calendar("0/2:00 Europe/Paris").unwrap();
    let autumn = shown(&table, "2026-10-25T00:30[Europe/Paris]", "2026-10-25T05:00[Europe/Paris]");
    assert_eq!(autumn, ["25 02:00+02:00", "25 04:00+01:00"]);
    let spring = shown(&table, "2026-03-29T00:30[Europe/Paris]", "2026-03-29T05:00[Europe/Paris]");
    assert_eq!(spring, ["29 03:00+02:00", "29 04:00+02:00"]);
    // A day that a country left out.
    let table = Timetable::calendar("*-*-* 10:00 Pacific/Apia").unwrap();
    let runs = shown(&table, "2011-12-28T12:00[Pacific/Apia]", "2012-01-01T00:00[Pacific/Apia]");
    assert_eq!(runs, ["29 10:00-10:00", "31 00:00+14:00", "31 10:00+14:00"]);
}

#[test]
fn cron_is_read_as_everywhere() {
    for (text, wanted) in [
        ("30 2 * * 1-5", ["2026-11-23T02:30:00Z", "2026-11-24T02:30:00Z"]),
        ("@daily", ["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"]),
        ("@weekly", ["2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"]),
        ("0 0 13 * 5", ["2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z"]),
        ("0 12 1 jan,JUL *", ["2027-01-01T12:00:00Z", "2027-07-01T12:00:00Z"]),
        ("*/7 */6 * * *", ["2026-11-21T12:07:00Z", "2026-11-21T12:14:00Z"]),
        ("0 0 * * 7", ["2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"]),
        ("0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
    ] {
        let table = Timetable::cron(text, Some("UTC")).unwrap();
        let first = table.next(at("2026-11-21T12:00:00Z")).unwrap();
        assert_eq!([first, table.next(first).unwrap()].map(|slot| slot.to_string()), wanted, "{text}");
    }
    let table = Timetable::cron("0 0 29 2 *", Some("UTC")).unwrap();
    assert_eq!(table.next(at("2096-03-01T00:00:00Z")), Some(at("2104-02-29T00:00:00Z")));
    assert_eq!(Timetable::cron("0 0 30 2 *", Some("UTC")).unwrap().next(at("2026-01-01T00:00:00Z")), None);
    for bad in
        ["", "@reboot", "* * * *", "* * * * * *", "60 * * * *", "0 0 0 * *", "a * * * *", "0 0 * * * UTC", "Mon 10:00"]
    {
        assert!(Timetable::cron(bad, Some("UTC")).is_err(), "{bad}");
    }
    assert!(Timetable::cron("@daily", Some("Mars/Olympus")).is_err());
}

fn expressions() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "*:*:0/7 UTC",
        "hourly Europe/Paris",
        "02:30 America/New_York",
        "*-*-* 00:00..59:00/20 UTC",
        "Mon..Fri 9..17:0/30 Europe/Paris",
        "weekly Asia/Tokyo",
        "*-*~01 23:00 UTC",
        "2027-01-01 UTC",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_latest_is_the_last_of_all(text in expressions(), start in 1_750_000_000_i64..1_900_000_000, long in 0_i64..100_000) {
        let table = Timetable::calendar(text).unwrap();
        let from = Timestamp::from_second(start).unwrap();
        let until = from + SignedDuration::from_secs(long);
        let all = std::iter::successors(table.next(from), |slot| table.next(*slot)).take_while(|slot| *slot <= until);
        prop_assert_eq!(table.latest(from, until), all.last());
    }
}
