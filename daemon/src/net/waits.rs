//! How a request waits: for the right to be sent, and before it is sent again; and what is said of that.

use super::error::FetchError;
use super::fetch::{Fetcher, SHOWN_WAIT};
use super::held::held_reason;
use super::limit::{RequestPermit, Why};
use super::stats::WaitGuard;
use crate::base::clock;
use crate::base::error::{Chain, Classify as _};
use crate::host::messages::Message;
use crate::model::task::Waiting;
use jiff::Timestamp;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Fetcher {
    pub(super) fn retries(&self, error: &FetchError, wait: Duration) {
        self.stats.retries.fetch_add(1, Ordering::Relaxed);
        if let Some(meter) = self.stats.meter() {
            meter.retries.add(1);
        }
        let text = format!("source {}: {}; sent again in {wait:.1?}", self.source, Chain(error));
        self.stats.warn(error.message(), error.class().word(), &text);
    }

    pub(super) fn show(&self, wait: Duration, reason: String, until: Timestamp) -> Option<WaitGuard> {
        (wait >= SHOWN_WAIT).then(|| self.stats.wait(Waiting { reason, until: Some(until) }))
    }

    /// Waits for the right to send, and says meanwhile what it waits for.
    pub(super) async fn permit(&self) -> RequestPermit {
        let acquire = self.limiter.acquire();
        tokio::pin!(acquire);
        loop {
            let held = self.limiter.held().filter(|held| held.why != Why::Turn);
            let _shown = held.as_ref().and_then(|held| {
                let wait = held.until.saturating_duration_since(clock::monotonic());
                let until = clock::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
                self.show(wait, held_reason(&self.source, held), until)
            });
            let began = clock::monotonic();
            let permit = tokio::select! {
                biased;
                permit = &mut acquire => Some(permit),
                () = tokio::time::sleep(SHOWN_WAIT) => None,
            };
            if let Some(meter) = self.stats.meter().filter(|_| held.is_some()) {
                meter.throttled.add(clock::since(began));
            }
            if let Some(permit) = permit {
                return permit;
            }
        }
    }
}

impl FetchError {
    /// What the journal calls it.
    pub fn message(&self) -> Message {
        match self {
            _ if self.for_haste() => Message::RateLimited,
            Self::TimedOut(_) | Self::TooSlow(_) => Message::TimedOut,
            Self::Cut { .. } | Self::Digest(_) | Self::Unreadable { .. } => Message::BadAnswer,
            Self::Status { .. } | Self::Ruled { .. } => Message::ServerError,
            Self::Credential(_) => Message::CredentialTrouble,
            _ => Message::ConnectionBroken,
        }
    }
}
