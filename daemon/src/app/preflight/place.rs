//! A destination: a small object is written, read back, kept from being overwritten, and deleted; and how much room is left.

use super::steps::{Found, Steps};
use crate::base::clock;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::ids::Name;
use crate::config::settings;
use crate::destinations::local::PRIVATE;
use crate::destinations::{Destination, DestinationError, Opener};
use crate::transfer::spool::HEADROOM;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is written.
const WORDS: &[u8] = b"written by a check of saas-export-daemon; may be deleted\n";

/// Tries a destination. `chunk_size` is that of the export which writes there.
pub async fn look(
    steps: &mut Steps,
    name: &Name,
    settings: &settings::Destination,
    (opener, chunk_size): (&Arc<Opener>, u64),
) {
    let subject = format!("destination {name}");
    let root = settings.location("");
    let (settings, opener) = (settings.clone(), opener.clone());
    let opened = tokio::task::spawn_blocking(move || opener.open(&settings)).await;
    let destination = match opened.map_err(DestinationError::from).and_then(|opened| opened) {
        Ok(destination) => destination,
        Err(error) => {
            steps.tell(&subject, "setup", failed(&error, &root));
            return;
        }
    };
    let tried = steps.make(&subject, "write", write(&*destination, &root)).await;
    if tried.is_none() {
        steps.skip(&subject, "room", "write failed");
        return;
    }
    steps.make(&subject, "room", room(&*destination, chunk_size)).await;
}

async fn write(destination: &dyn Destination, root: &str) -> Result<(Found, ()), Found> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    // Where files on their way lie: what a killed check leaves there is swept like them.
    let key = format!("{PRIVATE}/incoming/check-{unique}-{}", clock::now().as_microsecond());
    let probed = destination.probe().await.map_err(|error| failed(&error, root))?;
    let done = attempt(destination, &key).await;
    // Also where the attempt failed half way.
    let deleted = destination.delete(&key).await;
    done.and(deleted.map_err(|error| failed(&error, root)).map(drop)).map(|()| {
        let done = format!("wrote, read back and deleted a small file below {root}");
        match probed.notes.as_slice() {
            [] => (Found::ok(format!("{done}; nothing there is overwritten")), ()),
            notes => (Found::warn(format!("{done}; {}", notes.join("; ")), ""), ()),
        }
    })
}

async fn attempt(destination: &dyn Destination, key: &str) -> Result<(), Found> {
    let at = destination.location(key);
    let failed = |error: DestinationError| failed(&error, &at);
    destination.put_bytes(key, WORDS.into()).await.map_err(failed)?;
    let back = destination.read_small(key, WORDS.len() as u64).await.map_err(failed)?;
    if back.is_none_or(|back| back.bytes != WORDS) {
        return Err(Found::fail(
            format!("what was written to {at} does not come back"),
            "look after the storage there",
        ));
    }
    match destination.put_bytes(key, b"other"[..].into()).await {
        Err(error) if error.class() == ErrorClass::Conflict => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(()) => Err(Found::fail(
            format!("{at} was overwritten, though it was there already"),
            "files there are not safe from being overwritten: use another storage",
        )),
    }
}

fn failed(error: &DestinationError, place: &str) -> Found {
    let hint = match error.class() {
        ErrorClass::Conflict => "something else has that name: move it away, or choose another root".to_owned(),
        ErrorClass::Full => "make room there".to_owned(),
        ErrorClass::Config if matches!(error, DestinationError::Io { .. }) => format!(
            "the user saas-export must be able to write to {place}; under systemd it must be in ReadWritePaths= \
             (systemctl edit saas-export-daemon)"
        ),
        _ => String::new(),
    };
    Found::fail(format!("failed to {}", Chain(error)), hint)
}

async fn room(destination: &dyn Destination, chunk_size: u64) -> Result<(Found, ()), Found> {
    let free = destination.free().await.map_err(|error| Found::fail(format!("failed to {}", Chain(&error)), ""))?;
    let Some(free) = free else { return Ok((Found::skip("it does not say how much room is left"), ())) };
    let (needs, gigabytes) = (2 * chunk_size + HEADROOM, free as f64 / 1e9);
    if free < needs {
        let text = format!("{gigabytes:.2} GB free; a task waits below {:.2} GB", needs as f64 / 1e9);
        return Ok((Found::warn(text, "make room, or lower chunk_size"), ()));
    }
    Ok((Found::ok(format!("{gigabytes:.1} GB free")), ()))
}
