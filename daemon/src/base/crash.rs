//! Names each commit boundary, so that a test can kill the daemon exactly there.
//!
//! `SAAS_EXPORT_CRASH_AT=name` (or `name:3` for the third passage, `name@destination` for the first there) makes the
//! process kill itself with SIGKILL at that point. Only builds with debug assertions look; a release build has no crash points.

/// Every crash point, in the order in which a task passes them.
pub const POINTS: &[&str] = &[
    "slot.before_commit",
    "slot.committed",
    "task.submitted",
    "task.started",
    "parent.values_stored",
    "parent.read",
    "token.received",
    "token.written",
    "token.stored",
    "partitions.stored",
    "schema.stored",
    "page.fetched",
    "page.encoded",
    "journal.created",
    "journal.written",
    "journal.synced",
    "segment.finished",
    "segment.synced",
    "segment.verified",
    "segment.before_commit",
    "segment.committed",
    "journal.removed",
    "limit.noted",
    "lane.done",
    "restart.before_commit",
    "restart.committed",
    "shift.before_commit",
    "shift.committed",
    "stream.extracted",
    "task.extracted",
    "single.begun",
    "single.written",
    "single.synced",
    "single.verified",
    "single.renamed",
    "single.committed",
    "delivery.started",
    "delivery.fetched",
    "upload.before_begin",
    "upload.begun",
    "upload.part_sent",
    "upload.part_noted",
    "upload.completed",
    "delivery.copied",
    "delivery.linked",
    "delivery.before_commit",
    "delivery.committed",
    "spool.removed",
    "single.part_removed",
    "manifest.composed",
    "manifest.sums_written",
    "manifest.signed",
    "manifest.written",
    "manifest.latest_written",
    "manifest.committed",
    "task.before_end",
    "task.ended",
    "notify.before_send",
    "notify.accepted",
    "restore.built",
    "restore.kept",
    "restore.log_removed",
    "restore.in_place",
    "prune.noted",
    "prune.manifest_removed",
    "prune.object_removed",
    "prune.removed",
    "prune.committed",
    "snapshot.synced",
    "snapshot.named",
];

/// Dies here if the environment asks for it.
#[inline]
pub fn point(name: &'static str) {
    if cfg!(debug_assertions) {
        armed::pass(name, None);
    }
}

/// The same at a destination.
#[inline]
pub fn point_at(name: &'static str, destination: &str) {
    if cfg!(debug_assertions) {
        armed::pass(name, Some(destination));
    }
}

mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        destination: Option<String>,
        left: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    pub fn pass(name: &'static str, destination: Option<&str>) {
        debug_assert!(super::POINTS.contains(&name), "crash point {name} is not listed");
        let armed = ARMED.get_or_init(|| {
            let text = std::env::var("SAAS_EXPORT_CRASH_AT").ok()?;
            let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
            let (name, destination) =
                name.split_once('@').map_or((name, None), |(name, at)| (name, Some(at.to_owned())));
            Some(Armed { name: name.to_owned(), destination, left: AtomicU64::new(nth.parse().unwrap_or(1)) })
        });
        let Some(armed) = armed else { return };
        let here = armed.destination.is_none() || armed.destination.as_deref() == destination;
        if armed.name == name && here && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        }
    }
}
