//! Makes a message of the facts of an end: figures for people, and the files with links that are made at this moment.

use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::config::message::{FileWords, Message, StreamWords};
use crate::config::settings::{Config, Destination, reached};
use crate::destinations::{Opener, object_key};
use crate::host::messages::Message as Told;
use crate::ledger::Ledger;
use crate::ledger::input::AuditEntry;
use crate::ledger::rows::{ManifestRow, NoticeRow, TaskRow};
use crate::model::notice::{Facts, StreamFacts};
use crate::model::task::TaskState;
use jiff::{SignedDuration, Timestamp};
use saas_export_api::size;
use saas_export_manifest::Manifest;
use std::time::Duration;

/// Files that a message names; `exportctl files` names all.
const MAX_FILES: usize = 20;
/// The longest that the links of a message may take to make, all together.
const LINKS_LIMIT: Duration = Duration::from_secs(60);

/// What is needed to find the files of a task and make links to them.
pub struct Places<'a> {
    /// Where the manifests are.
    pub ledger: &'a Ledger,
    /// Opens destinations.
    pub opener: &'a Opener,
    /// The configuration in force.
    pub config: &'a Config,
}

/// The message of a row, with its files where the task has succeeded.
pub async fn compose(row: &NoticeRow, places: &Places<'_>, links: Option<Duration>) -> Message {
    let mut message = of_facts(&row.facts, &row.event);
    message.recipient.clone_from(&row.recipient);
    let task = places.ledger.task(&row.task).await.ok().flatten();
    let Some(task) = task else {
        message.note = Some("The ledger does not know the task any more.".into());
        return message;
    };
    let stored = destinations(&task);
    message.destinations = stored.iter().map(|(name, _)| name.clone()).collect();
    // A task that was tried again since then may have files that this end did not have.
    if row.facts.state == TaskState::Succeeded && task.state == TaskState::Succeeded {
        let files = files(&task, &stored, places, (links, &row.recipient));
        if tokio::time::timeout(LINKS_LIMIT, files_into(files, &mut message)).await.is_err() {
            message.note = Some(format!(
                "The destination did not say in time where the files are; exportctl url {} FILE makes a link.",
                task.id
            ));
        }
    }
    message
}

async fn files_into(files: impl Future<Output = Found>, message: &mut Message) {
    let found = files.await;
    message.files = found.files;
    message.more_files = found.more;
    message.links_until = found.until.map(|until| until.to_string());
    message.note = found.note;
}

/// The message of facts, without files.
pub fn of_facts(facts: &Facts, event: &str) -> Message {
    let took = facts.started_at.map(|started| facts.ended_at.duration_since(started).as_secs());
    let before = facts.before.as_ref();
    Message {
        event: event.to_owned(),
        headline: headline(event).to_owned(),
        export: facts.export.clone(),
        task: facts.task.clone(),
        state: facts.state.word().to_owned(),
        reason: facts.reason.clone(),
        error_class: facts.error_class.clone(),
        attempt: facts.attempt,
        actor: facts.actor.clone(),
        params: facts.params.clone(),
        format: facts.format.clone(),
        created_at: facts.created_at.to_string(),
        started_at: facts.started_at.map(|at| at.to_string()),
        ended_at: facts.ended_at.to_string(),
        took: took.map(|seconds| format!("{:#}", SignedDuration::from_secs(seconds))),
        seconds: took.and_then(|seconds| u64::try_from(seconds).ok()),
        records_read: facts.total.counts.read,
        records: facts.total.counts.written,
        rejected: facts.total.counts.rejected,
        bytes: facts.total.bytes,
        size: size(facts.total.bytes),
        file_count: facts.total.files,
        streams: facts.streams.iter().map(stream).collect(),
        previous_task: before.map(|before| before.task.clone()),
        previous_state: before.map(|before| before.state.word().to_owned()),
        previous_ended_at: before.map(|before| before.ended_at.to_string()),
        ..Message::default()
    }
}

fn headline(event: &str) -> &'static str {
    match event {
        "success" => "has succeeded",
        "first_failure" => "has begun to fail",
        "recovery" => "succeeds again",
        _ => "has failed",
    }
}

fn stream(facts: &StreamFacts) -> StreamWords {
    StreamWords {
        name: facts.name.clone(),
        records_read: facts.counts.read,
        records: facts.counts.written,
        rejected: facts.counts.rejected,
        bytes: facts.bytes,
        size: size(facts.bytes),
        file_count: facts.files,
        error: facts.error.clone(),
    }
}

/// The destinations of a task in its order, as it stored them; none where that cannot be read any more.
fn destinations(task: &TaskRow) -> Vec<(String, Destination)> {
    let stored = serde_json::from_str(&task.config).ok().and_then(|stored| Config::from_effective(&stored).ok());
    let Some(stored) = stored else { return Vec::new() };
    let to = stored.exports.values().next().map(|export| export.to.clone()).unwrap_or_default();
    let settings = to.into_iter().filter_map(|name| Some((name.to_string(), stored.destinations.get(&name)?.clone())));
    settings.collect()
}

#[derive(Default)]
struct Found {
    files: Vec<FileWords>,
    more: u64,
    until: Option<Timestamp>,
    note: Option<String>,
}

/// The files of a task that has succeeded: of each stream at the first destination that makes links, else at the first.
async fn files(
    task: &TaskRow,
    stored: &[(String, Destination)],
    places: &Places<'_>,
    (links, recipient): (Option<Duration>, &str),
) -> Found {
    let mut manifests = places.ledger.manifests(&task.id).await.unwrap_or_default();
    manifests.retain(ManifestRow::there);
    let at = |name: &str| stored.iter().position(|(stored, _)| stored == name).unwrap_or(usize::MAX);
    let can = |row: &ManifestRow| stored.get(at(&row.destination)).is_some_and(|(_, place)| linkable(place));
    manifests.sort_by_key(|row| (row.stream.clone(), links.is_some() && !can(row), at(&row.destination)));
    manifests.dedup_by(|later, first| later.stream == first.stream);
    let mut found = Found::default();
    for row in &manifests {
        let Ok(manifest) = Manifest::parse(&row.bytes) else { continue };
        let Some((_, place)) = stored.get(at(&row.destination)) else { continue };
        let place = reached(place, places.config.destinations.get(row.destination.as_str()));
        for segment in &manifest.segments {
            if found.files.len() == MAX_FILES {
                found.more += 1;
                continue;
            }
            let key = object_key(&task.export, &row.stream, &task.id, &segment.name);
            let url = match links.filter(|_| linkable(place)) {
                Some(expires) => link(places.opener, place, (&key, expires), &mut found).await,
                None => None,
            };
            found.files.push(FileWords {
                stream: row.stream.clone(),
                name: segment.name.clone(),
                destination: row.destination.clone(),
                records: segment.rows,
                bytes: segment.bytes,
                size: size(segment.bytes),
                sha256: segment.sha256.clone(),
                path: place.location(&key),
                url,
            });
        }
    }
    recorded(places.ledger, task, (&mut found, recipient)).await;
    found
}

/// Whether links can be made to what lies there.
fn linkable(place: &Destination) -> bool {
    match place {
        Destination::S3(_) | Destination::Gcs(_) | Destination::Azure(_) => true,
        Destination::Local(_) | Destination::Sftp(_) | Destination::Http(_) => false,
    }
}

/// A link, unless there is none: then the message says why, and goes out all the same.
async fn link(
    opener: &Opener,
    place: &Destination,
    (key, expires): (&str, Duration),
    found: &mut Found,
) -> Option<String> {
    if found.note.is_some() {
        return None;
    }
    // From before the link is made: it counts no shorter than is told.
    let until = clock::now().checked_add(SignedDuration::try_from(expires).unwrap_or(SignedDuration::ZERO)).ok();
    let made = match opener.open(place) {
        Ok(destination) => destination.link(key, expires).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(url) => {
            if url.is_some() && found.until.is_none() {
                found.until = until;
            }
            url
        }
        Err(error) => {
            // What it says may hold more than a mail should.
            tracing::warn!(
                MESSAGE_ID = Told::NotificationFailed.id(),
                "failed to make a link for a notification: {}",
                Chain(&error)
            );
            found.note = Some("Links could not be made; the journal says why.".into());
            None
        }
    }
}

/// Data may leave the machine by a link: each is on record before anybody has it, as for `exportctl url`, or there is none.
async fn recorded(ledger: &Ledger, task: &TaskRow, (found, recipient): (&mut Found, &str)) {
    let linked = found.files.iter().filter(|file| file.url.is_some());
    let files: Vec<String> =
        linked.map(|file| format!("{}/{} at {}", file.stream, file.name, file.destination)).collect();
    if files.is_empty() {
        found.until = None;
        return;
    }
    let until = found.until.map(|until| until.to_string());
    let entry = AuditEntry {
        task: Some(TaskId::known(task.id.as_str())),
        export: Some(task.export.clone()),
        action: "link".into(),
        reason: format!("for the notification of {recipient}"),
        detail: Some(serde_json::json!({ "recipient": recipient, "files": files, "until": until }).to_string()),
        ..AuditEntry::default()
    };
    if let Err(error) = ledger.audit(entry).await {
        tracing::warn!(
            MESSAGE_ID = Told::LedgerTrouble.id(), EXPORT_TASK = %task.id,
            "failed to record the links of a notification: {}", Chain(&error)
        );
        found.files.iter_mut().for_each(|file| file.url = None);
        found.until = None;
        found.note = Some("Links could not be made; the journal says why.".into());
    }
}
