//! The workers of a task's destinations under seeded schedules: destinations that hang, refuse, ask to be left alone and come back,
//! an extraction that goes on, ends, is paused or stopped, daemons that die, and the very decisions of this module in between.

use super::*;
use crate::base::clock;
use crate::base::simulate::{self, Random};
use std::collections::BTreeSet;

/// Events of a schedule in which things go wrong.
const STEPS: u32 = 60;
/// Turns until everything must be published, once nothing goes wrong; each is at least one try or one wait.
const TURNS: u32 = 2_000;
/// Segments at most.
const SEGMENTS: u32 = 12;

/// How a destination answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Works,
    Breaks,
    Refuses,
    /// It asks to be left alone for so many seconds.
    Throttles(u64),
}

/// What a worker does at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Probe,
    Put(u32),
    Publish,
}

/// A step under way, with all its tries.
#[derive(Clone, Copy, Debug)]
struct Job {
    step: Step,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Until then, or until there is word of the extraction since this one.
    Rests { until: Instant, word: u64 },
    /// Since the one, and until the other.
    Tries { began: Instant, until: Instant },
}

#[derive(Debug)]
struct Worker {
    patience: Patience,
    hope: Hope,
    jobs: Vec<Job>,
    /// Whether its destination has answered once.
    probed: bool,
    /// For the judge: when the last failure that was counted asked not to be disturbed, and since which word.
    left_alone: Option<(Instant, u64)>,
    /// For the judge: of what its last try failed, if it did; a refusal stays until something works again.
    ill: Option<Health>,
}

#[derive(Debug)]
struct Place {
    health: Health,
    connections: usize,
    has: BTreeSet<u32>,
    published: bool,
    /// Gone where it has left.
    worker: Option<Worker>,
}

struct Sim {
    random: Random,
    began: Instant,
    now: Instant,
    /// Sealed so far.
    segments: u32,
    /// Of all that there will be.
    whole: u32,
    extraction: Extraction,
    /// How often there was word of it.
    word: u64,
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
            connections: 1 + random.below(3),
            has: BTreeSet::new(),
            published: false,
            worker: None,
        };
        let places = (0..1 + random.below(3)).map(|_| place(&mut random)).collect();
        let extraction = Extraction::Running;
        let mut sim = Self { random, began, now: began, segments: 0, whole, extraction, word: 0, places, told };
        sim.starts();
        sim
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        if self.told {
            println!("sim: {:>9.3} s {} ({:?})", (self.now - self.began).as_secs_f64(), text(), self.extraction);
        }
    }

    /// A run begins: a worker for each destination, whatever was before.
    fn starts(&mut self) {
        let crew = Crew::default();
        for place in &mut self.places {
            let (patience, hope) = (Patience::default(), crew.join());
            let (jobs, probed, left_alone, ill) = Default::default();
            place.worker = Some(Worker { patience, hope, jobs, probed, left_alone, ill });
        }
        self.extraction = if self.segments == self.whole { Extraction::Ended } else { Extraction::Running };
        self.tell(|| "a run begins".to_owned());
    }

    fn says(&mut self, extraction: Extraction) {
        (self.extraction, self.word) = (extraction, self.word + 1);
        self.tell(|| "word of the extraction".to_owned());
    }

    /// Begins a step, or rests before it does.
    fn begin(&mut self, at: usize, step: Step) -> Result<(), Broken> {
        let (now, word) = (self.now, self.word);
        let Some(worker) = self.places[at].worker.as_mut() else { return Ok(()) };
        match worker.patience.wait(now) {
            Some(wait) => {
                worker.jobs.push(Job { step, phase: Phase::Rests { until: now + wait, word } });
                Ok(())
            }
            None => self.tries(at, step),
        }
    }

    fn tries(&mut self, at: usize, step: Step) -> Result<(), Broken> {
        let takes = Duration::from_millis(self.random.below(3_000) as u64);
        self.tell(|| format!("{step:?} is tried at {at}"));
        let (now, word, whole) = (self.now, self.word, self.segments == self.whole);
        let place = &mut self.places[at];
        let Some(worker) = place.worker.as_mut() else { return Ok(()) };
        if worker.left_alone.is_some_and(|(until, since)| now < until && since == word) {
            return Err(format!("{at} is not left alone"));
        }
        let all = (0..self.segments).all(|n| place.has.contains(&n));
        if step == Step::Publish && !(whole && all) {
            return Err(format!("what is published at {at} is not all there"));
        }
        let double = worker.jobs.iter().any(|job| job.step == step);
        if double || worker.jobs.len() >= place.connections {
            return Err(format!("{step:?} at {at} beside {:?}", worker.jobs));
        }
        worker.jobs.push(Job { step, phase: Phase::Tries { began: now, until: now + takes } });
        Ok(())
    }

    /// The loop of a worker, as far as it gets without waiting.
    fn works(&mut self, at: usize) -> Result<(), Broken> {
        let place = &self.places[at];
        let Some(worker) = place.worker.as_ref() else { return Ok(()) };
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
    fn worked(&mut self, at: usize, step: Step) {
        self.tell(|| format!("{step:?} worked at {at}"));
        let place = &mut self.places[at];
        let Some(worker) = place.worker.as_mut() else { return };
        if worker.patience.worked() {
            worker.hope.regain();
        }
        (worker.left_alone, worker.ill) = (None, None);
        match step {
            Step::Probe => worker.probed = true,
            Step::Put(n) => drop(place.has.insert(n)),
            Step::Publish => {
                place.published = true;
                self.leaves(at, "it is published");
            }
        }
    }

    /// A step failed: it is tried again, or the worker leaves.
    fn failed(&mut self, at: usize, step: Step, began: Instant) -> Result<(), Broken> {
        let (now, word, extraction, health) = (self.now, self.word, self.extraction, self.places[at].health);
        let mends_itself = health != Health::Refuses;
        let asked = match health {
            Health::Throttles(seconds) => Some(Duration::from_secs(seconds)),
            _ => None,
        };
        let own = Duration::from_millis(self.random.below(60_000) as u64);
        let Some(worker) = self.places[at].worker.as_mut() else { return Ok(()) };
        let wait = worker
            .patience
            .failed(Failure { began, mends_itself, asked }, now, |asked| asked.map_or(own, |asked| asked + own / 8));
        if worker.ill != Some(Health::Refuses) {
            worker.ill = Some(health);
        }
        if let Some(wait) = wait {
            worker.left_alone = Some((now + wait, word));
            let least = asked.map_or(Duration::ZERO, |asked| asked.min(LONGEST_ASKED));
            if mends_itself && wait < least {
                return Err(format!("{at} asked for {asked:?} and gets {wait:?}"));
            }
        }
        let last = worker.patience.gives_up(extraction, mends_itself, &worker.hope);
        let rest = worker.patience.wait(now);
        if !last {
            match rest {
                Some(rest) => worker.jobs.push(Job { step, phase: Phase::Rests { until: now + rest, word } }),
                None => return self.tries(at, step),
            }
            return Ok(());
        }
        self.judge(at)?;
        self.leaves(at, "that was the last try");
        Ok(())
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
        let due = |job: &Job| match job.phase {
            Phase::Rests { word, .. } if word != self.word => self.now,
            Phase::Rests { until, .. } | Phase::Tries { until, .. } => until,
        };
        let places = self.places.iter().enumerate();
        let jobs = places.filter_map(|(at, place)| Some((at, place.worker.as_ref()?)));
        jobs.flat_map(|(at, worker)| worker.jobs.iter().enumerate().map(move |(n, job)| (due(job), at, n))).min()
    }

    /// Time passes until something happens by itself, if anything will.
    fn passes(&mut self) -> Result<(), Broken> {
        let Some((at_time, at, n)) = self.next() else { return Ok(()) };
        self.now = self.now.max(at_time);
        let Some(worker) = self.places[at].worker.as_mut() else { return Ok(()) };
        let job = worker.jobs.remove(n);
        match job.phase {
            Phase::Rests { word, .. } if word != self.word => self.tries(at, job.step)?,
            Phase::Rests { .. } => self.begin(at, job.step)?,
            Phase::Tries { began, .. } if self.places[at].health != Health::Works => {
                self.failed(at, job.step, began)?
            }
            Phase::Tries { .. } => self.worked(at, job.step),
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
        match self.random.below(16) {
            0 => {
                let at = self.random.below(self.places.len());
                let health = match self.random.below(4) {
                    0 => Health::Breaks,
                    1 => Health::Refuses,
                    2 => Health::Throttles([1, 60, 100_000][self.random.below(3)]),
                    _ => Health::Works,
                };
                self.places[at].health = health;
                self.tell(|| format!("{at}: {health:?}"));
            }
            1 if running && self.random.below(3) == 0 => self.says(Extraction::Stopped),
            2 if running && self.random.below(3) == 0 => self.says(Extraction::Paused),
            3 if self.random.below(4) == 0 && !self.published() => self.starts(),
            4..=6 if running && self.segments < self.whole => self.segments += 1,
            7 if running && self.segments == self.whole => self.says(Extraction::Ended),
            _ if self.over() && !self.published() => self.starts(),
            _ => return self.passes(),
        }
        self.turns()
    }

    fn play(&mut self) -> Result<u64, Broken> {
        self.turns()?;
        for _ in 0..STEPS {
            self.step()?;
        }
        self.tell(|| "from here on nothing goes wrong".to_owned());
        self.segments = self.whole;
        self.places.iter_mut().for_each(|place| place.health = Health::Works);
        if self.extraction == Extraction::Running {
            self.says(Extraction::Ended);
        }
        for _ in 0..TURNS {
            if self.published() {
                return Ok(self.places.len() as u64);
            }
            if self.over() {
                self.starts();
            }
            self.turns()?;
            self.passes()?;
        }
        Err(format!("it never ends: {:?}", self.places))
    }
}

#[test]
fn every_schedule_keeps_the_promises_of_the_workers() {
    simulate::all("the workers of destinations", 1, |seed, told| Sim::new(seed, told).play());
}
