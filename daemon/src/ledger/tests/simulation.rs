//! Deliveries under seeded schedules: the ledger's very states, with stores that take things without an answer, answer without taking
//! them, or do neither, with crashes between any two steps, and operators in between. A reader of the stores is the judge.

use super::*;
use crate::base::simulate::{self, Random};
use crate::model::task::TaskState;
use std::collections::BTreeMap;

const DESTINATIONS: [&str; 2] = ["lake", "offsite"];
/// Steps of a schedule in which things go wrong.
const STEPS: u32 = 25;
const MANIFEST: &str = "_manifest.json";

/// How far the worker of a destination is; a crash forgets it.
#[derive(Clone, Debug, Default)]
enum Worker {
    /// It asks the ledger what is to be done.
    #[default]
    Looks,
    /// The store said that it has a segment; to be noted.
    Stored(u64),
    /// The manifest is composed, and to be sent.
    Composed(Vec<u8>),
    /// The store said that it has the manifest; to be noted.
    Published,
}

struct Sim<'a> {
    ledger: &'a Ledger,
    task: TaskId,
    random: Random,
    /// What lies at each destination.
    stores: [BTreeMap<String, Vec<u8>>; 2],
    workers: [Worker; 2],
    /// The manifest at each destination, now and before the last cancel.
    composed: BTreeMap<usize, Vec<u8>>,
    taken_back: BTreeMap<usize, Vec<u8>>,
    state: TaskState,
    told: bool,
}

type Broken = String;

/// The number of a segment's object.
fn object(n: u64) -> String {
    format!("part-{n}")
}

impl Sim<'_> {
    fn tell(&self, text: impl FnOnce() -> String) {
        if self.told {
            println!("sim: {} ({})", text(), self.state);
        }
    }

    async fn happens(&mut self, event: TaskEvent) -> Result<(), Broken> {
        let row = self.ledger.task_event(&self.task, event, Change::default()).await;
        self.state = row.map_err(|error| format!("{event}: {}", crate::base::error::Chain(&error)))?.state;
        self.tell(|| format!("the task: {event}"));
        Ok(())
    }

    /// Sends an object to a store; whether the store said that it has it, and it is there.
    fn send(&mut self, at: usize, key: String, bytes: Vec<u8>, well: bool) -> Result<bool, Broken> {
        let (taken, answered) = match self.random.below(if well { 1 } else { 4 }) {
            0 => (true, true),
            1 => (true, false),
            2 => (false, true),
            _ => (false, false),
        };
        self.tell(|| format!("{key} goes to {}: taken {taken}, answered {answered}", DESTINATIONS[at]));
        if taken {
            let kept = self.stores[at].entry(key.clone()).or_insert_with(|| bytes.clone());
            if *kept != bytes {
                return Err(format!("{key} at {} would be another one", DESTINATIONS[at]));
            }
        }
        Ok(answered && self.stores[at].contains_key(&key))
    }

    /// One step of the worker of a destination.
    async fn works(&mut self, at: usize, well: bool) -> Result<(), Broken> {
        let (name, ledger, task) = (DESTINATIONS[at], self.ledger, self.task.clone());
        let failed = |error: LedgerError| crate::base::error::Chain(&error).to_string();
        self.workers[at] = match std::mem::take(&mut self.workers[at]) {
            Worker::Looks => {
                let next = ledger.next_deliveries(&task, name, 1).await.map_err(failed)?.into_iter().next();
                match next {
                    Some(row) => {
                        let n = row.segment.id.n;
                        if self.send(at, object(n), n.to_le_bytes().to_vec(), well)? {
                            Worker::Stored(n)
                        } else {
                            ledger.delivery_failed(&task, &row.segment.id, name, "no answer").await.map_err(failed)?;
                            Worker::Looks
                        }
                    }
                    None if self.state == TaskState::Processing => {
                        // Each try would say something else, but what a cancel took back is composed anew of the same rows.
                        let said = match self.taken_back.get(&at) {
                            Some(before) => before.clone(),
                            None => format!("manifest of {}", self.random.below(1000)).into_bytes(),
                        };
                        let composed = ledger.compose_manifest(&task, STREAM, name, said).await.map_err(failed)?;
                        self.composed.insert(at, composed.clone());
                        Worker::Composed(composed)
                    }
                    None => Worker::Looks,
                }
            }
            Worker::Stored(n) => {
                let id = segment(n, n..n + 1).id;
                ledger.delivery_verified(&task, &id, name).await.map_err(failed)?;
                self.tell(|| format!("segment {n} is verified at {name}"));
                Worker::Looks
            }
            Worker::Composed(bytes) => match self.send(at, MANIFEST.to_owned(), bytes.clone(), well)? {
                true => Worker::Published,
                false => Worker::Composed(bytes),
            },
            Worker::Published => {
                ledger.manifest_published(&task, STREAM, name).await.map_err(failed)?;
                self.tell(|| format!("it is published at {name}"));
                Worker::Looks
            }
        };
        self.look()
    }

    /// What a reader of the stores must find at any time.
    fn look(&self) -> Result<(), Broken> {
        for (name, store) in DESTINATIONS.iter().zip(&self.stores) {
            let whole = (0..2).all(|n| store.contains_key(&object(n)));
            if store.contains_key(MANIFEST) && !whole {
                return Err(format!("a manifest at {name} lists what is not there"));
            }
            if self.state == TaskState::Succeeded && !(whole && store.contains_key(MANIFEST)) {
                return Err(format!("it succeeded, and {name} has {:?}", store.keys()));
            }
        }
        Ok(())
    }

    /// Whether the ledger has it that everything is published.
    async fn done(&self) -> bool {
        let rows = self.ledger.manifests(&self.task).await.unwrap();
        rows.iter().filter(|row| row.published_at.is_some()).count() == DESTINATIONS.len()
    }

    /// The run ends, if its deliveries have.
    async fn ends(&mut self) -> Result<(), Broken> {
        if self.state == TaskState::Processing && self.done().await {
            self.happens(TaskEvent::Succeed).await?;
        }
        self.look()
    }

    /// An operator cancels it: refused exactly where it is published somewhere already, and then nothing has changed.
    async fn cancel(&mut self) -> Result<(), Broken> {
        let rows = self.ledger.manifests(&self.task).await.unwrap();
        let published = rows.iter().any(|row| row.published_at.is_some());
        let cancelled = self.happens(TaskEvent::Cancel).await;
        match (published, &cancelled) {
            (true, Err(why)) if why.contains("already published") => {}
            (false, Ok(())) => {
                self.workers = Default::default();
                self.taken_back = self.composed.clone();
            }
            _ => return Err(format!("published: {published}, cancelled: {cancelled:?}")),
        }
        let state = self.ledger.task(&self.task).await.unwrap().unwrap().state;
        if state != self.state {
            return Err(format!("the ledger has {state}"));
        }
        self.look()
    }

    async fn step(&mut self) -> Result<(), Broken> {
        match (self.random.below(16), self.state) {
            (0, _) => {
                self.tell(|| "the daemon dies".to_owned());
                self.workers = Default::default();
                if self.state == TaskState::Processing {
                    self.happens(TaskEvent::Recover).await?;
                }
            }
            (1, TaskState::Processing) => {
                self.workers = Default::default();
                self.happens(TaskEvent::TryAgain).await?;
            }
            (2, TaskState::Processing) => {
                // Its workers stop at their next step; nothing of theirs is lost by that.
                self.workers = Default::default();
                self.happens(TaskEvent::Pause).await?;
            }
            (3, TaskState::Processing) => {
                self.workers = Default::default();
                self.happens(TaskEvent::Fail).await?;
            }
            (10, TaskState::Processing | TaskState::Paused) => self.cancel().await?,
            (4..=9, TaskState::Pending) => self.happens(TaskEvent::Start).await?,
            (4..=6, TaskState::Paused) => self.happens(TaskEvent::Resume).await?,
            (4..=6, TaskState::Failed | TaskState::Cancelled) => self.happens(TaskEvent::Retry).await?,
            // Deliveries of a paused task go on, but publish nothing.
            (_, TaskState::Processing | TaskState::Paused) => {
                let at = self.random.below(2);
                self.works(at, false).await?;
                self.ends().await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn play(&mut self) -> Result<(), Broken> {
        for _ in 0..STEPS {
            self.step().await?;
        }
        self.tell(|| "from here on nothing goes wrong".to_owned());
        for turn in 0..40 {
            match self.state {
                TaskState::Succeeded => return Ok(()),
                TaskState::Pending => self.happens(TaskEvent::Start).await?,
                TaskState::Paused => self.happens(TaskEvent::Resume).await?,
                TaskState::Failed | TaskState::Cancelled => self.happens(TaskEvent::Retry).await?,
                TaskState::Processing => {
                    self.works(turn % 2, true).await?;
                    self.ends().await?;
                }
            }
        }
        Err(format!("it never ends: {:?}, {:?}", self.state, self.workers))
    }
}

#[test]
fn every_schedule_keeps_the_promises_of_deliveries() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_dir, ledger) = fresh();
    simulate::all("the deliveries", 100, |seed, told| {
        runtime.block_on(async {
            let task = extract(&ledger, new_task(&format!("shop-{seed}"), "eu"), false).await;
            let (stores, workers, composed, taken_back) = Default::default();
            let (random, state) = (Random::new(seed), TaskState::Processing);
            let mut sim = Sim { ledger: &ledger, task, random, stores, workers, composed, taken_back, state, told };
            sim.play().await?;
            Ok(1)
        })
    });
}
