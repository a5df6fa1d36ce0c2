//! The queue under seeded schedules of requests, ends, crashes, words of operators and wrong clocks: the very decisions of the
//! dispatcher and the very states of the ledger, without threads, files and time.

use super::tests::task;
use super::*;
use crate::base::simulate::{self, Random};
use crate::model::task::Waiting;
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// Steps of a schedule in which things go wrong.
const STEPS: u32 = 60;
/// Attempts in a row that a task has.
const ATTEMPTS: u32 = 3;

/// A run under way.
#[derive(Debug, Default)]
struct Run {
    stopping: bool,
    cancelled_by: Option<Actor>,
}

struct Sim {
    random: Random,
    now: Timestamp,
    parallel: usize,
    closed: BTreeSet<String>,
    rows: Vec<TaskRow>,
    running: BTreeMap<usize, Run>,
    told: bool,
}

/// The end of a schedule that broke a promise.
type Broken = String;

/// Who came first is started first, whatever its export, unless something of its own holds it; what only delivers needs no slot.
fn first_come(queue: &[QueuedTask], chosen: &[TaskId], slots: &Slots) -> Result<(), Broken> {
    let started = |task: &QueuedTask| chosen.contains(&task.id);
    for (at, early) in queue.iter().enumerate().filter(|(_, task)| !started(task) && !slots.stopping.contains(&task.id))
    {
        if early.extracted {
            return Err(format!("{} only delivers and is not started", early.id.as_str()));
        }
        let before =
            |task: &QueuedTask| task.chained && task.export == early.export && !task.extracted && started(task);
        let busy = slots.chained_exports.contains(&early.export) || queue[..at].iter().any(before);
        let held = slots.closed.contains(&early.export) || early.chained && busy;
        if let Some(late) = queue[at..].iter().find(|task| !held && !task.extracted && started(task)) {
            return Err(format!("{} is started before {}", late.id.as_str(), early.id.as_str()));
        }
    }
    Ok(())
}

impl Sim {
    fn new(seed: u64, told: bool) -> Self {
        let now = "2024-02-28T12:00:00Z".parse().unwrap();
        let random = Random::new(seed);
        let (closed, rows, running) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        let mut sim = Self { random, now, parallel: 1, closed, rows, running, told };
        sim.parallel = 1 + sim.below(3);
        sim
    }

    /// A number below `most`.
    fn below(&mut self, most: usize) -> usize {
        self.random.below(most)
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        if self.told {
            println!("sim: {} {}", self.now, text());
        }
    }

    /// What the ledger does with an event.
    fn apply(&mut self, n: usize, event: TaskEvent, change: &Change) -> Result<(), Broken> {
        let ends = |row: &TaskRow| row.queue_pos;
        let (first, last) = (self.rows.iter().map(ends).min(), self.rows.iter().map(ends).max());
        let row = &mut self.rows[n];
        let state = row.state.next(event).map_err(|error| format!("task {n}: {error}"))?;
        row.attempt = change.attempt.unwrap_or_else(|| row.state.attempts_after(row.attempt, event));
        if change.queue_head || event == TaskEvent::Resume {
            row.queue_pos = first.unwrap_or(1) - 1;
        } else if event == TaskEvent::Retry {
            row.queue_pos = last.unwrap_or(0) + 1;
        }
        row.not_before = change.not_before;
        row.state = state;
        self.tell(|| format!("task {n}: {event}, now {state}"));
        Ok(())
    }

    fn submit(&mut self) {
        let n = self.rows.len();
        let (export, chained) = (format!("e{}", self.below(3)), self.below(4) > 0);
        let last = self.rows.iter().map(|row| row.queue_pos).max().unwrap_or(0);
        let row = TaskRow {
            id: TaskId::known(format!("t{n}")),
            export,
            chained,
            queue_pos: last + 1,
            ..task(TaskState::Pending, 0)
        };
        self.tell(|| {
            format!("task {n} of {} comes, {}", row.export, if chained { "plain" } else { "with parameters" })
        });
        self.rows.push(row);
    }

    /// What the dispatcher does at each turn of its loop.
    fn turn(&mut self) -> Result<(), Broken> {
        let due = |row: &&TaskRow| row.state == TaskState::Pending && row.not_before.is_none_or(|at| at <= self.now);
        let mut queue: Vec<&TaskRow> = self.rows.iter().filter(due).collect();
        queue.sort_by_key(|row| row.queue_pos);
        let queued = |row: &&TaskRow| QueuedTask {
            id: row.id.clone(),
            export: row.export.clone(),
            chained: row.chained,
            extracted: row.extracted,
        };
        let queue: Vec<QueuedTask> = queue.iter().map(queued).collect();
        let extracting = self.running.keys().map(|n| &self.rows[*n]).filter(|row| !row.extracted);
        let slots = Slots {
            parallel: self.parallel,
            used: extracting.clone().count(),
            chained_exports: extracting.filter(|row| row.chained).map(|row| row.export.clone()).collect(),
            stopping: self.running.keys().map(|n| self.rows[*n].id.clone()).collect(),
            closed: self.closed.clone(),
        };
        let chosen = choose(&queue, slots.clone());
        first_come(&queue, &chosen, &slots)?;
        for id in chosen {
            let n = self.rows.iter().position(|row| row.id == id).ok_or("a task is started that is not there")?;
            if let Some(change) = used_up(self.rows[n].attempt, ATTEMPTS) {
                self.apply(n, TaskEvent::Fail, &change)?;
                continue;
            }
            self.apply(n, TaskEvent::Start, &Change::default())?;
            if self.running.insert(n, Run::default()).is_some() {
                return Err(format!("task {n} runs twice"));
            }
        }
        self.look()
    }

    /// What must hold between any two steps.
    fn look(&self) -> Result<(), Broken> {
        let extracting: Vec<_> = self.running.keys().map(|n| &self.rows[*n]).filter(|row| !row.extracted).collect();
        if extracting.len() > self.parallel {
            return Err(format!("{} tasks extract, {} may", extracting.len(), self.parallel));
        }
        for (at, row) in extracting.iter().enumerate().filter(|(_, row)| row.chained) {
            if extracting[..at].iter().any(|other| other.chained && other.export == row.export) {
                return Err(format!("two plain tasks of {} extract", row.export));
            }
        }
        for (n, row) in self.rows.iter().enumerate() {
            let run = self.running.get(&n);
            match row.state {
                TaskState::Processing if run.is_none() => {
                    return Err(format!("task {n} is processing, and nobody runs it"));
                }
                TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled if run.is_some() => {
                    return Err(format!("task {n} is over, and runs"));
                }
                TaskState::Succeeded if !row.extracted => return Err(format!("task {n} succeeded with data missing")),
                _ => {}
            }
            if row.attempt > ATTEMPTS {
                return Err(format!("task {n} is in attempt {} of {ATTEMPTS}", row.attempt));
            }
        }
        Ok(())
    }

    /// A job ends; the ledger is told.
    fn ends(&mut self, n: usize, outcome: &Outcome) -> Result<(), Broken> {
        let Some(run) = self.running.remove(&n) else { return Ok(()) };
        self.tell(|| format!("task {n}: its run ends, {outcome:?}"));
        if let Some((event, change)) = after(outcome, &self.rows[n], ATTEMPTS, run.cancelled_by.as_ref(), self.now) {
            self.apply(n, event, &change)?;
        }
        // Too late where everything is done: whoever cancelled is told so.
        let done = matches!(outcome, Outcome::Done);
        if run.cancelled_by.is_some() && !done && !self.rows[n].state.closed() {
            return Err(format!("task {n} was cancelled and lives"));
        }
        Ok(())
    }

    /// Something was committed.
    fn commits(&mut self, n: usize) {
        self.rows[n].attempt = 0;
    }

    /// One of the runs goes on, or ends.
    fn works(&mut self, well: bool) -> Result<(), Broken> {
        let runs: Vec<usize> = self.running.keys().copied().collect();
        let Some(&n) = runs.get(self.below(runs.len())) else { return Ok(()) };
        let waiting = || Waiting { reason: "its windows".to_owned(), until: None };
        let extracted = self.rows[n].extracted;
        if self.running[&n].stopping {
            // It may have reached its end before it noticed.
            let outcome = if extracted && self.below(3) == 0 { Outcome::Done } else { Outcome::Stopped };
            return self.ends(n, &outcome);
        }
        match self.below(if well { 3 } else { 7 }) {
            0 => self.commits(n),
            1 if !extracted => {
                self.commits(n);
                self.rows[n].extracted = true;
                self.tell(|| format!("task {n} has only deliveries left"));
            }
            1 | 2 if extracted => return self.ends(n, &Outcome::Done),
            3 if self.closed.contains(&self.rows[n].export) => return self.ends(n, &Outcome::Closed(waiting())),
            4 => {
                // Its own wait has chance in it, and a schedule is the same each time.
                let wait = Duration::from_secs(1 + self.below(300) as u64);
                return self.ends(n, &Outcome::RetryAfter(Some(wait), ErrorClass::Transient, "connect".into()));
            }
            5 => return self.ends(n, &Outcome::Failed(ErrorClass::Auth, "log in".into())),
            _ => {}
        }
        Ok(())
    }

    /// An operator says something about a task.
    fn says(&mut self) -> Result<(), Broken> {
        let n = self.below(self.rows.len());
        let Some(row) = self.rows.get(n) else { return Ok(()) };
        let (state, actor) = (row.state, Actor("anna".into()));
        match (self.below(4), state) {
            (0, TaskState::Pending | TaskState::Processing) => {
                self.apply(n, TaskEvent::Pause, &Change::default())?;
                if let Some(run) = self.running.get_mut(&n) {
                    run.stopping = true;
                }
            }
            (1, TaskState::Paused) => self.apply(n, TaskEvent::Resume, &Change::default())?,
            (2, state) if !state.closed() => match self.running.get_mut(&n) {
                // Once it has stopped.
                Some(run) => (run.stopping, run.cancelled_by) = (true, Some(actor)),
                None => self.apply(n, TaskEvent::Cancel, &Change::default())?,
            },
            (3, TaskState::Failed | TaskState::Cancelled) => self.apply(n, TaskEvent::Retry, &Change::default())?,
            _ => {}
        }
        Ok(())
    }

    /// The daemon dies and is started again.
    fn crashes(&mut self) -> Result<(), Broken> {
        self.tell(|| "the daemon dies".to_owned());
        self.running.clear();
        for n in 0..self.rows.len() {
            if self.rows[n].state == TaskState::Processing {
                self.apply(n, TaskEvent::Recover, &Change::default())?;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Broken> {
        match self.below(20) {
            0..=3 if self.rows.len() < 12 => self.submit(),
            4..=6 => self.says()?,
            7 => self.crashes()?,
            8 => {
                // The clock is set, by up to a day in either direction.
                let jump = self.below(172_800) as i64 - 86_400;
                self.now += SignedDuration::from_secs(jump);
            }
            9 => {
                let export = format!("e{}", self.below(3));
                if !self.closed.remove(&export) {
                    self.closed.insert(export);
                }
            }
            _ => self.works(false)?,
        }
        let later = self.below(120) as i64;
        self.now += SignedDuration::from_secs(later);
        self.turn()
    }

    /// Things go wrong for a while; then everything that nobody stopped comes to its end.
    fn play(&mut self) -> Result<(), Broken> {
        self.submit();
        for _ in 0..STEPS {
            self.step()?;
        }
        self.closed.clear();
        self.tell(|| "from here on nothing goes wrong".to_owned());
        for _ in 0..2000 {
            let open = |row: &&TaskRow| !row.state.closed() && row.state != TaskState::Paused;
            if !self.rows.iter().any(|row| open(&row)) && self.running.is_empty() {
                return Ok(());
            }
            self.now += SignedDuration::from_secs(600);
            self.turn()?;
            self.works(true)?;
        }
        let stuck: Vec<_> = self.rows.iter().enumerate().map(|(n, row)| format!("{n} {}", row.state)).collect();
        Err(format!("they never end: {stuck:?}"))
    }
}

#[test]
fn every_schedule_keeps_the_promises_of_the_queue() {
    simulate::all("the queue", 1, |seed, told| {
        let mut sim = Sim::new(seed, told);
        sim.play()?;
        Ok(sim.rows.iter().filter(|row| row.state == TaskState::Succeeded).count() as u64)
    });
}
