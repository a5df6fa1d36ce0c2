//! A reload: what it changes, what it leaves as it is, and what somebody should know about it.

use super::{AppEngine, fingerprint, load, streams_of};
use crate::base::error::Chain;
use crate::config;
use crate::config::diff::Changes;
use crate::config::secrets::{DEFAULT_PATH, Secrets};
use crate::config::settings::{self, Config};
use crate::ledger::rows::{TaskFilter, TaskRow};
use crate::ledger::{Ledger, LedgerError};
use crate::model::task::TaskState;
use crate::queue::handle::{Refusal, ReloadReport};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// Open tasks that are looked at; more are not named.
const LOOKED_AT: u32 = 1000;
/// Tasks that a note names; more are told as a number.
const NAMED: usize = 5;

/// Both files as they are now, and what they change.
struct Loaded {
    config: Config,
    secrets: Secrets,
    changes: Changes,
    /// Names in auth.env that are there anew, gone, or have another value.
    changed_secrets: Vec<String>,
}

impl AppEngine {
    /// Reads both files and puts them into force, as a whole or not at all.
    pub(super) async fn reload_now(&self) -> Result<ReloadReport, Refusal> {
        let (old, _) = self.in_force();
        let loaded = self.loaded()?;
        let report = self.report(&old, &loaded).await;
        let Loaded { mut config, secrets, .. } = loaded;
        keep_what_is_read_once(&mut config, &old);
        for (name, source) in &config.sources {
            let settings::Source::Rest(rest) = source;
            self.limiter(name, &rest.rate).set(&rest.rate);
        }
        self.room.set(config.daemon.spool_quota.map(|quota| quota.0));
        let secrets = Arc::new(secrets);
        self.destinations.renew(secrets.clone());
        *self.secrets.lock().unwrap_or_else(PoisonError::into_inner) = secrets;
        self.config.send_replace(Arc::new(config));
        Ok(report)
    }

    /// What [`Self::reload_now`] would do; nothing changes.
    pub async fn plan_reload(self: Arc<Self>) -> Result<ReloadReport, Refusal> {
        let engine = self.clone();
        let loaded = tokio::task::spawn_blocking(move || engine.loaded()).await;
        let loaded = loaded.unwrap_or_else(|error| Err(Refusal::Unavailable(error.to_string())))?;
        let (old, _) = self.in_force();
        Ok(self.report(&old, &loaded).await)
    }

    /// Reads files.
    fn loaded(&self) -> Result<Loaded, Refusal> {
        let (config, secrets) = load(&self.files).map_err(|problems| Refusal::Invalid(problems.join("\n")))?;
        let (old, old_secrets) = self.in_force();
        let changes = config::diff::diff(&old, &config);
        let changed_secrets = old_secrets.changed(&secrets);
        Ok(Loaded { config, secrets, changes, changed_secrets })
    }

    async fn report(&self, old: &Config, loaded: &Loaded) -> ReloadReport {
        let Loaded { config, changes, changed_secrets, .. } = loaded;
        let mut applied = changes.applied.clone();
        applied.extend(changed_secrets.iter().map(|line| format!("auth.env: {line}")));
        let mut report = ReloadReport { applied, needs_restart: changes.needs_restart.clone(), notes: Vec::new() };
        let handed_over = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join("auth.env"));
        if handed_over.is_some_and(|copy| changed_since(Path::new(DEFAULT_PATH), &copy)) {
            report.needs_restart.push(format!("secrets: systemd handed {DEFAULT_PATH} over before it was changed"));
        }
        let open = TaskFilter {
            export: None,
            states: vec![TaskState::Pending, TaskState::Processing, TaskState::Paused],
            limit: LOOKED_AT,
        };
        let notes = async {
            let mut notes = of_open_tasks(old, config, &self.ledger.tasks(&open).await?, !changed_secrets.is_empty());
            notes.extend(of_marks(old, config, &self.ledger).await?);
            Ok::<_, LedgerError>(notes)
        };
        report.notes =
            notes.await.unwrap_or_else(|error| vec![format!("what it means for open tasks: {}", Chain(&error))]);
        report
    }
}

/// What becomes of open tasks whose export is changed or gone, and when they use other secrets.
fn of_open_tasks(old: &Config, new: &Config, open: &[TaskRow], secrets: bool) -> Vec<String> {
    let mut exports: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in open {
        exports.entry(&row.export).or_default().push(row.id.as_str());
    }
    let mut notes = Vec::new();
    for (export, mut ids) in exports {
        let more = ids.len().saturating_sub(NAMED);
        ids.truncate(NAMED);
        let mut ids = ids.join(", ");
        if more > 0 {
            ids = format!("{ids} and {more} more");
        }
        if !new.exports.keys().any(|name| name.as_str() == export) {
            if old.exports.keys().any(|name| name.as_str() == export) {
                notes.push(format!(
                    "export {export} is gone; what is open runs to its end with the configuration it began with: {ids}"
                ));
            }
        } else if what_a_task_keeps(old, export) != what_a_task_keeps(new, export) {
            notes.push(format!("export {export}: what is open keeps the configuration it began with: {ids}"));
        }
    }
    if secrets && open.iter().any(|row| row.state == TaskState::Processing) {
        notes.push(
            "auth.env: a task that runs uses other values from its next attempt on; pause and resume make that now"
                .into(),
        );
    }
    notes
}

/// What a task of the export would store, without what counts for running tasks, too.
fn what_a_task_keeps(config: &Config, export: &str) -> Option<Config> {
    let mut config = Config::from_effective(&config.effective_for(export)?).ok()?;
    config.daemon = settings::Daemon::default();
    for settings::Source::Rest(rest) in config.sources.values_mut() {
        rest.rate = settings::Rate::default();
    }
    for export in config.exports.values_mut() {
        export.windows.clear();
        export.keep = settings::Keep::default();
    }
    Some(config)
}

/// The streams that cannot go on from their marks any more.
async fn of_marks(old: &Config, new: &Config, ledger: &Ledger) -> Result<Vec<String>, LedgerError> {
    let mut notes = Vec::new();
    for (name, export) in &new.exports {
        let Some(settings::Source::Rest(rest)) = new.sources.get(&export.source) else { continue };
        if old.exports.get(name) == Some(export) && old.sources.get(&export.source) == new.sources.get(&export.source) {
            continue;
        }
        let marks = ledger.marks(name.as_str()).await?;
        for stream in streams_of(export, new) {
            let Some(settings) = rest.streams.get(&stream).filter(|stream| stream.incremental.is_some()) else {
                continue;
            };
            let mark = marks.iter().find(|mark| mark.stream == stream.as_str());
            let known = mark.and_then(|mark| mark.fingerprint.as_deref());
            if known.is_some_and(|known| known != fingerprint(settings)) {
                notes.push(format!(
                    "stream {stream} of export {name} cannot go on from its mark, because its path, paginator, key or \
                     cursor field changed: exportctl run {name} --full reads everything again"
                ));
            }
        }
    }
    Ok(notes)
}

/// The settings that count from the start to the end of the daemon; `config::diff` says that they need a restart.
pub(super) fn keep_what_is_read_once(config: &mut Config, old: &Config) {
    config.daemon.state_dir.clone_from(&old.daemon.state_dir);
    config.daemon.socket.clone_from(&old.daemon.socket);
    config.daemon.threads = old.daemon.threads;
    config.daemon.metrics.clone_from(&old.daemon.metrics);
}

/// Whether a file was changed after its copy was made. The daemon may not read the file itself, but look at it; where it
/// cannot, nothing is claimed.
pub(super) fn changed_since(file: &Path, copy: &Path) -> bool {
    // The time of the change of the inode: a file that is moved into place keeps its older time of modification.
    let changed = |path: &Path| std::fs::metadata(path).map(|meta| (meta.ctime(), meta.ctime_nsec())).ok();
    changed(file).zip(changed(copy)).is_some_and(|(file, copy)| file > copy)
}
