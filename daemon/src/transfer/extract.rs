//! Converts a lane's pages side by side and hands them on in order, never more than the budget and the threads allow.
//!
//! ```text
//! sampled pages ─▶ journal ─▶ source ─▶ budget ─▶ convert (threads) ─▶ in order
//! ```

use super::cpu::Cpu;
use super::error::TransferError;
use super::family::Picker;
use super::journal::Journal;
use super::keeper::Keeper;
use super::pages::{Fetched, Known, Pages};
use crate::base::budget::ByteBudget;
use crate::base::pool::Pool;
use crate::model::partitions::{Partitions, TooMany};
use crate::record::convert::{Converted, Plan};
use crate::record::follow::{Follow, Followed};
use crate::record::page::Page;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A page and its records as the encoder takes them.
pub struct Work {
    /// The page, kept for the journal.
    pub page: Page,
    /// Its records.
    pub converted: Converted,
    /// How far they reach, in an incremental stream.
    pub followed: Option<Followed>,
    /// When it came.
    pub at: Instant,
    /// What the journal's keeper of the lane's next segment knows of it.
    pub known: Known,
    /// The replayed journal, with the first page that it does not hold.
    pub journal: Option<Journal>,
    /// What children need of its records, where the stream has children.
    pub values: Option<Result<Partitions, TooMany>>,
}

/// What the pump sends, in the order of the pages.
pub type Item = Result<JoinHandle<Result<Work, TransferError>>, TransferError>;

/// Where a lane's pages come from.
pub struct Feed {
    /// Pages that the sample has already read, from the committed offset on.
    pub sampled: VecDeque<Fetched>,
    /// The pages after them.
    pub pages: Pages,
    /// Keeps the journal of the lane's next segment, if the sample has begun it.
    pub keeper: Option<Keeper>,
}

impl Feed {
    /// A lane that the sample has not read.
    pub fn new(pages: Pages) -> Self {
        Self { sampled: VecDeque::new(), pages, keeper: None }
    }
}

/// Converts pages side by side and sends them in order.
#[derive(Clone)]
pub struct Pump {
    /// Bounds the bytes between fetching and encoding.
    pub budget: ByteBudget,
    /// Converts.
    pub cpu: Cpu,
    /// How records become columns or lines.
    pub plan: Arc<Plan>,
    /// What the records of an incremental stream are compared with.
    pub follow: Option<Arc<Follow>>,
    /// Takes what children need.
    pub picker: Option<Arc<Picker>>,
}

impl Pump {
    /// Sends every page of the lane into `out`, until its end, an error, or until nobody listens.
    pub async fn run(self, mut sampled: VecDeque<Fetched>, mut pages: Pages, out: mpsc::Sender<Item>) {
        pages.becomes(&self.plan);
        loop {
            let fetched = match sampled.pop_front() {
                Some(fetched) => fetched,
                None => match pages.next().await {
                    Ok(Some(fetched)) => fetched,
                    Ok(None) => return,
                    Err(error) => {
                        let _ = out.send(Err(error)).await;
                        return;
                    }
                },
            };
            if out.send(Ok(self.convert(fetched).await)).await.is_err() {
                return;
            }
        }
    }

    /// Starts converting a page, as soon as the budget has room for it.
    async fn convert(&self, fetched: Fetched) -> JoinHandle<Result<Work, TransferError>> {
        let Fetched { mut page, at, known, journal } = fetched;
        if page.permit.is_none() {
            page.permit = Some(self.budget.take(page.held_bytes()).await);
        }
        let (cpu, plan, picker) = (self.cpu.clone(), self.plan.clone(), self.picker.clone());
        let follow = self.follow.clone();
        // What came converted, and is all that is wanted of the page, waits for no thread.
        let done = page.made.as_ref().is_some_and(|made| Arc::ptr_eq(&made.plan, &plan))
            && follow.is_none()
            && picker.is_none();
        let convert = move |_: &Pool| {
            let followed = follow.map(|follow| follow.page(&page));
            let all = followed.as_ref().is_none_or(|followed| followed.keep.iter().all(|keep| *keep));
            let made = page.made.take().filter(|made| all && Arc::ptr_eq(&made.plan, &plan));
            let converted = match made {
                Some(made) => made.converted,
                None => plan.convert(&page, followed.as_ref()),
            };
            let values = picker.map(|picker| picker.pick(&page));
            Work { page, converted, followed, at, known, journal, values }
        };
        tokio::spawn(async move { if done { Ok(convert(&cpu.pool())) } else { cpu.run(convert).await } })
    }
}
