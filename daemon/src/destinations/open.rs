//! Opens destinations from their settings. Who writes to the same place shares one: its connections, its pace, its limits.

use super::http::HttpPut;
use super::local::Local;
use super::objects::Objects;
use super::s3::S3;
use super::sftp::Sftp;
use super::{Destination, DestinationError};
use crate::auth::Registry;
use crate::base::secret::Resolve;
use crate::config::settings;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Semaphore;

/// The secrets that destinations are opened with.
pub type SharedSecrets = Arc<dyn Resolve + Send + Sync>;

/// Opens destinations, each once.
pub struct Opener {
    secrets: Mutex<SharedSecrets>,
    credentials: Option<Arc<Registry>>,
    open: Mutex<BTreeMap<String, Weak<dyn Destination>>>,
    turns: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

impl Opener {
    /// An opener with these secrets.
    pub fn new(secrets: SharedSecrets) -> Self {
        Self { secrets: Mutex::new(secrets), credentials: None, open: Mutex::default(), turns: Mutex::default() }
    }

    /// The same, with the providers of credentials that change.
    #[must_use]
    pub fn with_credentials(mut self, registry: Arc<Registry>) -> Self {
        self.credentials = Some(registry);
        self
    }

    /// From now on other secrets count; what is open goes on with those it has.
    pub fn renew(&self, secrets: SharedSecrets) {
        *self.secrets.lock().unwrap_or_else(PoisonError::into_inner) = secrets;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The turns of whoever delivers files to the destination of these settings: as many as it has connections, for all
    /// tasks together.
    pub fn turns(&self, settings: &settings::Destination) -> Arc<Semaphore> {
        let key = serde_json::to_string(settings).unwrap_or_default();
        let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, turns| turns.strong_count() > 0);
        if let Some(turns) = all.get(&key).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::new(Semaphore::new(settings.connections()));
        all.insert(key, Arc::downgrade(&turns));
        turns
    }

    /// The destination of these settings; it asks nobody yet, but may read files (keys, certificates).
    pub fn open(&self, settings: &settings::Destination) -> Result<Arc<dyn Destination>, DestinationError> {
        let key = serde_json::to_string(settings).unwrap_or_default();
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, destination| destination.strong_count() > 0);
        if let Some(destination) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(destination);
        }
        let destination = build(settings, &*secrets, self.credentials.as_deref())?;
        open.insert(key, Arc::downgrade(&destination));
        Ok(destination)
    }
}

fn build(
    settings: &settings::Destination,
    secrets: &dyn Resolve,
    registry: Option<&Registry>,
) -> Result<Arc<dyn Destination>, DestinationError> {
    Ok(match settings {
        settings::Destination::Local(local) => Arc::new(Local::new(local)),
        settings::Destination::S3(s3) => Arc::new(S3::new(s3, secrets)?),
        settings::Destination::Gcs(gcs) => Arc::new(Objects::gcs(gcs, secrets)?),
        settings::Destination::Azure(azure) => Arc::new(Objects::azure(azure, secrets)?),
        settings::Destination::Sftp(sftp) => Arc::new(Sftp::new(sftp, secrets)?),
        settings::Destination::Http(http) => Arc::new(HttpPut::new(http, secrets, registry)?),
    })
}
