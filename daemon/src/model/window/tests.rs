//! Windows against a clock on the wall that is looked at minute by minute.

use super::*;
use proptest::prelude::*;

fn window(text: &str) -> Window {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn what_is_written() {
    for good in [
        "22:00-06:00",
        "Mon..Fri 22:00-06:00 Europe/Paris",
        "Sat,Sun 00:00-24:00",
        "Fri..Mon 12:00-24:00 UTC",
        "Mon,Wed..Fri 01:00-02:00 America/New_York",
    ] {
        assert_eq!(window(good).to_string(), good);
    }
    assert_eq!(window("Fri..Mon 01:00-02:00").days, [true, false, false, false, true, true, true]);
    for (bad, why) in [
        ("", "has no times"),
        ("Mon", "has no times"),
        ("Monday 01:00-02:00", "is not a day"),
        ("mon 01:00-02:00", "is not a day"),
        ("25:00-26:00", "is not a time"),
        ("1:00-2:00", "is not a time"),
        ("01:00", "write e.g."),
        ("06:00-06:00", "00:00-24:00"),
        ("22:00-00:00", "24:00"),
        ("24:00-01:00", "24:00"),
        ("01:00-02:00 Mars/Base", "is not a time zone"),
        ("01:00-02:00 UTC 3", "too much"),
    ] {
        let found = bad.parse::<Window>().unwrap_err();
        assert!(found.contains(why), "{bad}: {found}");
    }
}

#[test]
fn nights_belong_to_the_day_on_which_they_begin() {
    let nights = [window("Mon..Fri 22:00-06:00 Europe/Paris")];
    // 2026-11-20 is a Friday; Paris is an hour ahead of UTC.
    let cases = [
        ("2026-11-20T20:59:59Z", Some("2026-11-20T21:00:00Z")),
        ("2026-11-20T21:00:00Z", None),
        ("2026-11-21T04:59:59Z", None),
        ("2026-11-21T05:00:00Z", Some("2026-11-23T21:00:00Z")),
        ("2026-11-22T22:00:00Z", Some("2026-11-23T21:00:00Z")),
    ];
    for (now, until) in cases {
        let found = closed(&nights, at(now));
        assert_eq!(found.and_then(|waiting| waiting.until), until.map(at), "{now}");
    }
    assert!(closed(&[], at("2026-11-20T20:59:59Z")).is_none(), "without windows it always may");
    let reason = closed(&nights, at("2026-11-20T12:00:00Z")).unwrap().reason;
    assert!(reason.contains("Mon..Fri 22:00-06:00 Europe/Paris"), "{reason}");
}

#[test]
fn the_nights_of_changed_clocks() {
    // In Paris clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.
    let night = [window("02:15-02:45 Europe/Paris")];
    let spring = closed(&night, at("2026-03-28T12:00:00Z")).unwrap();
    assert_eq!(spring.until, Some(at("2026-03-30T00:15:00Z")), "the night without this time is left out");
    let autumn = closed(&night, at("2026-10-24T12:00:00Z")).unwrap();
    assert_eq!(autumn.until, Some(at("2026-10-25T00:15:00Z")));
    assert!(closed(&night, at("2026-10-25T00:30:00Z")).is_none());
    let between = closed(&night, at("2026-10-25T00:50:00Z")).unwrap();
    assert_eq!(between.until, Some(at("2026-10-25T01:15:00Z")), "the time comes twice");
    let over = [window("02:30-04:00 Europe/Paris")];
    assert_eq!(closed(&over, at("2026-03-28T12:00:00Z")).unwrap().until, Some(at("2026-03-29T01:00:00Z")));
    let weekly = [window("Sun 02:15-02:45 Europe/Paris")];
    assert_eq!(closed(&weekly, at("2026-03-28T12:00:00Z")).unwrap().until, Some(at("2026-04-05T00:15:00Z")));
}

fn any_window() -> impl Strategy<Value = Window> {
    let days = prop::sample::select(vec!["", "Mon..Fri ", "Sun ", "Sat,Sun ", "Fri..Tue "]);
    let zones =
        vec!["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"];
    (days, 0u16..DAY, 1u16..=DAY, prop::sample::select(zones)).prop_filter_map("a span", |(days, start, end, zone)| {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        format!("{days}{}-{} {zone}", time(start), time(end)).parse().ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Around every change of the clocks of two years: closed until exactly the first minute that is open.
    #[test]
    fn the_next_opening_is_the_first_minute_that_is_open(
        windows in prop::collection::vec(any_window(), 1..3),
        change in 0usize..8,
        minutes in -1500i64..1500,
    ) {
        let changes: Vec<Timestamp> = windows
            .iter()
            .flat_map(|window| window.zone.following(at("2026-01-01T00:00:00Z")).take(4).map(|change| change.timestamp()))
            .collect();
        let base = changes.get(change % changes.len().max(1)).copied().unwrap_or(at("2026-06-01T00:00:00Z"));
        let now = base.checked_add(minutes.minutes()).unwrap();
        let open = |at| windows.iter().any(|window| window.contains(at));
        match closed(&windows, now) {
            None => prop_assert!(open(now)),
            Some(waiting) => {
                prop_assert!(!open(now));
                let until = waiting.until.unwrap();
                prop_assert!(until > now && open(until));
                let mut minute = now;
                while minute < until {
                    prop_assert!(!open(minute), "{minute} is open, but {until} was said");
                    minute = minute.checked_add(1.minute()).unwrap();
                }
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[A-Za-z0-9:., /-]{0,40}") {
        let _ = text.parse::<Window>();
    }
}
