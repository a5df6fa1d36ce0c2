//! The parts of a run that can fail to be built: its destinations; and how such a failure ends the run.

use super::AppEngine;
use crate::app::protect::ProtectError;
use crate::base::error::{Chain, Classify, ErrorClass, io_class};
use crate::base::ids::Name;
use crate::config::settings::{Config, Export, reached};
use crate::destinations::{Destination, DestinationError, Opener};
use crate::ledger::rows::TaskRow;
use crate::model::task::Waiting;
use crate::queue::dispatcher::RunControl;
use crate::sources::rest::RestError;
use crate::transfer::{Outcome, Place, RECHECK_DELIVERY, TaskRun};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How soon a task looks again whether its directory can be made.
const RECHECK_ROOM: Duration = Duration::from_secs(2);

/// Why the run of a task cannot be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// What the task stored cannot be used; the text says why.
    #[error("use the task's stored configuration: {0}")]
    Stored(String),
    /// The source cannot be set up.
    #[error(transparent)]
    Source(#[from] RestError),
    /// A destination cannot be set up.
    #[error("set up the destination {0}")]
    Destination(Name, #[source] DestinationError),
    /// A key cannot be used.
    #[error(transparent)]
    Protect(#[from] ProtectError),
    /// The directory of its spool cannot be made.
    #[error("create {path}")]
    Spool {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Classify for BuildError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Stored(_) => ErrorClass::Config,
            Self::Source(error) => error.class(),
            Self::Destination(_, error) => error.class(),
            Self::Protect(error) => error.class(),
            Self::Spool { source, .. } => io_class(source),
        }
    }
}

impl BuildError {
    /// How a run ends that could not be built. A task whose source has been read can only wait: its mark has moved on, so
    /// that no later task would read its records again.
    pub(super) fn outcome(&self, extracted: bool) -> Outcome {
        let why = Chain(self).to_string();
        match self.class() {
            ErrorClass::Full => {
                let reason = format!("disk full: it needs room to {why}; it goes on by itself when there is some");
                Outcome::Wait(Waiting { reason, until: None }, RECHECK_ROOM)
            }
            class if extracted && class != ErrorClass::Bug => {
                Outcome::Wait(Waiting { reason: format!("it failed to {why}"), until: None }, RECHECK_DELIVERY)
            }
            class if class.retryable() => Outcome::RetryAfter(None, class, why),
            class => Outcome::Failed(class, why),
        }
    }
}

/// The destinations of a task, and how each is used.
pub(super) struct Places {
    pub destinations: Vec<(Name, Arc<dyn Destination>)>,
    pub places: Vec<Place>,
}

impl Places {
    /// Opens what an export goes to: as `config` says, or as `now` does where that still means the same place.
    pub(super) fn open(
        opener: &Opener,
        config: &Config,
        export: &Export,
        now: Option<&Config>,
    ) -> Result<Self, BuildError> {
        let (mut destinations, mut places) = (Vec::new(), Vec::new());
        for name in &export.to {
            let settings = config.destinations.get(name);
            let settings = settings.ok_or_else(|| BuildError::Stored(format!("it has no destination {name}")))?;
            let settings = reached(settings, now.and_then(|now| now.destinations.get(name)));
            let opened = opener.open(settings);
            let destination = opened.map_err(|error| BuildError::Destination(name.clone(), error))?;
            let turns = opener.turns(settings);
            places.push(Place { destination: destination.clone(), turns, connections: settings.connections() });
            destinations.push((name.clone(), destination));
        }
        Ok(Self { destinations, places })
    }
}

impl AppEngine {
    /// Builds the run of a task, off the threads of the runtime: it reads files and makes directories, and the mount that
    /// they lie on may hang.
    pub(super) async fn built(self: Arc<Self>, row: TaskRow, control: RunControl) -> Result<TaskRun, Outcome> {
        let (stop, extracted) = (control.stop.clone(), row.extracted);
        let build = tokio::task::spawn_blocking(move || self.build(row, control));
        let built = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Outcome::Stopped),
            built = build => built,
        };
        match built {
            Ok(built) => built.map_err(|error| error.outcome(extracted)),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}
