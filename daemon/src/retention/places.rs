//! Opens the destinations of tasks that ended long ago: where their objects lie, with the secrets of now.

use super::error::PruneError;
use crate::base::ids::TaskId;
use crate::config::secrets;
use crate::config::settings::{Config, Destination as Settings, reached};
use crate::destinations::{Destination, Opener};
use crate::ledger::Ledger;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Opens destinations of tasks. Tasks of one configuration follow one another, so that the last one is kept.
pub struct Places<'a> {
    ledger: &'a Ledger,
    opener: &'a Opener,
    now: Arc<Config>,
    last: Option<(String, Config)>,
}

impl<'a> Places<'a> {
    /// None is opened yet; `now` is the configuration in force.
    pub fn new(ledger: &'a Ledger, opener: &'a Opener, now: Arc<Config>) -> Self {
        Self { ledger, opener, now, last: None }
    }

    /// A destination of a task.
    pub async fn open(&mut self, task: &TaskId, name: &str) -> Result<Arc<dyn Destination>, PruneError> {
        let broken = |why: String| PruneError::Stored { task: task.clone(), why };
        let row = self.ledger.task(task).await?.ok_or_else(|| broken("there is no such task".into()))?;
        let known = self.last.take().filter(|(text, _)| *text == row.config);
        let config = match known {
            Some((_, config)) => config,
            None => {
                let stored = serde_json::from_str(&row.config).map_err(|error| broken(error.to_string()))?;
                Config::from_effective(&stored).map_err(|problems| broken(problems.to_string()))?
            }
        };
        let stored = config.destinations.get(name).ok_or_else(|| broken(format!("it has no destination {name}")))?;
        let opened = settings(name, stored, &self.now).and_then(|settings| Ok(self.opener.open(settings)?));
        self.last = Some((row.config, config));
        opened
    }
}

/// The settings by which a stored destination may be opened: those of now where they mean the same place, else the stored ones,
/// unless these would hand to the old server a secret that belongs to another one by now.
pub fn settings<'a>(name: &str, stored: &'a Settings, now: &'a Config) -> Result<&'a Settings, PruneError> {
    let current = now.destinations.get(name);
    let settings = reached(stored, current);
    // One and the same is what is in force, whose secrets are its own.
    let in_force = current.is_some_and(|current| std::ptr::eq(settings, current));
    match lent(stored, now).filter(|_| !in_force) {
        None => Ok(settings),
        Some((secret, owner)) => Err(PruneError::Withheld { destination: name.to_owned(), secret, owner }),
    }
}

/// A secret of stored settings whose name another server's settings have in the configuration in force, and whose: what stands
/// under that name now was given for that one.
fn lent(stored: &Settings, now: &Config) -> Option<(String, String)> {
    let (asked, here) = (names(stored), server(stored));
    let elsewhere = now.destinations.iter().filter(|(_, other)| server(other) != here);
    let destinations = elsewhere.map(|(name, other)| (format!("the destination {name}"), names(other)));
    let sources = now.sources.iter().map(|(name, source)| (format!("the source {name}"), names(source)));
    destinations.chain(sources).find_map(|(owner, names)| {
        let secret = names.into_iter().find(|name| asked.contains(name))?;
        Some((secret, owner))
    })
}

/// Who learns the secrets of a destination: its server, whatever the bucket or the directory there.
fn server(settings: &Settings) -> String {
    let or = |endpoint: &Option<String>, usual: &str| {
        endpoint.as_deref().map_or(usual, |url| url.trim_end_matches('/')).to_owned()
    };
    match settings {
        Settings::Local(_) => String::new(),
        Settings::S3(s3) => or(&s3.endpoint, "s3"),
        Settings::Gcs(gcs) => or(&gcs.endpoint, "gcs"),
        Settings::Azure(azure) => azure.url(),
        Settings::Sftp(sftp) => format!("{}:{}", sftp.host, sftp.port),
        Settings::Http(http) => match url::Url::parse(&http.url) {
            Ok(url) => url.origin().ascii_serialization(),
            Err(_) => http.url.clone(),
        },
    }
}

/// The names of secrets in settings, in any text of them: one too many only lets something wait.
fn names(settings: &impl Serialize) -> BTreeSet<String> {
    fn collect(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => found.extend(secrets::names(text).into_iter().map(str::to_owned)),
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    collect(&serde_json::to_value(settings).unwrap_or_default(), &mut found);
    found
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
