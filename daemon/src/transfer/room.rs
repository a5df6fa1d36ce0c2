//! Room in the spools: bytes of all tasks against the quota. When it is full extraction waits, and deliveries make room.
//!
//! A stream books one segment for each of its lanes before it asks for anything, and keeps that for as long as it is read,
//! so that what is open can always be sealed: no lane waits for another one's pages. Before each segment a lane waits until
//! the sealed ones of all tasks fit beside everything that is booked; those leave by deliveries alone, which wait for
//! nobody. Bookings take at most half of the quota, or belong to one stream alone; a single stream fits into half of it by
//! the check of the configuration. So there is no ring of waits: lanes wait for deliveries, streams for the end of streams.

use super::TaskRun;
use super::error::TransferError;
use crate::host::messages::Message;
use crate::ledger::Ledger;
use crate::ledger::rows::{Holder, Spooled};
use crate::model::task::Waiting;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked again, beside each time that something has left.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The room of all tasks.
pub struct Room {
    ledger: Ledger,
    /// The quota; 0 is none.
    quota: AtomicU64,
    booked: Mutex<u64>,
    /// Raised when something left.
    freed: watch::Sender<u64>,
}

/// A booking; it ends when it is dropped.
pub struct Booked {
    room: Arc<Room>,
    bytes: u64,
    /// What lanes use beyond their segment: a last page, a page journal.
    beyond: Mutex<BTreeMap<u32, u64>>,
}

impl Booked {
    /// A lane that has booked `segment` bytes uses so many now.
    pub fn uses(&self, lane: u32, bytes: u64, segment: u64) {
        let beyond = bytes.saturating_sub(segment);
        let mut lanes = self.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lanes.insert(lane, beyond).unwrap_or(0);
        if before != beyond {
            let mut booked = self.room.booked();
            *booked = (*booked + beyond).saturating_sub(before);
        }
    }
}

impl Drop for Booked {
    fn drop(&mut self) {
        let beyond: u64 = self.beyond.lock().unwrap_or_else(PoisonError::into_inner).values().sum();
        {
            let mut booked = self.room.booked();
            *booked = booked.saturating_sub(self.bytes + beyond);
        }
        self.room.freed();
    }
}

impl Room {
    /// Room for `quota` bytes, or without end.
    pub fn new(ledger: Ledger, quota: Option<u64>) -> Self {
        let room = Self { ledger, quota: AtomicU64::new(0), booked: Mutex::new(0), freed: watch::Sender::new(0) };
        room.set(quota);
        room
    }

    /// From now on another quota counts.
    pub fn set(&self, quota: Option<u64>) {
        self.quota.store(quota.unwrap_or(0), Relaxed);
        self.freed();
    }

    /// Something has left a spool.
    pub fn freed(&self) {
        self.freed.send_modify(|count| *count += 1);
    }

    /// The quota, if there is one.
    pub fn quota(&self) -> Option<u64> {
        Some(self.quota.load(Relaxed)).filter(|quota| *quota > 0)
    }

    fn booked(&self) -> std::sync::MutexGuard<'_, u64> {
        self.booked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are booked for files in the making.
    pub fn booked_bytes(&self) -> u64 {
        *self.booked()
    }

    /// Books the open segments of a stream, or a file that is fetched, once they have a place.
    pub async fn book(self: &Arc<Self>, task: &TaskRun, bytes: u64) -> Result<Booked, TransferError> {
        self.until(
            task,
            || {
                let mut booked = self.booked();
                let fits = self.quota().is_none_or(|quota| may_book(*booked, bytes, quota));
                if fits {
                    *booked += bytes;
                }
                fits.then(|| Booked { room: self.clone(), bytes, beyond: Mutex::default() })
            },
            |spooled| self.reason(spooled),
        )
        .await
    }

    /// Waits until another segment may be begun by who has booked it.
    pub async fn enter(&self, task: &TaskRun) -> Result<(), TransferError> {
        let Some(_) = self.quota() else { return Ok(()) };
        let mut freed = self.freed.subscribe();
        let mut told = false;
        loop {
            freed.mark_unchanged();
            let spooled = self.ledger.spooled().await?;
            let booked = *self.booked();
            if self.quota().is_none_or(|quota| may_enter(spooled.bytes, booked, quota)) {
                return self.tell(task, None, &mut told).await;
            }
            self.tell(task, Some(self.reason(&spooled)), &mut told).await?;
            wait(task, &mut freed).await?;
        }
    }

    async fn until<T>(
        &self,
        task: &TaskRun,
        mut attempt: impl FnMut() -> Option<T>,
        reason: impl Fn(&Spooled) -> String,
    ) -> Result<T, TransferError> {
        let mut freed = self.freed.subscribe();
        let mut told = false;
        loop {
            freed.mark_unchanged();
            if let Some(done) = attempt() {
                self.tell(task, None, &mut told).await?;
                return Ok(done);
            }
            let spooled = self.ledger.spooled().await?;
            self.tell(task, Some(reason(&spooled)), &mut told).await?;
            wait(task, &mut freed).await?;
        }
    }

    /// Says in `status` and in the ledger why the task waits, and that it goes on.
    async fn tell(&self, task: &TaskRun, reason: Option<String>, told: &mut bool) -> Result<(), TransferError> {
        let waiting = reason.map(|reason| Waiting { reason, until: None });
        if waiting.is_none() && !*told {
            return Ok(());
        }
        if let Some(waiting) = waiting.as_ref().filter(|_| !*told) {
            tracing::warn!(
                MESSAGE_ID = Message::SpoolFull.id(), EXPORT_TASK = %task.row.id, EXPORT_NAME = %task.row.export,
                "task {} waits: {}", task.row.id, waiting.reason
            );
        }
        *told = waiting.is_some();
        task.progress.hold(waiting.clone());
        Ok(task.ledger.set_waiting(&task.row.id, waiting).await?)
    }

    fn reason(&self, spooled: &Spooled) -> String {
        let quota = self.quota().unwrap_or_default();
        let full = format!(
            "the spool is full: {} of {} wait for delivery, {} are being written",
            megabytes(spooled.bytes),
            megabytes(quota),
            megabytes(*self.booked())
        );
        match &spooled.holder {
            Some(Holder { task, state, bytes, .. }) if state.closed() => format!(
                "{full}; most is held by task {task} ( {} ), which is {state}: `exportctl retry {task}` delivers it, \
                 `exportctl offsets reset {task}` gives it up",
                megabytes(*bytes)
            ),
            Some(Holder { task, destination, bytes, .. }) => format!(
                "{full}; most is held by destination {destination} for task {task} ( {} ); it goes on by itself when that is \
                 delivered, or after `exportctl deliver {task} --drop {destination}`",
                megabytes(*bytes)
            ),
            None => format!("{full}; it goes on by itself when a stream ends"),
        }
    }
}

/// A figure that stands alone, so that waits that differ in it are one kind.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

async fn wait(task: &TaskRun, freed: &mut watch::Receiver<u64>) -> Result<(), TransferError> {
    tokio::select! {
        biased;
        () = task.stop.cancelled() => Err(TransferError::Stopped),
        _ = freed.changed() => Ok(()),
        () = tokio::time::sleep(LOOK_AGAIN) => Ok(()),
    }
}

/// Whether a booking has a place: in half of the quota, or alone.
fn may_book(booked: u64, more: u64, quota: u64) -> bool {
    booked == 0 || booked.saturating_add(more) <= quota / 2
}

/// Whether a segment that was booked may be begun beside what waits for delivery.
fn may_enter(spooled: u64, booked: u64, quota: u64) -> bool {
    spooled == 0 || spooled.saturating_add(booked) <= quota
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stream in the model: lanes that each seal a segment whenever they may, and leave after some of them.
    #[derive(Clone, Debug)]
    struct Stream {
        lanes: u64,
        chunk: u64,
        left: u32,
        booked: bool,
    }

    proptest! {
        /// Whatever streams there are, and in whatever order they are looked at: all end, and the quota holds.
        #[test]
        fn streams_end_within_the_quota(
            quota in 100u64..10_000,
            kinds in prop::collection::vec((1u64..5, 1u64..2000, 1u32..6), 1..6),
            order in prop::collection::vec(any::<u8>(), 64),
        ) {
            let fits = |(lanes, chunk, _): &(u64, u64, u32)| 2 * lanes * chunk <= quota;
            let streams = kinds.iter().filter(|kind| fits(kind));
            let mut streams: Vec<Stream> =
                streams.map(|(lanes, chunk, left)| Stream { lanes: *lanes, chunk: *chunk, left: *left, booked: false }).collect();
            let (mut spooled, mut booked) = (0u64, 0u64);
            for turn in 0..10_000 {
                if streams.iter().all(|stream| stream.left == 0) {
                    return Ok(());
                }
                let at = usize::from(order[turn % order.len()]) + turn;
                let (at, deliver) = (at % streams.len(), turn % 3 == 2);
                if deliver {
                    spooled = spooled.saturating_sub(500);
                    continue;
                }
                let stream = &mut streams[at];
                if stream.left == 0 { continue; }
                if !stream.booked {
                    let more = stream.lanes * stream.chunk;
                    if !may_book(booked, more, quota) { continue; }
                    booked += more;
                    stream.booked = true;
                }
                // Every lane enters and seals.
                for _ in 0..stream.lanes {
                    if may_enter(spooled, booked, quota) {
                        spooled += stream.chunk;
                        prop_assert!(spooled <= quota, "{spooled} of {quota}");
                        stream.left = stream.left.saturating_sub(1);
                    }
                }
                if stream.left == 0 {
                    booked -= stream.lanes * stream.chunk;
                }
            }
            prop_assert!(false, "they block one another: {streams:?}");
        }
    }

    #[test]
    fn waits_of_one_kind_differ_in_figures_alone() {
        let wait = |reason: String| Waiting { reason, until: None };
        let text = |bytes| format!("the spool is full: {} of {} wait", megabytes(bytes), megabytes(20));
        assert!(wait(text(1_500_000)).same_kind(&wait(text(7_000_000_000))));
    }
}
