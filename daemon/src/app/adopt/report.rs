//! What a restore or a rebuild did, or would do, for a person and as JSON.

use crate::model::task::TaskState;
use serde::Serialize;

/// What was done, or would be.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The snapshot that the ledger goes on from.
    pub snapshot: Option<String>,
    /// When it was last written to.
    pub written_at: Option<String>,
    /// Where the ledger is that was there before.
    pub before: Option<String>,
    /// Published tasks that the ledger did not know as such, in order.
    pub adopted: Vec<Adopted>,
    /// Open tasks that were cancelled, newest first.
    pub cancelled: Vec<String>,
    /// Messages that waited, and are not sent.
    pub given_up: Vec<GivenUp>,
    /// Destinations that were not looked at.
    pub skipped: Vec<String>,
    /// What an operator may do now.
    pub commands: Vec<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// A task that was adopted.
#[derive(Debug, Serialize)]
pub struct Adopted {
    /// Its id.
    pub task: String,
    /// Name of the export.
    pub export: String,
    /// Its streams, and where they were found.
    pub streams: Vec<AdoptedStream>,
    /// The state that the ledger had it in; none where it was not known.
    pub was: Option<String>,
}

/// A stream of it.
#[derive(Debug, Serialize)]
pub struct AdoptedStream {
    /// Name.
    pub stream: String,
    /// Place in its chain, from 0.
    pub position: u64,
    /// Records in its files.
    pub records: u64,
    /// Destinations where the ledger did not know it to be published.
    pub destinations: Vec<String>,
}

/// A message that is not sent.
#[derive(Debug, Serialize)]
pub struct GivenUp {
    /// Its id.
    pub id: String,
    /// The task that it is about.
    pub task: String,
    /// Whom it was for.
    pub recipient: String,
}

/// The word for the state that a task was in.
pub fn was(state: Option<TaskState>) -> Option<String> {
    state.map(|state| state.word().to_owned())
}

impl Report {
    /// The report as text, a line for each thing.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        let mut line = |said: String| {
            text.push_str(&said);
            text.push('\n');
        };
        if let (Some(snapshot), Some(at)) = (&self.snapshot, &self.written_at) {
            line(format!("snapshot {snapshot}, last written to at {at}"));
        }
        for adopted in &self.adopted {
            let was = adopted.was.as_deref().map(|was| format!(", which was {was}")).unwrap_or_default();
            line(format!("adopted   {} of {}{was}", adopted.task, adopted.export));
            for stream in &adopted.streams {
                let places = stream.destinations.join(", ");
                let (name, position, records) = (&stream.stream, stream.position, stream.records);
                line(format!("            {name}: place {position} of its chain, records: {records}, at {places}"));
            }
        }
        for task in &self.cancelled {
            line(format!("cancelled {task}"));
        }
        for message in &self.given_up {
            line(format!("not sent  {} to {}, about {}", message.id, message.recipient, message.task));
        }
        for name in &self.skipped {
            line(format!("skipped   {name}: what is published there alone may be published once more"));
        }
        for note in &self.notes {
            line(format!("note      {note}"));
        }
        for command in &self.commands {
            line(format!("now       {command}"));
        }
        line(match (&self.before, self.dry_run) {
            (_, true) => "nothing was changed (--dry-run)".to_owned(),
            (Some(before), false) => format!("the ledger is in its place; the one before is {before}"),
            (None, false) => "the ledger is in its place".to_owned(),
        });
        text
    }
}
