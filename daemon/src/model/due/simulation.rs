//! The scheduler under seeded clocks: the very decisions of [`Plan`], with a clock that is set, machines that sleep, daemons that die
//! between a decision and its commit, refusals of the queue, pauses, and schedules that are changed.

use super::*;
use crate::base::simulate::{self, Random};

/// Steps of a schedule.
const STEPS: u32 = 25;
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

struct Sim {
    random: Random,
    now: Timestamp,
    plan: Plan,
    /// What the ledger has.
    seen: Seen,
    runs: u64,
    told: bool,
}

type Broken = String;

fn plan_of(random: &mut Random) -> Plan {
    let timetable = if random.below(2) == 0 {
        Timetable::calendar(CALENDARS[random.below(CALENDARS.len())])
    } else {
        Timetable::cron(CRONS[random.below(CRONS.len())], Some(ZONES[random.below(ZONES.len())]))
    };
    let delay = [0, 0, 7, 600, 90_000][random.below(5)];
    Plan { timetable: timetable.unwrap(), delay: SignedDuration::from_secs(delay), catch_up: random.below(2) == 0 }
}

impl Sim {
    fn new(seed: u64, told: bool) -> Self {
        let mut random = Random::new(seed);
        // Around a change of clocks, a leap day, or the end of a year.
        let days = ["2024-02-28T20:00:00Z", "2024-03-09T20:00:00Z", "2024-10-26T20:00:00Z", "2024-12-31T20:00:00Z"];
        let now: Timestamp = days[random.below(days.len())].parse().unwrap();
        let plan = plan_of(&mut random);
        Self { random, now, plan, seen: Seen { since: now, slot: None }, runs: 0, told }
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        if self.told {
            println!("sim: {} {}", self.now, text());
        }
    }

    /// The first slot that nobody decided on.
    fn first(&self) -> Option<Timestamp> {
        self.plan.timetable.next(self.seen.slot.unwrap_or(self.seen.since))
    }

    /// What a decision must be, from the slots themselves.
    fn judge(&self, decision: Decision) -> Result<(), Broken> {
        let (first_open, now) = (self.first(), self.now);
        let all_due = |from: Timestamp, slot: Timestamp| {
            if self.plan.timetable.next(slot).is_some_and(|next| self.plan.due(next) <= now) {
                return false;
            }
            let mut at = from;
            for _ in 0..COUNTED {
                if at == slot {
                    return true;
                }
                let Some(next) = self.plan.timetable.next(at).filter(|next| *next <= slot) else { return false };
                at = next;
            }
            // Too many to count; but it is one of them.
            let before = slot - SignedDuration::from_secs(1);
            self.plan.timetable.next(before) == Some(slot)
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
                self.plan = plan_of(&mut self.random);
                self.seen = Seen { since: self.now, slot: None };
                self.tell(|| format!("the schedule is another one: {:?}", self.plan));
                0
            }
            _ => self.random.below(400) as i64,
        };
        let bounds = ("2000-01-01T00:00:00Z".parse().unwrap(), "2060-01-01T00:00:00Z".parse().unwrap());
        self.now = (self.now + SignedDuration::from_secs(passes)).clamp(bounds.0, bounds.1);
        self.look(true)
    }
}

#[test]
fn every_schedule_keeps_the_promises_of_the_scheduler() {
    simulate::all("the scheduler", 10, |seed, told| {
        let mut sim = Sim::new(seed, told);
        for _ in 0..STEPS {
            sim.step()?;
        }
        sim.tell(|| "from here on nothing goes wrong".to_owned());
        sim.look(false)?;
        Ok(sim.runs)
    });
}
