//! `ledger restore` and `ledger rebuild`: an older ledger, or none, learns what is published before anything goes on.

mod error;
mod look;
mod plan;
mod report;
mod spools;
mod spots;

use super::bad_config;
use super::cli::{Adopt, Rebuild, Restore};
use super::engine::{AppEngine, Files, load};
use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::TaskId;
use crate::host::log;
use crate::host::peer::Peer;
use crate::ledger::adopt::{Adoption, CancelOpen, LeftBehind};
use crate::ledger::input::{AuditEntry, Change};
use crate::ledger::rows::{TaskFilter, TaskRow};
use crate::ledger::{Draft, Ledger};
use crate::model::task::TaskState;
use error::AdoptError;
use look::{Look, Sight};
use report::{Adopted, AdoptedStream, GivenUp, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Directory of the snapshots in the state directory.
const SNAPSHOTS: &str = "snapshots";
/// Failed and cancelled tasks that are looked at, the newest ones: somebody may have retried them since.
const CLOSED_MOST: u32 = 200;
/// Open tasks that are looked at.
const OPEN_MOST: u32 = 10_000;

/// Goes on from a snapshot.
pub async fn restore(files: Files, wanted: &Restore) -> ExitCode {
    run(files, Order { snapshot: Some(&wanted.snapshot), from: &[], options: &wanted.adopt }).await
}

/// Makes the ledger anew.
pub async fn rebuild(files: Files, wanted: &Rebuild) -> ExitCode {
    run(files, Order { snapshot: None, from: &wanted.from, options: &wanted.adopt }).await
}

/// What was ordered.
#[derive(Clone, Copy)]
struct Order<'a> {
    snapshot: Option<&'a Path>,
    from: &'a [String],
    options: &'a Adopt,
}

async fn run(files: Files, order: Order<'_>) -> ExitCode {
    log::start(log::FOREGROUND);
    let done = match load(&files) {
        Ok((mut config, secrets)) => {
            if let Some(state_dir) = &order.options.state_dir {
                config.daemon.state_dir.clone_from(state_dir);
            }
            let state_dir = config.daemon.state_dir.clone();
            replace(&state_dir, order, |ledger| AppEngine::new(files, config, secrets, ledger)).await
        }
        Err(problems) => return bad_config(&problems),
    };
    match done {
        Ok(report) => {
            let text = match order.options.json {
                true => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
                false => report.lines(),
            };
            // A closed pipe is no reason to say otherwise.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("saas-export-daemon: failed to {}", Chain(&error));
            ExitCode::from(error.code())
        }
    }
}

/// Makes the new ledger beside the old one, and puts it into its place where that is ordered.
async fn replace(
    state_dir: &Path,
    order: Order<'_>,
    engine: impl FnOnce(Ledger) -> AppEngine,
) -> Result<Report, AdoptError> {
    let snapshot = order.snapshot.map(|snapshot| found(state_dir, snapshot)).transpose()?;
    let (draft, ledger) = Draft::begin(state_dir, snapshot.as_deref())?;
    let engine = engine(ledger.clone());
    let made = Maker { engine: &engine, ledger: &ledger, order, actor: actor() }.make(snapshot.as_deref()).await;
    engine.settle().await;
    let closed = ledger.close().await;
    match made.and_then(|report| Ok(closed.map(|()| report)?)) {
        Ok(mut report) if !order.options.dry_run => {
            report.before = draft.put_in_place(clock::now())?.map(|path| path.display().to_string());
            Ok(report)
        }
        other => {
            draft.discard()?;
            other
        }
    }
}

/// The file of a snapshot: a path, or a name among the daemon's own.
fn found(state_dir: &Path, snapshot: &Path) -> Result<PathBuf, AdoptError> {
    let own = state_dir.join(SNAPSHOTS);
    let candidates = [own.join(snapshot), snapshot.to_owned()];
    let file = candidates.into_iter().find(|path| path.is_file());
    file.ok_or_else(|| AdoptError::NoSnapshot(snapshot.to_owned(), own))
}

/// Who runs the command, for the audit.
fn actor() -> String {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    Peer { uid, gid, groups: Vec::new() }.actor()
}

struct Maker<'a> {
    engine: &'a AppEngine,
    ledger: &'a Ledger,
    order: Order<'a>,
    actor: String,
}

impl Maker<'_> {
    async fn make(&self, snapshot: Option<&Path>) -> Result<Report, AdoptError> {
        let open = vec![TaskState::Pending, TaskState::Processing, TaskState::Paused];
        let open = self.ledger.tasks(&TaskFilter { export: None, states: open, limit: OPEN_MOST }).await?;
        let options = (self.order.options, self.order.from);
        let look = Look::new(self.engine, (self.ledger, &open), options).await?;
        let written = self.ledger.last_written().await?.map(|at| format!("{at:.0}"));
        let mut report = Report {
            dry_run: self.order.options.dry_run,
            snapshot: snapshot.map(|path| path.display().to_string()),
            written_at: written.clone(),
            skipped: self.order.options.skip.clone(),
            ..Report::default()
        };
        let mut sight = self.sight(&look, &open).await?;
        let destinations = std::mem::take(&mut sight.destinations);
        let (left, notes) = (std::mem::take(&mut sight.left), std::mem::take(&mut sight.notes));
        report.notes = notes;
        let orders = self.orders(&look, &open, sight).await?;
        if orders.is_empty() && snapshot.is_none() {
            return Err(AdoptError::Nothing(destinations.into_iter().collect::<Vec<_>>().join(", ")));
        }
        report.cancelled = self.cancel(&orders, left, written.as_deref()).await?;
        // Behind the cancelled tasks: nothing that ended before this line is retried.
        self.begin(snapshot, &orders, &report).await?;
        self.marks_unknown(&orders, &mut report);
        for order in orders {
            report.adopted.push(self.adopt(order).await?);
        }
        self.streams_lost(&mut report).await?;
        let why = "the ledger was restored: it may have been sent since the snapshot was taken";
        for row in self.ledger.give_up_notices(why).await? {
            report.commands.push(format!("exportctl notifications retry {}", row.id));
            report.given_up.push(GivenUp { id: row.id, task: row.task.to_string(), recipient: row.recipient });
        }
        self.deliveries(&look, (&destinations, &mut report)).await?;
        for dir in spools::left(look.config(), self.ledger).await? {
            report.notes.push(format!("{} belongs to no open task; it may be removed", dir.display()));
        }
        Ok(report)
    }

    /// What is published, and what the open tasks, or closed ones that were retried since, have written besides.
    async fn sight(&self, look: &Look<'_>, open: &[TaskRow]) -> Result<Sight, AdoptError> {
        let mut sight = look.around().await?;
        let states = vec![TaskState::Failed, TaskState::Cancelled];
        let closed = self.ledger.tasks(&TaskFilter { export: None, states, limit: CLOSED_MOST }).await?;
        for row in open.iter().chain(&closed) {
            look.unfinished(self.ledger, row, &mut sight).await?;
        }
        Ok(sight)
    }

    /// Everything that is to be adopted, in order.
    async fn orders(&self, look: &Look<'_>, open: &[TaskRow], sight: Sight) -> Result<Vec<Adoption>, AdoptError> {
        let seen = plan::orders(look, self.ledger, (sight, &self.actor)).await?;
        let own = open.iter().rev().filter(|row| look.knows(&row.id) && !seen.iter().any(|order| order.id == row.id));
        let mut orders: Vec<Adoption> = own.map(|row| plan::published(look.config(), row, &self.actor)).collect();
        orders.extend(seen);
        Ok(orders)
    }

    /// Cancels every open task that is not adopted; those, newest first.
    async fn cancel(
        &self,
        orders: &[Adoption],
        mut left: Vec<LeftBehind>,
        written: Option<&str>,
    ) -> Result<Vec<String>, AdoptError> {
        let keep: BTreeSet<_> = orders.iter().map(|order| order.id.clone()).collect();
        left.retain(|left| !keep.iter().any(|task| task.as_str() == left.manifest.task));
        let reason = match written {
            Some(at) => format!("the ledger was restored from a snapshot of {at}; run the export again"),
            None => "the ledger was restored; run the export again".to_owned(),
        };
        let change = Change { reason, actor: self.actor.clone(), ..Change::default() };
        let unseen = self.order.options.skip.iter().cloned().collect();
        let cancelled = self.ledger.cancel_open(CancelOpen { keep, left, unseen, change }).await?;
        Ok(cancelled.into_iter().map(|row| format!("{} of {}", row.id, row.export)).collect())
    }

    async fn begin(&self, snapshot: Option<&Path>, orders: &[Adoption], report: &Report) -> Result<(), AdoptError> {
        let (action, reason) = match (snapshot, &report.written_at) {
            (Some(_), at) => {
                ("ledger_restored", format!("from a snapshot of {}", at.as_deref().unwrap_or("an unknown time")))
            }
            (None, _) => ("ledger_rebuilt", "from what is published".to_owned()),
        };
        let detail = serde_json::json!({
            "snapshot": report.snapshot, "adopted": orders.len(), "skipped": report.skipped,
            "accept_unsigned": self.order.options.accept_unsigned,
        });
        let entry = AuditEntry {
            actor: self.actor.clone(),
            action: action.into(),
            reason,
            detail: Some(detail.to_string()),
            ..AuditEntry::default()
        };
        Ok(self.ledger.audit(entry).await?)
    }

    async fn adopt(&self, order: Adoption) -> Result<Adopted, AdoptError> {
        let streams = order.streams.iter().map(|found| AdoptedStream {
            stream: found.manifest.stream.clone(),
            position: found.manifest.chain.position,
            records: found.manifest.counts.written,
            destinations: found.places.iter().map(|(name, _)| name.clone()).collect(),
        });
        let (task, export, streams) = (order.id.to_string(), order.new.export.clone(), streams.collect());
        let was = report::was(self.ledger.adopt(order).await?);
        Ok(Adopted { task, export, streams, was })
    }

    /// Tells of marks whose records are not known: the next task may write those once more.
    fn marks_unknown(&self, orders: &[Adoption], report: &mut Report) {
        let mut newest = BTreeMap::new();
        for found in orders.iter().flat_map(|order| &order.streams).filter(|found| found.manifest.marks.after.is_some())
        {
            newest.insert((&found.manifest.export, &found.manifest.stream), found.manifest.marks.boundary.is_some());
        }
        for ((export, stream), _) in newest.into_iter().filter(|(_, listed)| !listed) {
            report.notes.push(format!(
                "the manifests of stream {stream} of {export} do not list the records at its mark: its next task may write \
                 them once more"
            ));
        }
    }

    /// Tells of streams that no later task reads: those that a task with parameters had not published.
    async fn streams_lost(&self, report: &mut Report) -> Result<(), AdoptError> {
        let mut notes = Vec::new();
        for adopted in &report.adopted {
            let id = TaskId::known(&adopted.task);
            if self.ledger.task(&id).await?.is_none_or(|row| row.chained) {
                continue;
            }
            let streams = self.ledger.streams(&id).await?.into_iter().filter(|row| row.error.is_some());
            let streams: Vec<String> = streams.map(|row| row.stream).collect();
            if !streams.is_empty() {
                notes.push(format!(
                    "task {id} of {} has parameters and published nothing of {}, which no later task reads: run it again",
                    adopted.export,
                    streams.join(", ")
                ));
            }
        }
        report.notes.extend(notes);
        Ok(())
    }

    /// Names the adopted tasks that some destination of their export lacks.
    async fn deliveries(
        &self,
        look: &Look<'_>,
        (looked, report): (&BTreeSet<String>, &mut Report),
    ) -> Result<(), AdoptError> {
        for adopted in &report.adopted {
            let Some(export) = look.config().exports.get(adopted.export.as_str()) else { continue };
            let id = TaskId::known(&adopted.task);
            let manifests = self.ledger.manifests(&id).await?;
            let streams = self.ledger.streams(&id).await?.into_iter().filter(|row| row.error.is_none()).count();
            for name in export.to.iter().filter(|name| looked.contains(name.as_str())) {
                let there = manifests.iter().filter(|row| row.there() && row.destination == name.as_str()).count();
                if there < streams {
                    report.commands.push(format!("exportctl deliver {id} --to {name}"));
                }
            }
        }
        Ok(())
    }
}
