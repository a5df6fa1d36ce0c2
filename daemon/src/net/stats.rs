//! Live figures of the requests of one task: what status and progress show.

use super::digest::Compared;
use crate::host::fold::{self, About};
use crate::host::messages::Message;
use crate::metrics::{METERS, RequestMeter};
use crate::model::task::Waiting;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::watch;

/// Sentences kept for the report of one task.
const MAX_NOTES: usize = 100;

/// Counters that only grow, and what the task waits for right now.
#[derive(Debug)]
pub struct SourceStats {
    /// Requests sent, retries and redirects included.
    pub requests: AtomicU64,
    /// Requests answered.
    pub answers: AtomicU64,
    /// Requests that failed and were tried again.
    pub retries: AtomicU64,
    /// Answers that asked to wait (429, or Retry-After).
    pub throttled: AtomicU64,
    /// Bytes of bodies, after decompression.
    pub bytes: AtomicU64,
    /// Bodies that are what the digests say that came with them.
    pub same: AtomicU64,
    /// Bodies that came compressed, with a digest of something else.
    pub not_compared: AtomicU64,
    waiting: watch::Sender<Option<Waiting>>,
    waiters: Mutex<u32>,
    notes: Mutex<Vec<(String, String)>>,
    owner: OnceLock<Owner>,
}

/// For whom requests are sent, and where they are counted.
#[derive(Debug)]
struct Owner {
    about: About,
    meter: Arc<RequestMeter>,
}

impl Default for SourceStats {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            same: AtomicU64::new(0),
            not_compared: AtomicU64::new(0),
            waiting: watch::Sender::new(None),
            waiters: Mutex::new(0),
            notes: Mutex::default(),
            owner: OnceLock::new(),
        }
    }
}

impl SourceStats {
    /// From now on its figures are those of a task: they count for its export, and warnings name it.
    pub fn belongs_to(&self, source: &str, task: &str, export: &str) {
        let about = About {
            task: Some(task.to_owned()),
            export: Some(export.to_owned()),
            source: Some(source.to_owned()),
            ..About::default()
        };
        let meter = METERS.requests.of((source.to_owned(), export.to_owned()));
        let _ = self.owner.set(Owner { about, meter });
    }

    /// Where requests of its task are counted; nowhere for one that belongs to none.
    pub fn meter(&self) -> Option<&RequestMeter> {
        self.owner.get().map(|owner| &*owner.meter)
    }

    /// Warns that a request failed and is sent again. Only the first of many is a line of its own.
    pub fn warn(&self, message: Message, class: &'static str, text: &str) {
        if let Some(owner) = self.owner.get() {
            fold::warn(message, About { class: Some(class), ..owner.about.clone() }, text);
        }
    }

    /// Follows what the task waits for; `None` while it does not wait.
    pub fn waiting(&self) -> watch::Receiver<Option<Waiting>> {
        self.waiting.subscribe()
    }

    /// Says that a request waits, until the guard is dropped.
    pub fn wait(self: &Arc<Self>, waiting: Waiting) -> WaitGuard {
        *self.waiters.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.waiting.send_replace(Some(waiting));
        WaitGuard(self.clone())
    }

    /// Counts what the comparison of a body found.
    pub fn compared(&self, compared: Compared) {
        match compared {
            Compared::Absent => {}
            Compared::Same => drop(self.same.fetch_add(1, Ordering::Relaxed)),
            Compared::Unknown => drop(self.not_compared.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// What to say of the answers that could not be compared since this was last asked; `None` where there are none.
    pub fn uncompared(&self) -> Option<String> {
        let count = self.not_compared.swap(0, Ordering::Relaxed);
        let why =
            "compressed, and the digest that came with it is neither that of the compressed body nor that of the body";
        (count > 0).then(|| format!("answers whose body could not be checked: {count} ({why})"))
    }

    /// The sentences about a stream so far, and what [`Self::uncompared`] says.
    pub fn all_notes(&self, stream: &str) -> Vec<String> {
        self.notes(stream).into_iter().chain(self.uncompared()).collect()
    }

    /// Keeps a sentence about a stream for the task's report. The same one is kept once.
    pub fn note(&self, stream: &str, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let note = (stream.to_owned(), note);
        if notes.len() < MAX_NOTES && !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// The sentences about a stream so far.
    pub fn notes(&self, stream: &str) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().filter(|(about, _)| about == stream).map(|(_, note)| note.clone()).collect()
    }
}

/// Held while a request waits.
#[derive(Debug)]
pub struct WaitGuard(Arc<SourceStats>);

impl Drop for WaitGuard {
    fn drop(&mut self) {
        let mut waiters = self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        *waiters = waiters.saturating_sub(1);
        if *waiters == 0 {
            self.0.waiting.send_replace(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_waiter_clears_the_sign() {
        let stats = Arc::new(SourceStats::default());
        let seen = stats.waiting();
        let waiting = |reason: &str| Waiting { reason: reason.into(), until: None };
        let first = stats.wait(waiting("a"));
        let second = stats.wait(waiting("b"));
        drop(first);
        assert_eq!(seen.borrow().as_ref().unwrap().reason, "b");
        drop(second);
        assert_eq!(*seen.borrow(), None);
    }
}
