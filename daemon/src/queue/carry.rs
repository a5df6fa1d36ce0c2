//! Deliveries of tasks that do not run: of paused ones, and of those that are filled back to further destinations. They
//! hold no slot, and stop before anything else is done with their task.

use super::dispatcher::{Dispatcher, Engine, RunControl};
use super::handle::Refusal;
use super::live::Shown;
use super::policy;
use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::host::messages::Message;
use crate::ledger::input::{AddDestination, DropDestination};
use crate::ledger::rows::FreedSegment;
use crate::model::task::{TaskState, Waiting};
use crate::transfer::Outcome;
use crate::transfer::progress::Counters;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tasks that are carried at the same time; more wait for their turn.
const MOST: usize = 16;
/// A carrier whose end was no success is begun again after this long.
const AGAIN: Duration = Duration::from_secs(10);
/// Orders that may wait for a job to stop.
const MAX_ORDERS: usize = 256;

/// What is ordered about the destinations of a task.
#[derive(Clone, Debug)]
pub enum Order {
    /// Fill one more back.
    Add(AddDestination),
    /// Go on without one.
    Drop(DropDestination),
}

/// What became of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordered {
    /// Files that are to be delivered now.
    pub deliveries: u64,
    /// Segments that nobody waits for any more.
    pub freed: Vec<FreedSegment>,
}

pub(super) type OrderAnswer = oneshot::Sender<Result<Ordered, Refusal>>;

/// The tasks that are carried.
#[derive(Default)]
pub(super) struct Carriers {
    of: BTreeMap<TaskId, Carrier>,
    pub(super) jobs: JoinSet<(TaskId, Outcome)>,
    orders: Vec<(TaskId, Order, OrderAnswer)>,
    /// Whether the ledger has to be asked what is to be carried.
    look: bool,
}

struct Carrier {
    stop: CancellationToken,
    progress: Arc<Counters>,
    /// When it is begun again; none while its job runs.
    parked: Option<Instant>,
    waiting: Option<(Waiting, Duration)>,
}

impl Carriers {
    /// At the next turn the ledger is asked.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// Tasks whose job has not ended.
    pub(super) fn busy(&self) -> BTreeSet<TaskId> {
        self.of.iter().filter(|(_, carrier)| carrier.parked.is_none()).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.of.values().filter_map(|carrier| carrier.parked).min()
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = Shown> + '_ {
        let shown = |(id, carrier): (&TaskId, &Carrier)| Shown {
            id: id.clone(),
            counters: carrier.progress.clone(),
            waiting: None,
            carried: true,
        };
        self.of.iter().map(shown)
    }

    /// Stops the carrier of a task; whether its job is still to end.
    pub(super) fn stop(&mut self, id: &TaskId) -> bool {
        self.look = true;
        let Some(carrier) = self.of.get(id) else { return false };
        carrier.stop.cancel();
        if carrier.parked.is_some() {
            self.of.remove(id);
            return false;
        }
        true
    }

    pub(super) fn stop_all(&mut self) {
        let ids: Vec<TaskId> = self.of.keys().cloned().collect();
        for id in ids {
            self.stop(&id);
        }
    }
}

impl<E: Engine> Dispatcher<E> {
    /// Begins what is to be carried and is not.
    pub(super) async fn carry(&mut self) {
        let now = clock::monotonic();
        let due = self.carriers.of.values().any(|carrier| carrier.parked.is_some_and(|at| at <= now));
        if !std::mem::take(&mut self.carriers.look) && !due {
            return;
        }
        let wanted = match self.ledger.to_carry().await {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::warn!(
                    MESSAGE_ID = Message::LedgerTrouble.id(),
                    "failed to look for deliveries to carry on with: {}",
                    Chain(&error)
                );
                return;
            }
        };
        self.carriers.of.retain(|id, carrier| carrier.parked.is_none() || wanted.contains(id));
        for id in wanted {
            let waits = self.carriers.of.get(&id).is_some_and(|carrier| carrier.parked.is_none_or(|at| at > now));
            if waits || self.running.contains_key(&id) || self.ordered(&id) || self.carriers.jobs.len() >= MOST {
                continue;
            }
            self.begin_carrying(&id).await;
        }
    }

    async fn begin_carrying(&mut self, id: &TaskId) {
        let Ok(Some(row)) = self.ledger.task(id).await else { return };
        if !matches!(row.state, TaskState::Paused | TaskState::Succeeded) {
            return;
        }
        let waiting = self.carriers.of.remove(id).and_then(|carrier| carrier.waiting);
        let (stop, progress) = (CancellationToken::new(), Arc::<Counters>::default());
        let control =
            RunControl { stop: stop.clone(), progress: progress.clone(), extracted: self.extracted.0.clone() };
        let job = self.engine.clone().carry(row, control);
        let of = id.clone();
        self.carriers.jobs.spawn(async move { (of, job.await) });
        self.carriers.of.insert(id.clone(), Carrier { stop, progress, parked: None, waiting });
    }

    /// A carrier's job has ended: it is done, or is begun again later.
    pub(super) async fn carried(&mut self, id: &TaskId, outcome: Outcome) {
        let Some(carrier) = self.carriers.of.get_mut(id) else { return };
        let (waiting, asked) = match outcome {
            Outcome::Done | Outcome::Stopped | Outcome::Closed(_) => {
                self.carriers.of.remove(id);
                self.carriers.look();
                self.carry_out(id).await;
                return;
            }
            Outcome::Wait(waiting, asked) => (waiting, asked),
            Outcome::RetryAfter(wait, _, why) => (Waiting { reason: why, until: None }, wait.unwrap_or(AGAIN)),
            Outcome::Failed(_, why) => (Waiting { reason: why, until: None }, AGAIN),
        };
        let same = carrier.waiting.as_ref().filter(|(before, _)| before.same_kind(&waiting));
        let recheck = policy::recheck(asked, same.map(|(_, before)| *before));
        if same.is_none() {
            tracing::warn!(MESSAGE_ID = Message::DeliveriesWait.id(), EXPORT_TASK = %id, "the deliveries of task {id} wait: {}", waiting.reason);
        }
        carrier.parked = Some(clock::monotonic() + recheck);
        carrier.waiting = Some((waiting, recheck));
        self.carriers.look();
        self.carry_out(id).await;
    }

    fn ordered(&self, id: &TaskId) -> bool {
        self.carriers.orders.iter().any(|(of, ..)| of == id)
    }

    /// Takes an order about a task's destinations: whatever delivers for the task stops first, and goes on as ordered.
    pub(super) async fn order(&mut self, id: TaskId, order: Order, answer: OrderAnswer) {
        if self.carriers.orders.len() >= MAX_ORDERS {
            let _ = answer.send(Err(Refusal::Unavailable("too many orders wait; try again in a moment".into())));
            return;
        }
        let carried = self.carriers.stop(&id);
        let runs = self.running.get_mut(&id).is_some_and(|run| run.stop_for_order());
        self.carriers.orders.push((id.clone(), order, answer));
        if !carried && !runs {
            self.carry_out(&id).await;
        }
    }

    /// Carries out the orders about a task, now that nothing delivers for it.
    pub(super) async fn carry_out(&mut self, id: &TaskId) {
        let mine: Vec<_> = self.carriers.orders.extract_if(.., |(of, ..)| of == id).collect();
        for (_, order, answer) in mine {
            let done = match order {
                Order::Add(order) => {
                    let added = self.ledger.add_destination(id, order).await;
                    added.map(|deliveries| Ordered { deliveries, freed: Vec::new() })
                }
                Order::Drop(order) => {
                    let freed = self.ledger.drop_destination(id, order).await;
                    freed.map(|freed| Ordered { deliveries: 0, freed })
                }
            };
            let _ = answer.send(done.map_err(|error| super::commands::refusal(&error)));
            self.carriers.look();
        }
    }
}
