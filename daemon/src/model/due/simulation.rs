//! The scheduler under seeded clocks: the very decisions of [`Plan`], with a clock that is set, machines that sleep, daemons that die
//! between a decision and its commit, refusals of the queue, pauses, and schedules that are changed.

use super::*;
use crate::base::simulate::{self, Random};
use std::cell::RefCell;
use std::collections::HashMap;

/// Steps of a schedule.
const STEPS: u32 = 12;
/// Decisions of one look: more would be a loop.
const DECISIONS: u32 = 4;
/// Slots that a judge counts one by one.
const COUNTED: usize = 10;

const CALENDARS: [&str; 7] = [
    "*:0/10 UTC",
    "hourly Europe/Paris",
    "02:30 America/New_York",
    "Mon..Fri 02:30 Europe/Paris",
    "*-*-01 00:00 Asia/Kolkata",
    "2024-03-10 02:30 America/New_York",
    "0/3:20 Australia/Lord_Howe",
];
const CRONS: [&str; 5] = ["*/5 * * * *", "30 2 * * *", "0 0 29 2 *", "15 1,2,3 * * 0", "0 */6 1 * *"];
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/St_Johns", "Africa/Casablanca"];

struct Sim<'a> {
    random: Random,
    now: Timestamp,
    /// What may be scheduled.
    timetables: &'a [Timetable],
    plan: Plan,
    /// The slot behind another one, which the judge asks for again and again.
    behind: RefCell<HashMap<Timestamp, Option<Timestamp>>>,
    /// What the ledger has.
    seen: Seen,
    runs: u64,
    told: bool,
}

type Broken = String;

fn timetables() -> Vec<Timetable> {
    let crons = CRONS.iter().flat_map(|cron| ZONES.iter().map(move |zone| Timetable::cron(cron, Some(zone))));
    CALENDARS.iter().map(|calendar| Timetable::calendar(calendar)).chain(crons).map(Result::unwrap).collect()
}

fn plan_of(random: &mut Random, timetables: &[Timetable]) -> Plan {
    let (calendars, crons) = timetables.split_at(CALENDARS.len());
    let some = if random.below(2) == 0 { calendars } else { crons };
    let timetable = some[random.below(some.len())].clone();
    let delay = [0, 0, 7, 600, 90_000][random.below(5)];
    Plan { timetable, delay: SignedDuration::from_secs(delay), catch_up: random.below(2) == 0 }
}

fn day(year: i16, month: i8, day: i8, hour: i8) -> Timestamp {
    jiff::civil::date(year, month, day).at(hour, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
}

impl<'a> Sim<'a> {
    fn new(seed: u64, told: bool, timetables: &'a [Timetable]) -> Self {
        let mut random = Random::new(seed);
        // Around a change of clocks, a leap day, or the end of a year.
        let days = [(2024, 2, 28), (2024, 3, 9), (2024, 10, 26), (2024, 12, 31)];
        let (year, month, of_month) = days[random.below(days.len())];
        let now = day(year, month, of_month, 20);
        let plan = plan_of(&mut random, timetables);
        let (seen, behind) = (Seen { since: now, slot: None }, RefCell::default());
        Self { random, now, timetables, plan, behind, seen, runs: 0, told }
    }

    /// The slot behind a time.
    fn behind(&self, at: Timestamp) -> Option<Timestamp> {
        *self.behind.borrow_mut().entry(at).or_insert_with(|| self.plan.timetable.next(at))
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        if self.told {
            println!("sim: {} {}", self.now, text());
        }
    }

    /// The first slot that nobody decided on.
    fn first(&self) -> Option<Timestamp> {
        self.behind(self.seen.slot.unwrap_or(self.seen.since))
    }

    /// What a decision must be, from the slots themselves.
    fn judge(&self, decision: Decision) -> Result<(), Broken> {
        let (first_open, now) = (self.first(), self.now);
        let all_due = |from: Timestamp, slot: Timestamp| {
            if self.behind(slot).is_some_and(|next| self.plan.due(next) <= now) {
                return false;
            }
            let mut at = from;
            for _ in 0..COUNTED {
                if at == slot {
                    return true;
                }
                let Some(next) = self.behind(at).filter(|next| *next <= slot) else { return false };
                at = next;
            }
            // Too many to count; but it is one of them.
            let before = slot - SignedDuration::from_secs(1);
            self.behind(before) == Some(slot)
        };
        let late = |slot: Timestamp| self.plan.due(slot).duration_until(now);
        let holds = match decision {
            Decision::Anew => {
                let ahead = now.duration_until(self.seen.slot.unwrap_or(self.seen.since));
                ahead > WRONG_CLOCK || (self.seen.slot.is_none() && ahead.is_positive())
            }
            Decision::Run { slot, first } => {
                let in_time = self.plan.catch_up || late(slot) <= GRACE;
                first_open == Some(first) && !late(slot).is_negative() && in_time && all_due(first, slot)
            }
            Decision::Miss { slot } => {
                let first = first_open.filter(|first| *first <= slot);
                !self.plan.catch_up && late(slot) > GRACE && first.is_some_and(|first| all_due(first, slot))
            }
            Decision::Wait(None) => first_open.is_none(),
            Decision::Wait(Some(until)) => until > now && first_open.map(|first| self.plan.due(first)) == Some(until),
        };
        if holds { Ok(()) } else { Err(format!("{decision:?} at {now}, having seen {:?}", self.seen)) }
    }

    /// One look: what is due is done, unless the queue refuses it or the daemon dies.
    fn look(&mut self, goes_wrong: bool) -> Result<(), Broken> {
        for _ in 0..DECISIONS {
            let decision = self.plan.decide(self.seen, self.now);
            self.tell(|| format!("{decision:?}"));
            self.judge(decision)?;
            if let Decision::Wait(_) = decision {
                return Ok(());
            }
            if goes_wrong && self.random.below(3) == 0 {
                self.tell(|| "nothing comes of it".to_owned());
                return Ok(());
            }
            self.seen = match decision {
                Decision::Anew => Seen { since: self.now, slot: None },
                Decision::Run { slot, .. } | Decision::Miss { slot } => Seen { slot: Some(slot), ..self.seen },
                Decision::Wait(_) => self.seen,
            };
            self.runs += u64::from(matches!(decision, Decision::Run { .. }));
        }
        Err(format!("it decides for ever, the last time at {}", self.now))
    }

    fn step(&mut self) -> Result<(), Broken> {
        let passes = match self.random.below(12) {
            // The clock is set, by a little, by a day, by years.
            0 => -(self.random.below(5_000) as i64),
            1 => self.random.below(172_800) as i64 - 86_400,
            2 if self.random.below(6) == 0 => (self.random.below(20) as i64 - 10) * 31_557_600,
            // Nobody looks for a while.
            3 => self.random.below(3_000_000) as i64,
            4 | 5 => self.random.below(90_000) as i64,
            6 if self.random.below(4) == 0 => {
                self.plan = plan_of(&mut self.random, self.timetables);
                self.behind.take();
                self.seen = Seen { since: self.now, slot: None };
                self.tell(|| format!("the schedule is another one: {:?}", self.plan));
                0
            }
            _ => self.random.below(400) as i64,
        };
        let bounds = (day(2000, 1, 1, 0), day(2060, 1, 1, 0));
        self.now = (self.now + SignedDuration::from_secs(passes)).clamp(bounds.0, bounds.1);
        self.look(true)
    }
}

#[test]
fn every_schedule_keeps_the_promises_of_the_scheduler() {
    let timetables = timetables();
    simulate::all("the scheduler", 1, |seed, told| {
        let mut sim = Sim::new(seed, told, &timetables);
        for _ in 0..STEPS {
            sim.step()?;
        }
        sim.tell(|| "from here on nothing goes wrong".to_owned());
        sim.look(false)?;
        Ok(sim.runs)
    });
}
