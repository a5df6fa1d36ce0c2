//! Folds warnings that repeat: the first is told at once, the others once in a while as a number.

use super::messages::Message;
use crate::base::clock;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Repetitions are told this often.
const INTERVAL: Duration = Duration::from_secs(60);
/// Kinds of warnings that are folded at a time; more are told as they come.
const MOST: usize = 1000;

/// What a warning is about. Two of one message about the same are repetitions, whatever their words.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// Id of the task.
    pub task: Option<String>,
    /// Name of the export.
    pub export: Option<String>,
    /// Name of the source.
    pub source: Option<String>,
    /// Name of the destination.
    pub destination: Option<String>,
    /// Class of the error.
    pub class: Option<&'static str>,
}

static FOLDS: LazyLock<Mutex<Folds>> = LazyLock::new(Mutex::default);

/// Tells a warning now, or counts it where one like it was told a short while ago.
pub fn warn(message: Message, about: About, text: &str) {
    let key = (message, about);
    let news = FOLDS.lock().unwrap_or_else(PoisonError::into_inner).take(&key, text, clock::monotonic());
    if news {
        tell(&key, text);
    }
}

/// Tells what was counted and is due; with `all`, everything that was counted.
pub fn flush(all: bool) {
    let due = FOLDS.lock().unwrap_or_else(PoisonError::into_inner).due(clock::monotonic(), all);
    for (key, Seen { since, again, text }) in due {
        tell(&key, &format!("{again} more like this within {:.0?}, the last: {text}", clock::since(since)));
    }
}

fn tell((message, about): &(Message, About), text: &str) {
    tracing::warn!(
        MESSAGE_ID = message.id(),
        EXPORT_TASK = about.task.as_deref(),
        EXPORT_NAME = about.export.as_deref(),
        EXPORT_SOURCE = about.source.as_deref(),
        EXPORT_DESTINATION = about.destination.as_deref(),
        EXPORT_ERROR_CLASS = about.class,
        "{text}"
    );
}

/// What was told lately.
#[derive(Default)]
struct Folds(BTreeMap<(Message, About), Seen>);

#[derive(Clone, Debug)]
struct Seen {
    since: Instant,
    again: u64,
    text: String,
}

impl Folds {
    /// Whether it is to be told now.
    fn take(&mut self, key: &(Message, About), text: &str, now: Instant) -> bool {
        if let Some(seen) = self.0.get_mut(key) {
            seen.again += 1;
            text.clone_into(&mut seen.text);
            return false;
        }
        if self.0.len() < MOST {
            self.0.insert(key.clone(), Seen { since: now, again: 0, text: String::new() });
        }
        true
    }

    /// What has repeated and is to be told; what has not for a whole interval is forgotten.
    fn due(&mut self, now: Instant, all: bool) -> Vec<((Message, About), Seen)> {
        let over = |seen: &Seen| all || now.saturating_duration_since(seen.since) >= INTERVAL;
        self.0.retain(|_, seen| seen.again > 0 || !over(seen));
        let mut due = Vec::new();
        for (key, seen) in &mut self.0 {
            if over(seen) {
                due.push((key.clone(), seen.clone()));
                *seen = Seen { since: now, again: 0, text: String::new() };
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_number_an_interval() {
        let mut folds = Folds::default();
        let start = clock::monotonic();
        let at = |seconds| start + Duration::from_secs(seconds);
        let about = |task: &str| (Message::RateLimited, About { task: Some(task.into()), ..About::default() });
        assert!(folds.take(&about("a"), "one", at(0)));
        assert!(folds.take(&about("b"), "another task", at(0)));
        for n in 1..50 {
            assert!(!folds.take(&about("a"), &format!("again {n}"), at(n)));
        }
        assert!(folds.due(at(59), false).is_empty());
        let due = folds.due(at(60), false);
        assert_eq!(due.len(), 1, "b did not repeat: {due:?}");
        assert_eq!((due[0].1.again, due[0].1.text.as_str()), (49, "again 49"));
        // It goes on: still a number an interval, and no line of its own.
        assert!(!folds.take(&about("a"), "still", at(61)));
        assert!(folds.take(&about("b"), "after a quiet time", at(61)));
        assert_eq!(folds.due(at(120), false).len(), 1);
        // A quiet interval, and the next one is news.
        assert!(folds.due(at(181), false).is_empty());
        assert!(folds.take(&about("a"), "new", at(182)));
        assert!(!folds.take(&about("a"), "last", at(183)));
        assert_eq!(folds.due(at(184), true).len(), 1, "the end of the daemon tells all");
    }

    #[test]
    fn memory_is_bounded() {
        let mut folds = Folds::default();
        for n in 0..2 * MOST {
            assert!(folds.take(
                &(Message::TimedOut, About { task: Some(n.to_string()), ..About::default() }),
                "",
                clock::monotonic()
            ));
        }
        assert_eq!(folds.0.len(), MOST);
    }
}
