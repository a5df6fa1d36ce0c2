//! Decisions over days of a clock that goes on, stands still, and jumps to and fro.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn plan(text: &str) -> Plan {
    Plan { timetable: Timetable::calendar(text).unwrap(), delay: SignedDuration::ZERO, catch_up: true }
}

fn seen(since: &str, slot: Option<&str>) -> Seen {
    Seen { since: at(since), slot: slot.map(at) }
}

#[test]
fn only_what_comes_after_it_was_first_seen_counts() {
    let plan = plan("02:30 UTC");
    let now = at("2026-11-21T02:30:00Z");
    let decided = plan.decide(Seen { since: now, slot: None }, now);
    assert_eq!(decided, Decision::Wait(Some(at("2026-11-22T02:30:00Z"))));
}

#[test]
fn what_was_missed_is_one_run() {
    let plan = plan("02:30 UTC");
    let before = seen("2026-11-01T00:00:00Z", Some("2026-11-10T02:30:00Z"));
    let decided = plan.decide(before, at("2026-11-21T12:00:00Z"));
    let (first, slot) = (at("2026-11-11T02:30:00Z"), at("2026-11-21T02:30:00Z"));
    assert_eq!(decided, Decision::Run { slot, first });
    let decided = plan.decide(Seen { slot: Some(slot), ..before }, at("2026-11-21T12:00:00Z"));
    assert_eq!(decided, Decision::Wait(Some(at("2026-11-22T02:30:00Z"))));
    let plan = Plan { catch_up: false, ..plan };
    assert_eq!(plan.decide(before, at("2026-11-21T12:00:00Z")), Decision::Miss { slot });
    let decided = plan.decide(before, at("2026-11-21T02:30:40Z"));
    assert_eq!(decided, Decision::Run { slot, first }, "a daemon that was away for a moment runs it");
}

#[test]
fn a_delay_moves_every_slot() {
    let plan = Plan { delay: SignedDuration::from_mins(7), ..plan("hourly UTC") };
    let before = seen("2026-11-21T00:30:00Z", None);
    assert_eq!(plan.decide(before, at("2026-11-21T01:06:59Z")), Decision::Wait(Some(at("2026-11-21T01:07:00Z"))));
    let slot = at("2026-11-21T01:00:00Z");
    assert_eq!(plan.decide(before, at("2026-11-21T01:07:00Z")), Decision::Run { slot, first: slot });
    let next: Vec<Timestamp> = plan.upcoming(None, at("2026-11-21T01:06:00Z")).take(1).collect();
    assert_eq!(next, [slot], "it is still to come");
}

#[test]
fn a_clock_that_is_put_back_runs_nothing_twice() {
    let plan = plan("hourly UTC");
    let done = seen("2026-11-01T00:00:00Z", Some("2026-11-21T03:00:00Z"));
    assert_eq!(plan.decide(done, at("2026-11-21T01:59:00Z")), Decision::Wait(Some(at("2026-11-21T04:00:00Z"))));
    // What a clock did that was wrong by years does not stop the schedule for years.
    let done = seen("2026-11-01T00:00:00Z", Some("2036-11-21T03:00:00Z"));
    assert_eq!(plan.decide(done, at("2026-11-21T02:00:00Z")), Decision::Anew);
    assert_eq!(plan.decide(seen("2026-11-21T03:00:00Z", None), at("2026-11-21T02:00:00Z")), Decision::Anew);
}

#[test]
fn delays_are_stable_and_spread() {
    let most = Duration::from_secs(600);
    let delays: BTreeSet<SignedDuration> = (0..100).map(|n| delay("host", &format!("export-{n}"), most)).collect();
    assert!(delays.len() > 80 && delays.iter().all(|delay| *delay <= SignedDuration::from_mins(10)), "{delays:?}");
    assert_eq!(delay("host", "shop", most), delay("host", "shop", most));
    assert_ne!(delay("host", "shop", most), delay("other", "shop", most));
    assert_eq!(delay("host", "shop", Duration::ZERO), SignedDuration::ZERO);
}

proptest! {
    /// Steps of a clock in seconds, mostly forward; a look at each.
    #[test]
    fn no_slot_is_decided_on_twice_and_none_is_lost(
        text in prop::sample::select(vec!["*:0/10 UTC", "hourly UTC", "*:*:0/30 UTC", "0/3:20 Europe/Paris"]),
        steps in prop::collection::vec(prop_oneof![5 => 1_i64..90, 2 => 90_i64..20_000, 1 => -5_000_i64..0], 1..200),
        delay in 0_i64..2_000,
        catch_up: bool,
    ) {
        let plan = Plan { delay: SignedDuration::from_secs(delay), catch_up, ..plan(text) };
        let mut now = at("2026-10-24T20:00:00Z");
        let mut seen = Seen { since: now, slot: None };
        let mut done: Vec<Timestamp> = Vec::new();
        for step in steps {
            now += SignedDuration::from_secs(step);
            for _ in 0..3 {
                match plan.decide(seen, now) {
                    Decision::Anew => {
                        prop_assert!(done.is_empty(), "no step is so long");
                        seen = Seen { since: now, slot: None };
                    }
                    Decision::Run { slot, first } => {
                        prop_assert!(first <= slot && plan.due(slot) <= now);
                        prop_assert!(done.last().is_none_or(|last| *last < first), "{slot} again after {done:?}");
                        prop_assert_eq!(Some(first), plan.timetable.next(seen.slot.unwrap_or(seen.since)), "none in between");
                        prop_assert!(plan.timetable.next(slot).is_none_or(|next| plan.due(next) > now), "all that is due");
                        done.push(slot);
                        seen.slot = Some(slot);
                    }
                    Decision::Miss { slot } => {
                        prop_assert!(!catch_up && plan.due(slot).duration_until(now) > GRACE);
                        done.push(slot);
                        seen.slot = Some(slot);
                    }
                    Decision::Wait(until) => {
                        prop_assert!(until.is_none_or(|until| until > now));
                        break;
                    }
                }
            }
        }
    }
}
