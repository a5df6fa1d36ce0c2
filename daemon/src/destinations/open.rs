//! Opens destinations from their settings. Who writes to the same place shares one: its connections, its pace, its limits.

use super::local::Local;
use super::objects::Objects;
use super::s3::S3;
use super::{Destination, DestinationError};
use crate::base::secret::Resolve;
use crate::config::settings;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The secrets that destinations are opened with.
pub type SharedSecrets = Arc<dyn Resolve + Send + Sync>;

/// Opens destinations, each once.
pub struct Opener {
    secrets: Mutex<SharedSecrets>,
    open: Mutex<BTreeMap<String, Weak<dyn Destination>>>,
}

impl Opener {
    /// An opener with these secrets.
    pub fn new(secrets: SharedSecrets) -> Self {
        Self { secrets: Mutex::new(secrets), open: Mutex::default() }
    }

    /// From now on other secrets count; what is open goes on with those it has.
    pub fn renew(&self, secrets: SharedSecrets) {
        *self.secrets.lock().unwrap_or_else(PoisonError::into_inner) = secrets;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
        let destination = build(settings, &*secrets)?;
        open.insert(key, Arc::downgrade(&destination));
        Ok(destination)
    }
}

fn build(settings: &settings::Destination, secrets: &dyn Resolve) -> Result<Arc<dyn Destination>, DestinationError> {
    Ok(match settings {
        settings::Destination::Local(local) => Arc::new(Local::new(local)),
        settings::Destination::S3(s3) => Arc::new(S3::new(s3, secrets)?),
        settings::Destination::Gcs(gcs) => Arc::new(Objects::gcs(gcs, secrets)?),
        settings::Destination::Azure(azure) => Arc::new(Objects::azure(azure, secrets)?),
    })
}
