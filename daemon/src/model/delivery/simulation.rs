//! The workers of a task's destinations under seeded schedules: destinations that break, refuse all or one file, ask to be left alone
//! and come back, a ledger that fails, an extraction that goes on, ends, is paused or stopped, daemons that die, and the very decisions
//! of this module in between.

mod place;

use super::*;
use crate::base::clock;
use crate::base::simulate::{self, Random};
use place::{Health, Job, Phase, Place, Step, Worker};
use std::collections::BTreeSet;

/// Events of a schedule in which things go wrong.
const STEPS: u32 = 60;
/// By then a destination that works must be published: it may have asked for an hour.
const BY_THEN: Duration = Duration::from_secs(2 * 3600);
/// Events until then: more would be a loop.
const EVENTS: u32 = 20_000;
/// Segments at most.
const SEGMENTS: u32 = 12;

struct Sim {
    random: Random,
    began: Instant,
    now: Instant,
    /// Sealed so far.
    segments: u32,
    /// Of all that there will be.
    whole: u32,
    extraction: Extraction,
    places: Vec<Place>,
    told: bool,
}

type Broken = String;

impl Sim {
    fn new(seed: u64, told: bool) -> Self {
        let mut random = Random::new(seed);
        let began = clock::monotonic();
        let whole = random.below(SEGMENTS as usize + 1) as u32;
        let place = |random: &mut Random| Place {
            health: Health::Works,
            conflict: None,
            connections: 1 + random.below(3),
            has: BTreeSet::new(),
            published: false,
            worker: None,
        };
        let places = (0..1 + random.below(3)).map(|_| place(&mut random)).collect();
        let extraction = Extraction::Running;
        Self { random, began, now: began, segments: 0, whole, extraction, places, told }
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        if self.told {
            println!("sim: {:>9.3} s {} ({:?})", (self.now - self.began).as_secs_f64(), text(), self.extraction);
        }
    }

    /// A run begins: a worker for each destination, whatever was before. Of a task that an operator paused only deliveries go on.
    fn starts(&mut self, paused: bool) {
        let crew = Crew::default();
        for place in &mut self.places {
            let (patience, hope) = (Patience::default(), crew.join());
            let (jobs, probed, leaving, left_alone, ill) = Default::default();
            place.worker = Some(Worker { patience, hope, jobs, probed, leaving, left_alone, ill });
        }
        self.extraction = match () {
            () if paused => Extraction::Paused,
            () if self.segments == self.whole => Extraction::Ended,
            () => Extraction::Running,
        };
        self.tell(|| "a run begins".to_owned());
    }

    fn says(&mut self, extraction: Extraction) {
        self.extraction = extraction;
        self.tell(|| "word of the extraction".to_owned());
    }

    /// Begins a step, or rests before it does.
    fn begin(&mut self, at: usize, step: Step) -> Result<(), Broken> {
        let (now, extraction) = (self.now, self.extraction);
        let Some(worker) = self.places[at].worker.as_mut() else { return Ok(()) };
        match worker.patience.rest(now, extraction, &worker.hope) {
            Rest::Try => self.tries(at, step),
            Rest::Wait(wait) => {
                worker.jobs.push(Job { step, phase: Phase::Rests { until: now + wait, since: extraction } });
                Ok(())
            }
            Rest::Leave => self.gives_up(at),
        }
    }

    /// A worker leaves when what is on its way has ended.
    fn gives_up(&mut self, at: usize) -> Result<(), Broken> {
        self.judge(at)?;
        self.tell(|| format!("the worker of {at} gives up"));
        if let Some(worker) = self.places[at].worker.as_mut() {
            worker.leaving = true;
            worker.jobs.retain(|job| matches!(job.phase, Phase::Tries { .. }));
        }
        Ok(())
    }

    fn tries(&mut self, at: usize, step: Step) -> Result<(), Broken> {
        let takes = Duration::from_millis(self.random.below(3_000) as u64);
        self.tell(|| format!("{step:?} is tried at {at}"));
        let (now, extraction, whole) = (self.now, self.extraction, self.segments == self.whole);
        let place = &mut self.places[at];
        let Some(worker) = place.worker.as_mut() else { return Ok(()) };
        if worker.left_alone.is_some_and(|(until, since)| now < until && since == extraction) {
            return Err(format!("{at} is not left alone"));
        }
        let all = (0..self.segments).all(|n| place.has.contains(&n));
        if step == Step::Publish && !(whole && all && extraction == Extraction::Ended) {
            return Err(format!("what is published at {at} is not all there, or not to be published"));
        }
        let double = worker.jobs.iter().any(|job| job.step == step);
        if double || worker.leaving || worker.jobs.len() >= place.connections {
            return Err(format!("{step:?} at {at} beside {:?}", worker.jobs));
        }
        worker.jobs.push(Job { step, phase: Phase::Tries { began: now, until: now + takes } });
        Ok(())
    }

    /// The loop of a worker, as far as it gets without waiting.
    fn works(&mut self, at: usize) -> Result<(), Broken> {
        let place = &self.places[at];
        let Some(worker) = place.worker.as_ref() else { return Ok(()) };
        if worker.leaving {
            if worker.jobs.is_empty() {
                self.leaves(at, "nothing is on its way any more");
            }
            return Ok(());
        }
        if !worker.probed {
            return if worker.jobs.is_empty() { self.begin(at, Step::Probe) } else { Ok(()) };
        }
        if worker.jobs.iter().any(|job| job.step == Step::Publish) {
            return Ok(());
        }
        let busy: Vec<Step> = worker.jobs.iter().map(|job| job.step).collect();
        let free = place.connections - busy.len();
        let open = |n: &u32| !place.has.contains(n) && !busy.contains(&Step::Put(*n));
        let next: Vec<u32> = (0..self.segments).filter(open).take(free).collect();
        for n in &next {
            self.begin(at, Step::Put(*n))?;
        }
        if self.places[at].worker.as_ref().is_some_and(|worker| worker.leaving) {
            return self.works(at);
        }
        match self.extraction.turn(busy.len() + next.len()) {
            Turn::Wait => Ok(()),
            Turn::Publish => self.begin(at, Step::Publish),
            Turn::Leave => {
                if self.extraction == Extraction::Running {
                    return Err(format!("the worker of {at} leaves while segments come"));
                }
                self.leaves(at, "nothing is left to do");
                Ok(())
            }
        }
    }

    fn leaves(&mut self, at: usize, why: &str) {
        self.tell(|| format!("the worker of {at} leaves: {why}"));
        self.places[at].worker = None;
    }

    /// A step worked.
    fn worked(&mut self, at: usize, step: Step, began: Instant) {
        self.tell(|| format!("{step:?} worked at {at}"));
        let (now, fails) = (self.now, self.random.below(12) == 0 && self.extraction == Extraction::Running);
        let place = &mut self.places[at];
        let Some(worker) = place.worker.as_mut() else { return };
        if worker.patience.worked(began, now, &worker.hope) {
            (worker.left_alone, worker.ill) = (None, None);
        }
        match step {
            Step::Probe => worker.probed = true,
            Step::Put(_) if fails => self.restarts(at),
            Step::Put(n) => drop(place.has.insert(n)),
            Step::Publish => {
                place.published = true;
                self.leaves(at, "it is published");
            }
        }
    }

    /// The ledger could not note something while the source is being read: the worker begins anew.
    fn restarts(&mut self, at: usize) {
        self.tell(|| format!("the worker of {at} begins anew"));
        let (now, extraction, wait) = (self.now, self.extraction, Duration::from_millis(250));
        let Some(worker) = self.places[at].worker.as_mut() else { return };
        let failure = Failure { began: now, mends_itself: true, asked: None };
        worker.patience.failed(failure, now, extraction, |_| wait);
        worker.jobs.clear();
        worker.probed = false;
    }

    /// A step failed: it is tried again, or the worker leaves.
    fn failed(&mut self, at: usize, step: Step, began: Instant) -> Result<(), Broken> {
        let (now, extraction, health) = (self.now, self.extraction, self.places[at].ails(step));
        let mends_itself = health != Health::Refuses;
        let asked = match health {
            Health::Throttles(seconds) => Some(Duration::from_secs(seconds)),
            _ => None,
        };
        let own = Duration::from_millis(self.random.below(60_000) as u64);
        let Some(worker) = self.places[at].worker.as_mut() else { return Ok(()) };
        let wait = worker.patience.failed(Failure { began, mends_itself, asked }, now, extraction, |asked| {
            asked.map_or(own, |asked| asked + own / 8)
        });
        if worker.ill != Some(Health::Refuses) {
            worker.ill = Some(health);
        }
        let earlier = worker.left_alone.map(|(until, _)| until);
        let asks = asked.map(|asked| now + asked.min(LONGEST_ASKED));
        if let Some(until) = asks.max(earlier) {
            let since = worker.left_alone.map_or(extraction, |(_, since)| since);
            let anew = wait.is_some() || asked.is_some();
            worker.left_alone = Some((until, if anew { extraction } else { since }));
        }
        if wait.is_some_and(|wait| wait > LONGEST_ASKED + Duration::from_secs(60)) {
            return Err(format!("{at} is left alone for {wait:?}"));
        }
        match worker.patience.gives_up(extraction, mends_itself, &worker.hope) {
            true => self.gives_up(at),
            false if worker.leaving => Ok(()),
            false => self.begin(at, step),
        }
    }

    /// A worker may only give up once the source is read, and where no other one may still get somewhere.
    fn judge(&self, at: usize) -> Result<(), Broken> {
        let hopeless = |place: &Place| {
            let Some(worker) = &place.worker else { return true };
            worker.ill == Some(Health::Refuses) || worker.ill.is_some() && worker.patience.in_a_row() >= TRIES
        };
        match self.extraction {
            Extraction::Running => Err(format!("{at} is given up while segments come")),
            Extraction::Stopped => Ok(()),
            Extraction::Ended | Extraction::Paused => match self.places.iter().position(|place| !hopeless(place)) {
                Some(other) => Err(format!("{at} is given up while {other} gets somewhere")),
                None => Ok(()),
            },
        }
    }

    /// The time of the next thing that happens by itself.
    fn next(&self) -> Option<(Instant, usize, usize)> {
        let due = |worker: &Worker, job: &Job| match job.phase {
            Phase::Tries { until, .. } => until,
            Phase::Rests { until, since } => match worker.patience.rest(self.now, self.extraction, &worker.hope) {
                Rest::Leave => self.now,
                Rest::Try | Rest::Wait(_) if since != self.extraction => self.now,
                Rest::Try | Rest::Wait(_) => until,
            },
        };
        let places = self.places.iter().enumerate();
        let workers = places.filter_map(|(at, place)| Some((at, place.worker.as_ref()?)));
        workers
            .flat_map(|(at, worker)| worker.jobs.iter().enumerate().map(move |(n, job)| (due(worker, job), at, n)))
            .min()
    }

    /// Time passes until something happens by itself, if anything will.
    fn passes(&mut self) -> Result<(), Broken> {
        let Some((at_time, at, n)) = self.next() else { return Ok(()) };
        self.now = self.now.max(at_time);
        let Some(worker) = self.places[at].worker.as_mut() else { return Ok(()) };
        let job = worker.jobs.remove(n);
        match job.phase {
            Phase::Rests { .. } => self.begin(at, job.step)?,
            Phase::Tries { began, .. } => match self.places[at].ails(job.step) {
                Health::Works => self.worked(at, job.step, began),
                _ => self.failed(at, job.step, began)?,
            },
        }
        self.turns()
    }

    /// Every worker does what it may.
    fn turns(&mut self) -> Result<(), Broken> {
        (0..self.places.len()).try_for_each(|at| self.works(at))
    }

    /// The run is over when every worker has left; whether it is.
    fn over(&self) -> bool {
        self.places.iter().all(|place| place.worker.is_none())
    }

    fn published(&self) -> bool {
        self.places.iter().all(|place| place.published)
    }

    fn step(&mut self) -> Result<(), Broken> {
        let running = self.extraction == Extraction::Running;
        let at = self.random.below(self.places.len());
        match self.random.below(16) {
            0 => {
                self.places[at].health = match self.random.below(4) {
                    0 => Health::Breaks,
                    1 => Health::Refuses,
                    2 => Health::Throttles([1, 60, 100_000][self.random.below(3)]),
                    _ => Health::Works,
                };
                self.tell(|| format!("{at}: {:?}", self.places[at].health));
            }
            1 if running && self.random.below(3) == 0 => self.says(Extraction::Stopped),
            2 if self.random.below(2) == 0 => {
                self.places[at].conflict = Some(self.random.below(SEGMENTS as usize) as u32);
                self.tell(|| format!("{at} has another file instead of {:?}", self.places[at].conflict));
            }
            3 if self.random.below(4) == 0 && !self.published() => self.starts(false),
            4..=6 if running && self.segments < self.whole => self.segments += 1,
            7 if running && self.segments == self.whole => self.says(Extraction::Ended),
            _ if self.over() && !self.published() => {
                let paused = self.random.below(4) == 0;
                self.starts(paused);
            }
            _ => return self.passes(),
        }
        self.turns()
    }

    /// Goes on until a destination is published, or all are.
    fn until(&mut self, wanted: Option<usize>) -> Result<(), Broken> {
        let end = self.now + BY_THEN;
        for _ in 0..EVENTS {
            if wanted.map_or(self.published(), |at| self.places[at].published) {
                return Ok(());
            }
            if self.now > end {
                break;
            }
            if self.over() {
                self.starts(false);
            }
            self.turns()?;
            self.passes()?;
        }
        Err(format!("it never ends: {:?}", self.places))
    }

    fn heal(&mut self, at: usize) {
        self.tell(|| format!("nothing is wrong with {at} any more"));
        (self.places[at].health, self.places[at].conflict) = (Health::Works, None);
    }

    fn play(&mut self) -> Result<u64, Broken> {
        self.starts(false);
        self.turns()?;
        for _ in 0..STEPS {
            self.step()?;
        }
        self.segments = self.whole;
        match self.extraction {
            Extraction::Running => self.says(Extraction::Ended),
            // Somebody resumes it.
            Extraction::Paused => self.starts(false),
            Extraction::Ended | Extraction::Stopped => {}
        }
        // One that works is published whatever is wrong with the others.
        let first = self.random.below(self.places.len());
        self.heal(first);
        self.until(Some(first))?;
        (0..self.places.len()).for_each(|at| self.heal(at));
        self.until(None)?;
        Ok(self.places.len() as u64)
    }
}

#[test]
fn every_schedule_keeps_the_promises_of_the_workers() {
    simulate::all("the workers of destinations", 1, |seed, told| Sim::new(seed, told).play());
}
