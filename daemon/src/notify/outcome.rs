//! What an attempt to send something means: whether it is tried again, and when.

use crate::base::retry::RetryPolicy;
use crate::config::settings::NotifyRetry;
use crate::ledger::Attempt;
use crate::ledger::rows::NoticeRow;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The longest wait that a server may ask for; whoever wants more is asked earlier.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
/// The ceiling of waits stays the same from this attempt on.
const LAST_STEP: u32 = 40;

/// Why something was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It may go out later; the server may have said when.
    ForNow(String, Option<Duration>),
    /// It is not tried again.
    ForGood(String),
}

impl Refused {
    /// The reason, for a person.
    pub fn why(&self) -> &str {
        match self {
            Self::ForNow(why, _) | Self::ForGood(why) => why,
        }
    }
}

/// What follows from an attempt: with the text of a success, what was not taken.
pub fn follows(row: &NoticeRow, retry: &NotifyRetry, sent: Result<Option<String>, Refused>, now: Timestamp) -> Attempt {
    let (why, asked) = match sent {
        Ok(partly) => return Attempt::Sent(partly),
        Err(Refused::ForGood(why)) => return Attempt::GivenUp(why),
        Err(Refused::ForNow(why, asked)) => (why, asked),
    };
    let wait = wait(retry, row.attempts, asked.map(|asked| asked.min(LONGEST_ASKED)));
    let next = now.checked_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
    let age = next.duration_since(row.since);
    if age > SignedDuration::try_from(retry.give_up_after.0).unwrap_or(SignedDuration::MAX) {
        return Attempt::GivenUp(format!("{why}; tried for {}", retry.give_up_after));
    }
    Attempt::Later(next, why)
}

/// How long to wait after so many attempts that failed before this one.
fn wait(retry: &NotifyRetry, before: u32, asked: Option<Duration>) -> Duration {
    let policy = RetryPolicy { attempts: LAST_STEP + 2, initial: retry.initial.0, max: retry.max.0 };
    let mut waits = policy.waits();
    for _ in 0..before.min(LAST_STEP) {
        waits.next_wait(None);
    }
    // Full jitter may give none at all; a server that has just refused is not asked again at once.
    waits.next_wait(asked).unwrap_or(retry.max.0).max(retry.initial.0 / 2)
}
